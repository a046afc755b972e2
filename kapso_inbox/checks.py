"""System checks: one message for each wrong setting, with a hint. No query, no request."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.conf.urls.i18n import is_language_prefix_patterns_used
from django.core import checks
from django.core.checks import CheckMessage, Error
from django.urls import NoReverseMatch, reverse
from django.utils import translation
from django.utils.module_loading import import_string

from kapso_inbox.exceptions import ConfigurationError

from . import conf
from .access import AccessPolicy
from .encryption import KeyConfigurationError, Keyring
from .kapso.configuration import checked_base_url
from .origins import is_allowed_origin, is_inbox_origin

_ALIAS = re.compile(r"[A-Za-z0-9_-]{1,50}")


def check_settings(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Return an error for each setting that is malformed, and a warning for each missing secret.

    A missing secret stops no command: images are built, migrations made and tests run without it.
    """
    return [*malformed_settings(), *_as_warnings(missing_settings(), "W008")]


def check_urls(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Return a warning if the URLconf lacks the launch address, or has it without a language."""
    if missing := missing_urls():
        return _as_warnings(missing, "W009")
    return [] if _is_in_the_pages_language() else [_launch_without_a_language()]


def check_presence(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Return an error for each secret and address that is missing, for `check --deploy`."""
    return [*missing_settings(), *missing_urls()]


def malformed_settings() -> list[CheckMessage]:
    """Return a message for each setting that is malformed."""
    configured = getattr(settings, "KAPSO_INBOX", None)
    if configured is None:
        return []
    if not isinstance(configured, Mapping):
        return [_error("The setting KAPSO_INBOX is not a dictionary.", "E001", _EXAMPLE)]
    findings: list[CheckMessage] = [
        checks.Warning(
            f'KAPSO_INBOX["{name}"] is not a setting of kapso_inbox.',
            hint=f"The settings are: {', '.join((*conf.REQUIRED, *conf.DEFAULTS))}.",
            id="kapso_inbox.W001",
        )
        for name in configured
        if name not in conf.DEFAULTS and name not in conf.REQUIRED
    ]
    for name, (number, is_right, hint) in _RULES.items():
        if not is_right(conf.value(name)):
            findings.append(_wrong(f'KAPSO_INBOX["{name}"]', number, hint))
    if (key := conf.value("API_KEY")) and not _is_api_key(key):
        findings.append(_wrong('KAPSO_INBOX["API_KEY"]', "E002", _API_KEY_HINT))
    findings += _check_encryption_keys()
    findings += _check_projects()
    return findings


def missing_settings() -> list[CheckMessage]:
    """Return an error for each secret that is missing."""
    configured = getattr(settings, "KAPSO_INBOX", None)
    if configured is None:
        return [_error("The setting KAPSO_INBOX is missing.", "E001", _EXAMPLE)]
    if not isinstance(configured, Mapping):
        return []
    missing: list[CheckMessage] = []
    projects = conf.value("PROJECTS")
    projects = projects if isinstance(projects, Mapping) else {}
    shorthand = conf.value("API_KEY")
    if not shorthand and not projects:
        missing.append(_missing('KAPSO_INBOX["API_KEY"]', "E002", _API_KEY_MISSING))
    for alias, own in projects.items():
        key = shorthand if alias == conf.DEFAULT_PROJECT else None
        if _is_alias(alias) and _is_project(own) and not own.get("API_KEY", key):
            setting = f'KAPSO_INBOX["PROJECTS"]["{alias}"]["API_KEY"]'
            missing.append(_missing(setting, "E002", _API_KEY_MISSING))
    if not conf.value("ENCRYPTION_KEYS"):
        missing.append(_missing('KAPSO_INBOX["ENCRYPTION_KEYS"]', "E003", _KEYS_HINT))
    return missing


def missing_urls() -> list[CheckMessage]:
    """Return an error if the URLconf lacks the launch address."""
    try:
        reverse("kapso_inbox:launch", kwargs={"slug": "x"})
    except NoReverseMatch:
        hint = 'Add path("kapso-inbox/", include("kapso_inbox.urls")) to urlpatterns.'
        return [_error("kapso_inbox.urls is not included in the URLconf.", "E016", hint)]
    return []


def _is_in_the_pages_language() -> bool:
    """Return whether a launch is in the language of its page, if addresses begin with one."""
    codes = [code for code, _name in settings.LANGUAGES]
    uses_prefix, _default = is_language_prefix_patterns_used(settings.ROOT_URLCONF)
    if not (settings.USE_I18N and uses_prefix and len(codes) > 1):
        return True
    addresses = set()
    for code in codes:
        with translation.override(code):
            addresses.add(reverse("kapso_inbox:launch", kwargs={"slug": "x"}))
    return len(addresses) > 1


def _launch_without_a_language() -> CheckMessage:
    return checks.Warning(
        "The addresses of this site begin with a language, but those of kapso_inbox.urls do not. "
        "An inbox is then in the browser's language, not in that of its page.",
        hint='Put path("kapso-inbox/", include("kapso_inbox.urls")) among your i18n_patterns.',
        id="kapso_inbox.W007",
    )


def _error(text: str, number: str, hint: str) -> CheckMessage:
    return Error(text, hint=hint, id=f"kapso_inbox.{number}")


def _wrong(setting: str, number: str, hint: str) -> CheckMessage:
    return _error(f"{setting} is not valid.", number, hint)


def _missing(setting: str, number: str, hint: str) -> CheckMessage:
    return _error(f"{setting} is missing.", number, hint)


def _as_warnings(errors: Sequence[CheckMessage], number: str) -> list[CheckMessage]:
    return [
        checks.Warning(error.msg, hint=error.hint, id=f"kapso_inbox.{number}") for error in errors
    ]


def _check_encryption_keys() -> Iterator[CheckMessage]:
    keys = conf.value("ENCRYPTION_KEYS")
    try:
        if keys:
            Keyring(keys)
    except KeyConfigurationError as error:
        text = f'KAPSO_INBOX["ENCRYPTION_KEYS"] is not valid. {error}'
        yield _error(text, "E003", _KEYS_HINT)


def _check_projects() -> Iterator[CheckMessage]:
    projects = conf.value("PROJECTS")
    hint = f"It must be a dictionary: alias -> dictionary of {', '.join(conf.PROJECT_KEYS)}."
    if not isinstance(projects, Mapping):
        yield _wrong('KAPSO_INBOX["PROJECTS"]', "E006", hint)
        return
    for alias, own in projects.items():
        setting = f'KAPSO_INBOX["PROJECTS"]["{alias}"]'
        shorthand = conf.value("API_KEY") if alias == conf.DEFAULT_PROJECT else None
        if not _is_alias(alias):
            yield _wrong(
                setting,
                "E006",
                "An alias must be 1 to 50 letters, digits, hyphens and underscores.",
            )
        elif not _is_project(own):
            yield _wrong(setting, "E006", hint)
        elif shorthand and "API_KEY" in own:
            twice = 'KAPSO_INBOX["API_KEY"] is a shorthand for this key. Keep one of the two.'
            yield _wrong(f'{setting}["API_KEY"]', "E006", twice)
        elif (key := own.get("API_KEY", shorthand)) and not _is_api_key(key):
            yield _wrong(f'{setting}["API_KEY"]', "E002", _API_KEY_HINT)
        else:
            for name in ("BASE_URL", "INBOX_ORIGINS"):
                number, is_right, rule_hint = _RULES[name]
                if name in own and not is_right(own[name]):
                    yield _wrong(f'{setting}["{name}"]', number, rule_hint)


def _is_alias(value: Any) -> bool:
    return isinstance(value, str) and bool(_ALIAS.fullmatch(value))


def _is_project(value: Any) -> bool:
    return isinstance(value, Mapping) and not set(value) - set(conf.PROJECT_KEYS)


def _is_api_key(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"[!-~]+", value))


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
    except (ImportError, TypeError, AttributeError, ValueError):
        return False


def _is_policy(value: Any) -> bool:
    if not _is_importable(value):
        return False
    policy = import_string(value)
    return isinstance(policy, type) and issubclass(policy, AccessPolicy)


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
_EXAMPLE = 'KAPSO_INBOX = {"API_KEY": ..., "ENCRYPTION_KEYS": {...}}; see the README.'
_API_KEY_MISSING = "Create an API key in your Kapso project, and read it from the environment here."
_KEYS_HINT = (
    "It must be a dictionary: key ID -> URL-safe base64 of 32 random bytes. Create a key with: "
    'python -c "from kapso_inbox.encryption import generate_key; print(generate_key())". Keep '
    "the key as safe as a password, and for as long as links exist: without it their addresses "
    "are lost."
)
_API_KEY_HINT = "A key is one line of ASCII without white space. Was something else pasted with it?"

#: setting -> (number of its check, whether a value is valid, what a valid value is).
_RULES: dict[str, tuple[str, Callable[[Any], bool], str]] = {
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
}
