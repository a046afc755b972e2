"""Creating, changing, rotating and revoking embeds: all that changes something at Kapso."""

from .create import create_embed, ensure_embed
from .errors import BusyError, InsideTransactionError, LifecycleError, RevokedError
from .revoke import revoke_embed
from .rotate import rotate_link
from .update import update_embed

__all__ = [
    "BusyError",
    "InsideTransactionError",
    "LifecycleError",
    "RevokedError",
    "create_embed",
    "ensure_embed",
    "revoke_embed",
    "rotate_link",
    "update_embed",
]
