"""Several processes take in the same webhooks at the same moment."""

from __future__ import annotations

import json
import random
from typing import Any

from kapso_inbox.conversations.models import Conversation, WebhookDelivery
from tests.conversations.conftest import about

from .deployment import Deployment

RECEIVED = "whatsapp.message.received"


def single(number: int, conversation_id: str) -> tuple[str, str, bytes]:
    body = about(number / 60, conversation_id, message_id=f"wamid.{number}")
    return RECEIVED, f"key-{number}", json.dumps(body).encode()


def batch(numbers: list[int]) -> tuple[str, str, bytes]:
    parts = [about(one / 60, f"c-{one % 5}", message_id=f"wamid.{one}") for one in numbers]
    body = {"type": RECEIVED, "batch": True, "data": parts}
    return RECEIVED, f"batch-{numbers}", json.dumps(body).encode()


def told_by(outcomes: list[list[dict[str, Any]]]) -> list[str]:
    assert [one["text"] for steps in outcomes for one in steps if one["error"]] == []
    results = [one["result"] for steps in outcomes for one in steps]
    assert {status for statuses, _ in results for status in statuses} == {200}
    return sorted(message for _, told in results for message in told)


def test_one_delivery_that_four_processes_take_in_has_one_effect_and_is_told_once(
    deployment: Deployment,
) -> None:
    deliveries = [single(number, f"c-{number % 5}") for number in range(30)]
    outcomes = deployment.at_once(*([("deliver", deliveries)] for _ in range(4)))
    assert told_by(outcomes) == sorted(f"wamid.{number}" for number in range(30))
    assert Conversation.objects.count() == 5
    assert WebhookDelivery.objects.count() == 30


def test_batches_that_overlap_are_taken_in_by_three_processes_without_a_deadlock(
    deployment: Deployment,
) -> None:
    jobs = []
    for seed in range(3):
        numbers = list(range(40))
        random.Random(seed).shuffle(numbers)  # noqa: S311 (an order, no secret)
        jobs.append([("deliver", [batch(numbers[at : at + 8]) for at in range(0, 40, 8)])])
    outcomes = deployment.at_once(*jobs)
    assert told_by(outcomes) == sorted(f"wamid.{number}" for number in range(40))
    newest = {row.kapso_id: row.last_inbound_at for row in Conversation.objects.all()}
    assert len(newest) == 5
