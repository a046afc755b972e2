"""Serve the fake Kapso over real HTTP on loopback: the API on one port, the inbox on another."""

from __future__ import annotations

import ipaddress
import json
import re
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

from . import page
from .courier import Courier
from .deliveries import QueuedDelivery
from .engine import Answer, DroppedConnection, Fault, Request, Sandbox
from .wire import RefusedRequestError

BASE_PATH = "/platform/v1"
CONTROL_PATH = "/_sandbox"
_LARGEST_BODY = 1024 * 1024
_EMBED_PATH = re.compile(r"/embed/([^/]+)/?")
_TALK_PATH = re.compile(r"/embed/([^/]+)/conversations/?")
_ASSET_PATH = re.compile(r"/assets/([a-z]+\.(?:css|js))")


class SandboxServer:
    """Serves a `Sandbox` at `base_url` and its inboxes at `inbox_origin`.

    Once the server exists, all projects of the sandbox, later ones included, create embed URLs that
    point to it.

    Args:
        sandbox: the sandbox.
        host: a loopback address.
        api_port: the port of the API; 0 takes a free one.
        inbox_port: the port of the inboxes; 0 takes a free one.
        busy: whether customers write by themselves every few seconds.
        log: receives a line for each request and delivery, without token, key or query.

    Attributes:
        base_url: the address of the API.
        inbox_origin: the origin of the inboxes.

    Raises:
        ValueError: the host is not a loopback address.
        OSError: a port is in use.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        host: str = "127.0.0.1",
        api_port: int = 0,
        inbox_port: int = 0,
        *,
        busy: bool = False,
        log: Callable[[str], None] | None = None,
    ) -> None:
        if not _is_loopback(host):
            raise ValueError(f"the sandbox only serves on loopback, not on {host!r}")
        self.sandbox = sandbox
        self._api = _Listener((host, api_port), _ApiHandler, sandbox, log)
        try:
            self._inbox = _Listener((host, inbox_port), _InboxHandler, sandbox, log)
        except OSError:
            self._api.server_close()
            raise
        self.base_url = f"http://{host}:{self._api.server_port}{BASE_PATH}"
        self.inbox_origin = f"http://{host}:{self._inbox.server_port}"
        self._api.inbox_origin = self.inbox_origin
        self._api.adopt_projects()
        self._courier = Courier(sandbox, busy=busy, log=log)
        self._threads: list[threading.Thread] = []

    def start(self) -> SandboxServer:
        """Start serving in threads that do not keep the process alive, and return the server."""
        for listener in (self._api, self._inbox):
            # A stop takes as long as the poll interval.
            thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            self._threads.append(thread)
        self._courier.start()
        return self

    def stop(self) -> None:
        """Stop serving and delivering, and close the ports."""
        self._courier.stop()
        for listener in (self._api, self._inbox):
            if self._threads:
                listener.shutdown()
            listener.server_close()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def __enter__(self) -> SandboxServer:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    # `stop` must not wait for connections that a client's pool keeps open.
    block_on_close = False
    inbox_origin = ""

    def __init__(
        self,
        address: tuple[str, int],
        handler: type[_Handler],
        sandbox: Sandbox,
        log: Callable[[str], None] | None,
    ) -> None:
        self.sandbox, self.log = sandbox, log
        self.adopted: set[str] = set()
        super().__init__(address, handler)

    def adopt_projects(self) -> None:
        """Set this server's origin on each new project; a test may then set another one."""
        for api_key, project in list(self.sandbox.projects.items()):
            if api_key not in self.adopted:
                self.adopted.add(api_key)
                project.inbox_origin = self.inbox_origin

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Some tests are about clients that give up waiting. That is not an error of the server.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """The base class of the handlers of both ports. `answer_to` answers one request."""

    server: _Listener
    protocol_version = "HTTP/1.1"
    server_version = "KapsoSandbox"
    sys_version = ""
    # Headers and body go out in two writes; without this the second waits for an ACK (40 ms).
    disable_nagle_algorithm = True

    def answer_to(self, method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
        raise NotImplementedError

    def handle_one(self) -> None:
        target = urlsplit(self.path)
        length = self.headers.get("Content-Length", "0")
        if not _names_loopback(self.headers.get("Host", "")):
            # DNS rebinding: another site whose name now points to this machine.
            self.close_connection = True
            self.send(Answer(403, "Only for loopback."))
        elif not length.isdecimal() or int(length) > _LARGEST_BODY:
            self.close_connection = True
            self.send(Answer(413, "Too large."))
        else:
            query = dict(parse_qsl(target.query, keep_blank_values=True))
            body = self.rfile.read(int(length))
            try:
                self.send(self.answer_to(self.command, target.path, query, body))
            except DroppedConnection:
                self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_one  # noqa: N815

    def send(self, answer: Answer) -> None:
        content = answer.content
        self.send_response(answer.status)
        own = {"Content-Type": answer.media_type} if content else {}
        for name, value in {**own, **answer.headers}.items():
            self.send_header(name, value)
        if answer.status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD" and answer.status not in (204, 304):
            self.wfile.write(content)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the value of the `Date` header, by the sandbox's clock."""
        now = self.server.sandbox.clock().timestamp()
        return super().date_time_string(now if timestamp is None else timestamp)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        if self.server.log:
            path = urlsplit(self.path).path
            path = "/embed/…" if path.startswith("/embed/") else path
            self.server.log(f"{self.command} {path} {code}")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Print nothing: the base class would print the request line, which contains a token."""


class _ApiHandler(_Handler):
    def answer_to(self, method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
        if path.startswith(f"{CONTROL_PATH}/"):
            return self.control(method, path[len(CONTROL_PATH) :], body)
        if not path.startswith(f"{BASE_PATH}/"):
            return Answer(404, {"message": "Not found"})
        self.server.adopt_projects()
        below = unquote(path[len(BASE_PATH) :])
        request = Request(method, below, query, dict(self.headers.items()), body)
        try:
            return self.server.sandbox.handle(request)
        except DroppedConnection:
            raise
        except Exception as error:
            raise DroppedConnection from error

    def control(self, method: str, path: str, body: bytes) -> Answer:
        sandbox = self.server.sandbox
        if (method, path) == ("POST", "/faults"):
            try:
                sandbox.order(_fault_in(json.loads(body)))
            except (TypeError, ValueError, re.error) as error:
                return Answer(400, {"error": str(error)})
            return Answer(204)
        if (method, path) == ("POST", "/reset"):
            sandbox.reset()
            return Answer(204)
        if (method, path) == ("GET", "/requests"):
            received = [dict(vars(request)) for request in list(sandbox.requests)]
            return Answer(200, {"data": received})
        if (method, path) == ("GET", "/embeds"):
            links = [link for one in list(sandbox.projects.values()) for link in one.links()]
            return Answer(200, {"data": links})
        if (method, path) == ("POST", "/events"):
            return _take_place(sandbox, body)
        if (method, path) == ("GET", "/deliveries"):
            queued = [
                one for project in list(sandbox.projects.values()) for one in project.deliveries
            ]
            return Answer(200, {"data": [_shown(delivery) for delivery in queued]})
        posts = "faults, events, reset (POST)"
        return Answer(404, {"error": f"{posts}, requests, embeds, deliveries (GET)"})


class _InboxHandler(_Handler):
    assets: ClassVar[Mapping[str, str]] = {"css": "text/css", "js": "text/javascript"}

    def answer_to(self, method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
        if match := _TALK_PATH.fullmatch(path):
            return self.server.sandbox.talk(unquote(match[1]), method, query, body)
        if method not in ("GET", "HEAD"):
            return Answer(405, "Method not allowed", {"Allow": "GET, HEAD"})
        if match := _ASSET_PATH.fullmatch(path):
            content = page.asset(match[1])
            if content is not None:
                kind = self.assets[match[1].rpartition(".")[2]]
                headers = {"Content-Type": f"{kind}; charset=utf-8", "Cache-Control": "no-cache"}
                return Answer(200, content, headers)
        if match := _EMBED_PATH.fullmatch(path):
            opened = self.server.sandbox.open_inbox(unquote(match[1]), query)
            return page.render(opened)
        # Browsers request it by themselves, and a 404 would show in the console.
        return Answer(204) if path == "/favicon.ico" else Answer(404, "Not found")


def _names_loopback(authority: str) -> bool:
    try:
        return _is_loopback(urlsplit(f"//{authority}").hostname or "")
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    # Names below "localhost" resolve to loopback and to nothing else (RFC 6761).
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _fault_in(given: Any) -> Fault:
    """Return the fault that a control request describes.

    Raises:
        TypeError: it is not an object, or has unknown or missing fields.
        ValueError: a value is invalid.
    """
    if not isinstance(given, dict):
        raise TypeError("a fault must be an object")
    fields = dict(given)
    if fields.get("error") is not None:
        raise ValueError("an error cannot be ordered over HTTP: use drop")
    if fields.get("answer") is not None:
        fields["answer"] = Answer(**fields["answer"])
    fault = Fault(**fields)
    if fault.drop not in (None, "before", "after"):
        raise ValueError('drop must be "before" or "after"')
    re.compile(fault.path)
    return fault


#: What a control request may let happen in the first project: the methods of that name.
_EVENTS = (
    "customer_writes",
    "somebody_writes",
    "agent_writes",
    "reacts",
    "set_status",
    "message_fails",
    "end",
    "hand_off",
    "end_handoff",
)


def _take_place(sandbox: Sandbox, body: bytes) -> Answer:
    """Let something happen as a control request says: `event`, and the method's own arguments."""
    try:
        wanted = json.loads(body)
        event = wanted.pop("event")
        if event not in _EVENTS:
            raise ValueError(f"the events are {', '.join(_EVENTS)}")
        return Answer(200, {"data": getattr(sandbox.project(), event)(**wanted)})
    except RefusedRequestError as error:
        return error.answer
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        return Answer(400, {"error": str(error)})


def _shown(delivery: QueuedDelivery) -> dict[str, Any]:
    return {
        "url": delivery.url,
        "event": delivery.event,
        "state": delivery.state,
        "statuses": delivery.statuses,
        "body": json.loads(delivery.body),
    }
