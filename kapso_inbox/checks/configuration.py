"""Check the setting KAPSO_INBOX."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage

from kapso_inbox import conf
from kapso_inbox.encryption import KeyConfigurationError, Keyring
from kapso_inbox.secret import pasted_with

from .causes import cause_of
from .rules import RULES
from .wording import make_error, make_warning

_ALIAS = re.compile(r"[A-Za-z0-9_-]{1,50}")
_EXAMPLE = 'KAPSO_INBOX = {"API_KEY": ..., "ENCRYPTION_KEYS": {...}}; see the README.'
_API_KEY_MISSING = "Create an API key in your Kapso project, and read it from the environment here."
_KEYS_HINT = (
    "It must be a dictionary: key ID -> URL-safe base64 of 32 random bytes. Create a key with: "
    "manage.py kapso_generate_key, which prints ID=key. Keep "
    "the key as safe as a password, and for as long as links exist: without it their addresses "
    "are lost."
)
_API_KEY_HINT = "A key is one line of ASCII without white space. Was something else pasted with it?"


def malformed_settings() -> list[CheckMessage]:
    """Return a message for each setting that is malformed."""
    configured = getattr(settings, "KAPSO_INBOX", None)
    if configured is None:
        return []
    if not isinstance(configured, Mapping):
        return [make_error("E001", "The setting KAPSO_INBOX is not a dictionary.", _EXAMPLE)]
    findings: list[CheckMessage] = [
        make_warning(
            "W001",
            f'KAPSO_INBOX["{name}"] is not a setting of kapso_inbox.',
            f"The settings are: {', '.join((*conf.REQUIRED, *conf.DEFAULTS))}.",
        )
        for name in configured
        if name not in conf.DEFAULTS and name not in conf.REQUIRED
    ]
    for name, (number, is_right, hint) in RULES.items():
        if not is_right(conf.value(name)):
            cause = cause_of(name, conf.value(name))
            findings.append(_wrong(f'KAPSO_INBOX["{name}"]', number, hint, cause))
    if (key := conf.value("API_KEY")) and not _is_api_key(key):
        findings.append(_wrong_api_key('KAPSO_INBOX["API_KEY"]', key))
    findings += _check_encryption_keys()
    findings += _check_projects()
    return findings


def missing_settings() -> list[CheckMessage]:
    """Return an error for each secret that is missing."""
    configured = getattr(settings, "KAPSO_INBOX", None)
    if configured is None:
        return [make_error("E001", "The setting KAPSO_INBOX is missing.", _EXAMPLE)]
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


def _check_encryption_keys() -> Iterator[CheckMessage]:
    keys = conf.value("ENCRYPTION_KEYS")
    try:
        if keys:
            Keyring(keys)
    except KeyConfigurationError as error:
        text = f'KAPSO_INBOX["ENCRYPTION_KEYS"] is not valid. {error}'.strip()
        yield make_error("E003", text, _KEYS_HINT)


def _check_projects() -> Iterator[CheckMessage]:
    projects = conf.value("PROJECTS")
    hint = f"It must be a dictionary: alias -> dictionary of {', '.join(conf.PROJECT_KEYS)}."
    if not isinstance(projects, Mapping):
        yield _wrong('KAPSO_INBOX["PROJECTS"]', "E006", hint, cause_of("PROJECTS", projects))
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
            cause = "" if isinstance(own, Mapping) else cause_of("PROJECTS", own)
            yield _wrong(setting, "E006", hint, cause)
        elif shorthand and "API_KEY" in own:
            twice = 'KAPSO_INBOX["API_KEY"] is a shorthand for this key. Keep one of the two.'
            yield _wrong(f'{setting}["API_KEY"]', "E006", twice)
        elif (key := own.get("API_KEY", shorthand)) and not _is_api_key(key):
            yield _wrong_api_key(f'{setting}["API_KEY"]', key)
        else:
            for name in ("BASE_URL", "INBOX_ORIGINS"):
                number, is_right, rule_hint = RULES[name]
                if name in own and not is_right(own[name]):
                    cause = cause_of(name, own[name])
                    yield _wrong(f'{setting}["{name}"]', number, rule_hint, cause)


def _is_alias(value: Any) -> bool:
    return isinstance(value, str) and bool(_ALIAS.fullmatch(value))


def _is_project(value: Any) -> bool:
    return isinstance(value, Mapping) and not set(value) - set(conf.PROJECT_KEYS)


def _is_api_key(value: Any) -> bool:
    is_one_word = isinstance(value, str) and bool(re.fullmatch(r"[!-~]+", value))
    return is_one_word and not pasted_with(value)


def _wrong_api_key(setting: str, key: Any) -> CheckMessage:
    return _wrong(setting, "E002", _API_KEY_HINT, cause_of("API_KEY", key))


def _wrong(setting: str, number: str, hint: str, cause: str = "") -> CheckMessage:
    return make_error(number, f"{setting} is not valid. {cause}".strip(), hint)


def _missing(setting: str, number: str, hint: str) -> CheckMessage:
    return make_error(number, f"{setting} is missing.", hint)
