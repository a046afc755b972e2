"""`python -m benchmarks.sync`: what mirroring Kapso's list costs, compared with a naive loop.

A sandbox with many embeds answers over real HTTP. Each measurement has its own process and its own
SQLite file. The list is mirrored twice: first all of it is new, then all of it has changed. The
naive loop is what a developer would write first: `update_or_create` for each embed of `list()`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

from .host import ENCRYPTION_KEYS, KEY
from .tools import table

WAYS = {"sync": "`kapso_sync`", "naive": "naive loop"}


def main() -> None:
    """Measure both ways for each number of embeds, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--embeds", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--naive", type=int, default=1000, help="the most for the naive loop")
    parser.add_argument("--worker", choices=["sync", "naive"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(_measure(options.worker)))
        return
    rows = []
    for number in options.embeds:
        ways = ("sync", "naive") if number <= options.naive else ("sync",)
        measured = {way: _run(way, number) for way in ways}
        for way, rounds in measured.items():
            for name, row in rounds.items():
                peak = f"{row['peak'] / 1e6:.1f}" if row["peak"] else ""
                ratio = row["seconds"] / measured["sync"][name]["seconds"]
                rows.append(
                    (
                        f"{WAYS[way]}, all {name}",
                        *(f"{one:,}" for one in (number, row["requests"], row["queries"])),
                        f"{row['queries'] / row['requests']:.1f}",
                        f"{row['seconds']:.2f}",
                        f"{ratio:.1f}",
                        peak,
                    )
                )
    headings = ["embeds", "requests", "queries", "a page", "seconds", "times ours", "peak, MB"]
    table(["SQLite", *headings], rows)


def _run(way: str, number: int) -> dict[str, Any]:
    """Mirror that many embeds in a new process, and change them all between its two rounds."""
    from kapso_inbox.sandbox.engine import Sandbox
    from kapso_inbox.sandbox.server import SandboxServer

    sandbox = Sandbox(rate_limit=10**9)
    project = sandbox.add_project(KEY)
    for place in range(number):
        project.create({"name": f"Customer {place}", "scope_type": "project"})
    with tempfile.TemporaryDirectory() as directory, SandboxServer(sandbox) as server:
        worker = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sync", "--worker", way],
            env={
                **os.environ,
                "BASE_URL": server.base_url,
                "DATABASE": str(Path(directory) / "crm.sqlite3"),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert worker.stdin is not None and worker.stdout is not None
        worker.stdout.readline()  # the first round is over
        for record in project.links():
            record["name"] += " renamed"
        out, _ = worker.communicate("go on\n")
    rounds: dict[str, Any] = json.loads(out)
    return rounds


def _measure(way: str) -> dict[str, Any]:
    from django.conf import settings

    settings.configure(
        SECRET_KEY="benchmark",
        USE_TZ=True,
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "kapso_inbox"],
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}
        },
        KAPSO_INBOX={
            "API_KEY": KEY,
            "BASE_URL": os.environ["BASE_URL"],
            "ENCRYPTION_KEYS": ENCRYPTION_KEYS,
        },
    )
    import django

    django.setup()
    from django.core.management import call_command

    from kapso_inbox.sync import sync_project

    call_command("migrate", verbosity=0)
    mirror = sync_project if way == "sync" else _naive
    traced = way == "sync"
    rounds = {"new": _timed(mirror, traced)}
    print("one", flush=True)
    sys.stdin.readline()
    rounds["changed"] = _timed(mirror, traced)
    return rounds


def _timed(mirror: Any, traced: bool) -> dict[str, Any]:
    """Return seconds, queries and requests, and from a second run Python's peak memory in bytes."""
    from django.db import connection

    from kapso_inbox.kapso.transport import Transport

    counts = {"queries": 0, "requests": 0}

    def count(execute: Any, *args: Any) -> Any:
        counts["queries"] += 1
        return execute(*args)

    send = Transport.request

    def counted(self: Transport, *args: Any, **kwargs: Any) -> Any:
        counts["requests"] += 1
        return send(self, *args, **kwargs)

    Transport.request = counted  # type: ignore[method-assign]
    try:
        with connection.execute_wrapper(count):
            started = time.perf_counter()
            mirror()
            seconds = time.perf_counter() - started
    finally:
        Transport.request = send  # type: ignore[method-assign]
    peak = 0
    if traced:  # in a second run, because tracing slows it down
        tracemalloc.start()
        mirror()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return {**counts, "seconds": seconds, "peak": peak}


def _naive() -> None:
    from kapso_inbox import conf
    from kapso_inbox.models import AccessLink, InboxEmbed

    for remote in conf.project().client().inbox_embeds.list():
        embed, _ = InboxEmbed.objects.update_or_create(
            slug=f"kapso-{remote.id}",
            defaults={
                "name": remote.name,
                "scope_type": remote.scope_type,
                "scope_id": remote.scope_id,
                "scope_name": remote.scope_name,
                "allowed_origins": list(remote.allowed_origins),
                "default_mode": remote.default_mode,
                "language": remote.language,
                "expires_at": remote.expires_at,
                "last_used_at": remote.last_used_at,
            },
        )
        AccessLink.objects.update_or_create(
            kapso_id=remote.id, defaults={"embed": embed, "state": AccessLink.State.UNMANAGED}
        )


if __name__ == "__main__":
    main()
