"""One ticket that several processes are shown at the same moment."""

from __future__ import annotations

from collections import Counter

import pytest

from kapso_inbox import lifecycle
from kapso_inbox.inbox import tickets
from kapso_inbox.models import LaunchAttempt, Outcome
from tests.hosts.people import User

from .house import House


@pytest.fixture
def ticket(house: House) -> str:
    embed = lifecycle.create_embed(slug="sales", name="sales")
    return tickets.issue_ticket(User.objects.create_superuser("ana"), embed, {})


def test_of_many_who_present_a_ticket_at_once_one_is_let_in(house: House, ticket: str) -> None:
    ended = house.at_once(*[[("present", "sales", ticket)]] * 4)
    assert [outcome["error"] for [outcome] in ended] == [None] * 4
    assert Counter(outcome["result"] for [outcome] in ended) == {302: 1, 403: 3}
    assert LaunchAttempt.objects.filter(outcome=Outcome.OPENED).count() == 1


def test_who_found_a_ticket_good_is_refused_where_another_used_it_meanwhile(
    house: House, ticket: str
) -> None:
    slow = house.paused(("present", "sales", ticket), at="before update")
    [quick] = house.begin(("present", "sales", ticket)).outcomes()
    slow.go_on()
    assert (quick["result"], slow.outcomes()[0]["result"]) == (302, 403)
