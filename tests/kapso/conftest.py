"""A fake Kapso outside the transport: `kapso` mocks answers, `serve` mocks sockets."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest
import responses

from kapso_inbox.kapso import KapsoClient

API = "https://api.kapso.ai/platform/v1"
KEY = "kapso-key-that-nobody-may-see"

#: Writes an answer to a request; the connection is closed afterwards unless it returns True.
Handler = Callable[[socket.socket, bytes], object]


class Server:
    """A server on 127.0.0.1 that answers with the bytes that a test wants, valid HTTP or not.

    Attributes:
        requests: each request as received.
        connections: how many connections were accepted.
        stopping: set at the end of the test, for handlers that wait.
    """

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.stopping = threading.Event()
        self._handler, self._tls = handler, tls
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            with connection:
                while request := _read_request(connection):
                    self.requests.append(request)
                    if self._handler(connection, request) is not True:
                        return


def _read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (chunk := connection.recv(65536)):
            return b""
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def answer(body: bytes, status: str = "200 OK", headers: bytes = b"") -> bytes:
    """Return a complete HTTP answer."""
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    ).encode() + (headers + b"\r\n" + body)


def answering(data: bytes) -> Handler:
    """Return a handler that always sends these bytes and keeps the connection open."""

    def handler(connection: socket.socket, request: bytes) -> bool:
        connection.sendall(data)
        return True

    return handler


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(handler: Handler, tls: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(handler, tls))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def kapso() -> Iterator[responses.RequestsMock]:
    """Mock Kapso's answers; a request that is not registered is a refused connection."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def client() -> KapsoClient:
    return KapsoClient(KEY)


@pytest.fixture(autouse=True)
def shortest_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the jitter between two tries to its least, so that tests are quick."""
    monkeypatch.setattr(random, "uniform", lambda low, high: low)
