"""One HTTP request to Kapso and its answer: how it is sent, and how every failure is named."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests import exceptions
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    MaxRetryError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
)

from kapso_inbox import __version__

from .configuration import checked_api_key, checked_base_url, checked_ca_bundle
from .deadline import DeadlineAdapter, set_deadline
from .errors import KapsoError, RateLimitedError, UncertainError, UnreachableError, error_for

logger = logging.getLogger(__name__)

MAX_BODY = 1024 * 1024
#: How often a GET is tried, the first time included.
TRIES = 3
#: Kapso counts requests by the minute: seconds to wait where a 429 does not say how long.
RATE_WINDOW = 60.0
_RETRY_STATUSES = frozenset({502, 503, 504})
_CHUNK = 64 * 1024

#: A connection pool for each thread (requests.Session is not documented as safe to share).
_pools = threading.local()


class _Session(requests.Session):
    """A session that leaves redirects alone."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """No redirect is ever one.

        Without this, requests prepares the next request even where it may not follow it: it reads
        the whole body, however long, and fails on a Location that it cannot parse (2.34).
        """


@dataclass(frozen=True)
class Answer:
    """A 2xx: its status and its body as JSON, None where it was empty."""

    status: int
    data: Any


@dataclass(frozen=True)
class Received:
    """What the headers of an answer say, whatever its status. What they do not say is None.

    Attributes:
        at: when it arrived, by our clock.
        date: when it was made, by the clock of who made it, to the second.
        rate_limit: how many requests a minute the API key has.
        rate_remaining: how many of them are left.
    """

    at: datetime
    date: datetime | None = None
    rate_limit: int | None = None
    rate_remaining: int | None = None


class Transport:
    """Sends requests to one Kapso project.

    Args:
        api_key: the project's API key.
        base_url: the API's address; https, or http on loopback.
        timeout: seconds to wait for the connection and for each piece of the answer.
        deadline: seconds that a request may take with all its tries.
        patience: seconds that may be slept on rate limits, in all. 0 in a web request, which says
            so at once; a command can wait.
        proxies: as `requests` takes them. None: no proxy, also where the environment names one.
        ca_bundle: path of a file or folder of certificates to trust instead of certifi's.
        tries: how often a GET is tried, the first time included.

    Attributes:
        received: the headers of the last answer; None where the last request got none.

    Raises:
        ConfigurationError: the key, the address or the certificates cannot be used.
    """

    def __init__(
        self,
        api_key: str,
        base_url: str,
        *,
        timeout: tuple[float, float] = (3.05, 10),
        deadline: float = 20,
        patience: float = 0,
        proxies: Mapping[str, str] | None = None,
        ca_bundle: str | os.PathLike[str] | None = None,
        tries: int = TRIES,
    ) -> None:
        self._api_key = checked_api_key(api_key)
        self.base_url = checked_base_url(base_url)
        self.timeout = timeout
        self.deadline = deadline
        self.patience = patience
        self._proxies = dict(proxies or {})
        self._ca_bundle = checked_ca_bundle(ca_bundle)
        self._tries = tries
        self.received: Received | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.base_url}>"

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        payload: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Send one request. A GET is repeated where that can help; nothing else ever is.

        Only a rate limit is waited for, with what is left of `patience`: Kapso did nothing then.

        Args:
            method: `GET`, `POST`, `PATCH` or `DELETE`.
            path: below the base URL, from the slash on, already quoted.
            params: the query.
            payload: sent as JSON.

        Raises:
            KapsoError: the subclass says what is known of the outcome.
        """
        while True:
            try:
                return self._try(method, path, params, payload)
            except RateLimitedError as limited:
                pause = RATE_WINDOW if limited.retry_after is None else limited.retry_after
                if method not in ("GET", "DELETE") or pause > self.patience:
                    raise
            self.patience -= pause
            logger.info("Kapso's rate limit is used up; waiting for %.0f s.", pause)
            time.sleep(pause)

    def _try(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None,
        payload: Mapping[str, Any] | None,
    ) -> Answer:
        ends_at = time.monotonic() + self.deadline
        for pause in _pauses(self._tries if method == "GET" else 1):
            error: KapsoError
            try:
                return self._send(method, path, params, payload, ends_at)
            except (UnreachableError, UncertainError) as failure:
                error = failure
            if error.status is not None and error.status not in _RETRY_STATUSES:
                break
            if pause is None or time.monotonic() + pause >= ends_at:
                break
            time.sleep(pause)
        error.__context__ = None  # it holds the request, and so the key
        raise error from None

    def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None,
        payload: Mapping[str, Any] | None,
        ends_at: float,
    ) -> Answer:
        started = time.monotonic()
        outcome: object = "failed"
        left = max(ends_at - started, 0.001)
        connect, read = self.timeout
        self.received = None
        set_deadline(ends_at)
        try:
            with closing(
                self._session().request(
                    method,
                    self.base_url + path,
                    params=params,
                    json=payload,
                    headers=self._headers(),
                    timeout=(min(connect, left), min(read, left)),
                    allow_redirects=False,
                    stream=True,
                )
            ) as response:
                outcome = response.status_code
                headers = response.headers
                self.received = _read_headers(headers)
                body = _read_body(response, ends_at)
        except (exceptions.RequestException, HTTPError, OSError) as failure:
            # `from None`: the exceptions of requests hold the request, and so the key.
            raise _failure(failure) from None
        finally:
            logger.debug(
                "%s %s: %s in %.0f ms", method, path, outcome, (time.monotonic() - started) * 1000
            )
        data = _parse(body)
        if not 200 <= response.status_code < 300:
            raise error_for(response.status_code, headers, body, data, api_key=self._api_key)
        if data is None and body.strip() not in (b"", b"null"):
            raise UncertainError("Kapso's answer is not JSON", status=response.status_code)
        return Answer(response.status_code, data)

    def _headers(self) -> dict[str, str]:
        return {
            "Accept": "application/json",
            "X-API-Key": self._api_key,
            # Cloudflare refuses some clients' default with 403 "error 1010" (say integrators).
            "User-Agent": f"django-kapso-inbox/{__version__}",
        }

    def _session(self) -> requests.Session:
        # The process id, because a forked worker must not go on with its parent's sockets.
        key = (os.getpid(), tuple(sorted(self._proxies.items())), self._ca_bundle)
        sessions: dict[Any, _Session] | None = getattr(_pools, "sessions", None)
        if sessions is None:
            sessions = _pools.sessions = {}
        if key not in sessions:
            session = _Session()
            # A .netrc can inject an Authorization header, the environment a proxy (measured).
            session.trust_env = False
            for scheme in ("http://", "https://"):
                session.mount(scheme, DeadlineAdapter())
            session.proxies = dict(self._proxies)
            session.verify = self._ca_bundle or True
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            sessions[key] = session
        return sessions[key]


def _pauses(tries: int) -> Iterator[float | None]:
    """The pause after each try, in seconds, with jitter; None after the last."""
    for number in range(tries - 1):
        yield random.uniform(0.05, 0.25) * 2**number  # noqa: S311 (spreads load, guards nothing)
    yield None


def _read_headers(headers: Mapping[str, str]) -> Received:
    return Received(
        at=datetime.now(timezone.utc),
        # What comes out of a cache (RFC 9111 has it say its age) was made at another time.
        date=None if "Age" in headers else _date(headers.get("Date", "")),
        rate_limit=_number(headers.get("X-RateLimit-Limit", "")),
        rate_remaining=_number(headers.get("X-RateLimit-Remaining", "")),
    )


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)


def _number(value: str) -> int | None:
    return int(value) if re.fullmatch(r"\d{1,9}", value, re.ASCII) else None


def _read_body(response: requests.Response, ends_at: float) -> bytes:
    """Read an answer piece by piece, so that neither its length nor its slowness is the sender's.

    Raises:
        UncertainError: it is longer than `MAX_BODY`, or not complete by `ends_at`.
    """
    body = b""
    while chunk := response.raw.read1(_CHUNK, decode_content=True):
        body += chunk
        if len(body) > MAX_BODY:
            raise UncertainError("Kapso's answer is too long", status=response.status_code)
        if time.monotonic() > ends_at:
            raise UncertainError("Kapso's answer took too long", status=response.status_code)
    return body


def _parse(body: bytes) -> Any:
    """The body as JSON; None where it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _failure(failure: BaseException) -> KapsoError:
    """Name what happened: surely nothing was sent, or perhaps Kapso has it."""
    cause = _cause(failure)
    if isinstance(failure, exceptions.ProxyError):
        # Not each of them is about the proxy: urllib3 2.8 also says so where the connection broke
        # after the request had gone through it.
        if isinstance(cause, _UNSENT) or str(cause).startswith("Tunnel connection failed"):
            return UnreachableError("The proxy could not be used; nothing was sent")
        return UncertainError("The connection to Kapso broke; it may have done what was asked")
    timed_out = isinstance(cause, (exceptions.ConnectTimeout, ConnectTimeoutError))
    # urllib3 2.8 counts every connection that did not come about as one that timed out.
    if timed_out and not isinstance(cause, NewConnectionError):
        return UnreachableError("Kapso did not answer the connection in time; nothing was sent")
    if isinstance(cause, ssl.SSLCertVerificationError):
        return UnreachableError("Kapso's TLS certificate is not trusted; nothing was sent")
    if isinstance(cause, _UNSENT):
        return UnreachableError()
    if isinstance(failure, (exceptions.Timeout, ReadTimeoutError, TimeoutError)):
        return UncertainError("Kapso did not answer in time; it may have done what was asked")
    return UncertainError("The connection to Kapso broke; it may have done what was asked")


#: What can only happen before a request is sent.
_UNSENT = (
    ConnectTimeoutError,
    NewConnectionError,
    LocationValueError,
    exceptions.ConnectTimeout,
    exceptions.InvalidURL,
    exceptions.InvalidSchema,
    ssl.SSLCertVerificationError,
)


def _cause(failure: BaseException) -> BaseException:
    """The innermost exception that one of requests stands for (urllib3 nests them)."""
    reason: object = failure
    while isinstance(reason, BaseException):
        failure = reason
        if isinstance(reason, MaxRetryError):
            reason = reason.reason
        elif isinstance(reason, ProxyError):
            reason = reason.original_error
        else:
            reason = reason.args[0] if reason.args else None
    return failure
