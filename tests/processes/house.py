"""Several real processes of one CRM, with a database and a Kapso that they share."""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from django.db.models import F

from kapso_inbox.models import AccessLink, reference_in
from kapso_inbox.sandbox.engine import Sandbox

from . import worker

ROOT = Path(__file__).resolve().parents[2]

#: No action takes as long; what does is a deadlock.
PATIENCE = 30

FORKSERVER = multiprocessing.get_context("forkserver")
State = AccessLink.State
Step = tuple[Any, ...]
Outcome = dict[str, Any]


class Running:
    """A process that was started."""

    def __init__(self, *arguments: Any) -> None:
        self._child, theirs = FORKSERVER.Pipe()
        self.process = FORKSERVER.Process(target=worker.run, args=(theirs, *arguments))
        self.process.start()
        theirs.close()

    def wait_for(self, word: str) -> None:
        """Wait until it says that."""
        said = self._hear()
        assert said == word, said

    def go_on(self) -> None:
        """Let it go on from where it waits."""
        self._child.send("go on")

    def outcomes(self) -> list[Outcome]:
        """Return how each of its steps ended, as `worker` says it."""
        outcomes = self._hear()
        assert isinstance(outcomes, list), outcomes
        self.process.join(PATIENCE)
        assert self.process.exitcode == 0
        return outcomes

    def end(self) -> tuple[int | None, Any]:
        """Wait for its end; return its status, and what it said last: None where nothing."""
        try:
            said = self._hear()
        except EOFError:
            said = None
        self.process.join(PATIENCE)
        return self.process.exitcode, said

    def stop(self) -> None:
        """End it, if it still runs."""
        self.process.kill()
        self.process.join()
        self.process.close()
        self._child.close()

    def _hear(self) -> Any:
        assert self._child.poll(PATIENCE), "it says nothing"
        return self._child.recv()


@dataclass
class House:
    """What a test sees of it. In its own process Django's default database is the shared one.

    Attributes:
        sandbox: the Kapso that all of them talk to, over real HTTP.
        kapso_inbox: the setting of the processes that are started from now on.
    """

    sandbox: Sandbox
    kapso_inbox: dict[str, Any]
    started: list[Running] = field(default_factory=list)

    def at_once(self, *jobs: Sequence[Step]) -> list[list[Outcome]]:
        """Run one process for each job, all beginning at the same moment.

        Args:
            jobs: the steps of each process: the name of an action in `worker`, and its arguments.

        Returns:
            For each process the outcomes of its steps.
        """
        running = [self._start(steps) for steps in jobs]
        for one in running:
            one.wait_for("ready")
        for one in running:
            one.go_on()
        return [one.outcomes() for one in running]

    def begin(self, *steps: Step) -> Running:
        """Start one process, and let it go."""
        one = self._start(steps)
        one.wait_for("ready")
        one.go_on()
        return one

    def paused(self, *steps: Step, at: str) -> Running:
        """Start one process that waits at a moment, as `worker` names them, to be let go on."""
        one = self._start(steps, at, "pause")
        one.wait_for("ready")
        one.go_on()
        one.wait_for("paused")
        return one

    def killed(self, *steps: Step, at: str) -> None:
        """Run one process that is killed (SIGKILL) at a moment, as `worker` names them."""
        one = self._start(steps, at, "die")
        one.wait_for("ready")
        one.go_on()
        status, said = one.end()
        assert status == -signal.SIGKILL, f"it never came to that: {said}"

    def _start(self, steps: Sequence[Step], moment: str | None = None, then: str = "") -> Running:
        one = Running(steps, self.kapso_inbox, moment, then)
        self.started.append(one)
        return one

    def stop(self) -> None:
        """End what still runs."""
        for one in self.started:
            one.stop()

    # What is true of Kapso and the database

    def posts(self) -> Counter[str]:
        """How many embeds were asked for, by their name without the reference."""
        asked = [request for request in self.sandbox.requests if request.method == "POST"]
        names = [request.json["inbox_embed"]["name"] for request in asked]
        return Counter(name.rpartition(" #ki-")[0] for name in names)

    def live(self) -> list[dict[str, Any]]:
        """What works at Kapso."""
        return list(self.sandbox.project().active_embeds())

    def assert_all_accounted_for(self) -> None:
        """Whatever of ours lives at Kapso has exactly one row that says so.

        Ours is what a row knows by its id, and what bears a reference.
        """
        rows = list(AccessLink.objects.all())
        known = {row.kapso_id for row in rows}
        for embed in self.live():
            reference = reference_in(embed["name"])
            if not reference and embed["id"] not in known:
                continue
            states = [
                row.state
                for row in rows
                if (row.kapso_id == embed["id"] if row.kapso_id else row.reference == reference)
            ]
            assert len(states) == 1, f"{embed['name']} has {len(states)} rows"
            assert states[0] in AccessLink.LIVE, f"{embed['name']} lives, and is said {states[0]}"
        active = Counter(row.embed_id for row in rows if row.state == State.ACTIVE)
        assert not active or max(active.values()) == 1, "an embed has two active links"
        stray = AccessLink.objects.filter(state=State.ACTIVE).exclude(embed__current_link=F("pk"))
        assert not stray.exists(), "an active link is nobody's current one"

    def assert_what_is_active_lives(self) -> None:
        """No row says `active` of what does not work: true unless Kapso ended it by itself."""
        ids = {embed["id"] for embed in self.live()}
        active = AccessLink.objects.filter(state=State.ACTIVE)
        assert {link.kapso_id for link in active} <= ids


def minutes_pass(minutes: int) -> None:
    """Make all that happened to the links that much older."""
    step = timedelta(minutes=minutes)
    AccessLink.objects.update(state_changed_at=F("state_changed_at") - step)
    AccessLink.objects.exclude(absent_at=None).update(absent_at=F("absent_at") - step)


def environment_of(database_url: str) -> dict[str, str]:
    """Return the environment of processes on that database."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COV_")}
    return {**inherited, "DATABASE_URL": database_url, "PYTHONWARNINGS": "error"}


def start_forkserver(environment: Mapping[str, str]) -> None:
    """Start the process that all others are forked from; it ends with this one."""
    FORKSERVER.set_forkserver_preload(["tests.processes.prepared"])
    with patch.dict(os.environ, environment, clear=True):
        multiprocessing.forkserver.ensure_running()
