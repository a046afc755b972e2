"""Telling the host what happened: after the response, or in the host's own task queue."""

from __future__ import annotations

import logging
from typing import Any

import django
from django.conf import settings

from .events import Event, as_json
from .signals import send_events

logger = logging.getLogger(__name__)

#: Django's own backends that have no worker: the default, and one for tests.
_NO_QUEUES = (
    "django.tasks.backends.immediate.ImmediateBackend",
    "django.tasks.backends.dummy.DummyBackend",
)


def tell(events: list[Event]) -> None:
    """Tell the host what happened. Nothing is told twice, whatever fails.

    With a backend in `TASKS` (from Django 6.0 on), a worker runs the receivers; otherwise they run
    here.

    Args:
        events: what happened; none of them was told before.
    """
    if not events:
        return
    if not _has_queue():
        send_events(events)
        return
    try:
        # It is loaded only where there is a queue: Django 5.2 has no tasks, and the backend checks
        # a task when it is defined.
        from .tasks import send_kapso_events

        send_kapso_events.enqueue([as_json(event) for event in events])
    except Exception as failure:  # noqa: BLE001 (a backend may raise anything)
        # They may be in the queue all the same. No traceback: its frames hold the events.
        names = ", ".join(event.name for event in events)
        kind = type(failure).__name__
        logger.error("The host was not told of %s: its task queue failed (%s).", names, kind)


def _has_queue() -> bool:
    if django.VERSION < (6, 0):
        return False
    backends: dict[str, Any] = getattr(settings, "TASKS", {})
    default = backends.get("default", {})
    return default.get("BACKEND", _NO_QUEUES[0]) not in _NO_QUEUES
