"""What each process of the soak runs: random actions, one after the other, until it is killed."""

from __future__ import annotations

import logging
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import DatabaseError, InterfaceError, close_old_connections
from django.test import RequestFactory

from kapso_inbox import lifecycle
from kapso_inbox.inbox import launch
from kapso_inbox.inbox.launch import LaunchRefusedError
from kapso_inbox.kapso import KapsoError
from kapso_inbox.lifecycle import LifecycleError
from kapso_inbox.models import InboxEmbed
from kapso_inbox.sync import sync_project
from tests.hosts.clock import clock_ahead
from tests.hosts.database import connection
from tests.hosts.people import User
from tests.processes.prepared import prepare

#: The exceptions that the actions document. Any other is a bug.
DOCUMENTED = (
    DatabaseError,
    InterfaceError,  # a connection that was cut
    KapsoError,
    LaunchRefusedError,
    LifecycleError,
    ObjectDoesNotExist,
    ValidationError,
)

#: Time runs this many times as fast, so that what takes minutes happens in seconds.
SPEED = 20

#: How often each action is taken.
ACTIONS = {
    "create": 10,
    "ensure": 16,
    "update": 10,
    "rotate": 18,
    "revoke": 5,
    "delete": 3,
    "refresh": 6,
    "resolve": 8,
    "launch": 16,
    "sync": 5,
}

#: How far a clock jumps. No further back than the audit trail is kept, or it would be pruned.
JUMPS = (
    timedelta(hours=1),
    timedelta(days=1),
    timedelta(days=400),
    -timedelta(hours=1),
    -timedelta(days=300),
)


@dataclass(frozen=True)
class Job:
    """What one process is told.

    Attributes:
        seed: of its random numbers.
        name: its name, the beginning of the name of each of its actions.
        port: where its database is.
        kapso_inbox: its KAPSO_INBOX setting.
        log: the file that it logs to.
        began: when the soak began (`time.time`).
        shared: the slugs that every worker uses.
        own: the slugs that only this worker uses, one process at a time.
        jumps: whether its clock jumps.
        scope_id: a customer of the project.
    """

    seed: str
    name: str
    port: int
    kapso_inbox: dict[str, Any]
    log: str
    began: float
    shared: tuple[str, ...]
    own: tuple[str, ...]
    jumps: bool
    scope_id: str


@dataclass
class Event:
    """One action, as its process tells it.

    Attributes:
        actor: its name, which the audit trail has, too.
        action: what was done.
        slug: to which embed; "" for a sync.
        jump: how far the clock had jumped.
        began: when it began (`time.time`).
        ended: when it ended; None if the process never told.
        error: the class of the exception; "" if it succeeded.
        documented: whether its documentation mentions that exception.
        text: the message of the exception.
        told: what the caller was told. Never print it: an address may be in it.
    """

    actor: str
    action: str
    slug: str
    jump: timedelta
    began: float
    ended: float | None = None
    error: str = ""
    documented: bool = True
    text: str = ""
    told: dict[str, Any] = field(default_factory=dict, repr=False)


def run(parent: Connection, job: Job) -> None:
    """Take random actions until the parent says "stop" or kills this process."""
    prepare(job.kapso_inbox)
    _log_to(job.log)
    connection.settings_dict.update(HOST="127.0.0.1", PORT=job.port)
    connection.settings_dict["OPTIONS"] = {
        **connection.settings_dict["OPTIONS"],
        "application_name": f"soak {job.name[1:].partition('.')[0]}",
        "connect_timeout": 5,
        "gssencmode": "disable",
        "sslmode": "disable",
    }
    worker = _Worker(parent, job)
    with clock_ahead(worker.ahead):
        while worker.act():
            pass


def _log_to(path: str) -> None:
    """Write all that this process logs and prints to a file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, sys.stdout.fileno())
    os.dup2(descriptor, sys.stderr.fileno())
    logging.basicConfig(level=logging.DEBUG, force=True)


class _Worker:
    def __init__(self, parent: Connection, job: Job) -> None:
        self._parent, self._job = parent, job
        self._random = random.Random(job.seed)
        self._number = 0
        self._jump = timedelta(0)

    def ahead(self) -> timedelta:
        """Return how far this process's clock is ahead of the real one."""
        return pace(self._job.began) + self._jump

    def act(self) -> bool:
        """Take one action, tell what became of it, and return whether there shall be another."""
        chance = self._random
        self._number += 1
        action = chance.choices([*ACTIONS], [*ACTIONS.values()])[0]
        slug = chance.choice(chance.choice((self._job.shared, self._job.own)))
        self._jump = timedelta(0)
        if self._job.jumps and chance.random() < 0.15:
            self._jump = chance.choice(JUMPS)
            if chance.random() < 0.3:
                threading.Timer(chance.uniform(0, 0.1), self._set_clock_right).start()
        event = Event(
            actor=f"{self._job.name}.{self._number}",
            action=action,
            slug="" if action == "sync" else slug,
            jump=self._jump,
            began=time.time(),
        )
        self._parent.send(event)
        close_old_connections()  # As between two requests.
        try:
            event.told = _DO[action](self._job, event, chance)
        except Exception as error:
            event.error, event.text = type(error).__name__, str(error)[:150]
            event.documented = isinstance(error, DOCUMENTED)
            if not event.documented:
                logging.getLogger("soak").exception("%s of %s", action, event.actor)
        event.ended = time.time()
        self._parent.send(event)
        if event.error == "OperationalError":
            time.sleep(0.1)  # Nobody repeats at once what failed because the database is down.
        return bool(self._parent.recv() == "go on")

    def _set_clock_right(self) -> None:
        self._jump = timedelta(0)


def pace(began: float) -> timedelta:
    """Return how far a clock is ahead that runs `SPEED` times as fast since then."""
    return timedelta(seconds=(time.time() - began) * (SPEED - 1))


def _embed(event: Event) -> InboxEmbed:
    return InboxEmbed.objects.get(slug=event.slug)


def _link_of(embed: InboxEmbed) -> dict[str, Any]:
    link = embed.current_link
    return {"link": link.kapso_id, "state": link.state} if link else {"link": "", "state": ""}


def is_narrow(slug: str) -> bool:
    """Return whether an embed shows only one customer: one in two does."""
    return int(slug[-1]) % 2 == 1


def _scope(job: Job, slug: str) -> dict[str, Any]:
    return {"scope_type": "customer", "scope_id": job.scope_id} if is_narrow(slug) else {}


def _create(job: Job, event: Event, chance: random.Random) -> dict[str, Any]:
    return _link_of(
        lifecycle.create_embed(
            slug=event.slug,
            name=event.slug,
            actor=event.actor,
            allowed_origins=["https://crm.example.com"],
            **_scope(job, event.slug),
        )
    )


def _ensure(job: Job, event: Event, chance: random.Random) -> dict[str, Any]:
    return _link_of(
        lifecycle.ensure_embed(
            event.slug,
            actor=event.actor,
            allowed_origins=["https://crm.example.com"],
            **_scope(job, event.slug),
        )
    )


def _update(job: Job, event: Event, chance: random.Random) -> dict[str, Any]:
    name = f"{event.slug} of {event.actor}"
    embed = lifecycle.update_embed(_embed(event), name=name, actor=event.actor)
    return {"name": name, **_link_of(embed)}


def _rotate(job: Job, event: Event, chance: random.Random) -> dict[str, Any]:
    return _link_of(lifecycle.rotate_embed(_embed(event), actor=event.actor))


def _revoke(job: Job, event: Event, chance: random.Random) -> dict[str, Any]:
    return _link_of(lifecycle.revoke_embed(_embed(event), actor=event.actor))


def _delete(job: Job, event: Event, chance: random.Random) -> dict[str, Any]:
    lifecycle.delete_embed(_embed(event), actor=event.actor)
    return {}


def _refresh(job: Job, event: Event, chance: random.Random) -> dict[str, Any]:
    return _link_of(lifecycle.refresh_embed(_embed(event), actor=event.actor))


def _resolve(job: Job, event: Event, chance: random.Random) -> dict[str, Any]:
    return _link_of(lifecycle.resolve_embed(_embed(event), actor=event.actor))


def _launch(job: Job, event: Event, chance: random.Random) -> dict[str, Any]:
    request = RequestFactory().get("/")
    request.user = User.objects.get()
    return {"url": str(launch.open_inbox(request, event.slug, {}))}


def _sync(job: Job, event: Event, chance: random.Random) -> dict[str, Any]:
    return {"problems": sync_project(patience=2).in_words()["problems"]}


_DO: dict[str, Callable[[Job, Event, random.Random], dict[str, Any]]] = {
    "create": _create,
    "ensure": _ensure,
    "update": _update,
    "rotate": _rotate,
    "revoke": _revoke,
    "delete": _delete,
    "refresh": _refresh,
    "resolve": _resolve,
    "launch": _launch,
    "sync": _sync,
}
