"""What each error of Kapso, of the settings and of the lifecycle means: to programs and people."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from django.db import DatabaseError
from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from .exceptions import ConfigurationError
from .kapso import (
    CredentialsError,
    InboxOriginError,
    InvalidRequestError,
    KapsoError,
    NetworkRefusedError,
    NotFoundError,
    PaymentRequiredError,
    RateLimitedError,
    ReadOnlyClientError,
    UncertainError,
    UnreachableError,
)
from .lifecycle import (
    BusyError,
    ForeignError,
    InsideTransactionError,
    LiveError,
    ReadOnlyError,
    ReplacedError,
    RevokedError,
)

#: Seconds to wait before the next request if Kapso's rate limit names no time.
RETRY_AFTER = 60

#: The sentence that a page of the admin can turn into a link to the health page.
SEE_HEALTH_PAGE = _("The health page says more.")

_TRY_LATER = _("Try again in a few minutes.")


class Meaning(NamedTuple):
    """What one class of errors means.

    The texts are templates: `fill_in` puts in what is known of the error itself.

    Attributes:
        code: the code of the REST API, if the call was meant to change something.
        outcome: what was done and what to do next, for the person who asked for a change.
        cause: why a step at Kapso failed, and nothing else; "" if the error never comes from a
            step at Kapso.
        remedy: what to do after `cause`, for the person who looks at it; "" if `cause` says it.
        passes: whether the same step may succeed later, although nobody changes anything.
        read_code: the code of the REST API, if the call only read; "" is the same as `code`.
        read_outcome: what `outcome` is, if the call only read; "" is the same as `outcome`.
        quotes_kapso: whether Kapso's own text belongs after `outcome` and `cause`.
        finding: the code of the doctor's finding; "" if the doctor never meets the error.
        level: the level of that finding.
        found: what the finding says.
        details: what a developer should know of it besides.
        hint: what an operator should do about the finding.
    """

    code: str
    outcome: str | Promise
    cause: str | Promise = ""
    remedy: str | Promise = ""
    passes: bool = False
    read_code: str = ""
    read_outcome: str | Promise = ""
    quotes_kapso: bool = True
    finding: str = ""
    level: Literal["error", "warning"] = "error"
    found: str | Promise = ""
    details: str = ""
    hint: str | Promise = ""


_UNCLEAR_FOUND = _("Kapso's answer cannot be used, so nothing is known of the API key.")
_UNCLEAR_HINT = _("Check again in a few minutes. If this continues, ask Kapso's support.")

_REFUSED_KEY = Meaning(
    code="kapso_refused_key",
    outcome=format_lazy(
        "{} {}", _("Kapso refused the API key, so nothing was done."), SEE_HEALTH_PAGE
    ),
    cause=_("Kapso refused the API key."),
    remedy=SEE_HEALTH_PAGE,
    finding="api-key-refused",
    found=_("Kapso refuses the API key (HTTP %(status)s)."),
    hint=_(
        "It was deleted in Kapso, or is not a key of Kapso's. Create a new one in the "
        "same Kapso project and put it into KAPSO_INBOX."
    ),
)

_REFUSED_BY_CLOUDFLARE = _REFUSED_KEY._replace(
    finding="refused-by-cloudflare",
    found=_("Cloudflare, which stands in front of Kapso, refused the request (%(code)s)."),
    hint=_(
        "The API key was not checked. Ask Kapso's support to allow your server's address, "
        "and check what your proxy does to the User-Agent of requests."
    ),
)

_UNCERTAIN = Meaning(
    code="outcome_uncertain",
    outcome=_("Kapso's answer did not arrive or cannot be read. Kapso may have done it."),
    cause=_("Kapso's answer did not arrive or cannot be read."),
    remedy=_TRY_LATER,
    passes=True,
    read_code="kapso_unusable_answer",
    read_outcome=_("Kapso's answer did not arrive or cannot be read. Nothing was changed."),
    finding="kapso-answer-unclear",
    found=_UNCLEAR_FOUND,
    details="%(reason)s.",
    hint=_UNCLEAR_HINT,
)

_AT_FOREIGN_ORIGIN = _(
    "The address that Kapso answered with is at %(origin)s, but %(setting)s has only "
    "%(inbox_origins)s."
)

_INBOX_ORIGIN = Meaning(
    code="inbox_origin_missing",
    outcome=_(
        "The address that Kapso answered with is at %(origin)s, but %(setting)s has only "
        "%(inbox_origins)s. So the new link was revoked at once. If Kapso shows your "
        "inboxes at that origin, add it to the setting and try again."
    ),
    cause=_AT_FOREIGN_ORIGIN,
    finding="kapso-answer-unclear",
    found=_AT_FOREIGN_ORIGIN,
    hint=_("If Kapso shows your inboxes at that origin, add it to the setting and try again."),
)

_INBOX_ORIGIN_UNREVOKED = _INBOX_ORIGIN._replace(
    outcome=_(
        "The address that Kapso answered with is at %(origin)s, but %(setting)s has only "
        "%(inbox_origins)s. The new link is not revoked yet: kapso_sync will do so. If "
        "Kapso shows your inboxes at that origin, add it to the setting and try again."
    )
)

_IS_READ_ONLY = _(
    'This deployment is read-only (KAPSO_INBOX["READ_ONLY"]): it mirrors Kapso and opens inboxes, '
    "but changes nothing at Kapso."
)

_READ_ONLY = Meaning(
    code="read_only",
    outcome=_IS_READ_ONLY,
    cause=_IS_READ_ONLY,
    finding="read-only",
    level="warning",
    found=_IS_READ_ONLY,
    hint=_("Make changes in the deployment that the inboxes belong to."),
)

#: Error class -> its meaning. `meaning_of` looks up the classes of an error in their MRO.
MEANINGS: dict[type[Exception], Meaning] = {
    CredentialsError: _REFUSED_KEY,
    NotFoundError: Meaning(
        code="kapso_not_found",
        outcome=_(
            "Kapso does not know this ID under the API key, so nothing was done. The key "
            "probably belongs to another project."
        ),
        cause=_("Kapso does not know this ID under the API key."),
        # The doctor asks for lists, which every project has, and handles the 404 of a link itself.
        finding="base-url-wrong",
        found=_("Kapso's API is not at the address in the settings: it answers “not found”."),
        hint=_('Remove or correct KAPSO_INBOX["BASE_URL"].'),
    ),
    PaymentRequiredError: Meaning(
        code="kapso_credits_used_up",
        outcome=_(
            "The project's credits at Kapso are used up, so nothing was done. Add credits in "
            "Kapso, then try again."
        ),
        cause=_("The project's credits at Kapso are used up."),
        remedy=_("Add credits in Kapso, then try again."),
        finding="credits-used-up",
        found=_("The project's credits at Kapso are used up (HTTP %(status)s)."),
        hint=_(
            "Add credits or change the plan in Kapso. Until then Kapso refuses what costs credits."
        ),
    ),
    InvalidRequestError: Meaning(
        code="kapso_refused",
        outcome=_("Kapso refused what was sent, so nothing was done."),
        cause=_("Kapso refused what was sent."),
        # The caller sent no value that they could correct.
        read_code="kapso_unusable_answer",
        finding="kapso-answer-unclear",
        found=_UNCLEAR_FOUND,
        details="%(reason)s.",
        hint=_UNCLEAR_HINT,
    ),
    RateLimitedError: Meaning(
        code="kapso_rate_limited",
        outcome=_("Kapso accepts no more requests in this minute, so nothing was done."),
        cause=_("Kapso accepts no more requests in this minute."),
        remedy=_TRY_LATER,
        passes=True,
        quotes_kapso=False,
        finding="rate-limit-used-up",
        level="warning",
        found=_("Kapso accepts no more requests with this API key in this minute."),
        hint=_(
            "Check again in a minute. If this continues, something else uses the same key: "
            "give it one of its own, or ask Kapso for a higher limit."
        ),
    ),
    UnreachableError: Meaning(
        code="kapso_unreachable",
        outcome=_("Kapso could not be reached, so nothing was done. Try again in a moment."),
        cause=_("Kapso could not be reached."),
        remedy=_TRY_LATER,
        passes=True,
        finding="kapso-unreachable",
        found=_("Kapso cannot be reached from this server."),
        details="%(reason)s.",
        hint=_(
            "Let this server make https connections to the address in BASE_URL. If it needs a "
            "proxy or certificates of its own, name them in PROXIES and CA_BUNDLE: the "
            "environment's are not used."
        ),
    ),
    UncertainError: _UNCERTAIN,
    InboxOriginError: _INBOX_ORIGIN,
    ReadOnlyClientError: _READ_ONLY,
    # Only developers meet it, in their tests.
    NetworkRefusedError: Meaning(
        code="kapso_unreachable",
        outcome="%(text)s.",
        cause="%(text)s.",
        finding="kapso-unreachable",
        found="%(reason)s.",
        hint="%(reason)s.",
    ),
    # A class that is added later counts as uncertain, which never claims that nothing was done.
    KapsoError: _UNCERTAIN,
    ConfigurationError: Meaning(
        code="not_configured",
        outcome=_("The settings are not valid, so nothing was done: %(text)s"),
        cause=_("The settings are not valid: %(text)s"),
    ),
    ReadOnlyError: _READ_ONLY,
    ForeignError: Meaning(
        code="made_elsewhere",
        outcome=_(
            "It was created elsewhere. This site shares its Kapso project with others "
            '(KAPSO_INBOX["SHARED_PROJECTS"]) and leaves theirs alone.'
        ),
    ),
    BusyError: Meaning(
        code="busy",
        outcome=_("Somebody is creating or changing its link right now. Try again in a moment."),
    ),
    ReplacedError: Meaning(
        code="replaced",
        outcome=_(
            "Another link was created for it in the meantime, so nothing was done. Look at it "
            "again."
        ),
    ),
    RevokedError: Meaning(
        code="revoked", outcome=_("It was revoked. Rotating its link brings it back.")
    ),
    LiveError: Meaning(
        code="live", outcome=_("A link of it may still work at Kapso. Revoke it first.")
    ),
    InsideTransactionError: Meaning(
        code="inside_transaction",
        outcome=_(
            "This page runs inside a database transaction, in which Kapso is never called. Tell "
            "the developers of this site."
        ),
    ),
    DatabaseError: Meaning(
        code="not_stored", outcome=_("The database failed. Look at it again in a moment.")
    ),
}


def meaning_of(error: Exception) -> Meaning:
    """Return what an error means.

    Args:
        error: an instance of one of `MEANINGS`.

    Raises:
        LookupError: the table does not have the error.
    """
    if isinstance(error, CredentialsError) and error.code.startswith("cloudflare-"):
        return _REFUSED_BY_CLOUDFLARE
    if isinstance(error, InboxOriginError) and not error.is_revoked:
        return _INBOX_ORIGIN_UNREVOKED
    for kind in type(error).__mro__:
        if kind in MEANINGS:
            return MEANINGS[kind]
    raise LookupError(f"No meaning is known of {type(error).__name__}.")


def fill_in(text: str | Promise, error: Exception) -> str:
    """Return a text of a meaning in the active language, with what is known of the error.

    Args:
        text: one of the texts of the error's `Meaning`.
        error: the error whose text, status, code and origins the text may name.
    """
    facts: dict[str, Any] = {
        "text": error,
        "reason": error,
        "status": getattr(error, "status", None),
        "code": getattr(error, "code", ""),
        "origin": getattr(error, "origin", ""),
        "setting": getattr(error, "setting", ""),
        "inbox_origins": ", ".join(getattr(error, "inbox_origins", ())),
    }
    return str(text) % facts


def retry_after(error: Exception) -> int | None:
    """Return the seconds to wait before the next request, or None if waiting does not help."""
    if not isinstance(error, RateLimitedError):
        return None
    return int(error.retry_after or RETRY_AFTER)
