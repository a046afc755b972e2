"""`python -m benchmarks.doctor`: how long `kapso_doctor` takes, and what it holds in memory.

It reads all embeds and links from the database, and asks nobody. The time is the median of some
runs. The memory is the most that Python held in a further run beyond what it held before.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable
from statistics import median
from typing import Any

from .host import NOWHERE, database_name, own_database
from .tools import table


def main() -> None:
    """Measure for each number of embeds, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--embeds", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rows = []
    with own_database(NOWHERE):
        from django.contrib.auth.models import Group

        from kapso_inbox.diagnosis import diagnose

        from .embeds import fill

        groups = [Group.objects.create(name="Team")]

        def read() -> Any:
            return diagnose(network=False)

        for number in options.embeds:
            fill(number, groups)
            seconds = median(_seconds(read) for _ in range(options.rounds))
            rows.append(
                (
                    f"{number:,}",
                    f"{seconds:.2f}",
                    f"{seconds / number * 1000:.2f}",
                    f"{_peak(read):.1f}",
                )
            )
        table([f"{database_name()}, embeds", "seconds", "a thousand", "held, MB"], rows)


def _seconds(do: Callable[[], Any]) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


def _peak(do: Callable[[], Any]) -> float:
    """Return the most that Python holds during a call, in MB."""
    tracemalloc.start()
    try:
        do()
        return tracemalloc.get_traced_memory()[1] / 1_000_000
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    main()
