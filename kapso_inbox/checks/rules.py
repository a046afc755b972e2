"""What a valid value of each key of KAPSO_INBOX is."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from django.utils.module_loading import import_string

from kapso_inbox.access import AccessPolicy
from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.kapso.configuration import checked_base_url
from kapso_inbox.origins import is_allowed_origin, is_inbox_origin


def _is_base_url(value: Any) -> bool:
    try:
        return bool(checked_base_url(value))
    except ConfigurationError:
        return False


def _list_of(is_right: Callable[[str], bool], *, least: int = 0) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        return (
            isinstance(value, (list, tuple))
            and len(value) >= least
            and all(isinstance(item, str) and is_right(item) for item in value)
        )

    return check


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_duration(value: Any) -> bool:
    if value is None:
        return True
    if _is_number(value):
        if not 0 <= value <= _LONGEST.total_seconds():
            return False
        value = timedelta(seconds=value)
    return isinstance(value, timedelta) and timedelta(0) <= value <= _LONGEST


def _is_timeout(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(_is_number(part) and part > 0 for part in value)
    )


def _is_proxies(value: Any) -> bool:
    return value is None or (
        isinstance(value, Mapping)
        and all(isinstance(item, str) for pair in value.items() for item in pair)
    )


def _is_ca_bundle(value: Any) -> bool:
    return value is None or (isinstance(value, (str, os.PathLike)) and os.path.exists(value))


def _is_importable(value: Any) -> bool:
    try:
        return callable(import_string(value))
    except Exception:  # noqa: BLE001 (a module of the host may raise anything)
        return False


def _is_policy(value: Any) -> bool:
    if not _is_importable(value):
        return False
    policy = import_string(value)
    return isinstance(policy, type) and issubclass(policy, AccessPolicy)


def _is_secrets(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        (isinstance(own, str) and own) or _list_of(bool, least=1)(own) for own in value.values()
    )


def _is_phone_region(value: Any) -> bool:
    if value is None:
        return True
    try:
        from phonenumbers import SUPPORTED_REGIONS  # not at the top: an extra, which hosts may lack
    except ImportError:
        return False
    return isinstance(value, str) and value in SUPPORTED_REGIONS


#: A longer duration cannot be subtracted from today's date.
_LONGEST = timedelta(days=36_500)
#: setting -> (number of its check, whether a value is valid, what a valid value is).
RULES: dict[str, tuple[str, Callable[[Any], bool], str]] = {
    "BASE_URL": (
        "E004",
        _is_base_url,
        "An https address (http only on this machine) without a query, fragment or user name.",
    ),
    "INBOX_ORIGINS": (
        "E005",
        _list_of(is_inbox_origin, least=1),
        'A list of origins without a path, such as "https://inbox.kapso.ai".',
    ),
    "TIMEOUT": (
        "E007",
        _is_timeout,
        "Two numbers of seconds: to wait for the connection, and for the answer.",
    ),
    "PROXIES": (
        "E008",
        _is_proxies,
        'None, or a dictionary such as {"https": "http://proxy.example.com:3128"}.',
    ),
    "CA_BUNDLE": (
        "E009",
        _is_ca_bundle,
        "None, or the path of an existing file or folder of certificates.",
    ),
    "ALLOWED_ORIGINS": (
        "E010",
        lambda value: value is None or _list_of(is_allowed_origin)(value),
        'A list such as ["https://crm.example.com", "*.example.com"], each without a path; an '
        "empty list allows any site. None requires every new embed to name its own.",
    ),
    "DELIVERY": ("E011", lambda value: value in ("launch", "direct"), '"launch" or "direct".'),
    "REQUIRE_FETCH_METADATA": (
        "E012",
        lambda value: isinstance(value, bool),
        "True or False.",
    ),
    "TICKETS_FOR_SESSIONS": (
        "E022",
        lambda value: isinstance(value, bool),
        "True or False.",
    ),
    "ACCESS_POLICY": (
        "E013",
        _is_policy,
        "The dotted path of a subclass of kapso_inbox.access.AccessPolicy.",
    ),
    "USER_PARAMS": (
        "E014",
        lambda value: value is None or _is_importable(value),
        "None, or the dotted path of a function that takes a request and an embed.",
    ),
    "PHONE_REGION": (
        "E019",
        _is_phone_region,
        'None, or the two letters of a country, such as "BR" or "GB". It requires the '
        'phonenumbers library: pip install "django-kapso-inbox[phone]".',
    ),
    "TEAM_MEMBER": (
        "E020",
        lambda value: value is None or _is_importable(value),
        "None, or the dotted path of a function that takes a user and returns a Kapso user_id.",
    ),
    "REAL_USER": (
        "E030",
        _is_importable,
        "The dotted path of a function that takes a request and returns a user.",
    ),
    "VERIFY_AFTER": (
        "E015",
        _is_duration,
        "A timedelta or a number of seconds; None or 0 never asks Kapso at a launch.",
    ),
    "RENEW_BEFORE": (
        "E017",
        _is_duration,
        "A timedelta or a number of seconds; None or 0 never renews a link.",
    ),
    "AUDIT_RETENTION": (
        "E018",
        _is_duration,
        "A timedelta or a number of seconds; None or 0 keeps the audit trail for ever.",
    ),
    "READ_ONLY": ("E021", lambda value: isinstance(value, bool), "True or False."),
    "SHARED_PROJECTS": ("E031", lambda value: isinstance(value, bool), "True or False."),
    "WEBHOOK_SECRETS": (
        "E032",
        _is_secrets,
        "A dictionary: the alias of a project -> a secret, or a list of secrets while one is being "
        "replaced.",
    ),
    "STORE_TEXT": ("E033", lambda value: isinstance(value, bool), "True or False."),
    "CONVERSATION_RETENTION": (
        "E034",
        _is_duration,
        "A timedelta or a number of seconds; None or 0 keeps conversations for ever.",
    ),
}
