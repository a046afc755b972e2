"""`kapso_sync` makes up for webhooks that were missed, and forgets what is old."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from kapso_inbox.conversations.models import (
    Conversation,
    ConversationRead,
    WebhookDelivery,
    WhatsAppNumber,
)
from kapso_inbox.lifecycle import create_embed
from kapso_inbox.sandbox.engine import Sandbox
from kapso_inbox.sync import SyncReport, sync_project

pytestmark = pytest.mark.django_db


@pytest.fixture
def sandbox(kapso_sandbox: Sandbox, embed: Any) -> Sandbox:
    sync_project()
    return kapso_sandbox


def truth(sandbox: Sandbox) -> set[str]:
    """Return the ids of the active conversations whose customers wrote last, as Kapso knows it."""
    waiting = set()
    for row in sandbox.project().conversations:
        messages = [one for one in row["messages"] if one["type"] != "reaction"]
        if row["status"] == "active" and messages and messages[-1]["direction"] == "inbound":
            waiting.add(row["id"])
    return waiting


def unanswered() -> set[str]:
    return set(Conversation.objects.unanswered().values_list("kapso_id", flat=True))


def further(report: SyncReport) -> tuple[int, int]:
    done = report.further
    return done["conversations read"], done["conversations mended"]


def test_the_first_sync_reads_what_was_active_in_the_last_week(sandbox: Sandbox) -> None:
    assert Conversation.objects.exists()
    assert unanswered() == truth(sandbox)
    assert WhatsAppNumber.objects.get(phone_number_id="106540352242910").name == "Sales"


def test_what_happened_without_a_webhook_is_mended(sandbox: Sandbox) -> None:
    project = sandbox.project()
    answered, ended = sorted(unanswered())[:2]
    project.agent_writes(answered, "Here I am")
    project.end(ended)
    new = project.customer_writes("+34 600 555 777", "Hello?")["id"]
    report = sync_project()
    assert report.problems == []
    assert further(report)[1] == 3
    assert new in unanswered()
    assert not {answered, ended} & unanswered()
    assert unanswered() == truth(sandbox)
    assert further(sync_project())[1] == 0


def test_a_conversation_that_ended_long_after_its_last_message_is_found(sandbox: Sandbox) -> None:
    ConversationRead.objects.update(read_until=timezone.now())
    ended = sorted(unanswered())[0]
    sandbox.project().end(ended)
    sync_project()
    assert ended not in unanswered()


def test_a_reaction_that_kapso_counts_as_the_last_message_needs_no_answer(
    sandbox: Sandbox,
) -> None:
    row = sandbox.project().customer_writes("+34 600 555 777", "Hello?")
    sandbox.project().agent_writes(row["id"], "Hello!")
    sandbox.project().reacts(row["id"], "👍")
    sync_project()
    assert row["id"] not in unanswered()


def test_assignments_are_noted_and_taken_back(sandbox: Sandbox) -> None:
    project = sandbox.project()
    member = project.users[0]["user_id"]
    create_embed(slug="ana", name="Ana", assigned_user_id=member)
    sync_project()
    assigned = Conversation.objects.filter(assigned_user_id=member)
    theirs = {
        row["id"]
        for row in project.conversations
        if row["assigned_user_id"] == member and row["status"] == "active"
    }
    assert theirs
    assert set(assigned.values_list("kapso_id", flat=True)) == theirs
    project.unassign(sorted(theirs)[0])
    sync_project()
    assert set(assigned.values_list("kapso_id", flat=True)) == theirs - {sorted(theirs)[0]}


def test_a_handoff_that_a_webhook_told_survives_the_sync_until_somebody_answers(
    sandbox: Sandbox,
) -> None:
    one = sorted(unanswered())[0]
    Conversation.objects.filter(kapso_id=one).update(handoff_at=timezone.now())
    sync_project()
    assert Conversation.objects.waiting_for_human().get().kapso_id == one
    sandbox.clock = lambda: timezone.now() + timedelta(seconds=1)
    sandbox.project().agent_writes(one, "I am a human")
    sync_project()
    assert not Conversation.objects.waiting_for_human().exists()


def test_a_list_that_breaks_off_is_read_again_by_the_next_sync(sandbox: Sandbox) -> None:
    new = sandbox.project().customer_writes("+34 600 555 777", "Hello?")["id"]
    before = ConversationRead.objects.get().read_until
    sandbox.fail_next(path="/whatsapp/conversations", drop=True, times=3)
    report = sync_project()
    assert any("conversations could not be read" in str(text) for text in report.problems)
    assert ConversationRead.objects.get().read_until == before
    sync_project()
    assert new in unanswered()


def test_a_dry_run_writes_nothing(sandbox: Sandbox) -> None:
    Conversation.objects.all().delete()
    report = sync_project(dry_run=True)
    assert further(report)[1] > 0
    assert not Conversation.objects.exists()


def test_what_is_old_is_deleted(sandbox: Sandbox, settings: Any) -> None:
    old = timezone.now() - timedelta(days=366)
    Conversation.objects.create(kapso_id="old", project="default", last_active_at=old)
    Conversation.objects.create(kapso_id="theirs", project="brand", last_active_at=old)
    for age, key in ((8, "old"), (1, "new")):
        WebhookDelivery.objects.create(
            project="default",
            event_key=key,
            outcome="applied",
            received_at=timezone.now() - timedelta(days=age),
        )
    sync_project()
    assert not Conversation.objects.filter(kapso_id="old").exists()
    assert Conversation.objects.filter(kapso_id="theirs").exists()
    assert WebhookDelivery.objects.get().event_key == "new"


def test_a_project_without_a_secret_takes_no_part(
    kapso_sandbox: Sandbox, embed: Any, settings: Any
) -> None:
    settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, "WEBHOOK_SECRETS": {}}
    assert sync_project().further == {}
    assert not Conversation.objects.exists()


def test_a_project_that_lost_its_secret_still_forgets(sandbox: Sandbox, settings: Any) -> None:
    old = timezone.now() - timedelta(days=366)
    Conversation.objects.create(kapso_id="old", project="default", last_active_at=old)
    settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, "WEBHOOK_SECRETS": {}}
    assert sync_project().pruned == 1
    assert not Conversation.objects.filter(kapso_id="old").exists()


def test_the_command_says_what_was_mended(sandbox: Sandbox, capsys: Any) -> None:
    sandbox.project().customer_writes("+34 600 555 777", "Hello?")
    call_command("kapso_sync")
    assert "1 conversations mended" in capsys.readouterr().out


def test_a_stored_text_survives_a_sync_until_the_setting_is_switched_off(
    sandbox: Sandbox, settings: Any
) -> None:
    one = sorted(unanswered())[0]
    rows = Conversation.objects.filter(kapso_id=one)
    rows.update(last_text="A text")
    configured = settings.KAPSO_INBOX
    settings.KAPSO_INBOX = {**configured, "STORE_TEXT": True}
    sync_project()
    assert rows.get().last_text == "A text"
    settings.KAPSO_INBOX = configured
    sync_project()
    assert rows.get().last_text == ""


def test_a_conversation_that_kapso_no_longer_lists_waits_for_a_week_at_most(
    sandbox: Sandbox,
) -> None:
    long_ago = timezone.now() - timedelta(days=8)
    Conversation.objects.create(
        kapso_id="gone", project="default", last_active_at=long_ago, last_inbound_at=long_ago
    )
    asked = len(sandbox.requests)
    sync_project()
    assert "gone" not in unanswered()
    assert len(sandbox.requests) - asked < 12


def test_one_long_name_does_not_stop_the_sync(sandbox: Sandbox) -> None:
    row = sandbox.project().customer_writes("+34 600 555 777", "Hello?", name="N" * 999)
    assert sync_project().problems == []
    assert row["id"] in unanswered()


def test_a_reaction_of_an_agent_is_no_answer(sandbox: Sandbox) -> None:
    row = sandbox.project().customer_writes("+34 600 555 777", "Hello?")
    sandbox.project().reacts(row["id"], "👍", direction="outbound")
    sync_project()
    assert row["id"] in unanswered()
