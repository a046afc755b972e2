"""Badges count what waits in the inboxes that the user may open."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from kapso_inbox.conversations.models import Conversation, WhatsAppNumber
from kapso_inbox.conversations.waiting import MAX_SLUGS, count_waiting, last_counted
from kapso_inbox.lifecycle import create_embed, revoke_embed
from kapso_inbox.models import InboxEmbed
from kapso_inbox.sandbox.engine import Sandbox
from tests.hosts.clock import as_stored

from .conftest import NUMBER, Post, about, at, ended, handoff

pytestmark = pytest.mark.django_db

WAITING = "/kapso-inbox/waiting/"


def make(kapso_id: str, **fields: Any) -> Conversation:
    values = {"phone_number_id": NUMBER, "last_inbound_at": as_stored(at(1)), "project": "default"}
    return Conversation.objects.create(kapso_id=kapso_id, **{**values, **fields})


def test_what_waits_is_counted_and_what_may_not_be_opened_is_left_out(
    browser: Client, post: Post
) -> None:
    create_embed(slug="secret", name="Secret", groups=[Group.objects.create(name="Others")])
    post("whatsapp.message.received", about(1))
    post("whatsapp.message.received", about(1, "c-2"))
    post("workflow.execution.handoff", handoff(2, "c-2"))
    answer = browser.get(WAITING, {"slug": ["sales", "secret", "none"]})
    assert answer.json() == {"sales": {"unanswered": 2, "handoff": 1}}
    answer = browser.get(WAITING, {"slug": "sales", "both": "1"})
    assert answer.json() == {"sales": {"unanswered": 2, "handoff": 1, "both": 2}}
    post("whatsapp.message.sent", about(3))
    post("whatsapp.conversation.ended", ended(3, "c-2"))
    assert browser.get(WAITING, {"slug": "sales"}).json()["sales"] == {
        "unanswered": 0,
        "handoff": 0,
    }


def test_nobody_who_is_not_signed_in_is_told(client: Client, embed: InboxEmbed) -> None:
    answer = client.get(WAITING, {"slug": "sales"})
    assert (answer.status_code, answer.json()) == (403, {})


def test_while_nothing_changes_the_answer_is_304(browser: Client, post: Post) -> None:
    first = browser.get(WAITING, {"slug": "sales"})
    assert first["Cache-Control"] == "private, no-cache"
    again = browser.get(WAITING, {"slug": "sales"}, headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again["ETag"] == first["ETag"]
    post("whatsapp.message.received", about(1))
    changed = browser.get(WAITING, {"slug": "sales"}, headers={"If-None-Match": first["ETag"]})
    assert changed.status_code == 200


def test_a_304_takes_no_query_besides_those_of_the_login(
    browser: Client, django_assert_num_queries: Any
) -> None:
    make("c-1")
    Conversation.objects.update(updated_at=timezone.now() - timedelta(minutes=1))
    etag = browser.get(WAITING, {"slug": "sales"})["ETag"]
    with django_assert_num_queries(2):  # the session's and the user's
        answer = browser.get(WAITING, {"slug": "sales"}, headers={"If-None-Match": etag})
    assert answer.status_code == 304


def test_counts_are_not_kept_while_a_transaction_may_still_be_under_way(
    browser: Client, ana: Any
) -> None:
    make("c-1")
    assert count_waiting(ana, ["sales"])["sales"].unanswered == 1
    # As a transaction that began earlier and is committed now writes it.
    row = make("c-2")
    Conversation.objects.filter(pk=row.pk).update(updated_at=timezone.now() - timedelta(seconds=3))
    cache.delete("kapso_inbox:waiting-change")
    assert count_waiting(ana, ["sales"])["sales"].unanswered == 2


def test_a_user_who_lost_the_permission_is_told_nothing_after_a_minute(
    browser: Client, ana: Any
) -> None:
    make("c-1")
    Conversation.objects.update(updated_at=timezone.now() - timedelta(minutes=1))
    assert count_waiting(ana, ["sales"])
    ana.groups.clear()
    cache.clear()
    assert count_waiting(ana, ["sales"]) == {}


def test_each_scope_counts_its_own(kapso_sandbox: Sandbox, ana: Any, sales: Group) -> None:
    project = kapso_sandbox.project()
    customer, member = project.customers[0]["id"], project.users[0]["user_id"]
    number = {"scope_type": "phone_number", "scope_id": NUMBER}
    create_embed(slug="all", name="All", groups=[sales])
    create_embed(slug="number", name="Number", groups=[sales], **number)
    create_embed(
        slug="customer", name="C", groups=[sales], scope_type="customer", scope_id=customer
    )
    create_embed(slug="member", name="M", groups=[sales], assigned_user_id=member)
    WhatsAppNumber.objects.create(
        project="default", phone_number_id="777", customer_id=customer, name="Theirs"
    )
    make("c-1")
    make("c-2", phone_number_id="777", assigned_user_id=member)
    make("c-3", phone_number_id="777", project="brand")
    make("c-4", phone_number_id="", last_inbound_at=None, handoff_at=timezone.now())
    found = count_waiting(ana, ["all", "number", "customer", "member"])
    assert {slug: (one.unanswered, one.handoff, one.both) for slug, one in found.items()} == {
        "all": (2, 1, 3),
        "number": (1, 0, 1),
        "customer": (1, 0, 1),
        "member": (1, 0, 1),
    }
    for slug in found:
        embed = InboxEmbed.objects.get(slug=slug)
        assert Conversation.objects.within(embed).waiting().count() == found[slug].both, slug


def test_an_inbox_that_nobody_can_open_has_no_count(browser: Client, embed: InboxEmbed) -> None:
    make("c-1")
    revoke_embed(embed)
    assert browser.get(WAITING, {"slug": "sales"}).json() == {}


def test_mine_is_the_users_own_inbox(
    kapso_sandbox: Sandbox, make_agent: Callable[..., Any]
) -> None:
    bruno = make_agent("bruno")
    member = kapso_sandbox.project().users[1]["user_id"]
    create_embed(
        slug=f"mine-{bruno.pk}", name="B", assigned_user_id=member, personal_to=str(bruno.pk)
    )
    make("c-1", assigned_user_id=member)
    make("c-2")
    assert count_waiting(bruno, ["mine"])["mine"].both == 1
    both_names = count_waiting(bruno, ["mine", f"mine-{bruno.pk}"])
    assert [one.both for one in both_names.values()] == [1, 1]
    assert count_waiting(bruno, ["mine"], with_own=False) == {}


def test_a_slug_in_other_letters_is_another_one(browser: Client) -> None:
    answer = browser.get(WAITING, {"slug": ["SALES", "sales"]})
    assert list(answer.json()) == ["sales"]


def test_only_so_many_inboxes_are_counted(browser: Client) -> None:
    slugs = [f"none-{number}" for number in range(MAX_SLUGS)]
    assert browser.get(WAITING, {"slug": [*slugs, "sales"]}).json() == {}


def test_what_was_last_counted_is_read_from_the_cache_alone(
    browser: Client, ana: Any, django_assert_num_queries: Any
) -> None:
    assert last_counted(ana, ["sales"]) is None
    make("c-1")
    count_waiting(ana, ["sales"])
    with django_assert_num_queries(0):
        assert last_counted(ana, ["sales"]) == (1, 0, 1)
