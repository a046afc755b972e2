"""What the querysets of all models share, and the database that they are written to."""

from __future__ import annotations

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
