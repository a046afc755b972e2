"""How Kapso's objects are read if fields are missing, null, new or odd."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kapso_inbox.kapso import CreatedEmbed, Customer, Embed, PhoneNumber, User
from kapso_inbox.kapso.resources import timestamp

FULL = {
    "id": "6f1b",
    "name": "Support",
    "scope_type": "phone_number",
    "scope_id": "5511999",
    "scope_name": "Acme",
    "assigned_user_id": "u1",
    "assigned_user_name": "Ana",
    "status": "active",
    "allowed_origins": ["https://crm.example.com", "*.example.com"],
    "default_mode": "dark",
    "language": "es",
    "expires_at": "2027-01-02T03:04:05Z",
    "last_used_at": "2026-11-01T00:00:00.5Z",
    "created_at": "2026-10-01T00:00:00+02:00",
    "updated_at": "2026-10-02T00:00:00",
}
TEXTS = [
    name for name, value in FULL.items() if isinstance(value, str) and not name.endswith("_at")
]
TIMES = [name for name in FULL if name.endswith("_at")]

quick = settings(
    max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
TEXT = st.text("aZ 0:-\0\ud800é", max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=timezone.utc)  # type: ignore[misc,arg-type]


def test_every_field_of_an_embed_is_read() -> None:
    embed = Embed.from_json(FULL)
    assert dataclasses.asdict(embed) == {
        **FULL,
        "allowed_origins": ("https://crm.example.com", "*.example.com"),
        "expires_at": utc(2027, 1, 2, 3, 4, 5),
        "last_used_at": utc(2026, 11, 1, 0, 0, 0, 500_000),
        "created_at": utc(2026, 9, 30, 22),
        "updated_at": utc(2026, 10, 2),
        "present": frozenset(FULL),
    }


@pytest.mark.parametrize("name", FULL)
def test_a_missing_field_is_not_present_and_all_others_are(name: str) -> None:
    embed = Embed.from_json({key: value for key, value in FULL.items() if key != name})
    assert embed.present == frozenset(FULL) - {name}
    assert not getattr(embed, name)


@pytest.mark.parametrize("name", FULL)
def test_a_null_is_present_and_empty(name: str) -> None:
    embed = Embed.from_json({**FULL, name: None})
    assert embed.present == frozenset(FULL)
    empty = () if name == "allowed_origins" else None if name in TIMES else ""
    assert getattr(embed, name) == empty


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize(
    ("value", "text"), [(7, "7"), ("", ""), ("odd ✓", "odd ✓"), ("a\x00b", "ab"), ("\ud800", "?")]
)
def test_a_text_is_kept_whatever_it_says(name: str, value: Any, text: str) -> None:
    embed = Embed.from_json({**FULL, name: value})
    assert getattr(embed, name) == text
    assert name in embed.present
    getattr(embed, name).encode()  # what a database does with it


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("value", [{}, [], ["x"], 1.5, True, False])
def test_a_value_that_is_not_text_counts_as_missing(name: str, value: Any) -> None:
    embed = Embed.from_json({**FULL, name: value})
    assert (getattr(embed, name), name in embed.present) == ("", False)


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("value", ["", "soon", 1767225600, {}, True, "2027-13-01T00:00:00Z"])
def test_a_value_that_is_not_a_time_counts_as_missing(name: str, value: Any) -> None:
    embed = Embed.from_json({**FULL, name: value})
    assert (getattr(embed, name), name in embed.present) == (None, False)


@pytest.mark.parametrize("value", ["https://a.example", {}, 5, [1], [None], ["*.a.example", None]])
def test_a_list_of_origins_that_is_partly_unreadable_counts_as_missing(value: Any) -> None:
    """An empty list would mean "any site", and a part of the list not what Kapso says."""
    embed = Embed.from_json({**FULL, "allowed_origins": value})
    assert (embed.allowed_origins, "allowed_origins" in embed.present) == ((), False)


def test_unknown_values_are_kept_and_unknown_fields_dropped() -> None:
    embed = Embed.from_json({"id": "1", "status": "paused", "language": "pt", "colour": "red"})
    assert (embed.status, embed.language) == ("paused", "pt")
    assert embed.present == {"id", "status", "language"}


def test_an_embed_never_holds_a_secret() -> None:
    embed = Embed.from_json({"id": "1", "token": "secret", "embed_url": "https://x/secret"})
    assert "secret" not in repr(dataclasses.asdict(embed))


def test_embeds_with_the_same_values_are_equal() -> None:
    assert Embed.from_json({"id": "1", "name": ""}) == Embed.from_json({"id": "1"})
    assert Embed.from_json({"id": "1"}) != Embed.from_json({"id": "2"})


@pytest.mark.parametrize(
    ("result", "name"),
    [
        (Embed("1"), "id"),
        (CreatedEmbed(Embed("1"), "https://x"), "embed_url"),
        (PhoneNumber("1"), "name"),
        (Customer("1"), "name"),
        (User("1"), "name"),
    ],
)
def test_results_are_frozen(result: Any, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(result, name, "x")
    assert "https://x" not in repr(result)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-21T10:20:30Z", utc(2026, 11, 21, 10, 20, 30)),
        ("2026-11-21T10:20:30+00:00", utc(2026, 11, 21, 10, 20, 30)),
        ("2026-11-21T10:20:30-00:00", utc(2026, 11, 21, 10, 20, 30)),
        ("2026-11-21T10:20:30+0000", utc(2026, 11, 21, 10, 20, 30)),
        ("2026-11-21T10:20:30", utc(2026, 11, 21, 10, 20, 30)),
        ("2026-11-21 10:20:30 UTC", utc(2026, 11, 21, 10, 20, 30)),
        (" 2026-11-21T10:20:30Z\n", utc(2026, 11, 21, 10, 20, 30)),
        ("2026-11-21T10:20:30-03:00", utc(2026, 11, 21, 13, 20, 30)),
        ("2026-11-21T10:20:30+05:30", utc(2026, 11, 21, 4, 50, 30)),
        ("2026-11-21T10:20:30.1Z", utc(2026, 11, 21, 10, 20, 30, 100_000)),
        ("2026-11-21T10:20:30.000001Z", utc(2026, 11, 21, 10, 20, 30, 1)),
        ("2026-11-21T10:20:30.999999999Z", utc(2026, 11, 21, 10, 20, 30, 999_999)),
        ("0001-01-01T00:00:00+01:00", None),
        ("9999-12-31T23:59:59-01:00", None),
        ("2026-02-30T10:20:30Z", None),
        ("2026-11-21T10:20:60Z", None),
        ("2026-11-21", None),
        ("2026-11-21T10:20:30.Z", None),
        ("2026-11-21T10:20:30X", None),
        ("\u0662\u0660\u0662\u0666-11-21T10:20:30Z", None),
        ("", None),
        (None, None),
        (17, None),
    ],
)
def test_a_time_is_read_as_utc(text: Any, moment: datetime | None) -> None:
    assert timestamp(text) == moment
    assert moment is None or timestamp(text).tzinfo is timezone.utc  # type: ignore[union-attr]


@pytest.mark.parametrize("zone", ["Z", "+00:00", ""])
@pytest.mark.parametrize("digits", range(1, 10))
def test_a_time_has_any_number_of_decimals(digits: int, zone: str) -> None:
    expected = utc(2026, 11, 21, 10, 20, 30) + timedelta(
        microseconds=int("123456789"[:digits].ljust(6, "0")[:6])
    )
    assert timestamp(f"2026-11-21T10:20:30.{'123456789'[:digits]}{zone}") == expected


@quick
@given(st.datetimes(timezones=st.just(timezone.utc)))
def test_every_time_that_python_writes_is_read(moment: datetime) -> None:
    assert timestamp(moment.isoformat()) == moment
    assert timestamp(moment.isoformat().replace("+00:00", "Z")) == moment


@quick
@given(st.dictionaries(st.sampled_from([*FULL, "colour"]), JSON))
def test_every_object_can_be_read(data: dict[str, Any]) -> None:
    embed = Embed.from_json(data)
    assert embed.present <= frozenset(data)
    for name in TEXTS:
        assert isinstance(getattr(embed, name), str)
    assert isinstance(embed.allowed_origins, tuple)


@pytest.mark.parametrize(
    ("kind", "key"), [(PhoneNumber, "phone_number_id"), (Customer, "id"), (User, "user_id")]
)
@pytest.mark.parametrize("odd", [None, {}, [], 1.5, True, ...])
def test_an_unreadable_value_of_a_lookup_is_blank(kind: Any, key: str, odd: Any) -> None:
    names = kind._fields
    data = {} if odd is ... else dict.fromkeys(names, odd)
    assert kind.from_json(data)._asdict() == dict.fromkeys(names, "")
    assert getattr(kind.from_json({key: 5511, "new": 1}), key) == "5511"


def test_a_users_id_is_its_user_id() -> None:
    user = User.from_json({"id": 7, "user_id": "u-7", "name": "Ana", "email": "a@b", "role": "x"})
    assert user == User("u-7", "Ana", "a@b", "x")
