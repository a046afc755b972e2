"""`DATABASE_URL=postgres://… python -m benchmarks.workers`: launches a second under gunicorn.

With one, two and four workers, launches are compared with the bare view that looks up an address
and redirects to it, in turns on the same server. It requires benchmarks/requirements.txt. Eight
threads of this process send requests, each on a new connection. Server, load and database share the
machine, so more workers than cores bring nothing here. A second table therefore says how much of a
processor's time each of them takes (`/proc/<pid>/stat`, on Linux), as cores for 1,000 a second.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from .host import FRAME, own_database, signed_in
from .kapso import sandbox
from .tools import environment, table

WORKERS = (1, 2, 4)
PATHS = {"a query and a redirect": "/redirect/sales/", "a launch": "/kapso-inbox/sales/launch/"}
CLIENTS = 8
ROUNDS = 3
PARTS = ("gunicorn's workers", "PostgreSQL's backends", "the load")


@dataclass
class _Server:
    port: int
    pid: int


@dataclass
class _Turn:
    rate: float
    #: Part -> milliseconds of a processor for each request.
    spent: dict[str, float] = field(default_factory=dict)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="length of each turn, at most 30"
    )
    options = parser.parse_args()
    if not os.environ.get("DATABASE_URL", "").startswith("postgres"):
        parser.error("DATABASE_URL must name a PostgreSQL server.")
    if find_spec("gunicorn") is None:
        parser.error("gunicorn is missing: pip install -r benchmarks/requirements.txt")
    if not 0 < options.seconds <= 30:
        parser.error("--seconds must be more than 0 and at most 30.")
    with sandbox() as kapso, own_database(kapso):
        session = _fill()
        rows, cores = [], []
        for workers in WORKERS:
            with _gunicorn(kapso, workers) as server:
                turns: dict[str, list[_Turn]] = {name: [] for name in PATHS}
                for _ in range(ROUNDS):
                    for name, path in PATHS.items():
                        turns[name].append(_turn(server, path, session, options.seconds))
            bare, launch = (median(turn.rate for turn in own) for own in turns.values())
            rows.append((workers, f"{bare:.0f}", f"{launch:.0f}", f"{bare / launch:.2f}"))
            for name, own in turns.items():
                spent = [median(turn.spent[part] for turn in own) for part in PARTS]
                cores.append((workers, name, *(f"{ms:.2f}" for ms in spent)))
    table(["workers", *(f"{name}, a second" for name in PATHS), "ratio"], rows)
    print()
    # A thousand times so many milliseconds in a second are as many cores.
    table(["workers", "cores for 1,000 a second", *PARTS], cores)


def _fill() -> str:
    """Create an inbox of each kind and a user who may open them; return that user's session."""
    from kapso_inbox.lifecycle import create_embed

    from .models import PlainInbox

    embed = create_embed(slug="sales", name="Sales", allowed_origins=["http://testserver"])
    assert embed.current_link is not None
    PlainInbox.objects.create(slug="sales", url=embed.current_link.reveal_url())
    return signed_in("open_inboxembed")[1]


@contextmanager
def _gunicorn(kapso: dict[str, Any], workers: int) -> Iterator[_Server]:
    """Serve the host with this many workers, and yield the server."""
    from django.db import connection

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    names = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT")
    database = {name: connection.settings_dict[name] for name in names}
    told = json.dumps({"kapso": kapso, "database": {**database, "CONN_MAX_AGE": 60}})
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "gunicorn", "benchmarks.wsgi"),
            *(f"--workers={workers}", f"--bind=127.0.0.1:{port}", "--log-level=error"),
        ],
        env=environment(KAPSO_INBOX_BENCHMARK=told),
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("gunicorn did not start")
            time.sleep(0.1)
        yield _Server(port, server.pid)
    finally:
        server.terminate()
        server.wait(30)


def _turn(server: _Server, path: str, session: str, seconds: float) -> _Turn:
    """Return how many redirects the server sends in a second, and what they take."""
    _send(server.port, path, session, 0.5)  # so that every worker is connected to the database
    before = _spent(server)
    done, took = _send(server.port, path, session, seconds)
    after = _spent(server)
    spent = {part: (after[part] - before[part]) * 1000 / done for part in PARTS}
    return _Turn(done / took, spent)


def _spent(server: _Server) -> dict[str, float]:
    """Return the seconds of a processor that each part has taken so far."""
    from django.db import connection

    workers = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid()"
        )
        backends = [row[0] for row in cursor.fetchall()]
    seconds = (sum(map(_seconds, workers)), sum(map(_seconds, backends)), time.process_time())
    return dict(zip(PARTS, seconds, strict=True))


def _seconds(pid: object) -> float:
    """Return the seconds of a processor that a process has taken so far."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def _send(port: int, path: str, session: str, seconds: float) -> tuple[int, float]:
    """Ask for redirects for so long; return how many were sent, and in what time."""
    until = time.monotonic() + seconds

    def ask() -> int:
        done = 0
        while time.monotonic() < until:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            cookie = {"Cookie": f"sessionid={session}", "Host": "testserver"}
            connection.request("GET", path, headers={**FRAME, **cookie})
            answer = connection.getresponse()
            answer.read()
            connection.close()
            if answer.status != 302:
                raise SystemExit(f"{path}: {answer.status} instead of 302")
            done += 1
        return done

    started = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        total = sum(pool.map(lambda _: ask(), range(CLIENTS)))
    return total, time.monotonic() - started


if __name__ == "__main__":
    main()
