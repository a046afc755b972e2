"""Creating, changing, rotating and revoking embeds: all that changes something at Kapso."""

from .create import create_embed, ensure_embed
from .delete import delete_embed
from .errors import (
    BusyError,
    InsideTransactionError,
    LifecycleError,
    LiveError,
    ReplacedError,
    RevokedError,
)
from .links import newest_link
from .resolve import resolve_link
from .revoke import revoke_embed
from .rotate import rotate_link
from .update import update_embed

__all__ = [
    "BusyError",
    "InsideTransactionError",
    "LifecycleError",
    "LiveError",
    "ReplacedError",
    "RevokedError",
    "create_embed",
    "delete_embed",
    "ensure_embed",
    "newest_link",
    "resolve_link",
    "revoke_embed",
    "rotate_link",
    "update_embed",
]
