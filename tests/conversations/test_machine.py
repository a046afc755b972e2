"""Whatever is delivered, repeated, reordered or lost: after a sync the counts are Kapso's truth."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils.dateparse import parse_datetime
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kapso_inbox.conversations.models import Conversation, ConversationRead, WebhookDelivery
from kapso_inbox.conversations.signals import message_received
from kapso_inbox.conversations.webhooks import set_webhooks
from kapso_inbox.sandbox.engine import Sandbox
from kapso_inbox.sandbox.interception import intercepted
from kapso_inbox.sync import sync_project
from tests.hosts.clock import as_stored

pytestmark = pytest.mark.django_db

PEOPLE = ["+34 600 555 701", "+34 600 555 702", "US.hidden1"]
seconds = st.integers(1, 20)
places = st.integers(0, 1_000_000)


class Conversations(RuleBasedStateMachine):
    """People write, Kapso tells of it in its own way, and the CRM counts."""

    def __init__(self) -> None:
        super().__init__()
        self._context = intercepted()
        self.sandbox: Sandbox = self._context.__enter__()
        # Less than an hour, so that a sync does not take the clock for a wrong one.
        self.now = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(minutes=50)
        self.sandbox.clock = lambda: self.now
        self.pool: list[Any] = []
        self.past: list[Any] = []
        self.told: list[str] = []
        self.client = Client()
        message_received.connect(self._hear)

    def _hear(self, sender: Any, event: Any, **kwargs: Any) -> None:
        self.told.append(event.message_id)

    @initialize(buffered=st.booleans())
    def begin(self, buffered: bool) -> None:
        cache.clear()
        for model in (Conversation, ConversationRead, WebhookDelivery):
            model.objects.all().delete()
        project = self.project
        project.conversations.clear()
        set_webhooks("default", "https://testserver")
        for record in project.webhooks.records.values():
            record["buffer_enabled"] = buffered

    @property
    def project(self) -> Any:
        return self.sandbox.project()

    def _pass(self, amount: int) -> None:
        self.now += timedelta(seconds=amount)

    def _collect(self) -> None:
        self.pool += self.project.webhooks.outbox.waiting()

    def _conversation(self, place: int) -> Any:
        rows = self.project.conversations
        return rows[place % len(rows)]

    @rule(who=st.sampled_from(PEOPLE), wait=seconds)
    def customer_writes(self, who: str, wait: int) -> None:
        self._pass(wait)
        self.project.customer_writes(who, "Hello?", name="Somebody")
        self._collect()

    @precondition(lambda self: self.project.conversations)
    @rule(place=places, wait=seconds, what=st.sampled_from(["writes", "ends", "reacts", "old"]))
    def something_happens(self, place: int, wait: int, what: str) -> None:
        self._pass(wait)
        one = self._conversation(place)["id"]
        if what == "writes":
            self.project.agent_writes(one, "Here I am")
        elif what == "ends":
            self.project.end(one)
        elif what == "reacts":
            self.project.reacts(one, "👍")
        else:
            self.project.history_sync(one, "From last year", self.now - timedelta(days=300))
        self._collect()

    @precondition(lambda self: self.project.conversations)
    @rule(place=places, wait=seconds)
    def workflow_asks_for_a_human(self, place: int, wait: int) -> None:
        self._pass(wait)
        one = self._conversation(place)
        if one["status"] == "active":
            self.project.hand_off(one["id"])
        self._collect()

    @precondition(lambda self: self.pool)
    @rule(place=places)
    def one_arrives(self, place: int) -> None:
        delivery = self.pool.pop(place % len(self.pool))
        self._post(delivery)
        self.past.append(delivery)

    @precondition(lambda self: self.past)
    @rule(place=places)
    def one_arrives_again(self, place: int) -> None:
        self._post(self.past[place % len(self.past)])

    @precondition(lambda self: self.pool)
    @rule(place=places)
    def one_is_lost(self, place: int) -> None:
        self.pool.pop(place % len(self.pool))

    @rule()
    def sync(self) -> None:
        assert sync_project().problems == []
        self._compare()

    def _post(self, delivery: Any) -> None:
        headers = {
            name: value for name, value in delivery.headers.items() if name != "Content-Type"
        }
        response = self.client.post(
            "/kapso-inbox/webhooks/default/",
            delivery.body,
            content_type="application/json",
            headers=headers,
        )
        assert response.status_code == 200

    def _compare(self) -> None:
        counted = set(Conversation.objects.unanswered().values_list("kapso_id", flat=True))
        assert counted == set(self._unanswered())

    def _unanswered(self) -> Iterator[str]:
        for row in self.project.conversations:
            messages = [
                one
                for one in row["messages"]
                if one["type"] != "reaction" and one.get("origin") != "history_sync"
            ]
            if row["status"] == "active" and messages and messages[-1]["direction"] == "inbound":
                yield row["id"]

    @invariant()
    def nothing_is_told_twice(self) -> None:
        assert len(self.told) == len(set(self.told))

    @invariant()
    def nothing_was_unrecognised(self) -> None:
        assert not WebhookDelivery.objects.filter(outcome="unrecognised").exists()

    def teardown(self) -> None:
        try:
            sync_project()
            self._compare()
            # What comes late changes nothing any more.
            while self.pool:
                self._post(self.pool.pop())
            self._compare()
            for one in self.past:
                self._post(one)
            self._compare()
            self._compare_handoffs()
        finally:
            message_received.disconnect(self._hear)
            self._context.__exit__(None, None, None)

    def _compare_handoffs(self) -> None:
        """Nobody waits for a human who was answered, or whose conversation ended, since then."""
        for row in Conversation.objects.waiting_for_human():
            kapso = next(one for one in self.project.conversations if one["id"] == row.kapso_id)
            assert kapso["status"] == "active"
            assert row.handoff_at is not None
            answers = [
                one["timestamp"] for one in kapso["messages"] if one["direction"] == "outbound"
            ]
            assert all(as_stored(parse_datetime(one)) <= row.handoff_at for one in answers)


def test_the_counts_are_kapsos_truth_after_a_sync_whatever_happened() -> None:
    run_state_machine_as_test(
        Conversations,
        settings=settings(
            max_examples=60,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
