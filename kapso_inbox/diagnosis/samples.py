"""Which rows are looked at where there are too many to look at all: in a web request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from django.db.models import Count, Q, QuerySet

from kapso_inbox.models import InboxEmbedQuerySet

from .findings import MANY

Rows = TypeVar("Rows", bound=QuerySet[Any])

#: Code of a finding and alias of a project -> how many rows have that fault.
Counts = dict[tuple[str, str], int]


@dataclass
class Selection:
    """Which embeds and links are checked, and how many of them are looked at.

    Attributes:
        projects: the aliases of the projects; None = all.
        among: the embeds, and those whose links; None = all.
        most: about how many rows are looked at; None = all.
        counts: filled with how many rows have each fault, where some are not looked at.
    """

    projects: list[str] | None = None
    among: InboxEmbedQuerySet | None = None
    most: int | None = None
    counts: Counts = field(default_factory=dict)

    def of(self, rows: Rows, embed: str = "") -> Rows:
        """Return those of the rows that are checked.

        Args:
            rows: embeds, or rows that lead to one.
            embed: the lookup from a row to its embed, with `__`; blank for embeds.
        """
        if self.projects is not None:
            rows = rows.filter(**{f"{embed}project__in": self.projects})
        if self.among is not None:
            # From where the rows are read, which need not be where the embeds are.
            among = self.among.using(rows.db).order_by().values("pk")
            rows = rows.filter(**{f"{embed}pk__in": among})
        return rows

    def takes_all(self, total: int) -> bool:
        """Return whether all of that many rows are looked at."""
        return self.most is None or total <= self.most


def some_of_each_fault(
    rows: Rows, project: str, faults: Mapping[str, Q], selection: Selection
) -> tuple[Rows, int]:
    """Return the rows to look at: some with each fault, and then others, up to a number.

    All rows are counted, in SQL: a fault that few have is found among however many others.

    Args:
        rows: all rows, in the order in which they are to be read.
        project: the name of the field with the alias of the project.
        faults: code of a finding -> the condition for the rows that have that fault.
        selection: the most rows that are looked at, unless each fault takes more. If some are left
            out, its counts are filled with how many rows have each fault.

    Returns:
        The rows to look at, in the order of `rows`; and how many rows there are.
    """
    total = rows.order_by().count()
    if selection.takes_all(total):
        return rows, total
    most = cast("int", selection.most)
    # By the primary key, whose index ends a search after as many rows as are wanted.
    keys = rows.order_by("-pk").values_list("pk", flat=True)
    found: dict[str, Any] = {
        f"fault_{place}": Count("pk", filter=fault) for place, fault in enumerate(faults.values())
    }
    chosen: set[Any] = set()
    for counts in rows.order_by().values(project).annotate(**found):
        alias = counts[project]
        for place, (code, fault) in enumerate(faults.items()):
            if count := counts[f"fault_{place}"]:
                selection.counts[code, alias] = count
                # One more than are listed, so that the last one stands for all others.
                chosen.update(keys.filter(fault, **{project: alias})[: MANY + 1])
    for key in keys[:most]:
        if len(chosen) >= most:
            break
        chosen.add(key)
    return rows.filter(pk__in=chosen), total
