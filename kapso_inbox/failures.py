"""Failures of Kapso, remembered for a short time so that not every request finds them out anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.cache import cache

from . import kapso
from .clock import is_stamped_within, stamp
from .kapso import KapsoError, NetworkRefusedError

#: The seconds for which a failure is remembered.
REMEMBERED_FOR = 10


@contextmanager
def remembered_failures(key: str) -> Iterator[None]:
    """Raise the failure that is remembered for the block, or remember the one that it raises.

    Failures are kept in Django's cache, as plain values, which every serializer of a cache takes.
    Without a cache, the block simply runs.

    Args:
        key: the cache's key, one for all requests that would fail in the same way.

    Raises:
        KapsoError: the block failed, now or within the last `REMEMBERED_FOR` seconds.
    """
    remembered_at, failure = cache.get(key, (None, None))
    if is_stamped_within(remembered_at, REMEMBERED_FOR):
        kind, summary, facts = failure
        raise getattr(kapso, kind)(summary, **facts)
    try:
        yield
    except NetworkRefusedError:
        raise  # it costs nothing, and must not fail the next test, which has a sandbox
    except KapsoError as error:
        failure = type(error).__name__, error.args[0], vars(error)
        cache.set(key, (stamp(), failure), REMEMBERED_FOR)
        raise
