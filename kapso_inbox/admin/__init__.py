"""What an administrator sees: embeds and all that can be done to them, their health, the record."""

from .embeds import InboxEmbedAdmin
from .records import InboxChangeAdmin, InboxOpeningAdmin

__all__ = ["InboxChangeAdmin", "InboxEmbedAdmin", "InboxOpeningAdmin"]
