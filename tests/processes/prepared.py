"""The modules that the fork server loads, so that each worker saves half a second.

The fork server must not open anything that processes cannot share: no connection, no thread.
"""

from __future__ import annotations

from typing import Any

import django
from django.conf import settings

django.setup()

# The modules that the actions import.
from kapso_inbox.conversations import views  # noqa: E402, F401
from kapso_inbox.lifecycle import reencrypt  # noqa: E402, F401


def prepare(kapso_inbox: dict[str, Any]) -> None:
    """Set this process's KAPSO_INBOX setting."""
    settings.KAPSO_INBOX = kapso_inbox
