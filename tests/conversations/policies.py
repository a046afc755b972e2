"""Access policies of hosts."""

from __future__ import annotations

from typing import Any

from kapso_inbox.access import AccessPolicy
from kapso_inbox.models import InboxEmbedQuerySet


class OnlySupport(AccessPolicy):
    """Nobody knows of any inbox but that of support."""

    def within_reach(self, user: Any, embeds: InboxEmbedQuerySet) -> InboxEmbedQuerySet:
        """Return the inbox of support."""
        return embeds.filter(slug="support")
