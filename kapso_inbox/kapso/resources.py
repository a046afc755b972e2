"""The objects in Kapso's answers, as immutable values.

Kapso's answers change and vary: a field can be missing, null or new, or have an undocumented value.
Reading never fails because of that: unknown fields are dropped, and unknown values kept as text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

#: Compiled at its first use: a host's start-up need not wait for it.
_TIMESTAMP = (
    r"(?P<seconds>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)"
    r"(?:\.(?P<fraction>\d+))?\s*(?P<zone>Z|UTC|[+-]\d\d:?\d\d)?"
)


@dataclass(frozen=True)
class Embed:
    """An inbox embed ("embeddable inbox access link") as Kapso lists it, without its secret.

    Attributes:
        present: the names of the attributes that were in the answer. Any other attribute has its
            type's empty value, which says nothing about Kapso.
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
        """Read one of Kapso's objects; a value that cannot be read counts as missing."""
        values = {}
        for name, read in _EMBED_READERS.items():
            if name in data:
                value = read(data[name])
                if value is not _UNREADABLE:
                    values[name] = value
        return cls(present=frozenset(values), **{"id": "", **values})


@dataclass(frozen=True)
class CreatedEmbed:
    """The answer to a creation, the only one in which Kapso reveals the secret address."""

    embed: Embed
    embed_url: str = field(repr=False)


class PhoneNumber(NamedTuple):
    """A WhatsApp number of the project. A scope takes its `phone_number_id`."""

    phone_number_id: str
    name: str = ""
    display_phone_number: str = ""
    verified_name: str = ""
    status: str = ""
    internal_id: str = ""
    customer_id: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PhoneNumber:
        """Read one of Kapso's objects; a value that cannot be read is blank."""
        return cls(**_texts(cls, data))


class Customer(NamedTuple):
    """A customer of the project. A scope takes its `id`."""

    id: str
    name: str = ""
    external_customer_id: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Customer:
        """Read one of Kapso's objects; a value that cannot be read is blank."""
        return cls(**_texts(cls, data))


class User(NamedTuple):
    """A team member. Use `user_id`: `id` was seen both as an integer and as a UUID."""

    user_id: str
    name: str = ""
    email: str = ""
    role: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> User:
        """Read one of Kapso's objects; a value that cannot be read is blank."""
        return cls(**_texts(cls, data))


def timestamp(value: Any) -> datetime | None:
    """Return an ISO 8601 time as an aware datetime in UTC, or None if it is not one.

    `Z`, `+00:00`, no zone and any number of decimals are accepted. `datetime.fromisoformat` reads
    all of these only from Python 3.11 on.
    """
    match = re.fullmatch(_TIMESTAMP, value.strip()) if isinstance(value, str) else None
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
    # JSON can contain half surrogates and NUL, and no database stores them.
    return str(value).encode(errors="replace").decode().replace("\0", "")


def readable_text(value: Any) -> str:
    """Return a text of Kapso's; "" for null and for what is no text."""
    text = _read_text(value)
    return "" if text is _UNREADABLE else str(text)


def _read_time(value: Any) -> Any:
    if value is None:
        return None
    return timestamp(value) or _UNREADABLE


def _read_origins(value: Any) -> Any:
    if value is None:
        return ()
    # All or nothing: a part of the list would mean other sites, and an empty list any site.
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
    """Return the texts of a NamedTuple's fields; missing, null and unreadable values are ""."""
    return {name: readable_text(data.get(name)) for name in cls._fields}
