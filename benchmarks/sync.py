"""`python -m benchmarks.sync`: what mirroring Kapso's list costs, by how many embeds there are.

A sandbox in a process of its own answers over real HTTP. Each measurement has a new process, whose
peak memory is given, and a new database. The list is mirrored three times: all of it is new, then
unchanged, then changed. The naive loop is what a developer would write first: `update_or_create`
for each embed of `list()`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from .host import database_name, own_database
from .kapso import FilledSandbox
from .tools import environment, table

WAYS = {"sync": "`kapso_sync`", "naive": "naive loop"}


def main() -> None:
    """Measure both ways for each number of embeds, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--embeds", type=int, nargs="+", default=[1000, 10_000, 30_000, 100_000])
    parser.add_argument("--naive", type=int, default=1000, help="the most for the naive loop")
    parser.add_argument("--worker", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(_measure(options.worker, *options.embeds)))
        return
    rows, name = [], ""
    for number in options.embeds:
        for way in WAYS if number <= options.naive else ("sync",):
            measured = _run(way, number)
            name = measured["database"]
            for what, row in measured["rounds"].items():
                rows.append(
                    (
                        f"{WAYS[way]}, all {what}",
                        f"{number:,}",
                        f"{row['seconds']:.2f}",
                        f"{row['seconds'] / number * 1000:.2f}",
                        f"{row['requests']:,}",
                        f"{row['queries'] / row['requests']:.1f}",
                        f"{row['peak']:.1f}",
                    )
                )
    headings = ["embeds", "seconds", "a thousand", "requests", "queries a page", "peak, MB"]
    table([name, *headings], rows)


def _run(way: str, number: int) -> dict[str, Any]:
    """Mirror that many embeds in a new process."""
    command = [sys.executable, "-m", "benchmarks.sync", f"--worker={way}", "--embeds", str(number)]
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, check=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def _measure(way: str, number: int) -> dict[str, Any]:
    with FilledSandbox(number) as kapso, own_database(kapso.settings):
        from kapso_inbox.sync import sync_project

        mirror = sync_project if way == "sync" else _naive
        rounds = {"new": _timed(mirror), "unchanged": _timed(mirror)}
        kapso.rename_all()
        rounds["changed"] = _timed(mirror)
        return {"database": database_name(), "rounds": rounds}


def _timed(mirror: Callable[[], Any]) -> dict[str, Any]:
    """Return seconds, queries and requests, and the most that the process has held so far in MB."""
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
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
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
