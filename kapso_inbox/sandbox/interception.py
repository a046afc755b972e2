"""Answer HTTP calls that are made with `requests` from a sandbox instead of the network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timezone
from email.utils import format_datetime
from http.client import RemoteDisconnected
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from urllib3.exceptions import ProtocolError
from urllib3.util import Timeout

from kapso_inbox import conf, lookups

from .engine import DroppedConnection, Request, Sandbox

try:
    import responses
except ModuleNotFoundError as missing:
    if missing.name != "responses":
        raise
    raise ModuleNotFoundError(
        "The sandbox for tests needs the responses library: "
        'pip install "django-kapso-inbox[testing]".',
        name="responses",
    ) from None

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


@contextmanager
def intercepted() -> Iterator[Sandbox]:
    """Yield a sandbox with the projects of `settings.KAPSO_INBOX` that answers their requests.

    `responses` refuses a request to any other address, as with any of its mocks.
    """
    sandbox = Sandbox()
    base_urls = []
    for alias in conf.project_aliases():
        lookups.forget(alias)  # the answers of another test's sandbox
        project = conf.project(alias)
        base_urls.append(project.base_url.rstrip("/"))
        if project.api_key not in sandbox.projects:
            sandbox.add_project(project.api_key, inbox_origin=project.inbox_origins[0])
    # One pattern for all base URLs: of two patterns that match a request, responses drops the first
    # one.
    longest_first = sorted(set(base_urls), key=len, reverse=True)
    pattern = re.compile(rf"(?:{'|'.join(map(re.escape, longest_first))})(/[^?#]*)?(?:[?#].*)?$")

    def answer(request: Any) -> tuple[int, dict[str, str], bytes]:
        return _answer(sandbox, pattern, request)

    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        for method in _METHODS:
            mock.add_callback(method, pattern, callback=answer, content_type=None)
        yield sandbox


def _answer(
    sandbox: Sandbox, pattern: re.Pattern[str], request: Any
) -> tuple[int, dict[str, str], bytes]:
    match = pattern.match(request.url)
    assert match is not None  # noqa: S101 - responses only calls back if it matches
    read_timeout = _read_timeout(request.req_kwargs.get("timeout"))

    def pass_time(seconds: float) -> None:
        if read_timeout is not None and seconds > read_timeout:
            raise requests.exceptions.ReadTimeout(
                f"Read timed out. (read timeout={read_timeout})", request=request
            )

    body = request.body or b""
    try:
        answer = sandbox.handle(
            Request(
                method=request.method,
                path=match[1] or "/",
                query=dict(parse_qsl(urlsplit(request.url).query, keep_blank_values=True)),
                headers=request.headers,
                body=body.encode() if isinstance(body, str) else body,
            ),
            sleep=pass_time,
        )
    except DroppedConnection:
        reason = RemoteDisconnected("Remote end closed connection without response")
        raise requests.exceptions.ConnectionError(
            ProtocolError("Connection aborted.", reason), request=request
        ) from None
    content = b"" if request.method == "HEAD" else answer.content
    # As every HTTP server does.
    date = format_datetime(sandbox.clock().astimezone(timezone.utc), usegmt=True)
    return answer.status, {"Date": date, **answer.headers}, content


def _read_timeout(timeout: Any) -> float | None:
    """Return the read timeout, in seconds, out of a `timeout` of `requests`."""
    if isinstance(timeout, tuple):
        timeout = timeout[1]
    if isinstance(timeout, Timeout):
        timeout = timeout.read_timeout
    return float(timeout) if isinstance(timeout, (int, float)) else None
