"""What Kapso answers with, as frozen dataclasses.

Kapso's answers grow and vary: a field can be missing, null, new, or hold a value that no document
names. Reading one never fails for that: unknown fields are dropped, unknown values kept as text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

_TIMESTAMP = re.compile(
    r"(?P<seconds>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)"
    r"(?:\.(?P<fraction>\d+))?\s*(?P<zone>Z|UTC|[+-]\d\d:?\d\d)?"
)


@dataclass(frozen=True)
class Embed:
    """An inbox embed ("embeddable inbox access link") as Kapso lists it: without its secret.

    Attributes:
        present: names of the attributes that the answer held. One that is not among them says
            nothing about Kapso: its value here is only the type's empty one.
    """

    id: str
    name: str = ""
    scope_type: str = ""
    scope_id: str = ""
    scope_name: str = ""
    assigned_user_id: str = ""
    assigned_user_name: str = ""
    status: str = ""
    allowed_origins: tuple[str, ...] = ()
    default_mode: str = ""
    language: str = ""
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    present: frozenset[str] = field(default=frozenset(), repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Embed:
        """Read one object of Kapso's; whatever cannot be read counts as missing."""
        values = {}
        for name, read in _EMBED_READERS.items():
            if name in data:
                value = read(data[name])
                if value is not _UNREADABLE:
                    values[name] = value
        return cls(present=frozenset(values), **{"id": "", **values})


@dataclass(frozen=True)
class CreatedEmbed:
    """The answer to a creation: the only time that Kapso tells the secret address."""

    embed: Embed
    embed_url: str = field(repr=False)


@dataclass(frozen=True)
class PhoneNumber:
    """A WhatsApp number of the project. `phone_number_id` is what a scope asks for."""

    phone_number_id: str
    name: str = ""
    display_phone_number: str = ""
    verified_name: str = ""
    status: str = ""
    internal_id: str = ""
    customer_id: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PhoneNumber:
        return cls(**_texts(cls, data))


@dataclass(frozen=True)
class Customer:
    """A customer of the project. `id` is what a scope asks for."""

    id: str
    name: str = ""
    external_customer_id: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Customer:
        return cls(**_texts(cls, data))


@dataclass(frozen=True)
class User:
    """A team member. `user_id` is the id to use: `id` was seen both as integer and as UUID."""

    user_id: str
    name: str = ""
    email: str = ""
    role: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> User:
        return cls(**_texts(cls, data))


def timestamp(value: Any) -> datetime | None:
    """Read an ISO 8601 time (`Z`, `+00:00` or no zone, any number of decimals) as an aware UTC one.

    Returns None for what is none. (`datetime.fromisoformat` reads all of these only from 3.11.)
    """
    match = _TIMESTAMP.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        return None
    try:
        moment = datetime.fromisoformat(match["seconds"])
        zone = match["zone"]
        offset = timedelta(0)
        if zone and zone not in ("Z", "UTC"):
            digits = zone[1:].replace(":", "")
            offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
            offset = -offset if zone[0] == "-" else offset
        moment = moment.replace(
            microsecond=int((match["fraction"] or "0")[:6].ljust(6, "0")), tzinfo=timezone.utc
        )
        return moment - offset
    except (ValueError, OverflowError):
        return None


_UNREADABLE: Any = object()


def _read_text(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return _UNREADABLE
    # Half surrogates and NUL can stand in JSON, and in no database.
    return str(value).encode(errors="replace").decode().replace("\0", "")


def _read_time(value: Any) -> Any:
    if value is None:
        return None
    return timestamp(value) or _UNREADABLE


def _read_origins(value: Any) -> Any:
    if value is None:
        return ()
    # All or nothing: a part of the list, and more so an empty one, would mean other pages.
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return _UNREADABLE
    return tuple(_read_text(item) for item in value)


_EMBED_READERS = {
    "id": _read_text,
    "name": _read_text,
    "scope_type": _read_text,
    "scope_id": _read_text,
    "scope_name": _read_text,
    "assigned_user_id": _read_text,
    "assigned_user_name": _read_text,
    "status": _read_text,
    "allowed_origins": _read_origins,
    "default_mode": _read_text,
    "language": _read_text,
    "expires_at": _read_time,
    "last_used_at": _read_time,
    "created_at": _read_time,
    "updated_at": _read_time,
}


def _texts(cls: Any, data: Mapping[str, Any]) -> dict[str, str]:
    """The text attributes of a look-up's dataclass; missing, null and odd values are ""."""
    texts = {}
    for name in cls.__dataclass_fields__:
        value = _read_text(data.get(name))
        texts[name] = "" if value is _UNREADABLE else value
    return texts
