"""One ticket is presented to several processes at the same moment."""

from __future__ import annotations

from collections import Counter

import pytest

from kapso_inbox import lifecycle
from kapso_inbox.inbox import tickets
from kapso_inbox.models import LaunchAttempt, Outcome
from tests.hosts.people import User

from .deployment import Deployment


@pytest.fixture
def ticket(deployment: Deployment) -> str:
    embed = lifecycle.create_embed(slug="sales", name="sales")
    return tickets.issue_ticket(User.objects.create_superuser("ana"), embed, {})


def test_only_one_of_several_simultaneous_launches_with_a_ticket_opens(
    deployment: Deployment, ticket: str
) -> None:
    ended = deployment.at_once(*[[("present", "sales", ticket)]] * 4)
    assert [outcome["error"] for [outcome] in ended] == [None] * 4
    assert Counter(outcome["result"] for [outcome] in ended) == {302: 1, 403: 3}
    assert LaunchAttempt.objects.filter(outcome=Outcome.OPENED).count() == 1


def test_a_launch_is_refused_if_another_one_uses_its_ticket_after_the_check(
    deployment: Deployment, ticket: str
) -> None:
    slow = deployment.paused(("present", "sales", ticket), at="before update")
    [quick] = deployment.begin(("present", "sales", ticket)).outcomes()
    slow.go_on()
    assert (quick["result"], slow.outcomes()[0]["result"]) == (302, 403)
