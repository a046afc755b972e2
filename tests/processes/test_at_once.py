"""Several processes do the same thing at the same moment."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Any

import pytest

from kapso_inbox import lifecycle
from kapso_inbox.kapso import UncertainError
from kapso_inbox.models import AccessLink, InboxEmbed
from kapso_inbox.sandbox.engine import Fault
from tests.hosts.people import User

from .house import House, minutes_pass

SLUGS = ["sales", "support", "billing"]
State = AccessLink.State


def errors(outcomes: list[list[dict[str, Any]]], slug: str | None = None) -> Counter[str | None]:
    """How often each error was met; None stands for none."""
    return Counter(
        outcome["error"]
        for steps in outcomes
        for outcome in steps
        if slug is None or slug in outcome["args"]
    )


def texts(outcomes: list[list[dict[str, Any]]]) -> list[str]:
    """What was said with each error, the rarest first."""
    often = errors(outcomes)
    failed = [outcome for steps in outcomes for outcome in steps if outcome["error"]]
    failed.sort(key=lambda outcome: often[outcome["error"]])
    return [f"{one['action']} {one['error']}: {one['text']}" for one in failed]


@pytest.fixture
def slow_posts(house: House) -> None:
    """Kapso takes its time with each POST, so that the others come in between."""
    house.sandbox.order(Fault(method="POST", delay=0.15, times=1000))


@pytest.mark.usefixtures("slow_posts")
def test_of_four_that_create_an_embed_one_does_and_the_others_are_told_that_it_exists(
    house: House,
) -> None:
    outcomes = house.at_once(*([("create_embed", slug) for slug in SLUGS] for _ in range(4)))
    for slug in SLUGS:
        assert errors(outcomes, slug) == {None: 1, "ValidationError": 3}, texts(outcomes)
    assert house.posts() == dict.fromkeys(SLUGS, 1)
    assert len(house.live()) == 3
    house.assert_all_accounted_for()


@pytest.mark.usefixtures("slow_posts")
def test_of_four_that_ensure_an_embed_one_makes_it_and_the_others_get_it_or_are_told_to_wait(
    house: House,
) -> None:
    outcomes = house.at_once(*([("ensure_embed", slug) for slug in SLUGS] for _ in range(4)))
    assert set(errors(outcomes)) <= {None, "BusyError"}, texts(outcomes)
    results = [step["result"] for steps in outcomes for step in steps if step["error"] is None]
    assert set(results) == {"active"}
    assert house.posts() == dict.fromkeys(SLUGS, 1)
    # Told to wait, they come again.
    again = house.at_once(*([("ensure_embed", slug) for slug in SLUGS] for _ in range(2)))
    assert set(errors(again)) == {None}
    assert house.posts() == dict.fromkeys(SLUGS, 1)
    house.assert_all_accounted_for()


def test_of_four_that_rotate_a_link_none_leaves_a_second_one(house: House) -> None:
    house.sandbox.order(Fault(method="POST", delay=0.05, times=1000))
    for slug in SLUGS:
        lifecycle.create_embed(slug=slug, name=slug)
    outcomes = house.at_once(*([("rotate_embed", slug) for slug in SLUGS] * 2 for _ in range(4)))
    assert set(errors(outcomes)) <= {None, "BusyError"}, texts(outcomes)
    for slug in SLUGS:
        assert errors(outcomes, slug)[None] >= 1
    assert sorted(link["name"].split()[0] for link in house.live()) == sorted(SLUGS)
    states = AccessLink.objects.values_list("state", flat=True)
    assert Counter(states)[State.ACTIVE] == len(SLUGS)
    assert set(states) == {State.ACTIVE, State.REVOKED}
    house.assert_all_accounted_for()
    house.assert_what_is_active_lives()


def test_of_four_that_revoke_an_embed_all_find_it_revoked(house: House) -> None:
    house.sandbox.order(Fault(method="DELETE", delay=0.05, times=1000))
    for slug in SLUGS:
        lifecycle.create_embed(slug=slug, name=slug)
    outcomes = house.at_once(*([("revoke_embed", slug) for slug in SLUGS] for _ in range(4)))
    assert set(errors(outcomes)) == {None}, texts(outcomes)
    assert house.live() == []
    assert set(AccessLink.objects.values_list("state", flat=True)) == {State.REVOKED}


@pytest.mark.parametrize("seed", range(2))
def test_whatever_they_do_to_the_same_embeds_nothing_live_is_unaccounted_for(
    house: House, seed: int
) -> None:
    house.sandbox.order(Fault(method="POST", delay=0.03, times=1000))
    house.sandbox.order(Fault(method="DELETE", delay=0.02, times=1000))
    slugs, chosen = SLUGS[:2], random.Random(seed)  # noqa: S311 (the same each time)
    acts = [
        *("create_embed", "ensure_embed", "rotate_embed", "rotate_embed", "revoke_embed"),
        *("update_embed", "resolve_links"),
    ]

    def job() -> list[tuple[Any, ...]]:
        steps = [(chosen.choice(acts), chosen.choice(slugs)) for _ in range(12)]
        return [
            (*step, chosen.choice(["light", "dark"])) if step[0] == "update_embed" else step
            for step in steps
        ]

    for slug in slugs:
        lifecycle.create_embed(slug=slug, name=slug)
    outcomes = house.at_once(*(job() for _ in range(4)))
    allowed = {None, "BusyError", "RevokedError", "ValidationError"}
    assert set(errors(outcomes)) <= allowed, texts(outcomes)
    house.assert_all_accounted_for()
    house.assert_what_is_active_lives()
    # None is left in the middle of something, and what was made of it can be brought to an end.
    minutes_pass(10)
    for embed in InboxEmbed.objects.all():
        assert lifecycle.rotate_embed(embed).obstacle() is None
    house.assert_all_accounted_for()
    for embed in InboxEmbed.objects.all():
        lifecycle.revoke_embed(embed)
    for link in AccessLink.objects.filter(state__in=AccessLink.LIVE):
        lifecycle.resolve_embed(link.embed)
    assert house.live() == []


# One of them stands still at the worst moment


def let_wait() -> None:
    """Give another process the time to run into a lock."""
    time.sleep(0.3)


@pytest.mark.parametrize("action", ["create_embed", "ensure_embed"])
@pytest.mark.parametrize("moment", ["before insert", "before insert commit"])
def test_who_creates_the_same_embed_waits_for_the_first_to_record_what_it_is_about_to_do(
    house: House, moment: str, action: str
) -> None:
    first = house.paused(("create_embed", "sales"), at=moment)
    second = house.begin((action, "sales"))
    let_wait()
    first.go_on()
    ended = {outcome["error"] for outcome in first.outcomes() + second.outcomes()}
    # Before its first insert the first one holds nothing yet but, on SQLite, the file.
    assert None in ended
    assert ended <= {None, "ValidationError", "BusyError"}
    assert house.posts() == {"sales": 1}
    house.assert_all_accounted_for()


@pytest.mark.parametrize("moment", ["before insert", "before insert commit"])
def test_who_rotates_the_same_link_waits_for_the_first_to_record_what_it_is_about_to_do(
    house: House, moment: str
) -> None:
    lifecycle.create_embed(slug="sales", name="sales")
    first = house.paused(("rotate_embed", "sales"), at=moment)
    second = house.begin(("rotate_embed", "sales"))
    let_wait()
    assert second.process.is_alive()
    house.sandbox.order(Fault(method="POST", delay=0.5))
    first.go_on()
    assert [outcome["error"] for outcome in first.outcomes()] == [None]
    assert [outcome["error"] for outcome in second.outcomes()] == ["BusyError"]
    assert house.posts() == {"sales": 2}
    assert len(house.live()) == 1
    house.assert_all_accounted_for()


@pytest.mark.parametrize("moment", ["before POST", "after POST", "before POST commit"])
@pytest.mark.parametrize("action", ["create_embed", "rotate_embed"])
def test_what_is_revoked_while_it_is_made_does_not_live(
    house: House, action: str, moment: str
) -> None:
    if action == "rotate_embed":
        lifecycle.create_embed(slug="sales", name="sales")
    first = house.paused((action, "sales"), at=moment)
    second = house.begin(("revoke_embed", "sales"))
    if moment != "before POST commit":  # there the first one holds the lock
        assert second.outcomes()[0]["error"] is None
    let_wait()
    first.go_on()
    [outcome] = first.outcomes()
    if moment == "before POST commit":
        assert outcome["error"] is None
        assert second.outcomes()[0]["error"] is None
    else:
        assert outcome["error"] == "BusyError"
        assert "revoked" in outcome["text"]
    assert house.live() == []
    assert set(AccessLink.objects.values_list("state", flat=True)) == {State.REVOKED}


@pytest.mark.parametrize("meanwhile", ["rotate_embed", "ensure_embed", "resolve_links"])
@pytest.mark.parametrize("moment", ["before POST", "after POST"])
def test_who_slept_for_longer_than_any_request_takes_leaves_no_second_link(
    house: House, moment: str, meanwhile: str
) -> None:
    """Its link was taken for abandoned, and perhaps another one made."""
    first = house.paused(("create_embed", "sales"), at=moment)
    minutes_pass(10)
    [other] = house.begin((meanwhile, "sales")).outcomes()
    assert other["error"] is None
    house.assert_all_accounted_for()
    first.go_on()
    assert [outcome["error"] for outcome in first.outcomes()] == ["BusyError"]
    house.assert_all_accounted_for()
    assert len(house.live()) == (0 if meanwhile == "resolve_links" else 1)


@pytest.mark.parametrize(
    ("action", "moment"),
    [
        ("revoke_embed", "before update update"),
        ("rotate_embed", "before POST update update update"),
        ("rotate_embed", "before POST commit"),
    ],
)
def test_an_agent_who_opens_an_inbox_in_the_midst_of_a_change_is_no_deadlock(
    house: House, action: str, moment: str
) -> None:
    """The record of an opening names the embed and the link, and so do the locks of a change."""
    lifecycle.create_embed(slug="sales", name="sales")
    User.objects.create_superuser("ana")
    changing = house.paused((action, "sales"), at=moment)
    opening = house.begin(("launches", ["sales"], 1))
    let_wait()
    changing.go_on()
    assert [outcome["text"] for outcome in changing.outcomes()] == [""]
    assert [outcome["result"] for outcome in opening.outcomes()] == [{"opened": 1}]
    house.assert_all_accounted_for()


@pytest.mark.parametrize(
    "other", [("resolve_links", "sales"), ("launches", ["sales"], 1), ("command", "kapso_sync")]
)
def test_what_puts_a_link_right_in_the_midst_of_a_change_is_no_deadlock(
    house: House, other: tuple[Any, ...]
) -> None:
    """One link's making is uncertain, the other's secret does not open: both get an entry."""
    embed = lifecycle.create_embed(slug="sales", name="sales")
    AccessLink.objects.update(sealed_url="v1.gone.AAAA")
    User.objects.create_superuser("ana")
    house.sandbox.order(Fault(method="POST", drop="after"))
    with pytest.raises(UncertainError):
        lifecycle.rotate_embed(embed)
    revoking = house.paused(("revoke_embed", "sales"), at="before update update")
    putting_right = house.begin(other)
    let_wait()
    revoking.go_on()
    ended = revoking.outcomes() + putting_right.outcomes()
    assert [outcome["text"] for outcome in ended] == ["", ""]
    house.assert_all_accounted_for()


def test_a_rotation_of_keys_in_the_midst_of_a_change_is_no_deadlock(house: House) -> None:
    lifecycle.create_embed(slug="sales", name="sales")
    AccessLink.objects.update(sealed_url="v1.gone.AAAA")
    revoking = house.paused(("revoke_embed", "sales"), at="before update update")
    rotating = house.begin(("command", "kapso_rotate_keys"))
    let_wait()
    revoking.go_on()
    assert [outcome["text"] for outcome in revoking.outcomes()] == [""]
    assert [outcome["error"] for outcome in rotating.outcomes()] == ["CommandError"]
    assert AccessLink.objects.get().state == State.REVOKED
