"""How the list of conversations is read, from cursor to cursor."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import responses
from hypothesis import given
from requests import PreparedRequest

from kapso_inbox.kapso import KapsoClient, ListedConversation, UncertainError
from kapso_inbox.kapso.conversations import epoch_or_iso

from .conftest import API
from .test_resources import JSON, quick

LIST = f"{API}/whatsapp/conversations"
AT = datetime(2026, 11, 28, 9, 30, tzinfo=timezone.utc)
FULL = {
    "id": "7f0c",
    "phone_number": "14155550123",
    "business_scoped_user_id": "US.1a2b",
    "username": "lucia",
    "status": "active",
    "last_active_at": "2026-11-28T09:30:00Z",
    "created_at": "2026-11-28T09:30:00.000+00:00",
    "updated_at": "2026-11-28T10:30:00+01:00",
    "metadata": {},
    "phone_number_id": "106540352242910",
    "kapso": {
        "contact_name": "Lucía Ferrer",
        "messages_count": 3,
        "last_message_id": "wamid.1",
        "last_message_type": "text",
        "last_message_timestamp": str(int(AT.timestamp())),
        "last_message_text": "My secret wish",
        "last_inbound_at": int(AT.timestamp()),
        "last_outbound_at": None,
    },
}

Paging = Callable[[str], tuple[list[Any], Any]]


def serve(kapso: responses.RequestsMock, paging: Paging) -> None:
    """Answer the list with what `paging` gives for a cursor: its objects and its `paging`."""

    def answer(request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        assert len(kapso.calls) < 30, "an endless loop"
        objects, told = paging(queries(request).get("after", [""])[0])
        return 200, {}, json.dumps({"data": objects, **({} if told is ... else {"paging": told})})

    kapso.add_callback("GET", LIST, answer)


def queries(request: PreparedRequest) -> dict[str, list[str]]:
    return parse_qs(urlsplit(str(request.url)).query)


def told(after: str | None, following: str | None) -> dict[str, Any]:
    return {"cursors": {"before": None, "after": after}, "next": following, "previous": None}


def ids(client: KapsoClient) -> list[str]:
    return [one.id for one in client.conversations.list()]


def test_a_list_follows_the_cursors_until_there_is_no_next(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    pages = {
        "": ([{"id": "1"}, {"id": "2"}], told("c1", "c1")),
        "c1": ([], told("c2", "c2")),
        "c2": ([{"id": "3"}], told("c3", None)),
    }
    serve(kapso, lambda after: pages[after])
    assert ids(client) == ["1", "2", "3"]
    assert [queries(call.request) for call in kapso.calls] == [
        {"limit": ["100"]},
        {"limit": ["100"], "after": ["c1"]},
        {"limit": ["100"], "after": ["c2"]},
    ]


@pytest.mark.parametrize(
    "paging",
    [
        {"next": "c1"},
        {"next": "c1", "cursors": None},
        {"next": "c1", "cursors": {"after": None}},
        {"next": "https://api.kapso.ai/next?after=c1", "cursors": {"after": "c1"}},
        {"next": True, "cursors": {"after": "c1"}},
    ],
)
def test_the_next_cursor_is_found_wherever_kapso_writes_it(
    kapso: responses.RequestsMock, client: KapsoClient, paging: Any
) -> None:
    serve(kapso, lambda after: ([{"id": after or "1"}], {} if after else paging))
    assert ids(client) == ["1", "c1"]


@pytest.mark.parametrize(
    "paging",
    [{"next": "https://evil.example/"}, {"next": 7}, {"next": True}, {"next": "x" * 2001}],
)
def test_a_next_that_is_no_cursor_is_uncertain(
    kapso: responses.RequestsMock, client: KapsoClient, paging: Any
) -> None:
    serve(kapso, lambda after: ([{"id": "1"}], paging))
    with pytest.raises(UncertainError, match="where its list goes on"):
        ids(client)
    assert len(kapso.calls) == 1


@pytest.mark.parametrize("circle", [1, 2, 5])
def test_cursors_that_lead_in_a_circle_are_uncertain(
    kapso: responses.RequestsMock, client: KapsoClient, circle: int
) -> None:
    def page(after: str) -> tuple[list[Any], Any]:
        following = str((int(after or "0") + 1) % circle)
        return [{"id": "1"}], told(following, following)

    serve(kapso, page)
    with pytest.raises(UncertainError, match="cursor of its list twice"):
        ids(client)
    assert len(kapso.calls) == circle + 1


@pytest.mark.parametrize("paging", [..., None, [], "c1"])
def test_a_list_without_paging_may_be_incomplete(
    kapso: responses.RequestsMock, client: KapsoClient, paging: Any
) -> None:
    serve(kapso, lambda after: ([{"id": "1"}], paging))
    with pytest.raises(UncertainError, match="whether its list goes on"):
        ids(client)


def test_an_empty_list_need_not_have_paging(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    serve(kapso, lambda after: ([], ...))
    assert ids(client) == []


@pytest.mark.parametrize("data", [None, [], "x", {}, {"data": None}, {"data": ["x"]}, {"id": 1}])
def test_an_answer_without_conversations_is_uncertain(
    kapso: responses.RequestsMock, client: KapsoClient, data: Any
) -> None:
    kapso.get(LIST, json=data)
    with pytest.raises(UncertainError, match="no list"):
        ids(client)


def test_filters_are_sent_unless_they_are_blank_and_times_are_sent_in_utc(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    serve(kapso, lambda after: ([], told(None, None)))
    since = datetime(2026, 11, 28, 6, 30, 0, 250_000, tzinfo=timezone(timedelta(hours=-3)))
    list(
        client.conversations.list(
            phone_number_id="106", status="active", assigned_user_id="", last_active_after=since
        )
    )
    assert queries(kapso.calls[0].request) == {
        "phone_number_id": ["106"],
        "status": ["active"],
        "last_active_after": ["2026-11-28T09:30:00.250000Z"],
        "limit": ["100"],
    }


def test_a_time_without_a_zone_is_refused_before_anything_is_sent(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    with pytest.raises(ValueError, match="time zone"):
        list(client.conversations.list(last_active_after=datetime(2026, 1, 1)))
    assert len(kapso.calls) == 0


def test_the_pages_are_requested_one_by_one(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    serve(kapso, lambda after: ([{"id": "1"}], told("c", None if after else "c")))
    pages = client.conversations.pages()
    assert len(kapso.calls) == 0
    next(pages)
    assert len(kapso.calls) == 1


def test_a_conversation_without_an_id_is_left_out(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    serve(kapso, lambda after: ([{"id": None}, {}, {"id": "1"}], told(None, None)))
    assert ids(client) == ["1"]


def test_every_field_is_read_and_the_text_only_when_asked_for(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    serve(kapso, lambda after: ([FULL], told(None, None)))
    expected = {
        "id": "7f0c",
        "phone_number": "14155550123",
        "business_scoped_user_id": "US.1a2b",
        "username": "lucia",
        "contact_name": "Lucía Ferrer",
        "status": "active",
        "phone_number_id": "106540352242910",
        "last_active_at": AT,
        "created_at": AT,
        "updated_at": AT,
        "last_inbound_at": AT,
        "last_outbound_at": None,
        "last_message_type": "text",
        "last_message_timestamp": AT,
        "last_message_text": "",
    }
    [conversation] = client.conversations.list()
    assert dataclasses.asdict(conversation) == expected
    [conversation] = client.conversations.list(texts=True)
    assert conversation.last_message_text == "My secret wish"
    assert "My secret wish" not in repr(conversation)


@pytest.mark.parametrize(
    ("number", "digits"),
    [("+1 (415) 555-0123", "14155550123"), (None, ""), (14155550123, "14155550123"), ([], "")],
)
def test_a_number_is_digits_only(number: Any, digits: str) -> None:
    assert ListedConversation.from_json({"id": "1", "phone_number": number}).phone_number == digits


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("1795858200", AT),
        (1795858200, AT),
        (1795858200.25, AT + timedelta(seconds=0.25)),
        (" 1795858200 ", AT),
        ("2026-11-28T09:30:00Z", AT),
        ("2026-11-28T10:30:00.000+01:00", AT),
        (1795858200000, None),
        ("99999999999999", None),
        (10**400, None),
        (float("nan"), None),
        (float("inf"), None),
        (True, None),
        ("", None),
        ("soon", None),
        ("\u0661\u0662", None),
        (None, None),
        ({}, None),
    ],
)
def test_a_time_is_read_as_epoch_seconds_and_as_iso(value: Any, moment: datetime | None) -> None:
    assert epoch_or_iso(value) == moment


@quick
@given(JSON, JSON)
def test_every_object_can_be_read(value: Any, inner: Any) -> None:
    data = dict.fromkeys(FULL, value)
    for kapso in (value, dict.fromkeys(FULL["kapso"], inner)):  # type: ignore[call-overload]
        conversation = ListedConversation.from_json({**data, "kapso": kapso}, texts=True)
        for field in dataclasses.fields(ListedConversation):
            read = getattr(conversation, field.name)
            if field.type == "str":
                assert isinstance(read, str)
            else:
                assert read is None or read.tzinfo is timezone.utc


def test_a_value_is_frozen() -> None:
    with pytest.raises(AttributeError):
        ListedConversation("1").status = "ended"  # type: ignore[misc]
