"""Times as the host stores them, and a host whose clock is wrong."""

from __future__ import annotations

import datetime as standard
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

from django.conf import settings
from django.utils import timezone


def as_stored(moment: datetime) -> datetime:
    """Return the same moment as this host stores it: naive if it sets `USE_TZ = False`."""
    return moment if settings.USE_TZ else timezone.make_naive(moment)


def here_and_now() -> datetime:
    """Return the time on the reader's clock."""
    return timezone.localtime() if settings.USE_TZ else timezone.now()


class _KindOfDatetime(type):
    """Makes a plain `datetime` count as an instance."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)


@contextmanager
def clock_off_by(delta: timedelta) -> Iterator[None]:
    """Set this host's clock ahead, or back if `delta` is negative. Kapso's clock stays right."""
    with clock_ahead(lambda: delta):
        yield


@contextmanager
def clock_ahead(ahead: Callable[[], timedelta]) -> Iterator[None]:
    """Let this host's clock be ahead by what a function returns whenever somebody looks at it.

    Nothing of the app is replaced, only what the two modules that read the clock read it from.
    """

    class OffClock(datetime, metaclass=_KindOfDatetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return standard.datetime.now(tz) + ahead()

    with (
        mock.patch("django.utils.timezone.datetime", OffClock),
        mock.patch("kapso_inbox.kapso.transport.datetime", OffClock),
    ):
        yield
