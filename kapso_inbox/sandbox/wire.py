"""Requests to the fake Kapso, its answers, and the faults that a test can order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kapso_inbox.exceptions import KapsoInboxError

JsonDict = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """One request to the Platform API.

    `repr` shows neither headers nor body: they contain an API key.

    Attributes:
        method: the HTTP method.
        path: the part after the base URL, such as `/inbox_embeds/<id>`.
        query: the parameters, decoded.
        headers: the headers. `header` looks them up regardless of case.
        body: the body as received.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    def header(self, name: str) -> str:
        """Return the value of a header, or an empty string."""
        wanted = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == wanted), "")

    def json(self) -> Any:
        """Return the decoded body, or None if there is none.

        Raises:
            ValueError: the body is not JSON.
        """
        return json.loads(self.body) if self.body else None


@dataclass(frozen=True)
class Answer:
    """One answer.

    `repr` does not show the body: after a creation it contains the secret URL.

    Attributes:
        status: the HTTP status.
        body: the body. A dictionary or a list is sent as JSON.
        headers: more headers, or others than the sandbox's own.
    """

    status: int
    body: bytes | str | JsonDict | list[Any] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        """The bytes of the body."""
        if self.body is None:
            return b""
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            return self.body.encode()
        return json.dumps(self.body, ensure_ascii=False).encode()

    @property
    def media_type(self) -> str:
        """The `Content-Type` of the body unless `headers` has another."""
        if isinstance(self.body, (dict, list)):
            return "application/json; charset=utf-8"
        return "text/html; charset=utf-8"


@dataclass(frozen=True)
class RecordedRequest:
    """A request that the sandbox received, without its headers, so that no API key is kept."""

    method: str
    path: str
    query: Mapping[str, str]
    json: Any


@dataclass
class Fault:
    """Something that goes wrong with the next request that matches.

    Attributes:
        answer: the answer to send instead of processing the request.
        delay: seconds to wait after the request is processed and before it is answered.
        drop: break the connection "before" or "after" Kapso processes the request.
        process: with `answer`, process the request first (a 502 after the work was done).
        error: an exception to raise instead of processing. It only makes sense within one process;
            over real HTTP the connection is dropped.
        method: the method that a request must have; empty matches any.
        path: a regular expression that must be found in a request's path; empty matches any.
        times: how many requests it affects.
    """

    answer: Answer | None = None
    delay: float = 0.0
    drop: Literal["before", "after"] | None = None
    process: bool = False
    error: Exception | None = None
    method: str = ""
    path: str = ""
    times: int = 1

    @property
    def processes(self) -> bool:
        """Whether Kapso processes the request in spite of the fault."""
        if self.error is not None or self.drop == "before":
            return False
        return self.drop == "after" or self.answer is None or self.process


class DroppedConnection(KapsoInboxError):  # noqa: N818 - an event that a test orders
    """The connection broke, and no answer came."""


class RefusedRequestError(KapsoInboxError):
    """The fake Kapso answers a request with an error.

    Attributes:
        answer: that answer.
    """

    def __init__(self, status: int, body: JsonDict, headers: Mapping[str, str] | None = None):
        super().__init__(status)
        self.answer = Answer(status, body, headers or {})
