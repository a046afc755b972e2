"""What the querysets of all models share, and the database that they are written to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

from django.db import models, router

if TYPE_CHECKING:
    from typing_extensions import Self

Row = TypeVar("Row", bound=models.Model)


class InboxQuerySet(models.QuerySet[Row]):
    """A queryset that can be read from the database that its model is written to."""

    def for_write(self) -> Self:
        """Return the rows as the writing database has them.

        A replica may not have what was written a moment ago. Read from here what is about to be
        changed, and what a change depends on.
        """
        return self.using(router.db_for_write(self.model))

    def in_batches(self, size: int = 100) -> Iterator[Row]:
        """Iterate over the rows in the order of their primary keys, some at a time.

        Each batch begins after the last key and not at an offset, so that no row is skipped when
        others leave the queryset meanwhile, and so that a late batch costs no more than the first.
        No cursor stays open: on SQLite, nobody can write while one does, and MySQL's client reads
        all rows of one at once.

        Args:
            size: how many rows are in memory at a time.
        """
        rows = self.order_by("pk")
        batch = list(rows[:size])
        while batch:
            yield from batch
            batch = list(rows.filter(pk__gt=batch[-1].pk)[:size])
