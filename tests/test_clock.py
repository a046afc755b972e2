"""A clock that was wrong for a minute, ahead or behind, leaves nothing that lasts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.test import RequestFactory
from django.utils import timezone

from kapso_inbox import conf, lookups
from kapso_inbox.admin.submissions import SECOND_PRESS
from kapso_inbox.clock import TOLERANCE, is_within, lately, since
from kapso_inbox.diagnosis import diagnose
from kapso_inbox.inbox.launch import open_inbox
from kapso_inbox.inbox.tickets import LIFETIME, find_ticket, issue_ticket, use_ticket
from kapso_inbox.kapso import KapsoError
from kapso_inbox.lifecycle import (
    ReplacedError,
    create_embed,
    ensure_embed,
    newest_link,
    resolve_embed,
    rotate_embed,
    update_embed,
)
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed, LaunchTicket
from kapso_inbox.sandbox.engine import Sandbox
from kapso_inbox.sync import sync_project
from tests.hosts.clock import clock_ahead, clock_off_by
from tests.hosts.people import User
from tests.inbox.test_launch import with_settings

pytestmark = pytest.mark.django_db

State = AccessLink.State
YEAR = timedelta(days=365)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def embed_of_next_year(kapso_sandbox: Sandbox) -> InboxEmbed:
    """Create an embed while the clock is a year ahead."""
    with clock_off_by(YEAR):
        return create_embed(slug="sales", name="Sales")


def link() -> AccessLink:
    return AccessLink.objects.get()


def gets(sandbox: Sandbox) -> int:
    return sum(request.method == "GET" for request in sandbox.requests)


# The rule


@pytest.mark.parametrize(
    ("ago", "expected"),
    [
        (timedelta(0), True),
        (MINUTE, True),
        (timedelta(minutes=3), False),
        (-TOLERANCE / 2, True),
        (-TOLERANCE - MINUTE, False),
        (-YEAR, False),
    ],
)
def test_lately_is_not_long_ago_and_not_in_the_future(ago: timedelta, expected: bool) -> None:
    assert is_within(timezone.now() - ago, lately(timedelta(minutes=2))) is expected


def test_what_never_was_is_not_within_any_time() -> None:
    assert not is_within(None, since(timezone.now() - YEAR))


# Links


def test_a_creation_that_was_abandoned_in_the_future_blocks_nobody(kapso_sandbox: Sandbox) -> None:
    embed = InboxEmbed.objects.create(slug="sales", name="Sales")
    with clock_off_by(YEAR):
        AccessLink.objects.create(embed=embed)
    assert ensure_embed("sales").obstacle() is None


def test_a_creation_that_was_abandoned_in_the_future_is_settled_by_the_syncs(
    kapso_sandbox: Sandbox,
) -> None:
    embed = InboxEmbed.objects.create(slug="sales", name="Sales")
    with clock_off_by(YEAR):
        AccessLink.objects.create(embed=embed, key_fingerprint=conf.project().key_fingerprint)
    sync_project()
    with clock_off_by(timedelta(minutes=6)):
        sync_project()
    assert link().state == State.FAILED


def test_a_link_that_was_absent_in_the_future_must_be_absent_for_some_minutes_all_the_same(
    kapso_sandbox: Sandbox,
) -> None:
    kapso_sandbox.fail_next(drop="before", method="POST")
    with pytest.raises(KapsoError):
        create_embed(slug="sales", name="Sales")
    with clock_off_by(YEAR):
        resolve_embed(link().embed)
    resolve_embed(link().embed)
    assert link().state == State.UNKNOWN
    with clock_off_by(timedelta(minutes=6)):
        resolve_embed(link().embed)
    assert link().state == State.FAILED


def test_a_link_that_was_checked_in_the_future_is_checked_again(
    kapso_sandbox: Sandbox, embed_of_next_year: InboxEmbed
) -> None:
    request = RequestFactory().get("/")
    request.user = User.objects.create_superuser("ana")
    open_inbox(request, "sales", {})
    assert gets(kapso_sandbox) == 1
    open_inbox(request, "sales", {})
    assert gets(kapso_sandbox) == 1


def test_what_was_changed_in_the_future_is_mirrored(
    kapso_sandbox: Sandbox, embed_of_next_year: InboxEmbed
) -> None:
    kapso_sandbox.project().update(link().kapso_id, {"default_mode": "dark"})
    sync_project()
    embed_of_next_year.refresh_from_db()
    assert embed_of_next_year.default_mode == "dark"


def test_a_link_that_was_seen_in_the_future_is_found_gone(
    kapso_sandbox: Sandbox, embed_of_next_year: InboxEmbed
) -> None:
    with clock_off_by(YEAR):
        sync_project()
    create_embed(slug="other", name="Other")
    del kapso_sandbox.project().embeds[AccessLink.objects.get(embed__slug="sales").kapso_id]
    for minutes in (1, 10):
        with clock_off_by(timedelta(minutes=minutes)):
            sync_project()
    assert AccessLink.objects.get(embed__slug="sales").state == State.REVOKED


def test_a_link_that_was_seen_in_the_future_is_seen_again(
    kapso_sandbox: Sandbox, embed_of_next_year: InboxEmbed
) -> None:
    with clock_off_by(YEAR):
        sync_project()
    kapso_sandbox.requests.clear()
    sync_project()
    assert gets(kapso_sandbox) == 1, "Kapso was asked for a link that its list has"
    seen_at = link().seen_at
    assert seen_at is not None
    assert seen_at < timezone.now()


def test_a_link_that_was_revoked_in_the_future_and_lives_is_revoked(
    kapso_sandbox: Sandbox, embed_of_next_year: InboxEmbed
) -> None:
    with clock_off_by(YEAR):
        link().move(State.REVOKED, expected=[State.ACTIVE], sealed_url="")
    sync_project()
    assert kapso_sandbox.project().active_embeds() == []


@pytest.mark.parametrize("by", [YEAR, -YEAR])
def test_a_form_that_is_sent_twice_makes_one_link_whatever_the_clock_was(
    kapso_sandbox: Sandbox, embed: InboxEmbed, by: timedelta
) -> None:
    with clock_off_by(by):
        rotate_embed(embed)
    expected = newest_link(embed)
    rotate_embed(embed, expected_link=expected)
    assert newest_link(embed) == InboxEmbed.objects.get().current_link_id
    with pytest.raises(ReplacedError):
        rotate_embed(embed, expected_link=expected)


# Expiry


def test_a_link_that_was_made_in_the_future_is_renewed(kapso_sandbox: Sandbox) -> None:
    with clock_off_by(YEAR):
        embed = create_embed(slug="sales", name="Sales")
    update_embed(embed, expires_at=timezone.now() + timedelta(days=3))
    with with_settings(RENEW_BEFORE=timedelta(days=7)):
        assert sync_project().renewed == 1
        assert sync_project().renewed == 0


@pytest.mark.parametrize("by", [timedelta(days=26), -timedelta(hours=2)])
def test_a_sync_with_a_wrong_clock_renews_and_prunes_nothing_and_says_why(
    kapso_sandbox: Sandbox, by: timedelta
) -> None:
    create_embed(slug="sales", name="Sales", expires_at=timezone.now() + timedelta(days=30))
    with (
        with_settings(RENEW_BEFORE=timedelta(days=30), AUDIT_RETENTION=timedelta(days=20)),
        clock_off_by(by),
    ):
        report = sync_project()
    assert (report.renewed, report.pruned) == (0, 0)
    assert InboxChange.objects.count() == 1
    [problem] = report.problems
    assert "clock" in str(problem)


def test_a_sync_whose_clock_comes_back_while_the_list_is_read_prunes_nothing(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    with (
        with_settings(AUDIT_RETENTION=timedelta(days=20)),
        clock_ahead(lambda: timedelta(0) if gets(kapso_sandbox) else YEAR),
    ):
        assert sync_project().pruned == 0
    assert InboxChange.objects.exists()


def test_a_sync_that_kapso_did_not_answer_leaves_pruning_to_the_next(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    kapso_sandbox.fail_next(drop="before", method="GET", times=9)
    with with_settings(AUDIT_RETENTION=timedelta(days=20)), clock_off_by(YEAR):
        assert sync_project().pruned == 0
    assert InboxChange.objects.exists()


# What agents and administrators meet


def test_a_ticket_of_the_future_opens_nothing(embed: InboxEmbed, ana: User) -> None:
    with clock_off_by(YEAR):
        ticket = find_ticket(issue_ticket(ana, embed, {}))
        assert ticket is not None
    assert not use_ticket(ticket)
    with clock_off_by(YEAR - timedelta(days=30)):
        assert not use_ticket(ticket)


def test_a_ticket_of_a_server_that_is_some_seconds_ahead_opens(
    embed: InboxEmbed, ana: User
) -> None:
    with clock_off_by(timedelta(seconds=5)):
        ticket = find_ticket(issue_ticket(ana, embed, {}))
        assert ticket is not None
    assert use_ticket(ticket)
    assert timedelta(seconds=LIFETIME) >= TOLERANCE


def test_tickets_of_the_future_are_deleted(embed: InboxEmbed, ana: User) -> None:
    with clock_off_by(YEAR):
        issue_ticket(ana, embed, {})
    issue_ticket(ana, embed, {})
    assert LaunchTicket.objects.count() == 1


def test_a_page_for_pickers_that_was_kept_in_the_future_is_read_again(
    kapso_sandbox: Sandbox,
) -> None:
    cache.clear()
    with clock_off_by(YEAR):
        lookups.search(lookups.Kind.USER)
    lookups.search(lookups.Kind.USER)
    assert gets(kapso_sandbox) == 2
    lookups.search(lookups.Kind.USER)
    assert gets(kapso_sandbox) == 2


def test_the_doctor_is_not_calmed_by_times_of_the_future(
    kapso_sandbox: Sandbox, embed_of_next_year: InboxEmbed
) -> None:
    with clock_off_by(YEAR):
        sync_project()
        rotate_embed(embed_of_next_year)
        AccessLink.objects.filter(state=State.REVOKED).update(state=State.REVOKING)
    codes = {finding.code for finding in diagnose(network=False)}
    assert {"sync-not-running", "revocation-stuck"} <= codes


def test_a_second_press_is_not_one_of_the_future() -> None:
    with clock_off_by(YEAR):
        pressed = timezone.now()
    assert not is_within(pressed, lately(SECOND_PRESS))
