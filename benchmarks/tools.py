"""Tools for the benchmarks: child processes, rounds, counts and tables."""

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
    """Run a module in a new process, and yield the line of JSON that it prints first.

    The module must end when its standard input does, which `until_over` waits for.
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
    """Print a line of JSON for the parent of a `child`, and wait until the parent is done."""
    print(json.dumps(told), flush=True)
    sys.stdin.read()


def environment(**variables: str) -> dict[str, str]:
    """Return the environment for a child that loads compiled modules, as in production."""
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, **variables}


def in_turns(sides: Sequence[Callable[[], Any]], rounds: int) -> list[list[float]]:
    """Call each side once in every round, in a rotating order; return the times of each in ms."""
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
    """Return how many times as long the first takes as the second: the median over all rounds.

    Other work of the machine affects both sides of a round, and cancels out.
    """
    return median(a / b for a, b in zip(some, others, strict=True))


def queries(do: Callable[[], Any]) -> int:
    """Return how many queries a call takes, without `BEGIN` and the like, when it is repeated."""
    from django.db import connection

    do()  # leaves out what only the first call does
    count = 0

    def counted(execute: Any, sql: str, *rest: Any) -> Any:
        nonlocal count
        # A union begins with a parenthesis on some databases.
        count += sql.lstrip("(").startswith(("SELECT", "INSERT", "UPDATE", "DELETE"))
        return execute(sql, *rest)

    with connection.execute_wrapper(counted):
        do()
    return count


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table in Markdown, as in docs/costs.md."""
    for cells in (headings, ["---"] * len(headings), *rows):
        print("|", " | ".join(map(str, cells)), "|", flush=True)
