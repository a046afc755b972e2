"""What a worker process has loaded: it is forked from one that has, as loading takes half a second.

Nothing that a process may not share is open in that one: no connection, and no thread.
"""

from __future__ import annotations

from typing import Any

import django
from django.conf import settings

django.setup()

# What the actions import.
from kapso_inbox.lifecycle import reencrypt  # noqa: E402, F401


def prepare(kapso_inbox: dict[str, Any]) -> None:
    """Give this process its setting."""
    settings.KAPSO_INBOX = kapso_inbox
