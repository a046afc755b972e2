"""What a sync does besides the list: revocations, renewals, pruning and counting."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, Exists, OuterRef

from kapso_inbox import audit, conf
from kapso_inbox.clock import TOLERANCE, since
from kapso_inbox.encryption import UnknownKeyError
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
from kapso_inbox.transactions import database

from .notes import NoteCode
from .run import Run

State = AccessLink.State

#: How many rows are deleted at a time.
_AT_A_TIME = 500


def resume_revocations(run: Run) -> None:
    """Have Kapso revoke the links that wait for it."""
    waiting = run.links().filter(state=State.REVOKING).select_related("embed")
    if conf.is_read_only():
        run.leave_undone(NoteCode.LEFT_WAITING, waiting.count())
        run.leave_undone(NoteCode.LEFT_ALIVE, run.left_alive)
        return
    for link in waiting.in_batches():
        if not run.dry_run:
            try:
                revoke_link(link, run.client, keeps=link.reason)
            except KapsoError as error:
                slug = link.embed.slug
                run.problem(NoteCode.NOT_REVOKED, error=error, link=str(link), embed=slug)
                if not isinstance(error, NotFoundError):
                    return  # the error is about Kapso and not about this link
                continue
        run.report.revoked += 1


def forget_foreign(run: Run) -> None:
    """Delete the rows of embeds that others of a shared project have created. Kapso is not asked.

    They were listed before `SHARED_PROJECTS` was set. One that has had a link of our own stays.
    """
    if run.dry_run or not conf.shares_projects():
        return
    ours = AccessLink.objects.filter(embed=OuterRef("pk")).exclude(state=State.UNMANAGED)
    foreign = run.embeds().filter(
        ~Exists(ours), project=run.report.project, current_link__state=State.UNMANAGED
    )
    while keys := list(foreign.order_by("pk").values_list("pk", flat=True)[:_AT_A_TIME]):
        with transaction.atomic(using=database()):
            # A row in a live state cannot be deleted. Nobody sees this one: it is deleted with it.
            run.links().filter(embed__in=keys).update(state=State.REVOKED)
            run.embeds().filter(pk__in=keys).delete()


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
    left = 0
    due = run.embeds().filter(
        project=run.report.project,
        current_link__state=State.ACTIVE,
        expires_at__gt=now,
        expires_at__lte=now + before,
    )
    for found in due.only("pk").in_batches():
        # Read again: each takes a while, and somebody may have revoked or renewed the next one.
        embed = due.select_related("current_link").filter(pk=found.pk).first()
        link = embed.current_link if embed else None
        if embed is None or link is None or embed.expires_at is None:
            continue
        lifetime = embed.expires_at - link.created_at
        if link.created_at > now + TOLERANCE:
            lifetime = 2 * before  # a wrong clock stored it, and nobody knows how long it lives
        if embed.expires_at - lifetime / 2 > now:
            continue
        if conf.is_read_only():
            left += 1
            continue
        if not run.dry_run:
            try:
                # Without its key, its successor would be under one that other processes may lack.
                link.require_key()
                replace_link(
                    embed,
                    actor=run.actor,
                    expires_at=(now + lifetime).replace(microsecond=0),
                    expected_link=newest_link(embed),
                    revive=False,
                )
            except (BusyError, ReplacedError, RevokedError):
                continue  # somebody came first
            except UnknownKeyError as error:
                run.problem(NoteCode.KEY_MISSING, embed=embed.slug, key=error.key_id)
                continue
            except (KapsoError, LifecycleError, ValidationError, ConfigurationError) as error:
                run.problem(NoteCode.NOT_RENEWED, error=error, embed=embed.slug)
                if isinstance(error, (KapsoError, ConfigurationError)):
                    return  # the error is about Kapso or the settings, and not about this link
                continue
        run.report.renewed += 1
    run.leave_undone(NoteCode.LEFT_EXPIRING, left)


def prune_audit_trail(run: Run, now: datetime) -> None:
    """Delete the rows of the audit trail that are older than `AUDIT_RETENTION`.

    Args:
        run: the sync.
        now: the time, which Kapso confirms.
    """
    retention = conf.duration("AUDIT_RETENTION")
    if retention and not run.dry_run:
        run.report.pruned = audit.prune(now - retention)


def report_unknown_aliases(run: Run) -> None:
    """Report links that may live at Kapso under aliases that the settings do not name."""
    live = AccessLink.objects.for_write().filter(state__in=AccessLink.LIVE)
    unknown = live.exclude(embed__project__in=conf.project_aliases()).order_by()
    counts = unknown.values_list("embed__project").annotate(Count("pk"))
    for alias, count in sorted(counts):
        if run.elsewhere[alias]:
            command = (
                f"InboxEmbed.objects.filter(project={alias!r})"
                f".update(project={run.report.project!r})"
            )
            stored = run.elsewhere[alias]
            run.problem(NoteCode.ALIAS_RENAMED, count=stored, alias=alias, command=command)
        else:
            run.problem(NoteCode.ALIAS_GONE, count=count, alias=alias)


def count_unsettled(run: Run) -> None:
    """Count the uncertain links, and report those that have been so for more than an hour."""
    waiting = run.links().filter(state=State.UNKNOWN)
    run.report.waiting = waiting.count()
    unclear = waiting.exclude(created_at__range=since(run.started - timedelta(hours=1))).count()
    if unclear and not conf.is_read_only():
        run.problem(NoteCode.UNCLEAR, count=unclear)
