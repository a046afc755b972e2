"""Deliver to webhooks within a test, through the test client of Django."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from .project import SandboxProject


def deliver_through(client: Any, projects: Sequence[SandboxProject]) -> list[Any]:
    """Post everything that waits, each once, and return the responses.

    If a view raises an exception, as the test client lets it, its delivery counts as not answered.
    """
    responses = []
    for project in projects:
        outbox = project.webhooks.outbox
        waiting = outbox.waiting()
        while waiting:
            delivery = waiting.pop(0)
            status = 0
            try:
                target = urlsplit(delivery.url)
                response = client.post(
                    f"{target.path}?{target.query}" if target.query else target.path or "/",
                    data=delivery.body,
                    content_type=delivery.headers["Content-Type"],
                    headers={
                        name: value
                        for name, value in delivery.headers.items()
                        if name != "Content-Type"
                    },
                    secure=target.scheme == "https",
                )
                status = response.status_code
                responses.append(response)
            finally:
                outbox.answered(delivery, status)
                if not status:
                    outbox.release(waiting)
    return responses
