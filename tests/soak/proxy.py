"""What stands between each worker and PostgreSQL: it loses commits, answers and connections."""

from __future__ import annotations

import asyncio
import random
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable

#: What happens to a COMMIT, and how often in a thousand of them.
TROUBLES = {
    "lost commit": 8,  # it never reaches the database
    "lost answer to a commit": 12,  # it is done, and nobody is told
    "lost answer, then down": 12,  # and then nobody can connect for a while
}


class Proxy:
    """Forwards connections to PostgreSQL, from one port for each worker.

    Args:
        server: the host and port of PostgreSQL.
        slots: how many workers there are.
        kinds: the troubles that happen.
        seed: of the random numbers.

    Attributes:
        failing: whether anything goes wrong now.
        ports: the port of each worker.
        troubles: how often each kind has happened.
        told: what went wrong last, in words.
    """

    def __init__(
        self, server: tuple[str, int], slots: int, kinds: Iterable[str], seed: str
    ) -> None:
        self.failing = False
        self.ports: list[int] = []
        self.troubles: Counter[str] = Counter()
        self.told: deque[tuple[float, str]] = deque(maxlen=5000)
        self._server = server
        self._kinds = [kind for kind in TROUBLES if kind in set(kinds)]
        self._random = random.Random(seed)
        self._down_until = [0.0] * slots
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        threading.Thread(target=self._run, args=(slots, started), daemon=True).start()
        assert started.wait(10)

    def _run(self, slots: int, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen(slots))
        started.set()
        self._loop.run_forever()

    async def _listen(self, slots: int) -> None:
        for slot in range(slots):

            async def serve(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, slot: int = slot
            ) -> None:
                await self._serve(slot, reader, writer)

            listener = await asyncio.start_server(serve, "127.0.0.1", 0)
            self.ports.append(listener.sockets[0].getsockname()[1])

    async def _serve(
        self, slot: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Forward one connection until either side, or a trouble, ends it."""
        if self.failing and time.monotonic() < self._down_until[slot]:
            writer.transport.abort()
            return
        try:
            from_server, to_server = await asyncio.open_connection(*self._server)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(slot, self, from_server, to_server, writer)
        answers = asyncio.ensure_future(connection.forward_answers())
        try:
            await connection.forward_messages(reader)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            answers.cancel()
            to_server.transport.abort()
            writer.transport.abort()

    def draw(self, slot: int) -> str:
        """Return what happens to a COMMIT, or ""."""
        drawn = self._random.randrange(1000)
        for kind in self._kinds if self.failing else ():
            drawn -= TROUBLES[kind]
            if drawn < 0:
                self.troubles[kind] += 1
                self.told.append((time.time(), f"database of worker {slot}: {kind}"))
                if kind.endswith("down"):
                    self._down_until[slot] = time.monotonic() + self._random.uniform(0.2, 3)
                return kind
        return ""


class _Connection:
    """One connection of a worker."""

    def __init__(
        self,
        slot: int,
        proxy: Proxy,
        from_server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
        to_client: asyncio.StreamWriter,
    ) -> None:
        self._slot, self._proxy = slot, proxy
        self._from_server, self._to_server, self._to_client = from_server, to_server, to_client
        self._mute = False
        self._answered = asyncio.Event()

    async def forward_messages(self, reader: asyncio.StreamReader) -> None:
        """Forward what the worker says, message by message, and stop at a COMMIT in trouble."""
        kind = b""  # The first message has no kind.
        while True:
            head = await reader.readexactly(4)
            body = await reader.readexactly(struct.unpack("!I", head)[0] - 4)
            trouble = ""
            if kind in (b"Q", b"P") and b"COMMIT" in body:
                trouble = self._proxy.draw(self._slot)
            if trouble == "lost commit":
                return
            self._mute = bool(trouble)
            self._to_server.write(kind + head + body)
            if trouble:
                await asyncio.wait_for(self._answered.wait(), 5)
                return
            kind = await reader.readexactly(1)

    async def forward_answers(self) -> None:
        """Forward what the database says, unless the worker must not hear it."""
        try:
            while data := await self._from_server.read(65536):
                if self._mute:
                    self._answered.set()
                else:
                    self._to_client.write(data)
        except OSError:
            pass  # A terminated connection is also one that was reset.
        finally:
            # Otherwise the worker would wait for an answer for ever.
            self._answered.set()
            self._to_client.transport.abort()
