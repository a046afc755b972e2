"""Send what is due to the webhooks, over HTTP and from threads of its own."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import requests
from urllib3.exceptions import HTTPError

from .deliveries import QueuedDelivery
from .engine import Sandbox
from .project import SandboxProject

#: Seconds to connect, and to wait for an answer. Kapso waits for ten.
_TIMEOUT = (3.0, 10.0)
_POLL = 0.05
#: How many deliveries are sent at the same time.
_AT_ONCE = 16
#: Seconds between two events of a busy sandbox.
_BUSY = (2.0, 6.0)
_ARRIVES_AFTER = timedelta(seconds=1)


class Courier:
    """Posts what is due, follows no redirect, and lets messages of the business arrive.

    Args:
        sandbox: the sandbox.
        busy: whether customers write by themselves every few seconds.
        log: receives a line for each delivery, without the address.
    """

    def __init__(
        self, sandbox: Sandbox, *, busy: bool = False, log: Callable[[str], None] | None = None
    ) -> None:
        self._sandbox, self._log = sandbox, log
        self._next_event = time.monotonic() if busy else None
        self._stopped = threading.Event()
        self._free = threading.Semaphore(_AT_ONCE)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start sending."""
        self._thread.start()

    def stop(self) -> None:
        """Stop sending. What is under way is not waited for."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(_POLL):
            for project in list(self._sandbox.projects.values()):
                project.messages_arrive(after=_ARRIVES_AFTER)
            if self._next_event is not None and time.monotonic() >= self._next_event:
                self._next_event = time.monotonic() + random.uniform(*_BUSY)  # noqa: S311
                with suppress(LookupError):  # a project without conversations
                    self._sandbox.project().something_happens()
            for project, delivery in self._sandbox.due_deliveries():
                self._free.acquire()
                # Daemons, so that a receiver that is slow to answer holds up nobody's exit.
                threading.Thread(target=self._send, args=(project, delivery), daemon=True).start()

    def _send(self, project: SandboxProject, delivery: QueuedDelivery) -> None:
        status = 0
        try:
            status = _status_of(delivery)
        finally:
            project.webhooks.outbox.answered(delivery, status)
            self._free.release()
        if self._log:
            self._log(f"webhook {delivery.event} {status or 'no answer'}")


def _status_of(delivery: QueuedDelivery) -> int:
    """Return the status of the answer, or 0 if there is none."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            with session.post(
                delivery.url,
                data=delivery.body,
                headers={"User-Agent": "Kapso-Webhooks", **delivery.headers},
                timeout=_TIMEOUT,
                allow_redirects=False,
                stream=True,
            ) as response:
                return response.status_code
        except (requests.RequestException, HTTPError):
            return 0
