"""What a sync does besides the list: revocations, renewals, pruning and counting."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.core.exceptions import ValidationError

from kapso_inbox import audit, conf
from kapso_inbox.clock import TOLERANCE, since
from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.kapso import KapsoError, NotFoundError
from kapso_inbox.lifecycle import (
    BusyError,
    LifecycleError,
    ReplacedError,
    RevokedError,
)
from kapso_inbox.lifecycle.issue import replace_link
from kapso_inbox.lifecycle.links import newest_link
from kapso_inbox.lifecycle.revoke import revoke_link
from kapso_inbox.models import AccessLink

from .run import ACTOR, Run

State = AccessLink.State


def resume_revocations(run: Run) -> None:
    """Have Kapso revoke the links that wait for it."""
    for link in run.links().filter(state=State.REVOKING).select_related("embed"):
        if not run.dry_run:
            try:
                revoke_link(link, run.client, reason=link.reason)
            except KapsoError as error:
                run.problem(f"{link} of {link.embed.slug!r} is not revoked yet: {error}.")
                if not isinstance(error, NotFoundError):
                    return  # the error is about Kapso and not about this link
                continue
        run.report.revoked += 1


def renew_links(run: Run, now: datetime) -> None:
    """Give each link that is about to expire a successor that lives as long as it did.

    A link is not renewed before half of its life is over: otherwise one that lives no longer than
    `RENEW_BEFORE` would be renewed by every sync.

    Args:
        run: the sync.
        now: the time, which Kapso confirms.
    """
    before = conf.duration("RENEW_BEFORE")
    if not before:
        return
    due = run.embeds().filter(
        project=run.report.project,
        current_link__state=State.ACTIVE,
        expires_at__gt=now,
        expires_at__lte=now + before,
    )
    for pk in list(due.values_list("pk", flat=True)):
        # Read again: each takes a while, and somebody may have revoked or renewed the next one.
        embed = due.select_related("current_link").filter(pk=pk).first()
        link = embed.current_link if embed else None
        if embed is None or link is None or embed.expires_at is None:
            continue
        lifetime = embed.expires_at - link.created_at
        if link.created_at > now + TOLERANCE:
            lifetime = 2 * before  # a wrong clock stored it, and nobody knows how long it lives
        if embed.expires_at - lifetime / 2 > now:
            continue
        if not run.dry_run:
            try:
                replace_link(
                    embed,
                    actor=ACTOR,
                    expires_at=(now + lifetime).replace(microsecond=0),
                    expected_link=newest_link(embed),
                    revive=False,
                )
            except (BusyError, ReplacedError, RevokedError):
                continue  # somebody came first
            except (KapsoError, LifecycleError, ValidationError, ConfigurationError) as error:
                run.problem(f"The link of {embed.slug!r} could not be renewed: {error}.")
                if isinstance(error, (KapsoError, ConfigurationError)):
                    return  # the error is about Kapso or the settings, and not about this link
                continue
        run.report.renewed += 1


def prune_audit_trail(run: Run, now: datetime) -> None:
    """Delete the rows of the audit trail that are older than `AUDIT_RETENTION`.

    Args:
        run: the sync.
        now: the time, which Kapso confirms.
    """
    retention = conf.duration("AUDIT_RETENTION")
    if retention and not run.dry_run:
        run.report.pruned = audit.prune(now - retention)


def count_unsettled(run: Run) -> None:
    """Count the uncertain links, and report those that have been so for more than an hour."""
    waiting = run.links().filter(state=State.UNKNOWN)
    run.report.waiting = waiting.count()
    unclear = waiting.exclude(created_at__range=since(run.started - timedelta(hours=1))).count()
    if unclear:
        run.problem(
            f"For over an hour it has been unknown whether {unclear} links exist at Kapso. Look "
            "there for their references, at the end of the name."
        )
