"""An administrator sees who waits, deletes a person's data, and looks after the webhooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from kapso_inbox.conversations.models import Conversation, WhatsAppNumber, erase_person
from kapso_inbox.lifecycle import create_embed
from kapso_inbox.sandbox.engine import Sandbox
from tests.hosts.clock import as_stored

from .conftest import NUMBER, Post, about, at

pytestmark = pytest.mark.django_db

LIST = "/admin/kapso_conversations/conversation/"


@pytest.fixture
def boss(admin_client: Client) -> Client:
    return admin_client


def make(kapso_id: str, **fields: Any) -> Conversation:
    values = {"phone_number_id": NUMBER, "last_inbound_at": as_stored(at(1)), "project": "default"}
    return Conversation.objects.create(kapso_id=kapso_id, **{**values, **fields})


def test_the_list_says_who_waits_for_what(boss: Client, django_assert_max_num_queries: Any) -> None:
    WhatsAppNumber.objects.create(project="default", phone_number_id=NUMBER, name="Support line")
    for number in range(30):
        make(f"c-{number}", name=f"Person {number}", phone=f"1415555{number:04}")
    make("c-x", name="<b>Bold</b>", last_inbound_at=None)
    with django_assert_max_num_queries(8):
        page = boss.get(LIST).content.decode()
    assert "Support line" in page
    assert "For an answer" in page
    assert "&lt;b&gt;Bold" in page
    assert "Delete all data of these people" in page
    waiting = boss.get(LIST, {"waiting": "unanswered"}).content.decode()
    assert "Bold" not in waiting
    assert "Person 7" in boss.get(LIST, {"q": "+1 (415) 555-0007"}).content.decode()


def test_a_conversation_is_only_looked_at(boss: Client) -> None:
    row = make("c-1", name="Lucía", last_text="secret matter")
    page = boss.get(f"{LIST}{row.pk}/change/").content.decode()
    assert "Lucía" in page
    assert "secret matter" not in page
    assert 'name="_save"' not in page
    assert boss.get(f"{LIST}add/").status_code == 403


def test_deleting_conversations_deletes_all_that_is_known_of_their_people(boss: Client) -> None:
    one = make("c-1", phone="14155550123", business_scoped_user_id="US.1")
    make("c-2", phone="14155550123", project="brand")
    make("c-3", business_scoped_user_id="US.1")
    make("c-4", phone="14155550999")
    data = {"action": "delete_selected", "_selected_action": [str(one.pk)]}
    asked = boss.post(LIST, data).content.decode()
    assert "c-2" in asked or asked.count("/change/") >= 3
    boss.post(LIST, {**data, "post": "yes"})
    assert [row.kapso_id for row in Conversation.objects.all()] == ["c-4"]


def test_deleting_one_page_deletes_the_person(boss: Client) -> None:
    one = make("c-1", phone="14155550123")
    make("c-2", phone="14155550123")
    boss.post(f"{LIST}{one.pk}/delete/", {"post": "yes"})
    assert not Conversation.objects.exists()


def test_a_person_is_erased_by_number_or_id() -> None:
    make("c-1", phone="14155550123")
    make("c-2", business_scoped_user_id="US.1")
    make("c-3", phone="14155550999")
    assert erase_person(phone="+1 (415) 555-0123") == 1
    assert erase_person(business_scoped_user_id="US.1") == 1
    make("c-5", phone="5511912345678", business_scoped_user_id="BR.5")
    make("c-6", phone="551112345678")
    make("c-7", business_scoped_user_id="BR.5")
    assert erase_person(phone="0055 11 91234-5678") == 3
    assert Conversation.objects.get().kapso_id == "c-3"
    with pytest.raises(ValueError, match="phone number"):
        erase_person(phone="none")


def test_staff_with_a_policy_that_narrows_see_their_own(
    kapso_sandbox: Sandbox, make_agent: Callable[..., Any], settings: Any
) -> None:
    settings.KAPSO_INBOX = {
        **settings.KAPSO_INBOX,
        "ACCESS_POLICY": "tests.conversations.policies.OnlySupport",
    }
    scope = {"scope_type": "phone_number", "scope_id": NUMBER}
    create_embed(slug="support", name="Support", **scope)
    make("c-1", name="Seen")
    make("c-2", name="Hidden", phone_number_id="999")
    staff = make_agent("staff", is_staff=True)
    staff.user_permissions.add(
        *Permission.objects.filter(codename__in=["view_conversation", "view_inboxembed"])
    )
    client = Client()
    client.force_login(staff)
    page = client.get(LIST).content.decode()
    assert "Seen" in page
    assert "Hidden" not in page
    Conversation.objects.update(phone="14155550123")
    staff.user_permissions.add(Permission.objects.get(codename="delete_conversation"))
    seen = Conversation.objects.get(name="Seen")
    data = {"action": "delete_selected", "_selected_action": [str(seen.pk)], "post": "yes"}
    client.post(LIST, data)
    assert [row.name for row in Conversation.objects.all()] == ["Hidden"]


def test_deliveries_are_listed_without_content(boss: Client, post: Post) -> None:
    post("whatsapp.message.received", about(1, text="secret matter"))
    post("whatsapp.call.started", {"call": "14155550123"})
    page = boss.get("/admin/kapso_conversations/webhookdelivery/").content.decode()
    assert "whatsapp.call.started" in page
    assert "secret matter" not in page
    assert "14155550123" not in page
    assert "Webhooks at Kapso" in page
