"""A deadline for a whole answer. Timeouts alone start anew with every byte that arrives."""

from __future__ import annotations

import io
import socket
import threading
import time
from http.client import HTTPResponse
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

_thread = threading.local()


def set_deadline(ends_at: float) -> None:
    """Let no answer that this thread asks for from now on last longer.

    Args:
        ends_at: as `time.monotonic` counts.
    """
    _thread.ends_at = ends_at


class DeadlineAdapter(HTTPAdapter):
    """Connections whose status line, headers and body arrive by the deadline, or a TimeoutError."""

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        # What is neither (a SOCKS proxy's) is left with its timeouts.
        kinds = {HTTPConnection: _PlainConnection, HTTPSConnection: _TLSConnection}
        pool.ConnectionCls = kinds.get(pool.ConnectionCls, pool.ConnectionCls)
        return pool


class _Reader(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw, self._sock = raw, sock
        self._timeout = sock.gettimeout()
        self._ends_at: float = _thread.ends_at

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left if self._timeout is None else min(left, self._timeout))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp: Any = io.BufferedReader(_Reader(self.fp.detach(), sock))


class _PlainConnection(HTTPConnection):
    response_class = _Response


class _TLSConnection(HTTPSConnection):
    response_class = _Response
