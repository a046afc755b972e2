"""Creating, changing, rotating and revoking embeds: all that changes something at Kapso."""

from .create import create_embed, ensure_embed
from .delete import delete_embed
from .errors import (
    BusyError,
    ForeignError,
    InsideTransactionError,
    LifecycleError,
    LiveError,
    ReadOnlyError,
    ReplacedError,
    RevokedError,
)
from .links import UNSET, newest_link
from .refresh import refresh_embed
from .resolve import resolve_embed
from .revoke import revoke_embed
from .rotate import rotate_embed
from .update import update_embed
from .values import EmbedChanges, EmbedSettings

__all__ = [
    "UNSET",
    "BusyError",
    "EmbedChanges",
    "EmbedSettings",
    "ForeignError",
    "InsideTransactionError",
    "LifecycleError",
    "LiveError",
    "ReadOnlyError",
    "ReplacedError",
    "RevokedError",
    "create_embed",
    "delete_embed",
    "ensure_embed",
    "newest_link",
    "refresh_embed",
    "resolve_embed",
    "revoke_embed",
    "rotate_embed",
    "update_embed",
]
