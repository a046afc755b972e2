"""The whole page of an inbox: how people arrive there, and what it says if it does not open."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from kapso_inbox.models import InboxEmbed, InboxPreference
from tests.hosts.people import User

from .test_launch import links, outcomes

pytestmark = pytest.mark.django_db

MAIL = "/kapso-inbox/sales/?search=%2B5511912345678&unread=1&utm_source=mail"


def test_a_link_in_a_mail_keeps_its_filters_through_the_login(
    client: Client, ana: User, embed: InboxEmbed
) -> None:
    answer = client.get(MAIL)
    after = parse_qs(urlsplit(answer["Location"]).query)["next"]
    assert after == [MAIL]
    client.force_login(ana)
    page = client.get(after[0]).content.decode()
    launch = "/kapso-inbox/sales/launch/?search=%2B5511912345678&amp;unread=1"
    assert f'src="{launch}' in page


def test_who_may_not_open_it_sees_the_page_that_a_frame_shows(
    client: Client, embed: InboxEmbed
) -> None:
    client.force_login(User.objects.create_user("bo"))
    theirs, nobodys = (client.get(f"/kapso-inbox/{slug}/") for slug in ("sales", "nobodys"))
    assert theirs.status_code == 404
    assert "This inbox is not available to you" in theirs.content.decode()
    assert theirs.content == nobodys.content
    assert links(theirs) == {"Try again": "./"}  # type: ignore[arg-type]
    assert outcomes() == ["not_available", "not_available"]


def test_who_may_have_none_of_their_own_sees_that_page_too(client: Client) -> None:
    client.force_login(User.objects.create_user("bo"))
    page = client.get("/kapso-inbox/mine/")
    assert page.status_code == 404
    assert "This inbox is not available to you" in page.content.decode()


def test_a_wrong_parameter_can_be_left_out(client: Client, ana: User, embed: InboxEmbed) -> None:
    client.force_login(ana)
    page = client.get("/kapso-inbox/sales/?mode=pink&unread=1")
    assert page.status_code == 400
    assert links(page) == {"Open the inbox without it": "./?unread=1"}  # type: ignore[arg-type]


def test_a_wrong_parameter_can_be_left_out_in_the_frame(
    client: Client, ana: User, embed: InboxEmbed
) -> None:
    client.force_login(ana)
    frame = {"HTTP_SEC_FETCH_DEST": "iframe", "HTTP_SEC_FETCH_SITE": "same-origin"}
    page = client.get("/kapso-inbox/sales/launch/?mode=pink&unread=1", **frame)  # type: ignore[arg-type]
    assert links(page) == {"Open the inbox without it": "../launch/?unread=1"}  # type: ignore[arg-type]


def test_one_conversation_is_passed_on_and_no_filter_hides_it(
    client: Client, ana: User, embed: InboxEmbed
) -> None:
    client.force_login(ana)
    key = "3f0a4a54-91d6-4f7d-9d2b-1c3c5d5f5a10"
    page = client.get(f"/kapso-inbox/sales/?conversation_id={key}&assignee=me")
    assert f"conversation_id={key}" in page.content.decode()
    frame = {"HTTP_SEC_FETCH_DEST": "iframe", "HTTP_SEC_FETCH_SITE": "same-origin"}
    query = f"conversation_id={key}&assignee=me"
    opened = client.get(f"/kapso-inbox/sales/launch/?{query}", **frame)  # type: ignore[arg-type]
    asked = parse_qs(urlsplit(opened["Location"]).query)
    assert asked == {"conversation_id": [key], "assignee": ["me"]}


def test_of_several_saved_filters_one_view_is_opened(
    client: Client, ana: User, embed: InboxEmbed
) -> None:
    both = {"unread": "1", "handoff": "1"}
    InboxPreference.objects.create(user=ana, embed=embed, params=both)
    client.force_login(ana)
    page = client.get("/kapso-inbox/sales/").content.decode()
    assert 'src="/kapso-inbox/sales/launch/?unread=1&amp;handoff=0"' in page


@pytest.mark.parametrize("path", ["/kapso-inbox/sales/", "/kapso-inbox/mine/"])
def test_a_wrong_parameter_is_reported_on_every_whole_page(
    client: Client, ana: User, embed: InboxEmbed, path: str
) -> None:
    client.force_login(ana)
    page = client.get(f"{path}?mode=pink&conversation_id=7&utm_source=mail")
    assert page.status_code == 400
    assert "mode: must be one of system, light, dark" in page.text
    page = client.get(f"{path}?conversation_id=7&utm_source=mail")
    assert "conversation_id: must be a UUID" in page.text
    assert client.get(f"{path}?utm_source=mail").status_code == 200


def _dark(request: Any, embed: InboxEmbed) -> dict[str, str]:
    return {"mode": "dark"}


def test_a_whole_page_has_the_theme_that_the_inbox_in_it_gets(
    client: Client, ana: User, embed: InboxEmbed, settings: Any
) -> None:
    def theme(query: str = "") -> str:
        page = client.get(f"/kapso-inbox/sales/{query}").text
        [found] = re.findall(r"kapso-inbox-message--(\w+)", page)
        return str(found)

    client.force_login(ana)
    settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, "USER_PARAMS": f"{__name__}._dark"}
    assert theme() == "dark"
    InboxPreference.objects.create(user=ana, embed=embed, params={"mode": "light"})
    assert theme() == "light"
    assert theme("?mode=system") == "system"


@pytest.mark.parametrize(
    ("query", "view"),
    [
        ("", "unread=1&amp;handoff=0"),
        ("?utm_source=mail", "unread=1&amp;handoff=0"),
        ("?unread=0&handoff=0", "unread=0&amp;handoff=0"),
        ("?handoff=1", "unread=0&amp;handoff=1"),
        ("?search=ana", "search=ana&amp;unread=0&amp;handoff=0"),
    ],
)
def test_it_begins_with_the_view_that_was_saved_unless_its_address_asks_for_another(
    client: Client, ana: User, embed: InboxEmbed, query: str, view: str
) -> None:
    InboxPreference.objects.create(user=ana, embed=embed, params={"unread": "1", "mode": "dark"})
    client.force_login(ana)
    page = client.get(f"/kapso-inbox/sales/{query}").content.decode()
    assert f'src="/kapso-inbox/sales/launch/?{view}"' in page
