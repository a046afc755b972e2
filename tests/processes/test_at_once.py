"""Several processes do the same thing at the same moment."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Any

import pytest

from kapso_inbox import lifecycle
from kapso_inbox.kapso import UncertainError
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed
from kapso_inbox.sandbox.engine import Answer, Fault
from tests.hosts.database import connection
from tests.hosts.people import User

from .deployment import Deployment, minutes_pass

SLUGS = ["sales", "support", "billing"]
State = AccessLink.State


def errors(outcomes: list[list[dict[str, Any]]], slug: str | None = None) -> Counter[str | None]:
    """Count the outcomes by the name of their error; None counts the successes."""
    return Counter(
        outcome["error"]
        for steps in outcomes
        for outcome in steps
        if slug is None or slug in outcome["args"]
    )


def texts(outcomes: list[list[dict[str, Any]]]) -> list[str]:
    """Return the text of each error, the rarest kind first."""
    often = errors(outcomes)
    failed = [outcome for steps in outcomes for outcome in steps if outcome["error"]]
    failed.sort(key=lambda outcome: often[outcome["error"]])
    return [f"{one['action']} {one['error']}: {one['text']}" for one in failed]


@pytest.fixture
def slow_posts(deployment: Deployment) -> None:
    """Let Kapso answer each POST slowly, so that the other processes act meanwhile."""
    deployment.sandbox.order(Fault(method="POST", delay=0.15, times=1000))


@pytest.mark.usefixtures("slow_posts")
def test_if_four_processes_create_an_embed_one_does_and_the_others_learn_that_it_exists(
    deployment: Deployment,
) -> None:
    outcomes = deployment.at_once(*([("create_embed", slug) for slug in SLUGS] for _ in range(4)))
    for slug in SLUGS:
        assert errors(outcomes, slug) == {None: 1, "ValidationError": 3}, texts(outcomes)
    assert deployment.posts() == dict.fromkeys(SLUGS, 1)
    assert len(deployment.live()) == 3
    deployment.assert_all_accounted_for()


@pytest.mark.usefixtures("slow_posts")
def test_if_four_processes_ensure_an_embed_one_creates_it_and_the_others_get_it_or_must_wait(
    deployment: Deployment,
) -> None:
    outcomes = deployment.at_once(*([("ensure_embed", slug) for slug in SLUGS] for _ in range(4)))
    assert set(errors(outcomes)) <= {None, "BusyError"}, texts(outcomes)
    results = [step["result"] for steps in outcomes for step in steps if step["error"] is None]
    assert set(results) == {"active"}
    assert deployment.posts() == dict.fromkeys(SLUGS, 1)
    # Those that must wait try again.
    again = deployment.at_once(*([("ensure_embed", slug) for slug in SLUGS] for _ in range(2)))
    assert set(errors(again)) == {None}
    assert deployment.posts() == dict.fromkeys(SLUGS, 1)
    deployment.assert_all_accounted_for()


def test_if_four_processes_rotate_a_link_only_one_link_lives(deployment: Deployment) -> None:
    deployment.sandbox.order(Fault(method="POST", delay=0.05, times=1000))
    for slug in SLUGS:
        lifecycle.create_embed(slug=slug, name=slug)
    outcomes = deployment.at_once(
        *([("rotate_embed", slug) for slug in SLUGS] * 2 for _ in range(4))
    )
    assert set(errors(outcomes)) <= {None, "BusyError"}, texts(outcomes)
    for slug in SLUGS:
        assert errors(outcomes, slug)[None] >= 1
    assert sorted(link["name"].split()[0] for link in deployment.live()) == sorted(SLUGS)
    states = AccessLink.objects.values_list("state", flat=True)
    assert Counter(states)[State.ACTIVE] == len(SLUGS)
    assert set(states) == {State.ACTIVE, State.REVOKED}
    deployment.assert_all_accounted_for()
    deployment.assert_what_is_active_lives()


def test_if_four_processes_revoke_an_embed_all_succeed(deployment: Deployment) -> None:
    deployment.sandbox.order(Fault(method="DELETE", delay=0.05, times=1000))
    for slug in SLUGS:
        lifecycle.create_embed(slug=slug, name=slug)
    outcomes = deployment.at_once(*([("revoke_embed", slug) for slug in SLUGS] for _ in range(4)))
    assert set(errors(outcomes)) == {None}, texts(outcomes)
    assert deployment.live() == []
    assert set(AccessLink.objects.values_list("state", flat=True)) == {State.REVOKED}


@pytest.mark.parametrize("seed", range(2))
def test_whatever_processes_do_to_the_same_embeds_every_live_link_is_accounted_for(
    deployment: Deployment, seed: int
) -> None:
    deployment.sandbox.order(Fault(method="POST", delay=0.03, times=1000))
    deployment.sandbox.order(Fault(method="DELETE", delay=0.02, times=1000))
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
    outcomes = deployment.at_once(*(job() for _ in range(4)))
    allowed = {None, "BusyError", "RevokedError", "ValidationError"}
    assert set(errors(outcomes)) <= allowed, texts(outcomes)
    deployment.assert_all_accounted_for()
    deployment.assert_what_is_active_lives()
    # No action is left half done for ever: each embed can be rotated and then revoked.
    minutes_pass(10)
    for embed in InboxEmbed.objects.all():
        assert lifecycle.rotate_embed(embed).obstacle() is None
    deployment.assert_all_accounted_for()
    for embed in InboxEmbed.objects.all():
        lifecycle.revoke_embed(embed)
    for link in AccessLink.objects.filter(state__in=AccessLink.LIVE):
        lifecycle.resolve_embed(link.embed)
    assert deployment.live() == []


# One process pauses at the worst moment


def let_wait() -> None:
    """Give another process the time to reach a lock."""
    time.sleep(0.3)


@pytest.mark.parametrize("action", ["create_embed", "ensure_embed"])
@pytest.mark.parametrize("moment", ["before insert", "before insert commit"])
def test_a_process_that_creates_the_same_embed_waits_until_the_first_has_committed_its_intent(
    deployment: Deployment, moment: str, action: str
) -> None:
    first = deployment.paused(("create_embed", "sales"), at=moment)
    second = deployment.begin((action, "sales"))
    let_wait()
    first.go_on()
    ended = {outcome["error"] for outcome in first.outcomes() + second.outcomes()}
    # Before its first insert, the first process holds no lock, except for the file on SQLite.
    assert None in ended
    assert ended <= {None, "ValidationError", "BusyError"}
    assert deployment.posts() == {"sales": 1}
    deployment.assert_all_accounted_for()


@pytest.mark.parametrize("moment", ["before insert", "before insert commit"])
def test_a_process_that_rotates_the_same_link_waits_until_the_first_has_committed_its_intent(
    deployment: Deployment, moment: str
) -> None:
    lifecycle.create_embed(slug="sales", name="sales")
    first = deployment.paused(("rotate_embed", "sales"), at=moment)
    second = deployment.begin(("rotate_embed", "sales"))
    let_wait()
    assert second.process.is_alive()
    deployment.sandbox.order(Fault(method="POST", delay=0.5))
    first.go_on()
    assert [outcome["error"] for outcome in first.outcomes()] == [None]
    assert [outcome["error"] for outcome in second.outcomes()] == ["BusyError"]
    assert deployment.posts() == {"sales": 2}
    assert len(deployment.live()) == 1
    deployment.assert_all_accounted_for()


@pytest.mark.parametrize("moment", ["before POST", "after POST", "before POST commit"])
@pytest.mark.parametrize("action", ["create_embed", "rotate_embed"])
def test_an_embed_that_is_revoked_while_its_link_is_created_has_no_live_link(
    deployment: Deployment, action: str, moment: str
) -> None:
    if action == "rotate_embed":
        lifecycle.create_embed(slug="sales", name="sales")
    first = deployment.paused((action, "sales"), at=moment)
    second = deployment.begin(("revoke_embed", "sales"))
    if moment != "before POST commit":  # at that moment the first process holds the lock
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
    assert deployment.live() == []
    assert set(AccessLink.objects.values_list("state", flat=True)) == {State.REVOKED}


@pytest.mark.parametrize("meanwhile", ["rotate_embed", "ensure_embed", "resolve_links"])
@pytest.mark.parametrize("moment", ["before POST", "after POST"])
def test_a_process_that_pauses_for_longer_than_any_request_leaves_no_second_link(
    deployment: Deployment, moment: str, meanwhile: str
) -> None:
    """The other process treats its link as abandoned, and may create another one."""
    first = deployment.paused(("create_embed", "sales"), at=moment)
    minutes_pass(10)
    [other] = deployment.begin((meanwhile, "sales")).outcomes()
    assert other["error"] is None
    deployment.assert_all_accounted_for()
    first.go_on()
    assert [outcome["error"] for outcome in first.outcomes()] == ["BusyError"]
    deployment.assert_all_accounted_for()
    assert len(deployment.live()) == (0 if meanwhile == "resolve_links" else 1)


@pytest.mark.parametrize(
    ("action", "moment"),
    [
        ("revoke_embed", "before update update"),
        ("rotate_embed", "before POST update update update"),
        ("rotate_embed", "before POST commit"),
    ],
)
def test_launching_an_inbox_during_a_change_does_not_deadlock(
    deployment: Deployment, action: str, moment: str
) -> None:
    """The row of an opening refers to the embed and the link, which a change locks."""
    lifecycle.create_embed(slug="sales", name="sales")
    User.objects.create_superuser("ana")
    changing = deployment.paused((action, "sales"), at=moment)
    opening = deployment.begin(("launches", ["sales"], 1))
    let_wait()
    changing.go_on()
    assert [outcome["text"] for outcome in changing.outcomes()] == [""]
    assert [outcome["result"] for outcome in opening.outcomes()] == [{"opened": 1}]
    deployment.assert_all_accounted_for()


@pytest.mark.parametrize(
    "other", [("resolve_links", "sales"), ("launches", ["sales"], 1), ("command", "kapso_sync")]
)
def test_correcting_a_link_during_a_change_does_not_deadlock(
    deployment: Deployment, other: tuple[Any, ...]
) -> None:
    """One link is uncertain, the other's secret cannot be decrypted: both get an audit entry."""
    embed = lifecycle.create_embed(slug="sales", name="sales")
    AccessLink.objects.update(sealed_url="v1.gone.AAAA")
    User.objects.create_superuser("ana")
    deployment.sandbox.order(Fault(method="POST", drop="after"))
    with pytest.raises(UncertainError):
        lifecycle.rotate_embed(embed)
    revoking = deployment.paused(("revoke_embed", "sales"), at="before update update")
    correcting = deployment.begin(other)
    let_wait()
    revoking.go_on()
    ended = revoking.outcomes() + correcting.outcomes()
    assert [outcome["text"] for outcome in ended] == ["", ""]
    deployment.assert_all_accounted_for()


def test_rotating_the_encryption_keys_during_a_change_does_not_deadlock(
    deployment: Deployment,
) -> None:
    lifecycle.create_embed(slug="sales", name="sales")
    AccessLink.objects.update(sealed_url="v1.gone.AAAA")
    revoking = deployment.paused(("revoke_embed", "sales"), at="before update update")
    rotating = deployment.begin(("command", "kapso_rotate_keys"))
    let_wait()
    revoking.go_on()
    assert [outcome["text"] for outcome in revoking.outcomes()] == [""]
    assert [outcome["error"] for outcome in rotating.outcomes()] == ["CommandError"]
    assert AccessLink.objects.get().state == State.REVOKED


@pytest.mark.parametrize("action", ["create_embed", "ensure_embed"])
def test_if_kapso_refuses_an_embed_that_four_processes_want_no_row_is_left(
    deployment: Deployment, action: str
) -> None:
    deployment.sandbox.order(Fault(method="POST", answer=Answer(422, {"error": "no"}), times=1000))
    outcomes = deployment.at_once(*([(action, "sales")] * 10 for _ in range(4)))
    expected = {"InvalidRequestError", "ValidationError", "BusyError"}
    if connection.vendor == "mysql":
        # Two that insert the slug that a third has just deleted: InnoDB ends one of them, and
        # nothing of it was committed.
        expected.add("OperationalError")
    assert set(errors(outcomes)) <= expected, texts(outcomes)
    # Whoever comes last deletes the row that the others have used, too.
    assert errors(deployment.at_once([(action, "sales")])) == {"InvalidRequestError": 1}
    assert not InboxEmbed.objects.exists()
    assert InboxChange.objects.filter(slug="sales").exists()
