"""Running the host's receivers: after the response, or in the host's own task queue."""

from __future__ import annotations

from .events import Event
from .signals import send_events


def tell(events: list[Event]) -> None:
    """Tell the host what happened.

    Args:
        events: what happened; none of them was told before.
    """
    send_events(events)
