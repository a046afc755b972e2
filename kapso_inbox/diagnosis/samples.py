"""Which rows are looked at where there are too many to look at all: in a web request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from django.db.models import Count, Q, QuerySet

from .findings import MANY

Rows = TypeVar("Rows", bound=QuerySet[Any])

#: Code of a finding and alias of a project -> how many rows have that fault.
Counts = dict[tuple[str, str], int]


def some_of_each_fault(
    rows: Rows, project: str, faults: Mapping[str, Q], most: int | None
) -> tuple[Rows, int, Counts]:
    """Return the rows to look at: some with each fault, and then others, up to a number.

    All rows are counted, in SQL: a fault that few have is found among however many others.

    Args:
        rows: all rows, in the order in which they are to be read.
        project: the name of the field with the alias of the project.
        faults: code of a finding -> the condition for the rows that have that fault.
        most: the most rows that are looked at, unless each fault takes more; None = all.

    Returns:
        The rows to look at, in the order of `rows`; how many rows there are; and, where some are
        left out, how many have each fault.
    """
    total = rows.order_by().count()
    if most is None or total <= most:
        return rows, total, {}
    # By the primary key, whose index ends a search after as many rows as are wanted.
    keys = rows.order_by("-pk").values_list("pk", flat=True)
    found: dict[str, Any] = {
        f"fault_{place}": Count("pk", filter=fault) for place, fault in enumerate(faults.values())
    }
    chosen: set[Any] = set()
    known: Counts = {}
    for counts in rows.order_by().values(project).annotate(**found):
        alias = counts[project]
        for place, (code, fault) in enumerate(faults.items()):
            if count := counts[f"fault_{place}"]:
                known[code, alias] = count
                # One more than are listed, so that the last one stands for all others.
                chosen.update(keys.filter(fault, **{project: alias})[: MANY + 1])
    for key in keys[:most]:
        if len(chosen) >= most:
            break
        chosen.add(key)
    return rows.filter(pk__in=chosen), total, known
