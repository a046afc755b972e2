"""The transactions of the database that this app writes to.

Kapso is never called inside a transaction: a rollback would lose track of what lives there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.db import connections, router, transaction

from .models import InboxEmbed

View = TypeVar("View", bound=Callable[..., object])


def database() -> str:
    """Return the alias of the database that embeds and their links are written to."""
    return router.db_for_write(InboxEmbed)


def is_inside_transaction() -> bool:
    """Return whether what is written now could still be rolled back by a caller.

    The transaction that Django's `TestCase` puts around a test does not count.
    """
    connection = transaction.get_connection(database())
    if not connection.in_atomic_block:
        return not connection.get_autocommit()
    try:
        # Django decides: it is also right about the transactions of its own test cases.
        with transaction.atomic(using=database(), savepoint=False, durable=True):
            return False
    except RuntimeError:
        return True


def outside_transactions(view: View) -> View:
    """Exempt a view from ATOMIC_REQUESTS of every database, and return it."""
    for alias in connections:
        transaction.non_atomic_requests(using=alias)(view)
    return view
