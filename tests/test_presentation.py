from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.http import QueryDict

from kapso_inbox.presentation import (
    PARAMETERS,
    ParameterError,
    clean,
    clean_query,
    frame_permissions,
    merge,
    with_params,
)

SOME_UUID = "123e4567-e89b-12d3-a456-426614174000"


@pytest.mark.parametrize(
    ("name", "value", "cleaned"),
    [
        ("mode", "dark", "dark"),
        ("mode", "system", "system"),
        ("language", "es", "es"),
        ("status", "ended", "ended"),
        ("search", " +55 11 5555-0101 ", "+55 11 5555-0101"),
        ("search", 5511, "5511"),
        ("whatsapp_config_id", "all", "all"),
        ("whatsapp_config_id", SOME_UUID.upper(), SOME_UUID),
        ("whatsapp_config_id", uuid.UUID(SOME_UUID), SOME_UUID),
        ("unread", "1", "1"),
        ("unread", True, "1"),
        ("unread", "true", "1"),
        ("handoff", 1, "1"),
    ],
)
def test_right_values_are_put_as_kapso_takes_them(name: str, value: Any, cleaned: str) -> None:
    assert clean({name: value}) == {name: cleaned}


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("value", [None, ""])
def test_none_and_blank_are_left_out(name: str, value: Any) -> None:
    assert clean({name: value}) == {}


@pytest.mark.parametrize("value", [False, "0", "false", 0])
def test_a_false_flag_is_left_out(value: Any) -> None:
    assert clean({"unread": value, "handoff": value}) == {}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("mode", "black", "system, light, dark"),
        ("language", "pt", "en, es"),
        ("status", "Active", "active, ended, all"),
        ("search", "x" * 101, "100"),
        ("search", "two\nlines", "one line"),
        ("search", "\ud800", "one line"),
        ("whatsapp_config_id", "123", "UUID"),
        ("unread", "yes", "1, true"),
        ("handoff", 2, "1, true"),
        ("token", "x", "mode"),
        ("Mode", "dark", "mode"),
    ],
)
def test_wrong_ones_are_named_with_the_right_ones(name: str, value: Any, expected: str) -> None:
    with pytest.raises(ParameterError) as caught:
        clean({"status": "all", name: value})
    assert caught.value.name == name
    assert expected in caught.value.expected
    assert str(caught.value).startswith(f"{name}: ")


def test_a_parameter_may_stand_in_an_address_once() -> None:
    assert clean_query(QueryDict("mode=dark&search=%2B1")) == {"mode": "dark", "search": "+1"}
    with pytest.raises(ParameterError, match="mode: may be given once"):
        clean_query(QueryDict("mode=dark&mode=light"))


def test_the_first_source_that_has_a_parameter_decides_it() -> None:
    assert merge({"mode": "dark"}, {"mode": "light", "unread": "1"}, {"status": "all"}) == {
        "mode": "dark",
        "unread": "1",
        "status": "all",
    }


@pytest.mark.parametrize(
    ("url", "params", "result"),
    [
        ("https://i.example/embed/t", {}, "https://i.example/embed/t"),
        ("https://i.example/embed/t", {"mode": "dark"}, "https://i.example/embed/t?mode=dark"),
        (
            "https://i.example/embed/t?sig=a%2Fb%20c&flag&mode=light#x",
            {"mode": "dark", "search": "+1 2&3"},
            "https://i.example/embed/t?sig=a%2Fb%20c&flag&mode=dark&search=%2B1+2%263#x",
        ),
        ("https://i.example/embed/t?a=1&a=2", {}, "https://i.example/embed/t?a=1&a=2"),
    ],
)
def test_an_address_keeps_the_query_that_it_has(
    url: str, params: dict[str, str], result: str
) -> None:
    assert with_params(url, params) == result


def test_frame_permissions_name_the_inbox_origin() -> None:
    assert frame_permissions(["https://a.example", "https://b.example"]) == (
        "microphone https://a.example https://b.example; "
        "clipboard-write https://a.example https://b.example; "
        "fullscreen https://a.example https://b.example"
    )
