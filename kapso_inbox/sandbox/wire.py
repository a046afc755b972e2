"""What goes over the wire between a client and the fake Kapso, and how the wire can break."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

JsonDict = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """One request to the Platform API.

    ``path`` is what follows the base URL, such as ``/inbox_embeds/<id>``; ``query`` holds decoded
    values; header names are looked up without regard to case. Headers and body stay out of
    ``repr``: they hold an API key.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    def header(self, name: str) -> str:
        """Return the value of the header ``name``, or an empty string."""
        wanted = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == wanted), "")

    def json(self) -> Any:
        """Return the decoded body, ``None`` where there is none; raises ``ValueError``."""
        return json.loads(self.body) if self.body else None


@dataclass(frozen=True)
class Answer:
    """One answer: a status, a body (a dict or a list is sent as JSON) and headers.

    The body stays out of ``repr``: after a create it holds the secret URL.
    """

    status: int
    body: bytes | str | JsonDict | list[Any] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        """The body as it is sent."""
        if self.body is None:
            return b""
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            return self.body.encode()
        return json.dumps(self.body, ensure_ascii=False).encode()

    @property
    def media_type(self) -> str:
        """The ``Content-Type`` the body has unless ``headers`` say another."""
        if isinstance(self.body, (dict, list)):
            return "application/json; charset=utf-8"
        return "text/html; charset=utf-8"


@dataclass(frozen=True)
class RecordedRequest:
    """What the sandbox received; without headers, so that no API key is kept."""

    method: str
    path: str
    query: Mapping[str, str]
    json: Any


@dataclass
class Fault:
    """Something that goes wrong with the next request that fits.

    * ``answer``: answer this instead of processing the request.
    * ``delay``: seconds that pass before the answer; the work is done before they pass.
    * ``drop``: the connection breaks before or after Kapso has processed the request.
    * ``process``: with ``answer``, process the request first (a 502 after the work was done).
    * ``error``: raise this instead of processing. Means something in tests inside one process; over
      real HTTP the connection is dropped.
    * ``method``, ``path``: only requests with this method, and with this regular expression found
      in their path; empty fits any.
    * ``times``: how many requests it befalls before it is used up.
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
        """Whether Kapso does the work in spite of the fault."""
        if self.error is not None or self.drop == "before":
            return False
        return self.drop == "after" or self.answer is None or self.process


class DroppedConnection(Exception):  # noqa: N818 - an event on the wire, named as one says it
    """The connection broke, and no answer came."""


class Refusal(Exception):  # noqa: N818 - carries an ordinary answer
    """A request that is answered with an error; ``answer`` is that error."""

    def __init__(self, status: int, body: JsonDict, headers: Mapping[str, str] | None = None):
        super().__init__(status)
        self.answer = Answer(status, body, headers or {})
