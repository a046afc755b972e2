"""What an administrator sees: embeds and all that can be done to them, their health, the record."""

from .embeds import InboxEmbedAdmin
from .records import InboxChangeAdmin, LaunchAttemptAdmin

__all__ = ["InboxChangeAdmin", "InboxEmbedAdmin", "LaunchAttemptAdmin"]
