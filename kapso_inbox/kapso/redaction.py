"""Take secrets out of Kapso's own texts, which are stored and shown to administrators."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any
from urllib.parse import unquote

REDACTED = "[hidden]"

#: The longest text that is looked at. What comes after it is dropped.
_MAX_TEXT = 4000
#: Shorter secrets would be cut out of ordinary words.
_MIN_SECRET = 6
#: How many secrets of an answer are looked for. An error has none, as far as Kapso documents it.
_MAX_SECRETS = 20
#: Names of values that are secret, in JSON and in text.
_NAME = r"(?:token|secret|password|passwd|signature|authorization|api[-_ ]?key|embed_url)"

_IS_SECRET = re.compile(_NAME, re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_JSON_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_AFTER_EMBED = re.compile(r"(/embed/+)[^\s\"'<>]+", re.IGNORECASE)
_NAMED = re.compile(
    rf"({_NAME}[\"']?\s{{0,3}}(?:=>|[:=])\s{{0,3}}[\"']?(?:bearer\s{{1,3}})?)"
    rf"[^\s\"',;&<>(){{}}\[\]]{{{_MIN_SECRET},}}",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(\bbearer\s{1,3})[^\s\"',;&<>]{6,}", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z0-9_-]+")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def redacted(text: str, secrets: Sequence[str]) -> str:
    """Return a text in plain characters and without anything that is, or may be, a secret.

    These are cut: the known secrets; what follows `/embed/`, or a name such as `token` and a colon
    or an equals sign; and every long word that mixes letters and digits, unless it is a UUID. They
    are cut in every form that `plain_text` reads.

    Args:
        text: Kapso's text.
        secrets: the secrets that are known, as `known_secrets` returns them.
    """
    text = plain_text(text[:_MAX_TEXT])
    for secret in secrets:
        text = text.replace(secret, REDACTED)
    text = _AFTER_EMBED.sub(rf"\1{REDACTED}", text)
    text = _NAMED.sub(rf"\1{REDACTED}", text)
    text = _BEARER.sub(rf"\1{REDACTED}", text)
    return _WORD.sub(lambda word: REDACTED if _may_be_token(word[0]) else word[0], text)


def known_secrets(api_key: str, data: Any, sent: Any = None) -> list[str]:
    """Return the secrets of a request and its answer in the forms that `redacted` cuts.

    Args:
        api_key: the API key of the request.
        data: the answer's JSON.
        sent: the request's.
    """
    secrets = [api_key, *_secrets_in(sent), *islice(_secrets_in(data), _MAX_SECRETS)]
    forms = {form for secret in secrets for form in (secret, plain_text(secret))}
    return sorted((form for form in forms if len(form) >= _MIN_SECRET), key=len, reverse=True)


def _secrets_in(data: Any) -> Iterator[str]:
    """Yield every text in an answer whose name says that it is a secret.

    Of an address, the last part of its path is yielded, too.
    """
    waiting = [data]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            for name, one in value.items():
                if isinstance(one, str) and len(one) <= _MAX_TEXT and _IS_SECRET.search(name):
                    yield one
                    yield one.rpartition("/")[2]


def plain_text(text: str) -> str:
    """Return a text without markup, and with every encoded character as itself.

    Percent-encoding, character references and the escapes of JSON are decoded, also where one is
    inside the other. Control characters and half surrogates become spaces.
    """
    for _ in range(3):
        decoded = html.unescape(unquote(text)).replace("\\/", "/")
        decoded = _JSON_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), decoded)
        if decoded == text:
            break
        text = decoded
    text = _TAG.sub("", text)
    # Invisible characters (Cf) split a secret for us and not for its reader. NUL (a control
    # character, Cc) and half surrogates (Cs) cannot be stored.
    return "".join(
        {"Cf": "", "Cc": " ", "Cs": " "}.get(unicodedata.category(letter), letter)
        for letter in text
    )


def _may_be_token(word: str) -> bool:
    if len(word) < 16 or _UUID.fullmatch(word):
        return False
    # Codes such as `limit_exceeded_v2` are made of short parts, or of letters alone.
    parts = re.split("[_-]", word)
    return any(len(part) >= 10 and not part.isalpha() and not part.isdigit() for part in parts)
