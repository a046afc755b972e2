"""What all steps of one sync share, and the report that it ends with."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import OperationalError
from django.utils import timezone, translation

from kapso_inbox import conf
from kapso_inbox.clock import as_stored
from kapso_inbox.kapso import KapsoClient
from kapso_inbox.models import (
    AccessLink,
    AccessLinkQuerySet,
    InboxEmbed,
    InboxEmbedQuerySet,
)

from .notes import Note, NoteCode, error_value

logger = logging.getLogger(__name__)

#: The actor in the audit trail for what a sync did if nobody else asked for it.
ACTOR = "kapso_sync"

#: With a clock that is further from Kapso's, nothing is renewed or pruned.
_MAX_SKEW = timedelta(hours=1)

_TRIES = 5


@dataclass
class SyncReport:
    """What a sync found and did; with `dry_run`, what it would have done.

    Attributes:
        project: the alias of the Kapso project.
        dry_run: whether nothing was written, here or at Kapso.
        complete: whether Kapso's whole list was seen.
        listed: how many embeds are in it.
        pages: how many pages it has.
        updated: embeds here whose mirror changed.
        unmanaged: embeds found at Kapso that were not created here, the first time they are seen.
        ended: links found revoked at Kapso, or missing from its list twice.
        missing: links that its list lacks, for the first time or for a few minutes only.
        settled: uncertain links of which it is now known what became of them.
        revoked: links that Kapso revoked on our behalf now.
        renewed: links that were about to expire and have a successor.
        pruned: rows of the audit trail that were too old.
        waiting: uncertain links that a later sync must look for again.
        problems: what somebody should look at; `str` tells it in the active language.
        left_undone: what this deployment may not do at Kapso, since it is read-only.
        further: what other apps did, such as `kapso_inbox.conversations`, in words -> how often.
    """

    project: str
    dry_run: bool = False
    complete: bool = False
    listed: int = 0
    pages: int = 0
    updated: int = 0
    unmanaged: int = 0
    ended: int = 0
    missing: int = 0
    settled: int = 0
    revoked: int = 0
    renewed: int = 0
    pruned: int = 0
    waiting: int = 0
    further: dict[str, int] = field(default_factory=dict)
    problems: list[Note] = field(default_factory=list)
    left_undone: list[Note] = field(default_factory=list)

    def in_words(self) -> dict[str, Any]:
        """Return the report as plain values, with its notes told in the active language."""
        told = {name: [*map(str, getattr(self, name))] for name in ("problems", "left_undone")}
        return {one.name: told.get(one.name, getattr(self, one.name)) for one in fields(self)}


class Run:
    """One sync of one project. It holds no more than a page of Kapso's list.

    Args:
        project: the alias of the project.
        client: a client for that project.
        dry_run: whether nothing may be written.
        accept_missing: whether an operator has confirmed that the list is our project's, although
            it lacks most of our links.
        actor: who asked for it, for the audit trail.

    Attributes:
        report: what was found and done so far.
        started: when the run began.
        fingerprint: the fingerprint of the API key in use.
        recognised: the fingerprints of the keys whose links the list would show. Only the list of
            the project that a link was created in can prove that the link is gone, or that it never
            existed.
        seen_in_dry_run: the primary keys of the links seen by a dry run, which cannot note them in
            the database, and so holds them in memory.
        elsewhere: how many embeds of the list are on record under other aliases.
        left_alive: how many links work at Kapso, should not, and are left so by a read-only
            deployment.
    """

    def __init__(
        self,
        project: str,
        client: KapsoClient,
        dry_run: bool,
        accept_missing: bool = False,
        actor: Any = ACTOR,
    ) -> None:
        self.client = client
        self.dry_run = dry_run
        self.accept_missing = accept_missing
        self.actor = actor
        self.report = SyncReport(project, dry_run)
        self.started = timezone.now()
        self.fingerprint = conf.project(project).key_fingerprint
        self.recognised = {self.fingerprint}
        self.seen_in_dry_run: set[UUID] = set()
        self.elsewhere: Counter[str] = Counter()
        self.left_alive = 0

    def embeds(self) -> InboxEmbedQuerySet:
        """Return all embeds, of every project."""
        return InboxEmbed.objects.for_write()

    def links(self) -> AccessLinkQuerySet:
        """Return the links of this project's embeds, in the order of their primary keys."""
        links = AccessLink.objects.for_write()
        return links.filter(embed__project=self.report.project).order_by("pk")

    def is_proven(self, link: AccessLink) -> bool:
        """Return whether this list is that of the project in which the link was asked for."""
        return link.key_fingerprint in self.recognised

    @property
    def accept_command(self) -> str:
        """Return the command with which an operator confirms that links are gone."""
        return f"kapso_sync --project {self.report.project} --accept-missing"

    def confirmed_time(self) -> datetime | None:
        """Return the time of Kapso's last answer; None, and a problem, if Kapso has another time.

        Kapso is the only witness: what is done by a wrong clock could delete a whole audit trail.
        It is not `started`, which may be from before a jump.
        """
        received = self.client.received
        if received is None:
            return None  # Kapso did not answer: the report already says so
        skew = received.skew or timedelta(0)
        if abs(skew) > _MAX_SKEW:
            code = NoteCode.CLOCK_AHEAD if skew > timedelta(0) else NoteCode.CLOCK_BEHIND
            self.problem(code, hours=abs(skew) // timedelta(hours=1))
            return None
        return as_stored(received.at)

    def leave_undone(self, code: NoteCode, count: int) -> None:
        """Put into the report what a read-only deployment does not do, and to how many links."""
        if count:
            self.report.left_undone.append(Note(code, {"count": count}))

    def problem(self, code: NoteCode, *, error: Exception | None = None, **values: Any) -> None:
        """Log what somebody should look at, in English, and put it into the report.

        Args:
            code: what it is.
            error: the error that it came from, if any.
            values: what its text names besides.
        """
        if error is not None:
            values["error"] = error_value(error)
        note = Note(code, values)
        with translation.override(None):
            logger.warning("Sync of the project %r: %s", self.report.project, note)
        self.report.problems.append(note)


def until_done(write: Callable[[], object]) -> None:
    """Run a write that may be repeated, again if a deadlock ended it.

    Two syncs that write the same rows can deadlock (seen on MariaDB 10.11). The database then ends
    one of the two transactions, and that sync starts it again.

    Args:
        write: the write.

    Raises:
        OperationalError: it failed five times.
    """
    for _ in range(_TRIES - 1):
        try:
            write()
        except OperationalError as error:
            logger.info("A write of the sync is started again: %s", type(error).__name__)
        else:
            return
    write()
