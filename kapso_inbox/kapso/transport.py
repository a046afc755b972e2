"""Send one HTTP request to Kapso, and turn every failure into a `KapsoError`."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from io import BytesIO
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from requests import exceptions
from requests.adapters import HTTPAdapter
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
from kapso_inbox.origins import is_local
from kapso_inbox.secret import without_frames

from .configuration import checked_api_key, checked_base_url, checked_ca_bundle
from .errors import (
    KapsoError,
    NetworkRefusedError,
    RateLimitedError,
    ReadOnlyClientError,
    UncertainError,
    UnreachableError,
    error_for,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: The longest body that is read, in bytes. A compressed one is not read at all.
MAX_BODY = 1024 * 1024
#: How often a GET is tried, the first time included.
TRIES = 3
#: Seconds to wait if a 429 does not say how long. Kapso counts requests by the minute.
RATE_WINDOW = 60.0
_RETRY_STATUSES = frozenset({502, 503, 504})
_CHUNK = 64 * 1024

#: Each thread has its own sessions: `requests` does not document a Session as safe to share.
_pools = threading.local()


class _Session(requests.Session):
    """A session that ignores redirects."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None, so that no answer counts as a redirect.

        Otherwise requests prepares the next request even if it must not follow the redirect: it
        reads the whole body, however long, and fails on a Location that it cannot parse (2.34).
        """


class _Adapter(HTTPAdapter):
    """An adapter that connects to this machine only, if `KAPSO_INBOX_NETWORK` is `refused`.

    The pytest plugin sets that variable. It is read for each request, so that it holds in every
    thread, and a subprocess of a test inherits it.
    """

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, *args: Any, **options: Any
    ) -> Any:
        """Return a connection.

        requests calls this from `HTTPAdapter.send`. The mocks of `responses` replace `send`, so
        what they answer is never refused.

        Raises:
            NetworkRefusedError: the request is refused.
        """
        refused = os.environ.get("KAPSO_INBOX_NETWORK") == "refused"
        if refused and not is_local(urlsplit(request.url or "").hostname or ""):
            raise NetworkRefusedError
        return super().get_connection_with_tls_context(request, *args, **options)


@dataclass(frozen=True)
class Received:
    """The facts in the headers of an answer of any status. None stands for what they omit.

    Attributes:
        at: when the answer arrived, by our clock.
        date: when the server made it, by the server's clock, to the second.
        rate_limit: how many requests the API key may send in a minute.
        rate_remaining: how many of those are left.
    """

    at: datetime
    date: datetime | None = None
    rate_limit: int | None = None
    rate_remaining: int | None = None

    @property
    def skew(self) -> timedelta | None:
        """How far our clock is ahead of Kapso's, negative if it is behind; None: not known."""
        return None if self.date is None else self.at - self.date


class Transport:
    """Sends requests to one Kapso project.

    An error reaches the caller without the frames in which it arose: those of this module, of
    requests, of urllib3 and of http.client hold the API key and the answer, and a collector of
    errors would send their local variables on. So an answer and an error are values here, and
    `request` raises the error.

    Time is bounded as follows. Connecting takes at most the first of the timeouts for each IP
    address of the server, and each wait for bytes at most the second. When a try starts, both are
    cut to what is left of the deadline. No try starts after the deadline, and a body that is still
    arriving then is given up with its next piece, so at most one read timeout late.

    Some time is not bounded. The timeout starts anew with every byte of the status line, of the
    headers and of a chunk's size, and with every read of a TLS or SOCKS handshake, so a server that
    sends them byte by byte can exceed the deadline. Only Kapso, or a configured proxy, is in a
    position to do that. Looking up the server's name takes as long as the operating system allows.

    Args:
        api_key: the project's API key.
        base_url: the API's address; https, or http on loopback.
        timeout: seconds to wait for the connection and for each piece of the answer.
        deadline: seconds that a request may take with all its tries.
        patience: seconds that all requests together may sleep on rate limits. Leave it at 0 in a
            web request, which then fails at once; a command can wait.
        proxies: as `requests` takes them. None means no proxy, even if the environment names one.
        ca_bundle: path of a file or folder of certificates to trust instead of certifi's.
        tries: how often a GET is tried, the first time included.
        read_only: whether anything but a GET is refused before it is sent.

    Attributes:
        received: the headers of the last answer, or None if the last request got no answer.

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
        read_only: bool = False,
    ) -> None:
        self._api_key = checked_api_key(api_key)
        self.base_url = checked_base_url(base_url)
        self.timeout = timeout
        self.deadline = deadline
        self.patience = patience
        self._proxies = dict(proxies or {})
        self._ca_bundle = checked_ca_bundle(ca_bundle)
        self._tries = tries
        self._read_only = read_only
        self.received: Received | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.base_url}>"

    def request(
        self,
        method: str,
        path: str,
        *,
        read: Callable[[Any], T],
        params: Mapping[str, str | int] | None = None,
        payload: Mapping[str, Any] | None = None,
    ) -> T:
        """Send one request and return what Kapso's answer says.

        A GET is tried again if that can help; no other request is. After a rate limit, when Kapso
        did nothing, a GET and a DELETE are sent again as long as `patience` lasts.

        Args:
            method: `GET`, `POST`, `PATCH` or `DELETE`.
            path: the path below the base URL, quoted and with its leading slash.
            read: turns the body of a successful answer (2xx), which is JSON or None if it was
                empty, into the result. It raises an `UncertainError` if that cannot be done.
            params: the query.
            payload: the body, which is sent as JSON.

        Raises:
            KapsoError: the subclass says what is known of the outcome.
        """
        if self._read_only and method != "GET":
            raise ReadOnlyClientError
        while True:
            result = self._try(method, path, read, params, payload)
            if not isinstance(result, KapsoError):
                return result
            if not isinstance(result, RateLimitedError) or method not in ("GET", "DELETE"):
                raise result
            pause = RATE_WINDOW if result.retry_after is None else result.retry_after
            if pause > self.patience:
                raise result
            self.patience -= pause
            logger.info("Kapso's rate limit is used up; waiting for %.0f s.", pause)
            time.sleep(pause)

    def _try(
        self,
        method: str,
        path: str,
        read: Callable[[Any], T],
        params: Mapping[str, str | int] | None,
        payload: Mapping[str, Any] | None,
    ) -> T | KapsoError:
        ends_at = time.monotonic() + self.deadline
        pauses = _pauses(self._tries if method == "GET" else 1)
        while True:
            result = self._send(method, path, read, params, payload, ends_at)
            if not isinstance(result, (UnreachableError, UncertainError)):
                return result
            if result.status is not None and result.status not in _RETRY_STATUSES:
                return result
            pause = next(pauses, None)
            if pause is None or time.monotonic() + pause >= ends_at:
                return result
            time.sleep(pause)

    def _send(
        self,
        method: str,
        path: str,
        read: Callable[[Any], T],
        params: Mapping[str, str | int] | None,
        payload: Mapping[str, Any] | None,
        ends_at: float,
    ) -> T | KapsoError:
        self.received = None
        try:
            return self._exchange(method, path, read, params, payload, ends_at)
        except KapsoError as error:
            return without_frames(error)
        except (exceptions.RequestException, HTTPError, OSError) as failure:
            return _failure(failure, method)
        except BaseException as failure:  # noqa: BLE001 (it is raised again)
            # Such as the SystemExit of a worker that is stopped while it waits for Kapso.
            raise without_frames(failure)  # noqa: B904 (it is the same one)

    def _exchange(
        self,
        method: str,
        path: str,
        read: Callable[[Any], T],
        params: Mapping[str, str | int] | None,
        payload: Mapping[str, Any] | None,
        ends_at: float,
    ) -> T:
        started = time.monotonic()
        status: int | None = None
        left = max(ends_at - started, 0.001)
        connect, wait = self.timeout
        try:
            with closing(
                self._session().request(
                    method,
                    self.base_url + path,
                    params=params,
                    json=payload,
                    headers=self._headers(),
                    timeout=(min(connect, left), min(wait, left)),
                    allow_redirects=False,
                    stream=True,
                )
            ) as response:
                status, headers = response.status_code, response.headers
                self.received = _read_headers(headers)
                is_plain = headers.get("Content-Encoding", "").lower() in ("", "identity")
                body = _read_body(response, ends_at) if is_plain else b""
        finally:
            milliseconds = (time.monotonic() - started) * 1000
            logger.debug("%s %s: %s in %.0f ms", method, path, status or "failed", milliseconds)
        data = _parse(body)
        if not 200 <= status < 300:
            raise error_for(
                status, headers, body, data, api_key=self._api_key, sent=payload, method=method
            )
        if not is_plain:
            raise UncertainError("Kapso's answer is compressed, and must not be", status=status)
        if data is None and body.strip() not in (b"", b"null"):
            raise UncertainError("Kapso's answer is not JSON", status=status)
        try:
            return read(data)
        except UncertainError as unusable:
            unusable.status = status
            raise

    def _headers(self) -> dict[str, str]:
        return {
            "Accept": "application/json",
            # A compressed answer can be a thousand times as long as what is received, and urllib3
            # before 2.6 decompresses all of that at once.
            "Accept-Encoding": "identity",
            "X-API-Key": self._api_key,
            # Integrators report that Cloudflare refuses the default of some HTTP clients with a
            # 403 "error 1010".
            "User-Agent": f"django-kapso-inbox/{__version__}",
        }

    def _session(self) -> requests.Session:
        # The process id is part of the key: a forked worker must not use its parent's sockets.
        key = (os.getpid(), tuple(sorted(self._proxies.items())), self._ca_bundle)
        sessions: dict[Any, _Session] | None = getattr(_pools, "sessions", None)
        if sessions is None:
            sessions = _pools.sessions = {}
        if key not in sessions:
            session = _Session()
            for scheme in ("https://", "http://"):
                session.mount(scheme, _Adapter())
            # A .netrc can inject an Authorization header, the environment a proxy (measured).
            session.trust_env = False
            session.proxies = dict(self._proxies)
            session.verify = self._ca_bundle or True
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            sessions[key] = session
        return sessions[key]


def _pauses(tries: int) -> Iterator[float]:
    """Yield the seconds to pause before each try but the first, with jitter."""
    for number in range(tries - 1):
        yield random.uniform(0.05, 0.25) * 2**number  # noqa: S311 (spreads load, guards nothing)


def _read_headers(headers: Mapping[str, str]) -> Received:
    return Received(
        at=datetime.now(timezone.utc),
        # An answer from a cache was made earlier. RFC 9111 requires it to have an Age header.
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
    """Read the body piece by piece, so that the sender decides neither its length nor its duration.

    Raises:
        UncertainError: the body is longer than `MAX_BODY`, or not complete by `ends_at`.
    """
    body = BytesIO()
    while body.write(response.raw.read1(_CHUNK, decode_content=False)):
        if body.tell() > MAX_BODY:
            raise UncertainError("Kapso's answer is too long", status=response.status_code)
        if time.monotonic() > ends_at:
            raise UncertainError("Kapso's answer took too long", status=response.status_code)
    return body.getvalue()


def _parse(body: bytes) -> Any:
    """Return the body as JSON, or None if it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _failure(failure: BaseException, method: str) -> KapsoError:
    """Return the error for a failed request: certainly not sent, or perhaps received by Kapso."""
    cause = _cause(failure)
    outcome = "" if method == "GET" else "; Kapso may have carried out the request"
    broken = UncertainError(f"The connection to Kapso broke{outcome}")
    if isinstance(failure, exceptions.ProxyError):
        # A ProxyError need not be about the proxy: urllib3 2.8 also raises it if the connection
        # breaks after the request has passed the proxy.
        if isinstance(cause, _UNSENT) or str(cause).startswith("Tunnel connection failed"):
            return UnreachableError("The proxy could not be used; nothing was sent")
        return broken
    timed_out = isinstance(cause, (exceptions.ConnectTimeout, ConnectTimeoutError))
    # In urllib3 2.8, NewConnectionError is a ConnectTimeoutError, also for a refused connection.
    if timed_out and not isinstance(cause, NewConnectionError):
        return UnreachableError("Kapso did not accept the connection in time; nothing was sent")
    if isinstance(cause, ssl.SSLCertVerificationError):
        return UnreachableError("Kapso's TLS certificate is not trusted; nothing was sent")
    if isinstance(cause, _UNSENT):
        return UnreachableError()
    if isinstance(failure, (exceptions.Timeout, ReadTimeoutError, TimeoutError)):
        return UncertainError(f"Kapso did not answer in time{outcome}")
    return broken


#: Exceptions that can only occur before a request is sent.
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
    """Return the innermost exception of one that requests raised; urllib3 nests them."""
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
