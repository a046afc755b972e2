"""The REST API of conversations shows what the user's inboxes show, and counts what waits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from kapso_inbox.conversations.models import Conversation
from kapso_inbox.lifecycle import create_embed
from kapso_inbox.sandbox.engine import Sandbox
from tests.hosts.clock import as_stored

from .conftest import NUMBER, Post, about, at, handoff

pytestmark = pytest.mark.django_db

LIST = "/api/kapso-inbox/conversations/"
WAITING = "/api/kapso-inbox/waiting/"


def make(kapso_id: str, minutes: float, **fields: Any) -> Conversation:
    fields = {k: as_stored(v) if isinstance(v, datetime) else v for k, v in fields.items()}
    moment = as_stored(at(minutes))
    values = {"phone_number_id": NUMBER, "last_inbound_at": moment, "project": "default"}
    return Conversation.objects.create(
        kapso_id=kapso_id, last_active_at=moment, **{**values, **fields}
    )


def test_the_list_shows_the_latest_first_and_no_text(browser: Client, post: Post) -> None:
    post("whatsapp.message.received", about(1, "c-1", text="secret matter"))
    post("whatsapp.message.received", about(2, "c-2"))
    answer = browser.get(LIST)
    assert [row["id"] for row in answer.json()["results"]] == ["c-2", "c-1"]
    assert answer.json()["results"][0]["unanswered"] is True
    assert b"secret matter" not in answer.content


def test_whoever_may_not_open_an_inbox_sees_nothing(
    browser: Client, make_agent: Callable[..., Any]
) -> None:
    make("c-1", 1)
    stranger, forbidden = make_agent("stranger"), make_agent("forbidden", may_open=False)
    browser.force_login(stranger)
    assert browser.get(LIST).json()["results"] == []
    assert browser.get(WAITING, {"slug": "sales"}).json() == {}
    browser.force_login(forbidden)
    assert browser.get(LIST).status_code == 403
    assert browser.get(WAITING, {"slug": "sales"}).status_code == 403
    browser.logout()
    assert browser.get(LIST).status_code in (401, 403)


def test_the_list_is_limited_to_the_scopes_of_the_users_inboxes(
    kapso_sandbox: Sandbox, ana: Any, sales: Group
) -> None:
    scope = {"scope_type": "phone_number", "scope_id": NUMBER}
    create_embed(slug="support", name="Support", groups=[sales], **scope)
    make("c-1", 1)
    make("c-2", 2, phone_number_id="999")
    make("c-3", 3, project="brand")
    client = Client()
    client.force_login(ana)
    assert [row["id"] for row in client.get(LIST).json()["results"]] == ["c-1"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"waiting": "true"}, ["c-3", "c-1"]),
        ({"waiting": "false"}, ["c-2"]),
        ({"status": "active"}, ["c-3", "c-2", "c-1"]),
        ({"phone": "+1 (415) 555-0123"}, ["c-1"]),
        ({"business_scoped_user_id": "US.7"}, ["c-2"]),
        ({"slug": "sales"}, ["c-3", "c-2", "c-1"]),
        ({"slug": "none"}, []),
        ({"since": at(2).isoformat()}, ["c-3", "c-2"]),
    ],
)
def test_the_list_is_filtered(browser: Client, query: dict[str, str], found: list[str]) -> None:
    make("c-1", 1, phone="14155550123")
    make("c-2", 2, business_scoped_user_id="US.7", last_outbound_at=at(3))
    make("c-3", 3, last_outbound_at=at(4), handoff_at=at(5))
    assert [row["id"] for row in browser.get(LIST, query).json()["results"]] == found


def test_a_wrong_filter_is_an_error_at_its_name(browser: Client) -> None:
    answer = browser.get(LIST, {"since": "yesterday", "wait": "1"})
    assert answer.status_code == 400
    assert "wait" in answer.json()["error"]["fields"] or "since" in answer.json()["error"]["fields"]


def test_pages_are_followed_by_cursor_and_lose_nothing_while_rows_move(browser: Client) -> None:
    for number in range(5):
        make(f"c-{number}", number)
    first = browser.get(LIST, {"page_size": "2"}).json()
    Conversation.objects.filter(kapso_id="c-0").update(last_active_at=as_stored(at(50)))
    seen = [row["id"] for row in first["results"]]
    following = first["next"]
    while following:
        page = browser.get(following).json()
        seen += [row["id"] for row in page["results"]]
        following = page["next"]
    assert seen == ["c-4", "c-3", "c-2", "c-1"]


def test_what_waits_is_counted(browser: Client, post: Post) -> None:
    post("whatsapp.message.received", about(1))
    post("workflow.execution.handoff", handoff(2, "c-2"))
    answer = browser.get(WAITING, {"slug": ["sales", "none"]})
    assert answer.json() == {"sales": {"unanswered": 1, "handoff": 1, "both": 2}}
