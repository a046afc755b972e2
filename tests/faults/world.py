"""A CRM and its Kapso, faults on request at the edges between them, and checks of the outcome.

The edges are the transport and the database. No code of the app is replaced: only what can fail in
production fails here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple
from unittest import mock

from django.conf import settings
from django.db import OperationalError
from django.db.models import F
from django.test import override_settings

from kapso_inbox import conf
from kapso_inbox.models import AccessLink, InboxEmbed, reference_in
from kapso_inbox.sandbox.embeds import from_iso, to_iso
from kapso_inbox.sandbox.engine import Answer, Fault, Request, Sandbox
from kapso_inbox.sandbox.interception import intercepted
from kapso_inbox.sync import SyncReport, sync_project
from tests.hosts.clock import clock_off_by
from tests.hosts.database import connection

State = AccessLink.State

OTHER_KEY = "key-of-another-project-0123456789"
OTHER_ENCRYPTION = {"other": "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8"}

#: Messages of the invariants.
UNACCOUNTED = "lives at Kapso, and not exactly one row here accounts for it"
TWO_OF_ONE = "two embeds live at Kapso for one link: the POST was sent twice"
TWO_LIVE = "an embed has two live links"
NOT_TAKEN_BACK = "lives at Kapso, its creation has ended, and neither its row nor the log says so"
FORGOTTEN = "one wrong answer of Kapso's ended a link that works"
STOPPED = "an embed that worked no longer works"

_HEALING_ROUNDS = 8
_TABLES = (
    "kapso_inbox_launchattempt",
    "kapso_inbox_inboxchange",
    "kapso_inbox_accesslink",
    "kapso_inbox_inboxembed_groups",
    "kapso_inbox_inboxembed",
)


class ProcessDied(BaseException):
    """The process has died. No handler of the app catches this, and no more code may run."""


@dataclass(frozen=True)
class Trouble:
    """What goes wrong during one action; by default nothing.

    A step is a request, a commit of changes, or a write outside a transaction.

    Attributes:
        fault: the sandbox's fault for the request `at`.
        change: changes Kapso's answer to the request `at`.
        dies: the step before which the process dies, counted from 0.
        database: what happens to the database step that is `due`: `fails` (it is not done),
            `lost` (it is done, and its answer is lost), `down` (neither it nor any later one is
            done) or `lost, then down`.
        due: given the steps before a database step, returns whether that one is affected.
        at: the method of the affected request, or its number, counted from 0.
        clock: how far our clock is ahead during the action, or behind if this is negative.
    """

    fault: Fault | None = None
    change: Callable[[Answer], Answer] | None = None
    dies: int | None = None
    database: str = ""
    due: Callable[[Sequence[str]], bool] = lambda before: True
    at: str | int = 0
    clock: timedelta = timedelta(0)


@dataclass
class Log(logging.Handler):
    """Every line that was logged, with its traceback, as an operator reads it."""

    lines: list[str] = field(default_factory=list)
    critical: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def __hash__(self) -> int:
        return id(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the formatted line."""
        line = self.format(record)
        self.lines.append(line)
        if record.levelno >= logging.CRITICAL:
            self.critical.append(line)


class Row(NamedTuple):
    """The columns of an access link that the checks need.

    Attributes:
        current: whether it is the current link of its embed.
    """

    embed_id: int
    slug: str
    kapso_id: str
    reference: str
    state: str
    sealed_url: str
    key_fingerprint: str
    current: bool

    def is_of(self, embed: dict[str, Any]) -> bool:
        """Return whether this row accounts for an embed at Kapso.

        It does so by the ID if it has one, and by the reference in the name otherwise.
        """
        if self.kapso_id:
            return bool(self.kapso_id == embed["id"])
        return self.reference == reference_in(embed["name"])


class World:
    """A CRM, two Kapso projects (ours and one with another key), and the faults between them.

    Attributes:
        sandbox: the fake Kapso with both projects.
        log: the lines logged since `clean`.
        steps: the steps of the last action.
        trouble: what goes wrong in the current action.
    """

    def __init__(self, sandbox: Sandbox, config: dict[str, Any], log: Log) -> None:
        self.sandbox = sandbox
        self.log = log
        self.steps: list[str] = []
        self.trouble = Trouble()
        self._config = config
        self._own = {name: config[name] for name in ("API_KEY", "ENCRYPTION_KEYS")}
        self._dead = self._down = self._fired = self._wrote = False
        self._requests = 0
        self._to_kapso = sandbox.handle
        self._commits: Callable[[], None] = connection._commit
        self._rolls_back: Callable[[], None] = connection._rollback

    # Set up and reset

    def clean(self) -> None:
        """Delete all rows, all embeds at Kapso and all log lines."""
        self.use_key()
        self.use_encryption()
        with connection.cursor() as cursor:
            cursor.execute("UPDATE kapso_inbox_inboxembed SET current_link_id = NULL")
            for table in _TABLES:
                cursor.execute(f"DELETE FROM {table}")  # noqa: S608 (our own names)
        for project in self.sandbox.projects.values():
            project.embeds.clear()
        self.sandbox.requests.clear()
        self.log.lines.clear()
        self.log.critical.clear()

    def use_key(self, key: str | None = None) -> None:
        """Configure this API key, by default our own."""
        self._config["API_KEY"] = key or self._own["API_KEY"]

    def use_encryption(self, keys: dict[str, str] | None = None) -> None:
        """Configure these encryption keys, by default our own."""
        self._config["ENCRYPTION_KEYS"] = keys or self._own["ENCRYPTION_KEYS"]

    def pass_time(self, delta: timedelta) -> None:
        """Let time pass, by moving all dates into the past, here and at Kapso."""
        for model, names in (
            (
                AccessLink,
                (
                    "created_at",
                    "state_changed_at",
                    "absent_at",
                    "checked_at",
                    "answered_at",
                    "seen_at",
                ),
            ),
            (InboxEmbed, ("created_at", "updated_at", "expires_at")),
        ):
            model._default_manager.update(**{name: F(name) - delta for name in names})
        for project in self.sandbox.projects.values():
            for embed in project.embeds.values():
                if embed["expires_at"]:
                    embed["expires_at"] = to_iso(from_iso(embed["expires_at"]) - delta)

    # Faults

    @contextmanager
    def forgotten(self) -> Iterator[None]:
        """Let Kapso answer in the block as if it had none of our embeds."""
        embeds = self.sandbox.project().embeds
        kept = dict(embeds)
        embeds.clear()
        try:
            yield
        finally:
            embeds.update(kept)

    @contextmanager
    def trouble_with(self, trouble: Trouble) -> Iterator[None]:
        """Let something go wrong in the block, then restore the database and the process."""
        self.trouble = trouble
        self.steps = []
        self._requests = 0
        self._fired = self._wrote = False
        try:
            with clock_off_by(trouble.clock):
                yield
        finally:
            self.trouble = Trouble()
            if self._dead or self._down:
                self._dead = self._down = False
                connection.close()

    def _step(self, name: str, do: Callable[[], Any]) -> Any:
        """Run one database step, unless it is the one that fails."""
        self._live_or_die()
        before = tuple(self.steps)
        self.steps.append(name)
        trouble = self.trouble
        if trouble.database and not self._fired and trouble.due(before):
            self._fired = True
            self._down = trouble.database.endswith("down")
            if trouble.database.startswith("lost"):
                do()
            raise OperationalError("the database is gone")
        return do()

    def _live_or_die(self) -> None:
        if self._dead or self.trouble.dies == len(self.steps):
            self._dead = True
            # A server rolls back the transaction of a client that is gone. Without this line,
            # Django would have SQLite commit it.
            if connection.connection is not None:
                self._rolls_back()
            raise ProcessDied

    def execute(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        """Pass a statement on to the database, or fail. Every statement comes through here."""
        if self._dead:
            raise ProcessDied
        if self._down:
            raise OperationalError("the database is gone")
        if sql.startswith(("INSERT", "UPDATE", "DELETE")):
            if not connection.in_atomic_block:
                return self._step("write", lambda: execute(sql, params, many, context))
            self._wrote = True
        return execute(sql, params, many, context)

    def commit(self) -> None:
        """Pass a commit on to the database, or fail. Every commit comes through here."""
        if self._wrote:
            self._wrote = False
            self._step("commit", self._commits)
        else:
            self._commits()

    def roll_back(self) -> None:
        """Pass a rollback on to the database. Every rollback comes through here."""
        self._wrote = False
        self._rolls_back()

    def handle(self, request: Request, **options: Any) -> Answer:
        """Pass a request on to Kapso, or fail. Every request comes through here."""
        self._live_or_die()
        self.steps.append(request.method)
        number, self._requests = self._requests, self._requests + 1
        hit = self.trouble.at in (number, request.method)
        if hit and self.trouble.fault is not None:
            self.sandbox.order(self.trouble.fault)
        answer = self._to_kapso(request, **options)
        if hit and self.trouble.change and answer.status < 300:
            return self.trouble.change(answer)
        return answer

    # The sync

    def heal(self) -> list[SyncReport]:
        """Run the sync, as cron does, until no link is unsettled.

        Raises:
            AssertionError: links are still unsettled after eight syncs.
        """
        reports: list[SyncReport] = []
        for number in range(_HEALING_ROUNDS):
            self.pass_time(timedelta(minutes=6))
            reports.append(sync_project())
            if any("So many at once" in str(problem) for problem in reports[-1].problems):
                reports.append(sync_project(accept_missing=True))
            # Two at least: what Kapso's list lacks is over only when it lacks it again.
            if number and not self.unsettled():
                return reports
        raise AssertionError(f"nothing settles {self.unsettled()}: {reports[-1].problems}")

    def unsettled(self) -> list[Row]:
        """Return the unsettled links that a sync under the current API key can settle."""
        fingerprint = conf.project().key_fingerprint
        waiting = (State.CREATING, State.UNKNOWN, State.REVOKING)
        return [
            link
            for link in self.links()
            if link.state in waiting and link.key_fingerprint == fingerprint
        ]

    # Checks

    def lives(self) -> list[dict[str, Any]]:
        """Return the active embeds at Kapso, in both projects, whose names have a reference."""
        return [
            embed
            for project in self.sandbox.projects.values()
            for embed in project.active_embeds()
            if reference_in(embed["name"])
        ]

    def links(self) -> list[Row]:
        """Return all links, the oldest first.

        This runs after each step, so it does without the slower ORM.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT link.embed_id, embed.slug, link.kapso_id, link.reference, link.state,"
                " link.sealed_url, link.key_fingerprint, embed.current_link_id = link.id"
                " FROM kapso_inbox_accesslink link"
                " JOIN kapso_inbox_inboxembed embed ON embed.id = link.embed_id"
                " ORDER BY link.created_at"
            )
            return [Row(*row) for row in cursor.fetchall()]

    def states(self) -> list[str]:
        """Return the states of all links, the oldest first."""
        return [link.state for link in self.links()]

    def check_truth(self) -> None:
        """Check that exactly one row, or the log, accounts for each live embed at Kapso.

        Raises:
            AssertionError: none or several do, or one of the invariants of `check_rows` is broken.
        """
        self.check_rows()
        links = self.links()
        for embed in self.lives():
            reference = reference_in(embed["name"])
            said = [link for link in links if link.is_of(embed) and link.state in AccessLink.LIVE]
            logged = any(embed["id"] in line and reference in line for line in self.log.critical)
            assert len(said) == 1 or logged, f"#ki-{reference} {UNACCOUNTED}: {links}"

    def check_rows(self) -> None:
        """Check what must hold at every moment, whatever goes wrong.

        No embed has two active links, no link that is over holds a secret, each live embed at Kapso
        has a row, and no link has two embeds at Kapso.

        Raises:
            AssertionError: one of these is broken.
        """
        links = self.links()
        active = [link.embed_id for link in links if link.state == State.ACTIVE]
        assert len(set(active)) == len(active), TWO_LIVE
        for link in links:
            may_hold = link.state in (State.ACTIVE, State.SECRET_LOST)
            assert may_hold or not link.sealed_url, f"a link is {link.state}, and holds a secret"
        known = {link.kapso_id for link in links} | {link.reference for link in links}
        references = []
        for embed in self.lives():
            reference = reference_in(embed["name"])
            assert {embed["id"], reference} & known, f"#ki-{reference} {UNACCOUNTED}: there is none"
            references.append(reference)
        assert len(set(references)) == len(references), TWO_OF_ONE

    def check_no_secret_is_told(self) -> None:
        """Check that no log line holds a token or a key.

        Raises:
            AssertionError: a line holds one.
        """
        secrets = [OTHER_KEY, self._own["API_KEY"], *self._own["ENCRYPTION_KEYS"].values()]
        for project in self.sandbox.projects.values():
            secrets += [embed["token"] for embed in project.embeds.values()]
        told = "\n".join(self.log.lines)
        assert not [secret for secret in secrets if secret in told], "the log holds a secret"


@contextmanager
def world(level: int = logging.DEBUG) -> Iterator[World]:
    """Yield a world on the configured database, which must have no rows of the app.

    Args:
        level: the lowest level of log lines that are kept.
    """
    logger = logging.getLogger("kapso_inbox")
    config = dict(settings.KAPSO_INBOX)
    log = Log()
    former = logger.level, logger.propagate
    with (
        override_settings(KAPSO_INBOX=config),
        intercepted() as sandbox,
        mock.patch.object(time, "sleep"),
    ):
        sandbox.add_project(OTHER_KEY)
        sandbox.rate_limit = 10**9
        made = World(sandbox, config, log)
        logger.addHandler(log)
        logger.setLevel(level)
        # If pytest formatted each line a second time, that would take a good part of the run.
        logger.propagate = False
        try:
            made.clean()
            with (
                mock.patch.object(sandbox, "handle", made.handle),
                mock.patch.object(connection, "_commit", made.commit),
                mock.patch.object(connection, "_rollback", made.roll_back),
                connection.execute_wrapper(made.execute),
            ):
                yield made
        finally:
            made.clean()
            logger.removeHandler(log)
            logger.setLevel(former[0])
            logger.propagate = former[1]
