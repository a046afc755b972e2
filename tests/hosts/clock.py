"""Times as the host stores them: aware, or naive if it sets `USE_TZ = False`."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.utils import timezone


def as_stored(moment: datetime) -> datetime:
    """Return the same moment as this host stores it."""
    return moment if settings.USE_TZ else timezone.make_naive(moment)


def here_and_now() -> datetime:
    """Return the time on the reader's clock."""
    return timezone.localtime() if settings.USE_TZ else timezone.now()
