"""What the benchmarks share: children, turns, counts and tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any


@contextmanager
def child(module: str, *arguments: str) -> Iterator[dict[str, Any]]:
    """Run a module in a process of its own; gives the line of JSON that it prints first.

    It is to end when its standard input does (`until_over`).
    """
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.communicate()


def until_over(told: Mapping[str, Any]) -> None:
    """Tell the parent of a `child`, and wait until it needs this process no more."""
    print(json.dumps(told), flush=True)
    sys.stdin.read()


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of a child that starts as in production: from compiled modules."""
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, **variables}


def in_turns(sides: Sequence[Callable[[], Any]], rounds: int) -> list[list[float]]:
    """Do each once in every round, beginning with another one; return the times, in ms."""
    times: list[list[float]] = [[] for _ in sides]
    places = list(range(len(sides)))
    for number in range(rounds):
        start = number % len(sides)
        for place in places[start:] + places[:start]:
            started = time.perf_counter()
            sides[place]()
            times[place].append((time.perf_counter() - started) * 1000)
    return times


def ratio(some: Sequence[float], others: Sequence[float]) -> float:
    """Return how many times as long some take: the median of the rounds, each by itself.

    What else the machine does meets both sides of a round, and cancels out.
    """
    return median(a / b for a, b in zip(some, others, strict=True))


def queries(do: Callable[[], Any]) -> int:
    """Count the queries of doing it, transactions themselves left out, once it was done before."""
    from django.db import connection

    do()  # what is only done the first time is none of it
    count = 0

    def counted(execute: Any, sql: str, *rest: Any) -> Any:
        nonlocal count
        count += sql.startswith(("SELECT", "INSERT", "UPDATE", "DELETE"))
        return execute(sql, *rest)

    with connection.execute_wrapper(counted):
        do()
    return count


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table in Markdown, as it stands in docs/costs.md."""
    for cells in (headings, ["---"] * len(headings), *rows):
        print("|", " | ".join(map(str, cells)), "|", flush=True)
