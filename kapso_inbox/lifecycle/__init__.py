"""Creating, changing, rotating and revoking embeds: all that changes something at Kapso."""

from .create import create_embed, ensure_embed
from .errors import BusyError, InsideTransactionError, LifecycleError, RevokedError
from .resolve import resolve_link
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
    "resolve_link",
    "revoke_embed",
    "rotate_link",
    "update_embed",
]
