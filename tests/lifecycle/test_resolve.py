"""Resolving: finding out what became of a link that is unsettled."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from kapso_inbox.kapso import KapsoError, UncertainError
from kapso_inbox.lifecycle import BusyError, InsideTransactionError, create_embed, resolve_embed
from kapso_inbox.lifecycle.links import STALE_AFTER
from kapso_inbox.lifecycle.resolve import ABSENT_AFTER
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed, ReasonCode, reason_code
from kapso_inbox.sandbox.engine import Answer, Sandbox
from tests.hosts.database import connection

pytestmark = pytest.mark.django_db

State = AccessLink.State


def resolve(link: AccessLink, **options: Any) -> AccessLink:
    """Resolve the link's embed, and return the link afterwards."""
    resolve_embed(link.embed, **options)
    return AccessLink.objects.get(pk=link.pk)


def uncertain(sandbox: Sandbox, *, processed: bool) -> AccessLink:
    """Return a link whose creation was interrupted, before or after Kapso processed it."""
    sandbox.fail_next(method="POST", drop="after" if processed else "before")
    with pytest.raises(UncertainError):
        create_embed(slug="acme", name="Acme")
    return AccessLink.objects.get()


def pass_time(by: timedelta) -> None:
    for link in AccessLink.objects.all():
        for name in ("created_at", "state_changed_at", "absent_at"):
            moment = getattr(link, name)
            setattr(link, name, moment and moment - by)
        link.save()


def test_a_link_that_kapso_did_create_is_found_by_its_reference_and_revoked(
    kapso_sandbox: Sandbox,
) -> None:
    link = resolve(uncertain(kapso_sandbox, processed=True), actor="ana")
    assert link.state == State.REVOKED
    assert kapso_sandbox.project().active_embeds() == []
    settled = InboxChange.objects.get(action=InboxChange.Action.SETTLED)
    assert (settled.username, settled.link) == ("ana", link)


def test_a_link_is_found_on_any_page_of_the_list(kapso_sandbox: Sandbox) -> None:
    link = uncertain(kapso_sandbox, processed=True)
    for number in range(7):
        kapso_sandbox.project().create({"name": f"Other {number}", "scope_type": "project"})
    kapso_sandbox.max_per_page = 2
    assert resolve(link).state == State.REVOKED
    assert len(kapso_sandbox.project().active_embeds()) == 7


def test_a_link_that_was_created_and_revoked_at_kapso_is_revoked_here_too(
    kapso_sandbox: Sandbox,
) -> None:
    link = uncertain(kapso_sandbox, processed=True)
    kapso_sandbox.project().revoke(kapso_sandbox.project().active_embeds()[0]["id"])
    assert resolve(link).state == State.REVOKED
    assert "DELETE" not in [request.method for request in kapso_sandbox.requests]


def test_only_two_complete_lists_some_minutes_apart_prove_that_a_link_was_never_created(
    kapso_sandbox: Sandbox,
) -> None:
    link = uncertain(kapso_sandbox, processed=False)
    assert resolve(link).state == State.UNKNOWN
    assert resolve(link).state == State.UNKNOWN
    pass_time(ABSENT_AFTER)
    assert resolve(link).state == State.FAILED
    assert create_embed(slug="acme", name="Acme").obstacle() is None


def test_a_list_that_breaks_proves_nothing(kapso_sandbox: Sandbox) -> None:
    link = uncertain(kapso_sandbox, processed=False)
    for _ in range(2):
        kapso_sandbox.fail_next(method="GET", answer=Answer(500, "oops"), times=3)
        with pytest.raises(KapsoError):
            resolve(link)
        pass_time(ABSENT_AFTER)
    link.refresh_from_db()
    assert (link.state, link.absent_at) == (State.UNKNOWN, None)


def test_the_list_of_another_key_proves_nothing(kapso_sandbox: Sandbox) -> None:
    link = uncertain(kapso_sandbox, processed=False)
    AccessLink.objects.update(key_fingerprint="0" * 12)
    for _ in range(2):
        assert resolve(link).state == State.UNKNOWN
        pass_time(ABSENT_AFTER)
    link.refresh_from_db()
    assert reason_code(link.reason) == ReasonCode.KEY_UNPROVEN


def test_a_link_that_is_being_created_is_left_alone(kapso_sandbox: Sandbox) -> None:
    embed = InboxEmbed.objects.create(slug="acme", name="Acme")
    link = AccessLink.objects.create(embed=embed)
    with pytest.raises(BusyError):
        resolve(link)
    AccessLink.objects.update(state_changed_at=timezone.now() - STALE_AFTER)
    assert resolve(link).state == State.UNKNOWN


def test_an_unfinished_revocation_is_continued(kapso_sandbox: Sandbox, embed: InboxEmbed) -> None:
    AccessLink.objects.update(state=State.REVOKING)
    assert resolve(AccessLink.objects.get()).state == State.REVOKED
    assert kapso_sandbox.project().active_embeds() == []


def test_a_settled_link_is_left_alone(kapso_sandbox: Sandbox, embed: InboxEmbed) -> None:
    assert resolve(AccessLink.objects.get()).state == State.ACTIVE
    assert len(kapso_sandbox.requests) == 1


@pytest.mark.django_db(transaction=True)
def test_inside_a_transaction_it_raises_an_error(kapso_sandbox: Sandbox, embed: InboxEmbed) -> None:
    with transaction.atomic(using=connection.alias), pytest.raises(InsideTransactionError):
        resolve(AccessLink.objects.get())
