"""Several processes launch and sync at once, and a sync is killed."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from kapso_inbox.lifecycle import create_embed
from kapso_inbox.models import AccessLink, InboxEmbed
from kapso_inbox.sandbox.engine import Fault
from tests.hosts.database import connection
from tests.hosts.people import User

from .deployment import Deployment, minutes_pass

State = AccessLink.State


def gets(deployment: Deployment) -> list[str]:
    return [request.path for request in deployment.sandbox.requests if request.method == "GET"]


def test_a_hundred_launches_at_once_ask_kapso_once(deployment: Deployment) -> None:
    create_embed(slug="sales", name="Sales")
    user = User.objects.create_user("ana")
    user.user_permissions.add(Permission.objects.get(codename="open_inboxembed"))
    AccessLink.objects.update(checked_at=timezone.now() - timedelta(hours=1))
    outcomes = deployment.at_once(*[[("launches", ["sales"], 25)]] * 4)
    assert [steps[0]["result"] for steps in outcomes] == [{"opened": 25}] * 4
    assert len(gets(deployment)) == 1


def test_a_hundred_launches_at_once_ask_once_to_find_the_link_revoked(
    deployment: Deployment,
) -> None:
    create_embed(slug="sales", name="Sales")
    user = User.objects.create_user("ana")
    user.user_permissions.add(Permission.objects.get(codename="open_inboxembed"))
    deployment.sandbox.project().revoke(AccessLink.objects.get().kapso_id)
    AccessLink.objects.update(checked_at=timezone.now() - timedelta(hours=1))
    deployment.at_once(*[[("launches", ["sales"], 25)]] * 4)
    assert len(gets(deployment)) == 1
    assert AccessLink.objects.get().state == State.REVOKED
    (after,) = deployment.at_once([("launches", ["sales"], 1)])
    assert after[0]["result"] == {"revoked": 1}


def put_out_of_step(deployment: Deployment) -> None:
    """Give a sync something to mirror, to show, to settle, to revoke and to end."""
    project = deployment.sandbox.project()
    for number in range(30):
        project.create({"name": f"Elsewhere {number}", "scope_type": "project"})
    for slug in ("mirrored", "ended", "revoking"):
        create_embed(slug=slug, name=slug)
    (mirrored, ended, revoking) = AccessLink.objects.order_by("created_at")
    project.update(mirrored.kapso_id, {"default_mode": "dark"})
    project.revoke(ended.kapso_id)
    AccessLink.objects.filter(pk=revoking.pk).update(state=State.REVOKING)
    deployment.sandbox.order(Fault(method="POST", drop="after"))
    deployment.at_once([("create_embed", "uncertain")])
    InboxEmbed.objects.update(updated_at=F("updated_at") - timedelta(minutes=1))
    minutes_pass(1)
    deployment.sandbox.max_per_page = 10


def assert_in_step(deployment: Deployment) -> None:
    deployment.assert_all_accounted_for()
    states = dict(AccessLink.objects.values_list("embed__slug", "state"))
    assert states.pop("mirrored") == State.ACTIVE
    assert states.pop("ended") == states.pop("revoking") == State.REVOKED
    assert states.pop("uncertain") == State.REVOKED
    assert list(states.values()) == [State.UNMANAGED] * 30
    assert InboxEmbed.objects.get(slug="mirrored").default_mode == "dark"
    assert not InboxEmbed.objects.filter(current_link=None).exclude(slug="uncertain").exists()
    assert len(deployment.live()) == 31


def test_several_syncs_at_once_do_no_harm(deployment: Deployment) -> None:
    put_out_of_step(deployment)
    outcomes = deployment.at_once(*[[("command", "kapso_sync")]] * 3)
    assert [steps[0]["error"] for steps in outcomes] == [None] * 3, outcomes
    assert_in_step(deployment)


def test_a_sync_that_waits_for_another_one_keeps_its_later_time_of_seeing_a_link(
    deployment: Deployment,
) -> None:
    """Otherwise the other sync, which started later, would conclude that the link is gone."""
    embed = create_embed(slug="sales", name="Sales")
    later = timezone.now() + timedelta(seconds=30)
    with transaction.atomic(using=connection.alias):
        AccessLink.objects.update(seen_at=later)
        waiting = deployment.begin(("command", "kapso_sync"))
        while not gets(deployment):
            time.sleep(0.05)
        time.sleep(0.5)  # now it waits for this row; a shorter time could only hide a failure
    [outcome] = waiting.outcomes()
    assert outcome["error"] is None, outcome
    assert AccessLink.objects.get(embed=embed).seen_at == later


@pytest.mark.parametrize(
    "moment",
    [
        "before GET",
        "after GET GET",
        "before insert",
        "after insert",
        "after insert insert",
        "after update update update",
        "before DELETE",
        "after DELETE",
        "after DELETE update",
    ],
)
def test_a_sync_that_is_killed_is_finished_by_the_next_one(
    deployment: Deployment, moment: str
) -> None:
    put_out_of_step(deployment)
    deployment.killed(("command", "kapso_sync"), at=moment)
    deployment.assert_all_accounted_for()
    (after,) = deployment.at_once([("command", "kapso_sync")])
    assert after[0]["error"] is None, after
    assert_in_step(deployment)
