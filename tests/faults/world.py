"""A CRM and its Kapso of which every edge can fail on order, and the truth about both.

The edges are where this process ends: the transport and the database. Nothing of ours is replaced;
what breaks is what really can.
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
from tests.hosts.database import connection

State = AccessLink.State

OTHER_KEY = "key-of-another-project-0123456789"
OTHER_ENCRYPTION = {"other": "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8"}

#: What the invariants say when they do not hold.
UNACCOUNTED = "lives at Kapso, and not exactly one row here says so"
TWO_OF_ONE = "two embeds live at Kapso for one link: it was sent twice"
TWO_LIVE = "an inbox has two links that live"
NOT_TAKEN_BACK = "lives at Kapso, its making is over, and neither its row nor the log says so"
STOPPED = "an inbox that worked does not work any more"

_HEALING_ROUNDS = 8
_TABLES = (
    "kapso_inbox_launchattempt",
    "kapso_inbox_inboxchange",
    "kapso_inbox_accesslink",
    "kapso_inbox_inboxembed_groups",
    "kapso_inbox_inboxembed",
)


class ProcessDied(BaseException):
    """The process is no more. No handler of an application catches it, and nothing follows it."""


@dataclass(frozen=True)
class Trouble:
    """What goes wrong during one action; by default nothing.

    A step is a request, a commit of something, or a write outside of a transaction.

    Attributes:
        fault: of the sandbox, for the request `at`.
        change: makes another answer of the one that Kapso gave to the request `at`.
        dies: the process dies before this step, counted from 0.
        database: what befalls the step of the database that is `due`: `fails` (it is not done),
            `lost` (it is done, and its answer is lost), `down` (not done, nor anything after it).
        due: says of the steps before one of the database whether it is the one.
        at: which request: its method, or its number from 0 on.
    """

    fault: Fault | None = None
    change: Callable[[Answer], Answer] | None = None
    dies: int | None = None
    database: str = ""
    due: Callable[[Sequence[str]], bool] = lambda before: True
    at: str | int = 0


@dataclass
class Log(logging.Handler):
    """Every line that was logged, with its traceback, as an operator would read it."""

    lines: list[str] = field(default_factory=list)
    critical: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def __hash__(self) -> int:
        return id(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        line = self.format(record)
        self.lines.append(line)
        if record.levelno >= logging.CRITICAL:
            self.critical.append(line)


class Row(NamedTuple):
    """What this is about of an access link; `current`: it is its embed's."""

    embed_id: int
    slug: str
    kapso_id: str
    reference: str
    state: str
    sealed_url: str
    key_fingerprint: str
    current: bool

    def is_of(self, embed: dict[str, Any]) -> bool:
        """Say whether this row stands for what lives at Kapso: by its id, or else by its name."""
        if self.kapso_id:
            return bool(self.kapso_id == embed["id"])
        return self.reference == reference_in(embed["name"])


class World:
    """One CRM, two Kapso projects (ours, and that of another key), and what breaks between them.

    Attributes:
        sandbox: both projects.
        log: what was logged since `clean`.
        steps: what the last action did, step by step.
        trouble: what goes wrong in it.
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

    # The beginning and the end of all things

    def clean(self) -> None:
        """Forget everything: rows, embeds at Kapso, what was logged."""
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
        """Configure this API key; without one, our own."""
        self._config["API_KEY"] = key or self._own["API_KEY"]

    def use_encryption(self, keys: dict[str, str] | None = None) -> None:
        """Configure these encryption keys; without any, our own."""
        self._config["ENCRYPTION_KEYS"] = keys or self._own["ENCRYPTION_KEYS"]

    def pass_time(self, delta: timedelta) -> None:
        """Let time go by: all that is dated moves into the past, here and at Kapso."""
        for model, names in (
            (AccessLink, ("created_at", "state_changed_at", "absent_at", "checked_at", "seen_at")),
            (InboxEmbed, ("created_at", "updated_at", "expires_at")),
        ):
            model._default_manager.update(**{name: F(name) - delta for name in names})
        for project in self.sandbox.projects.values():
            for embed in project.embeds.values():
                if embed["expires_at"]:
                    embed["expires_at"] = to_iso(from_iso(embed["expires_at"]) - delta)

    # What goes wrong

    @contextmanager
    def trouble_with(self, trouble: Trouble) -> Iterator[None]:
        """Let this go wrong in the block; after it the database is up and the process restarted."""
        self.trouble = trouble
        self.steps = []
        self._requests = 0
        self._fired = self._wrote = False
        try:
            yield
        finally:
            self.trouble = Trouble()
            if self._dead or self._down:
                self._dead = self._down = False
                connection.close()

    def _step(self, name: str, do: Callable[[], Any]) -> Any:
        """Take one step of the database, or not."""
        self._live_or_die()
        before = tuple(self.steps)
        self.steps.append(name)
        trouble = self.trouble
        if trouble.database and not self._fired and trouble.due(before):
            self._fired = True
            self._down = trouble.database == "down"
            if trouble.database == "lost":
                do()
            raise OperationalError("the database is gone")
        return do()

    def _live_or_die(self) -> None:
        if self._dead or self.trouble.dies == len(self.steps):
            self._dead = True
            # What a server does with the transaction of a client that is gone. (Django would have
            # SQLite commit it on its way out.)
            if connection.connection is not None:
                self._rolls_back()
            raise ProcessDied

    def execute(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        """Stand before the database: every statement comes through here."""
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
        """Stand before the database: every commit comes through here."""
        if self._wrote:
            self._wrote = False
            self._step("commit", self._commits)
        else:
            self._commits()

    def roll_back(self) -> None:
        """Stand before the database: every rollback comes through here."""
        self._wrote = False
        self._rolls_back()

    def handle(self, request: Request, **options: Any) -> Answer:
        """Stand before Kapso: every request comes through here."""
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

    # Healing

    def heal(self) -> list[SyncReport]:
        """Run the sync, as cron does, until nothing waits any more."""
        reports: list[SyncReport] = []
        while len(reports) < _HEALING_ROUNDS:
            self.pass_time(timedelta(minutes=6))
            reports.append(sync_project())
            if not self.waits():
                return reports
        raise AssertionError(f"nothing settles {self.waits()}: {reports[-1].problems}")

    def waits(self) -> list[Row]:
        """Return the links that are not settled, and could be under the API key of now."""
        fingerprint = conf.project().key_fingerprint
        waiting = (State.CREATING, State.UNKNOWN, State.REVOKING)
        return [
            link
            for link in self.links()
            if link.state in waiting and link.key_fingerprint == fingerprint
        ]

    # The truth

    def lives(self) -> list[dict[str, Any]]:
        """Return what is active at Kapso and bears a reference, in both projects."""
        return [
            embed
            for project in self.sandbox.projects.values()
            for embed in project.active_embeds()
            if reference_in(embed["name"])
        ]

    def links(self) -> list[Row]:
        """Return all links, the oldest first: without the ORM, as this is asked after each step."""
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
        """Make sure that what lives at Kapso is in exactly one row that says so, or in the log.

        Raises:
            AssertionError: it is not, or a row that is over holds a secret, or a link is doubled.
        """
        self.check_rows()
        links = self.links()
        for embed in self.lives():
            reference = reference_in(embed["name"])
            said = [link for link in links if link.is_of(embed) and link.state in AccessLink.LIVE]
            logged = any(embed["id"] in line and reference in line for line in self.log.critical)
            assert len(said) == 1 or logged, f"#ki-{reference} {UNACCOUNTED}: {links}"

    def check_rows(self) -> None:
        """Make sure of what has to hold at every instant, whatever goes wrong.

        Raises:
            AssertionError: it does not.
        """
        links = self.links()
        active = [link.embed_id for link in links if link.state == State.ACTIVE]
        assert len(set(active)) == len(active), TWO_LIVE
        for link in links:
            may_hold = link.state in (State.ACTIVE, State.SECRET_LOST)
            assert may_hold or not link.sealed_url, f"{link.state}, and it holds a secret"
        known = {link.kapso_id for link in links} | {link.reference for link in links}
        references = []
        for embed in self.lives():
            reference = reference_in(embed["name"])
            assert {embed["id"], reference} & known, f"#ki-{reference} {UNACCOUNTED}: no row at all"
            references.append(reference)
        assert len(set(references)) == len(references), TWO_OF_ONE

    def check_no_secret_is_told(self) -> None:
        """Make sure that no log line holds a token or a key.

        Raises:
            AssertionError: one does.
        """
        secrets = [OTHER_KEY, self._own["API_KEY"], *self._own["ENCRYPTION_KEYS"].values()]
        for project in self.sandbox.projects.values():
            secrets += [embed["token"] for embed in project.embeds.values()]
        told = "\n".join(self.log.lines)
        assert not [secret for secret in secrets if secret in told], "a secret stands in the log"


@contextmanager
def world(level: int = logging.DEBUG) -> Iterator[World]:
    """Yield a world on the configured database, which has to be there and free of our rows.

    Args:
        level: from which level on log lines are kept.
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
        # Formatting each line a second time, for pytest, is a good part of the time this takes.
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
