"""Several real processes of one CRM that share a database and a Kapso."""

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

#: Seconds after which a silent process counts as deadlocked. No action takes that long.
PATIENCE = 30

FORKSERVER = multiprocessing.get_context("forkserver")
State = AccessLink.State
Step = tuple[Any, ...]
Outcome = dict[str, Any]


class Running:
    """A started process."""

    def __init__(self, *arguments: Any) -> None:
        self._child, theirs = FORKSERVER.Pipe()
        self.process = FORKSERVER.Process(target=worker.run, args=(theirs, *arguments))
        self.process.start()
        theirs.close()

    def wait_for(self, word: str) -> None:
        """Wait until the process says that word."""
        said = self._hear()
        assert said == word, said

    def go_on(self) -> None:
        """Let the process continue from where it waits."""
        self._child.send("go on")

    def outcomes(self) -> list[Outcome]:
        """Return the outcome of each step, as in `worker.outcome_of`."""
        outcomes = self._hear()
        assert isinstance(outcomes, list), outcomes
        self.process.join(PATIENCE)
        assert self.process.exitcode == 0
        return outcomes

    def end(self) -> tuple[int | None, Any]:
        """Wait until the process ends; return its exit status and its last words, if any."""
        try:
            said = self._hear()
        except EOFError:
            said = None
        self.process.join(PATIENCE)
        return self.process.exitcode, said

    def stop(self) -> None:
        """Kill the process if it still runs."""
        self.process.kill()
        self.process.join()
        self.process.close()
        self._child.close()

    def _hear(self) -> Any:
        assert self._child.poll(PATIENCE), "the process says nothing"
        return self._child.recv()


@dataclass
class Deployment:
    """The processes of one CRM. The test's own process uses the shared database, too.

    Attributes:
        sandbox: the Kapso that all processes talk to, over real HTTP.
        kapso_inbox: the KAPSO_INBOX setting of the processes that are started next.
        started: the processes that were started.
    """

    sandbox: Sandbox
    kapso_inbox: dict[str, Any]
    started: list[Running] = field(default_factory=list)

    def at_once(self, *jobs: Sequence[Step]) -> list[list[Outcome]]:
        """Run one process for each job, all starting at the same moment.

        Args:
            jobs: the steps of each process. A step is the name of an action in `worker`, and its
                arguments.

        Returns:
            The outcomes of the steps of each process.
        """
        running = [self._start(steps) for steps in jobs]
        for one in running:
            one.wait_for("ready")
        for one in running:
            one.go_on()
        return [one.outcomes() for one in running]

    def begin(self, *steps: Step) -> Running:
        """Start one process and let it run."""
        one = self._start(steps)
        one.wait_for("ready")
        one.go_on()
        return one

    def paused(self, *steps: Step, at: str) -> Running:
        """Start one process that pauses at a moment (see `worker.act_at`) until `go_on`."""
        one = self._start(steps, at, "pause")
        one.wait_for("ready")
        one.go_on()
        one.wait_for("paused")
        return one

    def killed(self, *steps: Step, at: str) -> None:
        """Run one process that is killed (SIGKILL) at a moment (see `worker.act_at`)."""
        one = self._start(steps, at, "die")
        one.wait_for("ready")
        one.go_on()
        status, said = one.end()
        assert status == -signal.SIGKILL, f"the process never reached {at!r}: {said}"

    def _start(self, steps: Sequence[Step], moment: str | None = None, then: str = "") -> Running:
        one = Running(steps, self.kapso_inbox, moment, then)
        self.started.append(one)
        return one

    def stop(self) -> None:
        """Kill the processes that still run."""
        for one in self.started:
            one.stop()

    # The state of Kapso and the database

    def posts(self) -> Counter[str]:
        """Count the requests to create an embed, by its name without the reference."""
        asked = [request for request in self.sandbox.requests if request.method == "POST"]
        names = [request.json["inbox_embed"]["name"] for request in asked]
        return Counter(name.rpartition(" #ki-")[0] for name in names)

    def live(self) -> list[dict[str, Any]]:
        """Return the active embeds at Kapso."""
        return list(self.sandbox.project().active_embeds())

    def assert_all_accounted_for(self) -> None:
        """Assert that exactly one row accounts for each live embed of this app at Kapso.

        An embed is this app's if a row has its ID or if its name has a reference.
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
            assert states[0] in AccessLink.LIVE, f"{embed['name']} lives, and its row: {states[0]}"
        active = Counter(row.embed_id for row in rows if row.state == State.ACTIVE)
        assert not active or max(active.values()) == 1, "an embed has two active links"
        stray = AccessLink.objects.filter(state=State.ACTIVE).exclude(embed__current_link=F("pk"))
        assert not stray.exists(), "an active link is not the current link of its embed"

    def assert_what_is_active_lives(self) -> None:
        """Assert that each active link lives at Kapso, unless it was revoked at Kapso itself."""
        ids = {embed["id"] for embed in self.live()}
        active = AccessLink.objects.filter(state=State.ACTIVE)
        assert {link.kapso_id for link in active} <= ids


def minutes_pass(minutes: int) -> None:
    """Let time pass, by moving the dates of the links into the past."""
    step = timedelta(minutes=minutes)
    AccessLink.objects.update(state_changed_at=F("state_changed_at") - step)
    AccessLink.objects.exclude(absent_at=None).update(absent_at=F("absent_at") - step)


def environment_of(database_url: str) -> dict[str, str]:
    """Return the environment variables of processes that use that database."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COV_")}
    return {**inherited, "DATABASE_URL": database_url, "PYTHONWARNINGS": "error"}


def start_forkserver(environment: Mapping[str, str]) -> None:
    """Start the process from which all others are forked. It ends with this process."""
    FORKSERVER.set_forkserver_preload(["tests.processes.prepared"])
    with patch.dict(os.environ, environment, clear=True):
        multiprocessing.forkserver.ensure_running()
