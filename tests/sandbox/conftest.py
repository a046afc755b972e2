"""A sandbox with a clock that tests can move, and a minimal client."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from kapso_inbox.sandbox.engine import Answer, Request, Sandbox, SandboxProject

# If the checkout is not installed, pytest does not know the plugin.
from kapso_inbox.sandbox.pytest_plugin import kapso_sandbox  # noqa: F401

API_KEY = "key-of-the-first"


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 5, 9, 30, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


class Caller:
    """Sends requests directly to the engine."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def __call__(
        self, method: str, path: str, body: Any = None, *, key: str = API_KEY, **query: str
    ) -> tuple[int, Any]:
        answer = self.answer(method, path, body, key=key, **query)
        return answer.status, json.loads(answer.content or b"null")

    def answer(
        self, method: str, path: str, body: Any = None, *, key: str = API_KEY, **query: str
    ) -> Answer:
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body)
        if isinstance(content, str):
            content = content.encode()
        return self.sandbox.handle(Request(method, path, query, {"x-api-key": key}, content))

    def create(self, **settings: Any) -> tuple[int, Any]:
        settings = {"name": "Front desk", "scope_type": "project", **settings}
        return self("POST", "/inbox_embeds", {"inbox_embed": settings})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Sandbox:
    sandbox = Sandbox(clock=clock)
    sandbox.add_project(API_KEY)
    return sandbox


@pytest.fixture
def project(sandbox: Sandbox) -> SandboxProject:
    return sandbox.project()


@pytest.fixture
def call(sandbox: Sandbox) -> Caller:
    return Caller(sandbox)


@pytest.fixture
def created(call: Caller) -> Callable[..., dict[str, Any]]:
    def create(**settings: Any) -> dict[str, Any]:
        status, body = call.create(**settings)
        assert status == 201, body
        data: dict[str, Any] = body["data"]
        return data

    return create
