"""Why a change was not begun.

What Kapso refuses is a `KapsoError`, wrong input a `ValidationError`.
"""

from __future__ import annotations


class LifecycleError(Exception):
    """A change of an embed was refused before anything was sent to Kapso."""


class InsideTransactionError(LifecycleError):
    """The call stands inside a database transaction, whose rollback could lose a live link."""


class BusyError(LifecycleError):
    """Another process is making a link for this embed right now. Try again in a moment."""


class ReplacedError(LifecycleError):
    """A link was begun for the embed after the caller last looked. Look again, then decide."""


class LiveError(LifecycleError):
    """The embed may still have a link that works at Kapso. Revoke it first."""


class RevokedError(LifecycleError):
    """The embed was revoked. `rotate_link` brings it back, if that is what is wanted."""
