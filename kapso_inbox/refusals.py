"""Why a change was not made, for whoever asked for it: in words, at the field it belongs to."""

from __future__ import annotations

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import DatabaseError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from kapso_inbox.exceptions import ConfigurationError

from . import lookups
from .kapso import (
    CredentialsError,
    InvalidRequestError,
    KapsoError,
    NotFoundError,
    RateLimitedError,
    UncertainError,
    UnreachableError,
)
from .lifecycle import BusyError, InsideTransactionError, LiveError, ReplacedError, RevokedError
from .lifecycle.errors import LifecycleError
from .lifecycle.values import FIXED, LOCAL, MUTABLE
from .models import InboxEmbed, ScopeType

#: What the lifecycle raises for what is not the caller's mistake. All else is one of ours.
REFUSALS = (
    ValidationError,
    KapsoError,
    LifecycleError,
    ConfigurationError,
)


def explain(error: Exception, embed: InboxEmbed | None = None) -> ValidationError:
    """Return what the lifecycle raised as texts by field, translated.

    Args:
        error: one of `REFUSALS`, or a DatabaseError, whose own text is told to nobody.
        embed: what was to be made, where it was: a 404 is then about its scope.

    Returns:
        A ValidationError with a dictionary: field -> texts.
    """
    if isinstance(error, ValidationError):
        return error if hasattr(error, "error_dict") else ValidationError({NON_FIELD_ERRORS: error})
    if isinstance(error, InvalidRequestError) and error.field_errors:
        return ValidationError(_by_field(error))
    if isinstance(error, NotFoundError) and embed is not None and embed.scope_id:
        return ValidationError({"scope_id": _no_such_scope(error, embed)})
    return ValidationError({NON_FIELD_ERRORS: _in_words(error)})


def texts(error: Exception) -> str:
    """Return what the lifecycle raised as one text."""
    return " ".join(explain(error).messages)


def cause(error: Exception) -> str:
    """Return why a step at Kapso failed, and no more: not what was done before, nor what to do.

    Args:
        error: a KapsoError, or one of those that say that the settings are not in order.
    """
    if isinstance(error, CredentialsError):
        text = _("Kapso refused the API key.")
    elif isinstance(error, NotFoundError):
        text = _("Kapso knows nothing of this under the API key.")
    elif isinstance(error, InvalidRequestError):
        text = _("Kapso refused what was sent.")
    elif isinstance(error, RateLimitedError):
        return _("Kapso takes no more requests in this minute.")
    elif isinstance(error, UnreachableError):
        text = _("Kapso could not be reached.")
    elif isinstance(error, KapsoError):
        text = _("Kapso's answer did not arrive or cannot be read.")
    else:
        text = _("The settings are not in order: %(text)s") % {"text": error}
    return text + _said(getattr(error, "detail", ""))


def _said(detail: str) -> str:
    return " " + _("Kapso says: %(text)s") % {"text": detail} if detail else ""


def _by_field(error: InvalidRequestError) -> dict[str, list[str]]:
    ours = {*MUTABLE, *FIXED, *LOCAL}
    errors: dict[str, list[str]] = {}
    for field, lines in error.field_errors.items():
        said = [_("Kapso says: %(text)s") % {"text": line} for line in lines]
        if field in ours:
            errors.setdefault(field, []).extend(said)
        else:
            errors.setdefault(NON_FIELD_ERRORS, []).extend(f"{field}: {line}" for line in said)
    return errors


def _no_such_scope(error: NotFoundError, embed: InboxEmbed) -> list[str]:
    kind = {
        ScopeType.PHONE_NUMBER: lookups.Kind.PHONE_NUMBER,
        ScopeType.CUSTOMER: lookups.Kind.CUSTOMER,
    }.get(ScopeType(embed.scope_type))
    said = [
        _(
            "Kapso knows nothing of this id under the API key. Nearly always the key is another "
            "project's."
        )
    ]
    seen = lookups.named(kind, project=embed.project) if kind else ""
    if seen:
        said.append(_("This key can see: %(seen)s") % {"seen": seen})
    return said


def _in_words(error: Exception) -> str:
    said = getattr(error, "detail", "")
    if isinstance(error, CredentialsError):
        text = _("Kapso refused the API key, so nothing was done. The health page says more.")
    elif isinstance(error, NotFoundError):
        text = _(
            "Kapso knows nothing of this under the API key, so nothing was done. Nearly always the "
            "key is another project's."
        )
    elif isinstance(error, InvalidRequestError):
        text = _("Kapso refused what was sent, so nothing was done.")
    elif isinstance(error, RateLimitedError):
        text = _("Kapso takes no more requests in this minute, so nothing was done.")
        seconds = int(error.retry_after or 60)
        text += " " + ngettext(
            "Try again in %(count)d second.", "Try again in %(count)d seconds.", seconds
        ) % {"count": seconds}
        said = ""
    elif isinstance(error, UnreachableError):
        text = _("Kapso could not be reached, so nothing was done. Try again in a moment.")
    elif isinstance(error, UncertainError):
        text = _("Kapso's answer did not arrive or cannot be read. Perhaps it was done.")
    elif isinstance(error, BusyError):
        text = _("Somebody is making or changing its link right now. Try again in a moment.")
    elif isinstance(error, ReplacedError):
        text = _("A link was begun for it meanwhile, so nothing was done. Look at it again.")
    elif isinstance(error, RevokedError):
        text = _("It was revoked. Rotating its link brings it back.")
    elif isinstance(error, LiveError):
        text = _("A link of it may still work at Kapso. Revoke it first.")
    elif isinstance(error, InsideTransactionError):
        text = _(
            "This page runs inside a database transaction, in which Kapso is never called. Tell "
            "the developers of this site."
        )
    elif isinstance(error, DatabaseError):
        text = _("The database failed. Look at it again in a moment.")
    else:
        text = _("The settings are not in order, so nothing was done: %(text)s") % {"text": error}
    return text + _said(said)
