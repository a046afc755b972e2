"""The soak itself: starts, kills and restarts the processes, and checks what comes of it."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from django.conf import settings

from kapso_inbox.encryption import generate_key
from kapso_inbox.models import AccessLink
from kapso_inbox.sandbox.server import SandboxServer
from kapso_inbox.sync import sync_project
from tests.hosts.clock import clock_ahead
from tests.hosts.database import connection
from tests.hosts.people import User
from tests.processes.deployment import FORKSERVER

from . import worker
from .checks import BrokenError, check_logs, check_now, check_quiet, check_told, demand
from .kapso import AMNESIA, FAULTS, FaultyKapso
from .proxy import TROUBLES, Proxy
from .worker import ACTIONS, Event, Job

#: Everything that can be left out by name.
KINDS = (*FAULTS, AMNESIA, *TROUBLES, "kill", "terminated connection", "clock jump", "by hand")

KEY = "kapso-key-of-the-soak-0123456789"
SHARED = tuple(f"shared-{number}" for number in range(6))

#: Something that happens now and then -> how many seconds pass between two, on average.
EVERY = {"kill": 0.7, "terminated connection": 1.5, AMNESIA: 15.0, "by hand": 4.0}
_CHECK_EVERY = 0.5
_SAY_EVERY = 5.0
#: Seconds after which a silent process counts as deadlocked.
_PATIENCE = 60
_HEALING_ROUNDS = 10


class _Slot:
    """The place of one worker, whose processes follow each other.

    Attributes:
        life: the number of its process, counted from 1.
        event: the action that its process takes now.
        starts_at: when its next process may start.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.own = tuple(f"own-{number}-{each}" for each in range(2))
        self.life = 0
        self.event: Event | None = None
        self.starts_at = self.heard_at = 0.0
        self.process: Any = None
        self.parent: Any = None

    def start(self, job: Job) -> None:
        """Start the next process."""
        self.parent, theirs = FORKSERVER.Pipe()
        self.process = FORKSERVER.Process(target=worker.run, args=(theirs, job), daemon=True)
        self.process.start()
        theirs.close()
        self.heard_at = time.monotonic()

    def kill(self) -> None:
        """Kill the process (SIGKILL), whatever it does."""
        self.process.kill()
        self.process.join()
        if self.event is not None:
            # What it had sent may still arrive.
            self.event.ended, self.event.error = time.time() + 1, "Killed"
        self.process.close()
        self.parent.close()
        self.process = self.parent = self.event = None


@dataclass
class Soak:
    """One soak on the database of Django's settings.

    Args:
        seed: of all random numbers.
        workers: how many processes run at once.
        server: the host and port of PostgreSQL.
        folder: where the processes log.
        without: the `KINDS` of faults that do not happen.
        say: prints a line.
    """

    seed: int
    workers: int
    server: tuple[str, int]
    folder: Path
    without: Iterable[str] = ()
    say: Callable[[str], None] = print
    events: list[Event] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    by_hand: dict[str, tuple[float, str]] = field(default_factory=dict)
    kills: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kinds = [kind for kind in KINDS if kind not in set(self.without)]
        self.began = time.time()
        self._random = random.Random(self.seed)
        self._later = timedelta(0)
        self.kapso = FaultyKapso(self.kinds, f"{self.seed} kapso", clock=self._now)
        self.kapso.add_project(KEY)
        self.proxy = Proxy(self.server, self.workers, self.kinds, f"{self.seed} proxy")
        self.slots = [_Slot(number) for number in range(self.workers)]
        self.kapso_inbox: dict[str, Any] = {}

    def run(self, seconds: float) -> None:
        """Let everything fail for some seconds, then nothing; check the invariants.

        Raises:
            BrokenError: one does not hold.
        """
        with SandboxServer(self.kapso) as server, clock_ahead(self._ahead):
            self.kapso_inbox = {
                "API_KEY": KEY,
                "BASE_URL": server.base_url,
                "INBOX_ORIGINS": [server.inbox_origin],
                "ENCRYPTION_KEYS": {"soak": generate_key()},
                "TIMEOUT": (1.0, 0.5),
            }
            settings.KAPSO_INBOX = self.kapso_inbox
            User.objects.create_superuser("ana")
            try:
                self._fail_for(seconds)
                self._stop()
            finally:
                for slot in self.slots:
                    if slot.process is not None:
                        slot.kill()
            self._heal()
            check_quiet(self.kapso, self.events, set(self.by_hand))
            keys = [KEY, *self.kapso_inbox["ENCRYPTION_KEYS"].values()]
            check_logs(self.folder, self.kapso, keys)

    # Time

    def _ahead(self) -> timedelta:
        return worker.pace(self.began) + self._later

    def _now(self) -> datetime:
        return datetime.now(timezone.utc) + self._ahead()

    # While everything fails

    def _fail_for(self, seconds: float) -> None:
        self.kapso.failing = self.proxy.failing = True
        until = time.monotonic() + seconds
        due = {name: time.monotonic() + self._pause(name) for name in EVERY if name in self.kinds}
        check_at = say_at = 0.0
        while (now := time.monotonic()) < until:
            for slot in self.slots:
                if slot.process is None and now >= slot.starts_at and self._is_gone(slot):
                    self._start(slot)
            self._listen()
            for name, at in due.items():
                if now >= at:
                    due[name] = now + self._pause(name)
                    self._make_happen(name)
            if now >= check_at:
                check_now(self.kapso)
                self._forget_what_is_over()
                check_at = time.monotonic() + _CHECK_EVERY
            if now >= say_at:
                self.say(self.progress())
                say_at = now + _SAY_EVERY
        self.say(self.progress())

    def _pause(self, name: str) -> float:
        return self._random.expovariate(1 / EVERY[name])

    def _start(self, slot: _Slot) -> None:
        slot.life += 1
        slot.start(
            Job(
                seed=f"{self.seed} {slot.number} {slot.life}",
                name=f"w{slot.number}.{slot.life}",
                port=self.proxy.ports[slot.number],
                kapso_inbox=self.kapso_inbox,
                log=str(self.folder / f"worker-{slot.number}.log"),
                began=self.began,
                shared=SHARED,
                own=slot.own,
                jumps="clock jump" in self.kinds,
                scope_id=self.kapso.project().customers[0]["id"],
            )
        )

    def _is_gone(self, slot: _Slot) -> bool:
        """Return whether nothing that the killed process has begun still goes on."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = %s",
                [f"soak {slot.number}"],
            )
            return bool(cursor.fetchone()[0] == 0)

    def _listen(self) -> None:
        """Hear what the processes tell, and let them go on once it was checked."""
        running = {slot.parent: slot for slot in self.slots if slot.process is not None}
        for parent in wait(list(running), timeout=0.02):
            slot = running[parent]  # type: ignore[index]
            try:
                event: Event = slot.parent.recv()
            except (EOFError, OSError):
                raise BrokenError("I5", f"worker {slot.number} has ended by itself") from None
            slot.heard_at = time.monotonic()
            if event.ended is None:
                slot.event = event
                self.events.append(event)
                self.happened["clock jump"] += bool(event.jump)
                continue
            # What is appended already is the same action, before its end was known.
            begun, slot.event = slot.event, None
            assert begun is not None
            self.events[self.events.index(begun)] = event
            check_told(event, self.kapso, alone=event.slug in slot.own)
            event.told.pop("url", None)
            slot.parent.send("go on")
        for slot in running.values():
            silent = time.monotonic() - slot.heard_at
            demand(silent < _PATIENCE, "I5", f"worker {slot.number} says nothing: {slot.event}")

    def _make_happen(self, name: str) -> None:
        if name == "kill":
            running = [slot for slot in self.slots if slot.process is not None]
            if not running:
                return
            slot = self._random.choice(running)
            self.kills.append((time.time(), f"w{slot.number}.{slot.life} was killed"))
            slot.kill()
            slot.starts_at = time.monotonic() + self._random.uniform(0.1, 0.6)
        elif name == "terminated connection":
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name LIKE 'soak %%'"
                    " ORDER BY random() LIMIT 1"
                )
        elif name == AMNESIA:
            self.kapso.amnesia_until = time.monotonic() + self._random.uniform(0.5, 3)
        else:
            self._act_by_hand()
        self.happened[name] += 1

    def _act_by_hand(self) -> None:
        """Create an embed at Kapso itself, or revoke one that the workers share."""
        project = self.kapso.project()
        if self._random.random() < 0.3:
            project.create({"name": "Created by hand", "scope_type": "project"})
            return
        lives = self.kapso.lives()
        rows = AccessLink.objects.filter(kapso_id__in=lives, embed__slug__in=SHARED)
        ids = sorted(rows.values_list("kapso_id", "embed__slug"))
        if ids:
            key, slug = self._random.choice(ids)
            self.by_hand[key] = time.time(), slug
            project.revoke(key)

    def _forget_what_is_over(self) -> None:
        over = AccessLink.objects.filter(state=AccessLink.State.REVOKED)
        self.kapso.forget_revoked(over.values_list("kapso_id", flat=True))

    # Afterwards

    def _stop(self) -> None:
        """Let each process finish its action, without further faults."""
        self.kapso.failing = self.proxy.failing = False
        until = time.monotonic() + 20
        while any(slot.process for slot in self.slots) and time.monotonic() < until:
            for slot in self.slots:
                if slot.process is not None and slot.event is None:
                    slot.kill()
            self._listen()
        for slot in self.slots:
            demand(slot.process is None, "I5", f"worker {slot.number} does not end: {slot.event}")

    def _heal(self) -> None:
        """Run the sync, as cron does, until nothing is unsettled."""
        unsettled = AccessLink.objects.unsettled()
        for _ in range(_HEALING_ROUNDS):
            self._later += timedelta(minutes=6)
            report = sync_project()
            if report.complete and not unsettled.exists():
                break
        # Once more: what came into the list late must be seen.
        self._later += timedelta(minutes=6)
        sync_project()

    def progress(self) -> str:
        """Return a line that says how much was done so far."""
        ended = [event for event in self.events if event.ended]
        failed = sum(bool(event.error) for event in ended)
        return (
            f"{time.time() - self.began:6.0f} s  {len(self.events)} actions"
            f" ({len(ended) - failed} succeeded, {failed} failed),"
            f" {self.kapso.faults.total()} faults of Kapso,"
            f" {self.proxy.troubles.total()} lost commits, "
            + ", ".join(f"{number} of {name}" for name, number in sorted(self.happened.items()))
        )

    def outcomes(self) -> str:
        """Return a table: each action, how long it took on average, and how it ended how often."""
        rows = []
        for action in ACTIONS:
            ended = [event for event in self.events if event.action == action and event.ended]
            counted = Counter(event.error or "succeeded" for event in ended)
            seconds = [event.ended - event.began for event in ended if event.ended]
            average = sum(seconds) / len(seconds) if seconds else 0
            words = ", ".join(f"{number} {outcome}" for outcome, number in counted.most_common())
            rows.append(f"  {action:8} {average:5.2f} s  {words}")
        return "\n".join(rows)

    # The story of what broke

    def story(self, broken: BrokenError, lines: int = 40) -> str:
        """Return what led to a broken invariant, without anything secret."""
        slug = broken.slug
        told = [f"BROKEN  {broken}", f"the embed: {slug or '(several)'}", ""]
        rows = AccessLink.objects.filter(embed__slug=slug).order_by("created_at")
        for row in rows:
            at_kapso = self.kapso.project().embeds.get(row.kapso_id, {}).get("status", "nothing")
            current = "current, " if row.embed.current_link_id == row.pk else ""
            told.append(
                f"  {row} {row.kapso_id or '-'}: {current}{row.state} ({row.reason})"
                f"; at Kapso: {at_kapso}"
            )
        ids = [row.kapso_id for row in rows if row.kapso_id]
        happened = [*self.kills, *self.proxy.told]
        for at, text in self.kapso.told:
            # Of the requests about one embed, only those about this one.
            path = text.split()[1].rstrip(":")
            if path == "/inbox_embeds" or not slug or any(path.endswith(one) for one in ids):
                happened.append((at, text))
        own = [event for event in self.events if event.slug in (slug, "")]
        for event in own:
            jump = f", its clock off by {event.jump}" if event.jump else ""
            happened.append((event.began, f"{event.actor} {event.action}{jump}: begins"))
            if event.ended:
                end = (
                    f"{event.error} {' '.join(event.text.split())}"
                    if event.error
                    else f"succeeds {event.told}"
                )
                happened.append((event.ended, f"{event.actor} {event.action}: {end}"))
        for key, (at, of_slug) in self.by_hand.items():
            if of_slug == slug:
                happened.append((at, f"{key} was revoked at Kapso by hand"))
        told += ["", "what happened last:"]
        told += [f"  {at - self.began:9.3f}  {text}" for at, text in sorted(happened)[-lines:]]
        return "\n".join(told)
