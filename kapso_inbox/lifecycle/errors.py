"""Why a change of an embed was not started.

What Kapso refuses is a `KapsoError`, and wrong input is a `ValidationError`.
"""

from __future__ import annotations

from kapso_inbox.exceptions import KapsoInboxError


class LifecycleError(KapsoInboxError):
    """A change of an embed was refused before anything was sent to Kapso."""


class InsideTransactionError(LifecycleError):
    """The call is inside a database transaction, whose rollback could lose a live link."""


class ReadOnlyError(LifecycleError):
    """The setting `READ_ONLY` keeps this deployment from changing anything at Kapso."""


class ForeignError(LifecycleError):
    """The embed was created elsewhere, and the setting `SHARED_PROJECTS` leaves it to others."""


class BusyError(LifecycleError):
    """Another process is creating a link for this embed right now. Try again in a moment."""


class ReplacedError(LifecycleError):
    """A link was created for the embed after the caller last looked. Look again, then decide."""


class LiveError(LifecycleError):
    """The embed may still have a link that works at Kapso. Revoke it first."""


class RevokedError(LifecycleError):
    """The embed was revoked. `rotate_embed` brings it back, if that is what you want."""
