"""Encrypt stored secrets with AES-256-GCM, under one of several keys and bound to their row.

An envelope is `v1.<key id>.<base64url(nonce + ciphertext)>`, with a new 12-byte nonce. Its context
(app, field and row) is authenticated: an envelope that is moved to another row does not open.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .exceptions import ConfigurationError, KapsoInboxError
from .secret import hides_frames, pasted_with

# cryptography is imported where it is used. In a process that has loaded Django it takes 7 ms and
# 6.4 MB (cryptography 50), more than three times the memory that the rest of the app adds to a
# start-up (docs/costs.md), and most processes of a host open no secret.
if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = "v1"
_NONCE_BYTES = 12
_KEY_BYTES = 32
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


class EncryptionError(KapsoInboxError):
    """A secret cannot be stored or revealed. It never contains a key, plaintext or ciphertext."""


class KeyConfigurationError(EncryptionError, ConfigurationError):
    """The configured keys cannot be used: there is none, or an id or a key is malformed."""


class UnknownKeyError(EncryptionError, ConfigurationError):
    """The key that an envelope names is not configured, at least not in this process.

    It proves nothing about the secret: other processes may have the key. Configure it, or restart
    the process with the current settings.

    Attributes:
        key_id: the id that the envelope names.
    """

    def __init__(self, key_id: str) -> None:
        super().__init__(key_id)
        self.key_id = key_id

    def __str__(self) -> str:
        return f'The encryption key {self.key_id!r} is not in KAPSO_INBOX["ENCRYPTION_KEYS"].'


class UnreadableSecretError(EncryptionError):
    """An envelope does not open: altered, cut, another row's, or sealed with another key."""


class Keyring:
    """The encryption keys of an installation.

    Args:
        keys: key id -> url-safe base64 of 32 bytes, with or without padding. The first key
            encrypts, and all of them decrypt.

    Raises:
        KeyConfigurationError: there is no key, or one is malformed.
    """

    @hides_frames
    def __init__(self, keys: Mapping[str, str]) -> None:
        if not keys:
            raise KeyConfigurationError("There is no encryption key.")
        if not isinstance(keys, Mapping):
            raise KeyConfigurationError("The encryption keys are not a dictionary.")
        self._keys = {key_id: _decode_key(key_id, key) for key_id, key in keys.items()}
        self.current = next(iter(self._keys))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join(self._keys)}>"

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of all keys. The first one encrypts."""
        return tuple(self._keys)

    @hides_frames
    def encrypt(self, plaintext: str, *, context: str) -> str:
        """Encrypt a secret; return an envelope that opens only for the same context.

        Args:
            plaintext: the secret.
            context: what it belongs to. It is not stored: `decrypt` needs it again.

        Raises:
            EncryptionError: the secret is not valid Unicode.
        """
        try:
            secret = plaintext.encode()
        except UnicodeEncodeError:
            raise EncryptionError("The secret is not valid Unicode.") from None
        nonce = os.urandom(_NONCE_BYTES)
        sealed = _cipher(self._keys[self.current]).encrypt(nonce, secret, context.encode())
        return prefix_of(self.current) + _encode(nonce + sealed)

    @hides_frames
    def decrypt(self, envelope: str, *, context: str) -> str:
        """Return the secret in an envelope.

        Args:
            envelope: what `encrypt` returned.
            context: what it was encrypted for.

        Raises:
            UnknownKeyError: its key is not configured, or no longer.
            UnreadableSecretError: it is not an envelope, or does not open for this context.
        """
        from cryptography.exceptions import InvalidTag

        key_id, encoded = _parts(envelope)
        if key_id not in self._keys:
            raise UnknownKeyError(key_id)
        try:
            sealed = _decode(encoded)
            nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
            plaintext = _cipher(self._keys[key_id]).decrypt(nonce, ciphertext, context.encode())
            return plaintext.decode()
        except (InvalidTag, ValueError):
            raise UnreadableSecretError(
                "The secret does not open: it was altered, belongs to another row, "
                "or its key id now names another key."
            ) from None


def generate_key() -> str:
    """Return a new random key for a `Keyring`."""
    return _encode(os.urandom(_KEY_BYTES))


def key_id_of(envelope: str) -> str:
    """Return the id of the key that an envelope names, configured or not.

    Raises:
        UnreadableSecretError: it is not an envelope.
    """
    return _parts(envelope)[0]


def prefix_of(key_id: str) -> str:
    """Return the beginning of every envelope under the key with that id."""
    return f"{_VERSION}.{key_id}."


def _parts(envelope: str) -> tuple[str, str]:
    """Return the key id of an envelope and its encoded rest.

    Raises:
        UnreadableSecretError: it is not an envelope of a known version.
    """
    version, _, rest = envelope.partition(".")
    key_id, _, encoded = rest.partition(".")
    if version != _VERSION or not _KEY_ID.fullmatch(key_id):
        raise UnreadableSecretError("This is not an envelope of a known version.")
    return key_id, encoded


def _cipher(key: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    """Return the bytes that `_encode` made this text from.

    Raises:
        ValueError: `_encode` does not make this text, even if only the spare bits of the last
            character differ.
    """
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _encode(raw) != text:
        raise ValueError
    return raw


def _decode_key(key_id: str, key: str) -> bytes:
    if not isinstance(key_id, str) or not _KEY_ID.fullmatch(key_id):
        raise KeyConfigurationError(
            "An encryption key's id must be 1 to 32 letters, digits, hyphens or underscores."
        )
    if isinstance(key, str) and not key.strip():
        raise KeyConfigurationError(
            f"The encryption key {key_id!r} is blank. Is its environment variable set?"
        )
    try:
        raw = _decode(key.strip().rstrip("=")) if isinstance(key, str) else b""
    except ValueError:
        raw = b""
    if len(raw) != _KEY_BYTES:
        raise KeyConfigurationError(
            f"The encryption key {key_id!r} is not the url-safe base64 of {_KEY_BYTES} bytes. "
            + (pasted_with(key) if isinstance(key, str) else "")
        )
    return raw
