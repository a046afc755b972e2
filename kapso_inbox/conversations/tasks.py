"""The task that runs the host's receivers in the host's own queue. It requires Django 6.0."""

from __future__ import annotations

from typing import Any

from django.tasks import task

from .events import from_json
from .signals import send_events


@task
def send_kapso_events(events: list[dict[str, Any]]) -> None:
    """Send the signals of events.

    Args:
        events: the events as `as_json` returns them. They hold the texts of messages.
    """
    send_events(from_json(event) for event in events)
