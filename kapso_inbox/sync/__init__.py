"""Bringing the CRM and one Kapso project into agreement, as `kapso_sync` does for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.apps import apps
from django.views.decorators.debug import sensitive_variables

from kapso_inbox import conf
from kapso_inbox.kapso import KapsoError
from kapso_inbox.lifecycle.links import refuse_inside_transaction

from . import listing, upkeep
from .notes import Note, NoteCode
from .run import ACTOR, Run, SyncReport

__all__ = ["RATE_LIMIT_PATIENCE", "Note", "NoteCode", "SyncReport", "sync_project"]

#: The longest that a sync waits for Kapso's rate limit, in seconds and in all.
RATE_LIMIT_PATIENCE = 300


@sensitive_variables()
def sync_project(
    project: str = conf.DEFAULT_PROJECT,
    dry_run: bool = False,
    *,
    accept_missing: bool = False,
    on_page: Callable[[int], None] | None = None,
    patience: float = RATE_LIMIT_PATIENCE,
    actor: Any = ACTOR,
) -> SyncReport:
    """Make the CRM and one Kapso project agree again.

    Mirrors Kapso's whole list, finds out what became of uncertain links, resumes revocations,
    renews links within `RENEW_BEFORE` of their expiry, and prunes the audit trail after
    `AUDIT_RETENTION`. The last two are left out while this server's clock is far from Kapso's. What
    fails is in the report and left for the next sync. Several syncs at once do no harm. A read-only
    deployment changes nothing at Kapso, and reports what it leaves undone.

    Args:
        project: the alias of the project.
        dry_run: only look.
        accept_missing: an operator confirms that the list is the project's, although it lacks
            most of our links. Otherwise nothing is concluded from such a list, since Kapso may have
            answered wrongly, or the key may be another project's.
        on_page: called after each page with the number of embeds listed so far.
        patience: the longest that Kapso's rate limit is waited for, in seconds and in all; 0 in a
            web request.
        actor: who asks for it, for the audit trail: a user, or the name of a process.

    Returns:
        What was found and done.

    Raises:
        InsideTransactionError: the call is inside a transaction; nothing was done.
        ConfigurationError: there is no such project, or its key or address cannot be used.
        DatabaseError: what was found could not be stored; the next sync begins anew.
    """
    refuse_inside_transaction()
    client = conf.project(project).client(patience=patience)
    run = Run(project, client, dry_run, accept_missing, actor)
    try:
        if not listing.is_own_project(run):
            run.problem(NoteCode.ANOTHER_PROJECT, command=run.accept_command)
            return run.report
    except KapsoError as error:
        # Not even the upkeep is done: it could be done in another project.
        run.problem(NoteCode.PROJECT_UNPROVEN, error=error)
        return run.report
    listing.mirror_list(run, on_page)
    if not run.report.complete or listing.conclude_from_absence(run):
        # Otherwise a 404 to the revocation of a link could be one more wrong answer.
        upkeep.resume_revocations(run)
    if now := run.confirmed_time():
        upkeep.renew_links(run, now)
        upkeep.prune_audit_trail(run, now)
    upkeep.forget_foreign(run)
    upkeep.count_unsettled(run)
    upkeep.report_unknown_aliases(run)
    # An app whose configuration has this method takes part, such as `kapso_inbox.conversations`.
    for config in apps.get_app_configs():
        if step := getattr(config, "sync_kapso_project", None):
            step(run)
    return run.report
