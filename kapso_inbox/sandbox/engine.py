"""The fake Kapso: the Platform API and the embedded inbox, without any transport.

`server` serves it over real HTTP, and `pytest_plugin` through the `responses` library. Where
Kapso's documentation is silent, the sandbox takes the stricter behaviour. Its error bodies have all
the shapes that were seen from Kapso.
"""

from __future__ import annotations

import dataclasses
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from . import embeds as rules
from . import state
from .deliveries import QueuedDelivery
from .delivering import deliver_through
from .endpoints import calls_at
from .inbox import InboxPage, page_for, talk
from .project import SandboxProject
from .seed import Seed, seed_for
from .wire import (
    Answer,
    DroppedConnection,
    Fault,
    JsonDict,
    RecordedRequest,
    RefusedRequestError,
    Request,
)

__all__ = [
    "Answer",
    "DroppedConnection",
    "Fault",
    "InboxPage",
    "RecordedRequest",
    "Request",
    "Sandbox",
    "SandboxProject",
]


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


class Sandbox:
    """A fake Kapso with any number of projects, safe to use from several threads.

    Args:
        clock: returns the current time as an aware datetime.
        rate_limit: how many requests each API key may send in a minute.
        state_file: a file that keeps the embeds and the webhooks when the sandbox restarts.

    Attributes:
        projects: API key -> project.
        requests: all requests so far.
        max_per_page: the most objects on one page; lower it to test that a client follows `meta`.

    Raises:
        ValueError: the state file contains something else, or cannot be read or written.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] = _utc_now,
        rate_limit: int = 1000,
        state_file: Path | None = None,
    ) -> None:
        self.projects: dict[str, SandboxProject] = {}
        self.requests: list[RecordedRequest] = []
        self.rate_limit = rate_limit
        self.max_per_page = 100
        self.clock = clock
        self._lock = threading.RLock()
        self._faults: list[Fault] = []
        self._used: dict[str, tuple[datetime, int]] = {}
        self._state_file = state_file
        self._state = state.open_state(state_file) if state_file else state.SavedState({}, {})

    def add_project(
        self, api_key: str, *, inbox_origin: str = "https://inbox.kapso.ai", seed: bool = True
    ) -> SandboxProject:
        """Add a project and return it.

        Args:
            api_key: the project's API key.
            inbox_origin: the origin of its embed URLs.
            seed: whether to fill it. The first and the second project then have different people
                and conversations.

        Raises:
            ValueError: the key is empty or taken.
        """
        with self._lock:
            if not api_key or api_key in self.projects:
                raise ValueError("each project needs an API key of its own")
            index = len(self.projects)
            project = SandboxProject(
                inbox_origin=inbox_origin,
                seed=lambda: seed_for(index, self.clock()) if seed else Seed("Empty project"),
                clock=lambda: self.clock(),
                lock=self._lock,
                save=self._save,
            )
            name = state.fingerprint(api_key)
            project.embeds.update(self._state.embeds.get(name, {}))
            project.webhooks.records.update(self._state.webhooks.get(name, {}))
            self.projects[api_key] = project
            return project

    def project(self, api_key: str | None = None) -> SandboxProject:
        """Return the project with this API key, or the first one if you pass None.

        Raises:
            KeyError: there is no such project.
        """
        if api_key is not None:
            return self.projects[api_key]
        for project in self.projects.values():
            return project
        raise KeyError("the sandbox has no project")

    def order(self, fault: Fault) -> None:
        """Apply a fault to the next requests that match it. The oldest fault that matches wins."""
        with self._lock:
            self._faults.append(dataclasses.replace(fault))

    def fail_next(self, **fault: Any) -> None:
        """Order a `Fault` with these fields."""
        self.order(Fault(**fault))

    def reset(self) -> None:
        """Restore the seeds, without embeds, faults, recorded requests and a used rate limit."""
        with self._lock:
            for project in self.projects.values():
                project.reset()
            self.requests.clear()
            self._faults.clear()
            self._used.clear()
            self._state = state.SavedState({}, {})
            self._save()

    def handle(self, request: Request, *, sleep: Callable[[float], None] = time.sleep) -> Answer:
        """Return Kapso's answer to a request.

        Args:
            request: the request.
            sleep: called with the seconds of a fault's delay, after the request was processed and
                without holding a lock.

        Raises:
            DroppedConnection: a fault breaks the connection.
            Exception: the `error` of a fault.
        """
        with self._lock:
            self.requests.append(_record(request))
            fault = self._take_fault(request)
        if fault is None:
            return _complete(self._process(request))
        answer = self._process(request) if fault.processes else None
        if fault.delay:
            sleep(fault.delay)
        if fault.error is not None:
            raise fault.error
        answer = fault.answer or answer
        if fault.drop or answer is None:
            raise DroppedConnection
        return _complete(answer)

    def open_inbox(self, token: str, query: Mapping[str, str]) -> InboxPage:
        """Open the embedded inbox, as a browser does when it follows an `embed_url`.

        Returns:
            The page; its status is 401 if the token is unknown, revoked or expired.
        """
        with self._lock:
            project, embed = self._inbox_of(token)
            if project is None or embed is None:
                return InboxPage(401, {})
            project.touch(embed)
            return page_for(project, embed, query)

    def talk(self, token: str, method: str, query: Mapping[str, str], body: bytes) -> Answer:
        """Answer the page of an inbox: what has changed (GET), or what somebody does (POST)."""
        with self._lock:
            project, embed = self._inbox_of(token)
            if project is None or embed is None:
                return Answer(401, {"error": "Unauthorized"})
            try:
                return talk(project, embed, method, query, body)
            except RefusedRequestError as error:
                return error.answer

    def _inbox_of(self, token: str) -> tuple[SandboxProject, JsonDict] | tuple[None, None]:
        for project in self.projects.values():
            embed = project.find_token(token)
            if embed is not None:
                is_open = embed["status"] == "active" and not rules.has_expired(embed, self.clock())
                return (project, embed) if is_open else (None, None)
        return None, None

    def due_deliveries(self) -> list[tuple[SandboxProject, QueuedDelivery]]:
        """Return what is to be sent to webhooks now, and hold it for under way.

        Send each and tell `project.webhooks.outbox.answered`.
        """
        with self._lock:
            return [
                (project, delivery)
                for project in self.projects.values()
                for delivery in project.webhooks.outbox.due()
            ]

    def deliver(self, client: Any) -> list[Any]:
        """Post everything that waits for webhooks through Django's test client, each once.

        Batches are closed and nobody waits for the time of a retry: what is not answered with 200
        is tried again by the next call.

        Args:
            client: a `django.test.Client`. The address of a webhook decides the path alone.

        Returns:
            The responses in the order of the deliveries.
        """
        return deliver_through(client, list(self.projects.values()))

    def _take_fault(self, request: Request) -> Fault | None:
        for fault in self._faults:
            fits = not fault.method or fault.method.upper() == request.method.upper()
            if fits and re.search(fault.path, request.path):
                fault.times -= 1
                if fault.times <= 0:
                    self._faults.remove(fault)
                return fault
        return None

    def _process(self, request: Request) -> Answer:
        with self._lock:
            try:
                api_key = request.header("X-API-Key")
                project = self.projects.get(api_key)
                if project is None:
                    raise RefusedRequestError(401, {"error": "Invalid or missing API key"})
                limits = self._count(api_key)
                answer = self._route(project, request)
            except RefusedRequestError as error:
                return error.answer
            return dataclasses.replace(answer, headers={**limits, **answer.headers})

    def _count(self, api_key: str) -> dict[str, str]:
        minute = self.clock().replace(second=0, microsecond=0)
        since, used = self._used.get(api_key, (minute, 0))
        if since != minute:
            used = 0
        remaining = self.rate_limit - used - 1
        limits = {
            "X-RateLimit-Limit": str(self.rate_limit),
            "X-RateLimit-Remaining": str(max(remaining, 0)),
        }
        if remaining < 0:
            body = {"error": {"message": "Rate limit exceeded", "code": "rate_limited"}}
            raise RefusedRequestError(429, body, {**limits, "Retry-After": "60"})
        self._used[api_key] = (minute, used + 1)
        return limits

    def _route(self, project: SandboxProject, request: Request) -> Answer:
        calls = calls_at("/" + request.path.strip("/"))
        if not calls:
            raise RefusedRequestError(404, {"message": "Not found"})
        call = calls.get(request.method.upper())
        if call is None:
            raise RefusedRequestError(
                405, {"message": "Method not allowed"}, {"Allow": ", ".join(calls)}
            )
        return call(project, request, self.max_per_page)

    def _save(self) -> None:
        if self._state_file is None:
            return
        for api_key, project in self.projects.items():
            name = state.fingerprint(api_key)
            self._state.embeds[name] = project.embeds
            self._state.webhooks[name] = project.webhooks.records
        state.write_state(self._state_file, self._state)


def _record(request: Request) -> RecordedRequest:
    try:
        body = request.json()
    except ValueError:
        body = None
    return RecordedRequest(request.method.upper(), request.path, dict(request.query), body)


def _complete(answer: Answer) -> Answer:
    own = {"Content-Type": answer.media_type} if answer.body is not None else {}
    headers = {"X-Request-Id": str(uuid.uuid4()), **own, **answer.headers}
    return dataclasses.replace(answer, headers=headers)
