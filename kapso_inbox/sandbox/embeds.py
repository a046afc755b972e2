"""The API's rules for an inbox embed: what it validates, what it stores and what it shows."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

from .wire import JsonDict

SCOPE_TYPES = ("project", "customer", "phone_number")
MODES = ("system", "light", "dark")
LANGUAGES = ("en", "es")
#: Kapso does not document its limit; this is a common one.
NAME_LENGTH = 255

_MUTABLE = (
    "name",
    "allowed_origins",
    "default_mode",
    "language",
    "expires_at",
    "assigned_user_id",
)
#: Fields that are only in the answer to a creation.
_SECRETS = ("token", "embed_url")

_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_ORIGIN = re.compile(
    rf"(?:https?://)?(?:\*\.)?{_LABEL}(?:\.{_LABEL})*(?::(?:\d{{1,5}}|\*))?", re.IGNORECASE
)
_NOT_IN_LIST = "is not included in the list"


def public(embed: JsonDict) -> JsonDict:
    """Return the embed as every answer except that to its creation shows it."""
    return {key: value for key, value in embed.items() if key not in _SECRETS}


def to_iso(moment: datetime) -> str:
    """Return a moment as ISO 8601 in UTC, such as `2026-11-05T09:30:00.000Z`."""
    utc = moment.astimezone(timezone.utc)
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_iso(text: str) -> datetime:
    """Return the moment in a text, in UTC if it has no offset.

    Raises:
        ValueError: the text is not a time.
    """
    # Python 3.10 does not read the "Z".
    moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text))
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def has_expired(embed: JsonDict, now: datetime) -> bool:
    """Return whether the link has expired. Kapso's `status` does not say so."""
    return embed["expires_at"] is not None and from_iso(embed["expires_at"]) <= now


def errors_in(settings: JsonDict, now: datetime, *, creating: bool) -> dict[str, list[str]]:
    """Return the errors of the settings by field; it is empty if they are valid.

    A creation requires `name` and `scope_type`; of a change only the fields that it has are
    checked. The scope cannot be changed: "create a new embed for a different scope".
    """
    errors: dict[str, list[str]] = {}
    if creating or "name" in settings:
        _add(errors, "name", _name_error(settings.get("name")))
    if creating:
        errors.update(_scope_errors(settings))
    else:
        for field in ("scope_type", "scope_id"):
            if field in settings:
                errors[field] = ["cannot be changed: create a new embed for a different scope"]
    if "allowed_origins" in settings:
        _add(errors, "allowed_origins", _origins_error(settings["allowed_origins"]))
    if settings.get("default_mode", MODES[0]) not in MODES:
        errors["default_mode"] = [_NOT_IN_LIST]
    if settings.get("language", LANGUAGES[0]) not in LANGUAGES:
        errors["language"] = [_NOT_IN_LIST]
    if settings.get("expires_at") is not None:
        _add(errors, "expires_at", _expiry_error(settings["expires_at"], now))
    return errors


def normalised(settings: JsonDict) -> JsonDict:
    """Return the settings that can be changed, in the form in which they are stored."""
    kept = {key: settings[key] for key in _MUTABLE if key in settings}
    if kept.get("expires_at") is not None:
        kept["expires_at"] = to_iso(from_iso(kept["expires_at"]))
    return kept


def _add(errors: dict[str, list[str]], field: str, error: str) -> None:
    if error:
        errors[field] = [error]


def _name_error(name: Any) -> str:
    if not isinstance(name, str) or not name.strip():
        return "can't be blank"
    if len(name) > NAME_LENGTH:
        return f"is too long (maximum is {NAME_LENGTH} characters)"
    return ""


def _scope_errors(settings: JsonDict) -> dict[str, list[str]]:
    scope_type, scope_id = settings.get("scope_type"), settings.get("scope_id")
    if scope_type not in SCOPE_TYPES:
        return {"scope_type": [_NOT_IN_LIST]}
    if scope_type == "project":
        return {"scope_id": ["must be blank for a project"]} if scope_id else {}
    if not isinstance(scope_id, str) or not scope_id.strip():
        return {"scope_id": ["can't be blank"]}
    return {}


def _origins_error(origins: Any) -> str:
    if not isinstance(origins, list):
        return "must be a list"
    for origin in origins:
        if not isinstance(origin, str) or not _ORIGIN.fullmatch(origin):
            return f"{origin!r} is not an origin"
    return ""


def _expiry_error(expires_at: Any, now: datetime) -> str:
    try:
        moment = from_iso(expires_at)
    except (TypeError, ValueError):
        return "is not a valid date"
    return "" if moment > now else "must be in the future"
