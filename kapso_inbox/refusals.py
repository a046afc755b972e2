"""Why a change was not made: in words, at the field that it is about."""

from __future__ import annotations

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from . import conf, lookups
from .exceptions import ConfigurationError
from .kapso import InvalidRequestError, KapsoError, NotFoundError
from .lifecycle.errors import LifecycleError, ReadOnlyError
from .lifecycle.values import FIXED, LOCAL, MUTABLE
from .meanings import fill_in, meaning_of, retry_after
from .models import InboxEmbed, ScopeType

#: What the lifecycle raises by design. Any other exception is a mistake in the program.
REFUSALS = (
    ValidationError,
    KapsoError,
    LifecycleError,
    ConfigurationError,
)


def explain(
    error: Exception, embed: InboxEmbed | None = None, *, names_others: bool = False
) -> ValidationError:
    """Return an error of the lifecycle as texts by field, translated.

    Args:
        error: one of `REFUSALS`, or a DatabaseError, whose own text is never shown.
        embed: the embed that was to be created, if the call was to create one.
        names_others: whether the text may name the numbers or customers that the project has.

    Returns:
        A ValidationError with a dictionary: field -> texts.
    """
    if isinstance(error, ValidationError):
        return error if hasattr(error, "error_dict") else ValidationError({NON_FIELD_ERRORS: error})
    if isinstance(error, InvalidRequestError) and error.field_errors:
        return ValidationError(_by_field(error))
    if embed is not None and is_about_scope(error, embed):
        return ValidationError({"scope_id": _no_such_scope(embed, names_others)})
    return ValidationError({NON_FIELD_ERRORS: _outcome(error)})


def is_about_scope(error: Exception, embed: InboxEmbed | None) -> bool:
    """Return whether Kapso does not know the scope of the embed that was to be created."""
    return isinstance(error, NotFoundError) and embed is not None and bool(embed.scope_id)


def texts(error: Exception) -> str:
    """Return an error of the lifecycle as one text, translated."""
    return " ".join(explain(error).messages)


def read_only_notice() -> str:
    """Return the text that says that this deployment changes nothing at Kapso; "" if it may."""
    return texts(ReadOnlyError()) if conf.is_read_only() else ""


def cause(error: Exception) -> str:
    """Return why a step at Kapso failed: not what was done before it, nor what to do about it.

    Args:
        error: a KapsoError, or a ConfigurationError.
    """
    meaning = meaning_of(error)
    return fill_in(meaning.cause, error) + _quote(error)


def _outcome(error: Exception) -> str:
    text = fill_in(meaning_of(error).outcome, error)
    seconds = retry_after(error)
    if seconds is not None:
        text += " " + ngettext(
            "Try again in %(count)d second.", "Try again in %(count)d seconds.", seconds
        ) % {"count": seconds}
    return text + _quote(error)


def _quote(error: Exception) -> str:
    """Return Kapso's own text about the error, with a space before it, or ""."""
    detail = getattr(error, "detail", "")
    if not detail or not meaning_of(error).quotes_kapso:
        return ""
    return " " + _("Kapso says: “%(text)s”") % {"text": detail}


def _by_field(error: InvalidRequestError) -> dict[str, list[str]]:
    ours = {*MUTABLE, *FIXED, *LOCAL}
    errors: dict[str, list[str]] = {}
    for field, lines in error.field_errors.items():
        said = [_("Kapso says: “%(text)s”") % {"text": line} for line in lines]
        if field in ours:
            errors.setdefault(field, []).extend(said)
        else:
            errors.setdefault(NON_FIELD_ERRORS, []).extend(f"{field}: {line}" for line in said)
    return errors


def _no_such_scope(embed: InboxEmbed, names_others: bool) -> list[str]:
    kind = {
        ScopeType.PHONE_NUMBER: lookups.Kind.PHONE_NUMBER,
        ScopeType.CUSTOMER: lookups.Kind.CUSTOMER,
    }.get(ScopeType(embed.scope_type))
    said = [
        _(
            "Kapso does not know this ID. Check it for a typo. If it is right, the API key may "
            "belong to another project."
        )
    ]
    seen = lookups.visible_names(kind, project=embed.project) if kind and names_others else ""
    if seen:
        said.append(_("This key can see: %(seen)s") % {"seen": seen})
    return said
