"""The administrator's pages: embeds and what can be done to them, their health, the audit trail."""

from .embeds import InboxEmbedAdmin
from .records import InboxChangeAdmin, LaunchAttemptAdmin

__all__ = ["InboxChangeAdmin", "InboxEmbedAdmin", "LaunchAttemptAdmin"]
