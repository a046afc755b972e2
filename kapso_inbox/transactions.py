"""Views that are never run inside a transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.db import connections, transaction

View = TypeVar("View", bound=Callable[..., object])


def outside(view: View) -> View:
    """Exempt a view from ATOMIC_REQUESTS of every database, and return it.

    Kapso is never called inside a transaction: a rollback would lose what lives there.
    """
    for alias in connections:
        transaction.non_atomic_requests(using=alias)(view)
    return view
