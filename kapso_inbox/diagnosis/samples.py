"""Which rows are looked at where there are too many to look at all: in a web request."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db.models import Q, QuerySet

Rows = TypeVar("Rows", bound=QuerySet[Any])


def worst_first(rows: Rows, worst: Q, most: int | None) -> tuple[Rows, int]:
    """Return the rows to look at: the worst ones, and some of the others.

    Args:
        rows: all rows, in the order in which they are to be read.
        worst: the condition for rows that probably need attention.
        most: the most rows that are looked at; None = all.

    Returns:
        The rows to look at, in the order of `rows`, and the number of those that are left out.
    """
    if most is None or (total := rows.order_by().count()) <= most:
        return rows, 0
    # By the primary key, whose index ends the search for what is not so bad after `most` rows.
    keys = rows.order_by("-pk").values_list("pk", flat=True)
    chosen = list(keys.filter(worst)[:most])
    if room := most - len(chosen):
        # Not `exclude(worst)`: a condition on a column that is null is neither true nor false.
        seen = set(chosen)
        chosen += [pk for pk in keys[:most] if pk not in seen][:room]
    return rows.filter(pk__in=chosen), total - len(chosen)
