"""Stored secrets: what opens, what does not, and what is never revealed."""

from __future__ import annotations

import base64
import copy
import pickle
import traceback
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kapso_inbox.encryption import (
    EncryptionError,
    KeyConfigurationError,
    Keyring,
    UnknownKeyError,
    UnreadableSecretError,
    generate_key,
    key_id_of,
    prefix_of,
)

# Fixed, since they are part of the names of tests.
OLD = base64.urlsafe_b64encode(bytes(range(100, 132))).decode().rstrip("=")
NEW = base64.urlsafe_b64encode(bytes(range(40, 72))).decode().rstrip("=")
SECRET = "https://inbox.kapso.ai/embed/secret-token"
CONTEXT = "kapso_inbox.AccessLink.secret:6f1b"


@pytest.fixture
def keyring() -> Keyring:
    return Keyring({"new": NEW, "old": OLD})


def test_a_secret_can_be_decrypted(keyring: Keyring) -> None:
    envelope = keyring.encrypt(SECRET, context=CONTEXT)
    assert keyring.decrypt(envelope, context=CONTEXT) == SECRET


@settings(
    max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(st.text("a%é€😀\0\n ", max_size=20), st.text("a.:é", max_size=8))
def test_every_secret_can_be_decrypted_for_its_context_only(secret: str, context: str) -> None:
    keyring = Keyring({"k": NEW})
    envelope = keyring.encrypt(secret, context=context)
    assert keyring.decrypt(envelope, context=context) == secret
    with pytest.raises(UnreadableSecretError):
        keyring.decrypt(envelope, context=f"{context}x")


def test_an_envelope_is_a_version_a_key_id_and_then_nonce_secret_and_tag(
    keyring: Keyring,
) -> None:
    version, key_id, encoded = keyring.encrypt(SECRET, context=CONTEXT).split(".")
    assert (version, key_id) == ("v1", "new")
    assert "=" not in encoded
    raw = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    assert len(raw) == 12 + len(SECRET) + 16
    assert SECRET.encode() not in raw


def test_an_envelope_of_an_earlier_release_still_opens() -> None:
    key = base64.urlsafe_b64encode(bytes(range(32))).decode()
    envelope = "v1.k.AAECAwQFBgcICQoLNGe1aaCR6bdLgx54_jaoYAsd3SH-SQ"
    assert Keyring({"k": key}).decrypt(envelope, context="row") == "secret"


def test_no_nonce_is_used_twice(keyring: Keyring) -> None:
    envelopes = {keyring.encrypt(SECRET, context=CONTEXT) for _ in range(200)}
    nonces = {envelope.rpartition(".")[2][:16] for envelope in envelopes}
    assert len(nonces) == 200


def test_the_first_key_encrypts_and_all_decrypt(keyring: Keyring) -> None:
    before = Keyring({"old": OLD}).encrypt(SECRET, context=CONTEXT)
    assert keyring.current == "new"
    assert keyring.encrypt(SECRET, context=CONTEXT).startswith("v1.new.")
    assert keyring.decrypt(before, context=CONTEXT) == SECRET


def test_an_envelope_names_its_key_even_if_that_is_not_configured(keyring: Keyring) -> None:
    envelope = keyring.encrypt(SECRET, context=CONTEXT)
    assert key_id_of(envelope) == "new"
    assert envelope.startswith(prefix_of("new"))
    assert key_id_of("v1.gone.AAAA") == "gone"
    assert keyring.key_ids == ("new", "old")


@pytest.mark.parametrize("text", ["", "v1", "v1.", "v1.a b.x", "v2.new.x", SECRET])
def test_a_text_that_is_not_an_envelope_has_no_key_and_is_not_repeated(text: str) -> None:
    with pytest.raises(UnreadableSecretError) as caught:
        key_id_of(text)
    assert SECRET not in shown(caught.value)


@pytest.mark.parametrize("context", ["", CONTEXT[:-1], CONTEXT + " ", CONTEXT.upper()])
def test_a_secret_does_not_open_for_another_context(keyring: Keyring, context: str) -> None:
    envelope = keyring.encrypt(SECRET, context=CONTEXT)
    with pytest.raises(UnreadableSecretError):
        keyring.decrypt(envelope, context=context)


def test_an_envelope_with_one_changed_character_does_not_open(keyring: Keyring) -> None:
    envelope = keyring.encrypt(SECRET, context=CONTEXT)
    for place, character in enumerate(envelope):
        for other in "AB-_+/=. é\n\0":
            if other != character:
                altered = envelope[:place] + other + envelope[place + 1 :]
                with pytest.raises(EncryptionError):
                    keyring.decrypt(altered, context=CONTEXT)


def test_an_envelope_that_is_cut_or_lengthened_does_not_open(keyring: Keyring) -> None:
    envelope = keyring.encrypt(SECRET, context=CONTEXT)
    cut = [envelope[:end] for end in range(len(envelope))]
    for altered in [*cut, envelope + "A", envelope + "=", envelope + "\n", envelope + ".x"]:
        with pytest.raises(EncryptionError):
            keyring.decrypt(altered, context=CONTEXT)


@pytest.mark.parametrize(
    "envelope", ["", ".", "..", "v1", "v1.", "v1..", "v1.new", "v1.new.", SECRET, "v1.a b.x", "é"]
)
def test_a_text_that_is_not_an_envelope_does_not_open(keyring: Keyring, envelope: str) -> None:
    with pytest.raises(UnreadableSecretError):
        keyring.decrypt(envelope, context=CONTEXT)


@pytest.mark.parametrize("version", ["v2", "v0", "V1", "", "v1 "])
def test_another_version_does_not_open(keyring: Keyring, version: str) -> None:
    rest = keyring.encrypt(SECRET, context=CONTEXT).removeprefix("v1")
    with pytest.raises(UnreadableSecretError, match="version"):
        keyring.decrypt(version + rest, context=CONTEXT)


def test_a_swapped_key_id_does_not_open(keyring: Keyring) -> None:
    envelope = keyring.encrypt(SECRET, context=CONTEXT).replace(".new.", ".old.")
    with pytest.raises(UnreadableSecretError):
        keyring.decrypt(envelope, context=CONTEXT)


def test_a_key_that_changed_under_its_id_does_not_open(keyring: Keyring) -> None:
    envelope = keyring.encrypt(SECRET, context=CONTEXT)
    with pytest.raises(UnreadableSecretError):
        Keyring({"new": generate_key()}).decrypt(envelope, context=CONTEXT)


def test_the_error_names_a_key_that_is_not_configured(keyring: Keyring) -> None:
    envelope = keyring.encrypt(SECRET, context=CONTEXT)
    with pytest.raises(UnknownKeyError, match="'new'") as caught:
        Keyring({"old": OLD}).decrypt(envelope, context=CONTEXT)
    assert caught.value.key_id == "new"
    for again in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):  # noqa: S301
        assert (str(again), again.key_id) == (str(caught.value), "new")


@pytest.mark.parametrize("padding", ["", "=", "\n", "=\n"])
def test_a_key_is_accepted_with_and_without_padding(padding: str) -> None:
    envelope = Keyring({"k": NEW}).encrypt(SECRET, context=CONTEXT)
    assert Keyring({"k": NEW + padding}).decrypt(envelope, context=CONTEXT) == SECRET


def test_a_generated_key_is_32_bytes_and_always_new() -> None:
    keys = {generate_key() for _ in range(50)}
    assert len(keys) == 50
    for key in keys:
        assert len(base64.urlsafe_b64decode(key + "=")) == 32
        assert Keyring({"k": key}).current == "k"


@pytest.mark.parametrize("keys", [{}, None, [], "", (), 0])
def test_at_least_one_key_is_required(keys: Any) -> None:
    with pytest.raises(KeyConfigurationError, match="no encryption key"):
        Keyring(keys)


@pytest.mark.parametrize("keys", [NEW, [NEW], 7, {NEW}, object()])
def test_keys_must_be_a_dictionary(keys: Any) -> None:
    with pytest.raises(KeyConfigurationError) as caught:
        Keyring(keys)
    assert NEW not in shown(caught.value)


@pytest.mark.parametrize("key_id", ["", "a.b", "a b", "a\n", "é", "a" * 33, 7, None, NEW, ("a",)])
def test_a_malformed_id_is_an_error_that_does_not_repeat_it(key_id: Any) -> None:
    """It may be the key, if the two were swapped."""
    with pytest.raises(KeyConfigurationError, match="id must be") as caught:
        Keyring({"good": OLD, key_id: NEW})
    assert NEW not in shown(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "=",
        NEW[:-1],
        NEW[:22],
        NEW + "AAAA",
        NEW + NEW,
        f"{NEW[:20]} {NEW[20:]}",
        f"{NEW[:20]}\n{NEW[20:]}",
        f"{NEW[:20]}!{NEW[21:]}",
        f"{NEW[:42]}é",
        "+/" + NEW[2:],
        "correct horse battery staple",
        None,
        7,
        NEW.encode(),
        [NEW],
    ],
)
def test_a_malformed_key_is_an_error_that_gives_only_its_id(key: Any) -> None:
    with pytest.raises(KeyConfigurationError, match="'k-1'") as caught:
        Keyring({"good": OLD, "k-1": key})
    text = shown(caught.value)
    assert NEW[:20] not in text
    assert "horse" not in text
    assert caught.value.__cause__ is None


def shown(error: BaseException) -> str:
    """Return everything about an error that a log could show."""
    lines = traceback.format_exception(error)
    # Without the lines of source, which are this module's own.
    return "".join([str(error), repr(error), repr(error.args), lines[-1]])


def test_no_repr_and_no_error_shows_a_key_or_a_secret(keyring: Keyring) -> None:
    assert repr(keyring) == "<Keyring new, old>"
    assert str(keyring) == "<Keyring new, old>"
    envelope = keyring.encrypt(SECRET, context=CONTEXT)
    for wrong in (envelope[:-4], envelope.replace(".new.", ".gone."), "v9" + envelope):
        with pytest.raises(EncryptionError) as caught:
            keyring.decrypt(wrong, context=CONTEXT)
        text = shown(caught.value)
        for secret in (NEW, OLD, SECRET, envelope[10:30]):
            assert secret not in text


def test_a_secret_that_is_not_unicode_is_refused_without_being_shown(keyring: Keyring) -> None:
    with pytest.raises(EncryptionError) as caught:
        keyring.encrypt(SECRET + "\ud800", context=CONTEXT)
    assert "secret-token" not in shown(caught.value)
    assert caught.value.__suppress_context__
