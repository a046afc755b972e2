"""Say why a value of KAPSO_INBOX is not valid. The one place that puts values into messages."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.utils.module_loading import import_string

from kapso_inbox.kapso.redaction import redacted
from kapso_inbox.origins import is_allowed_origin, is_inbox_origin
from kapso_inbox.secret import pasted_with

_LONGEST_VALUE = 100
_PLAIN = (str, int, float, bool, timedelta, os.PathLike, list, tuple, set, type(None))
_SCHEME_AND_HOST = re.compile(r"(?i)(?:[a-z][a-z0-9+.-]*://)?[^/?#]*")


def cause_of(name: str, value: Any) -> str:
    """Return a sentence about what is wrong with a value. It holds nothing that may be secret.

    Args:
        name: the key of KAPSO_INBOX.
        value: a value that its rule does not accept.
    """
    cause = _CAUSES.get(name, _plain)
    return redacted(cause(value), ()).strip()


def _type(value: Any) -> str:
    return f"It is of type {type(value).__name__}."


def _api_key(value: Any) -> str:
    return pasted_with(value) if isinstance(value, str) else _type(value)


def _plain(value: Any, subject: str = "It") -> str:
    try:
        text = repr(value) if isinstance(value, _PLAIN) else ""
    except Exception:  # noqa: BLE001 (a value of the host may do anything)
        text = ""
    if not text or len(text) > _LONGEST_VALUE:
        return _type(value).replace("It", subject, 1)
    return f"{subject} is {text}."


def _address(value: Any, subject: str = "It") -> str:
    """Return what can be said of an address: its user name, path and query may be secret."""
    if not isinstance(value, str) or not value:
        return _plain(value, subject)
    if "@" in value:
        return f"{subject} has a user name."
    if re.search("[?#]", value):
        return f"{subject} has a query or a fragment."
    start = _SCHEME_AND_HOST.match(value)
    shown = start[0] if start else ""
    return f"{subject} is “{shown}{'…' if shown != value else ''}”."


def _origins(is_right: Callable[[str], bool]) -> Callable[[Any], str]:
    def cause(value: Any) -> str:
        if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
            return _type(value) if value is not None else _plain(value)
        for number, item in enumerate(value, start=1):
            if not isinstance(item, str) or not is_right(item):
                return _address(item, f"Item {number}")
        return "It is empty."

    return cause


def _secrets(value: Any) -> str:
    """Return which project's secrets are wrong. No value is shown: it may be a secret."""
    if not isinstance(value, Mapping):
        return _type(value)
    wrong = [str(alias) for alias, own in value.items() if not own or not isinstance(own, str)]
    return f"See {', '.join(wrong)[:_LONGEST_VALUE]}."


def _dotted_path(value: Any) -> str:
    try:
        found = import_string(value)
    except ImportError as error:
        return f"{_plain(value)} {error}"
    except Exception as error:  # noqa: BLE001 (a module of the host may raise anything)
        if not isinstance(value, str):
            return _plain(value)
        return f"{_plain(value)} {type(error).__name__}: {error}"
    return f"{_plain(value)} It cannot be called." if not callable(found) else ""


def _policy(value: Any) -> str:
    return _dotted_path(value) or f"{_plain(value)} It is not a subclass of AccessPolicy."


def _region(value: Any) -> str:
    try:
        import phonenumbers  # noqa: F401 (not at the top: an extra, which hosts may lack)
    except ImportError:
        return "The phonenumbers library is not installed."
    return f"{_plain(value)} The phonenumbers library does not know it."


#: setting -> what says why a value is not valid. For every other setting it is the value itself.
_CAUSES: dict[str, Callable[[Any], str]] = {
    "API_KEY": _api_key,
    "PROJECTS": _type,
    "PROXIES": _type,
    "WEBHOOK_SECRETS": _secrets,
    "BASE_URL": _address,
    "INBOX_ORIGINS": _origins(is_inbox_origin),
    "ALLOWED_ORIGINS": _origins(is_allowed_origin),
    "ACCESS_POLICY": _policy,
    "USER_PARAMS": _dotted_path,
    "TEAM_MEMBER": _dotted_path,
    "REAL_USER": _dotted_path,
    "PHONE_REGION": _region,
}
