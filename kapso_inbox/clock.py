"""Times that were stored by a clock that may have been wrong.

A server's clock can jump ahead, store times, and jump back. Those times are then in the future for
as long as it jumped. So what is asked of a stored time is never only whether it is after another,
but whether it is between that one and now: a time in the future counts as an old one.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

#: How far the clocks of servers that share a database may differ.
TOLERANCE = timedelta(minutes=1)

Span = tuple[datetime, datetime]


def since(start: datetime) -> Span:
    """Return the time from then until now, for `is_within` and for a `__range` look-up."""
    return start, timezone.now() + TOLERANCE


def lately(within: timedelta) -> Span:
    """Return the time until now of that length, for `is_within` and for a `__range` look-up."""
    return since(timezone.now() - within)


def is_within(moment: datetime | None, span: Span) -> bool:
    """Return whether a stored time is in that span. None, which stands for never, is not."""
    return moment is not None and span[0] <= moment <= span[1]


def stamp() -> str:
    """Return the time as text, for a cache: some take only plain values.

    A cache forgets by the server's clock, so what was kept while that was ahead stays for as long.
    """
    return timezone.now().isoformat()


def is_stamped_within(text: str | None, seconds: float) -> bool:
    """Return whether a `stamp` is at most so many seconds old. None is not."""
    span = lately(timedelta(seconds=seconds))
    return text is not None and is_within(datetime.fromisoformat(text), span)


def as_stored(moment: datetime) -> datetime:
    """Return a time as the database stores it: without a zone on a site without USE_TZ."""
    return moment if settings.USE_TZ else timezone.make_naive(moment)
