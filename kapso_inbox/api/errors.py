"""Every error in one shape: a code that stays, a text for people, and texts by field."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import (
    NON_FIELD_ERRORS,
    PermissionDenied,
    SuspiciousOperation,
    ValidationError,
)
from django.db import DatabaseError
from django.http import Http404
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework.permissions import SAFE_METHODS
from rest_framework.response import Response
from rest_framework.settings import api_settings

from kapso_inbox import refusals
from kapso_inbox.exceptions import ConfigurationError, KapsoInboxError
from kapso_inbox.kapso import (
    CredentialsError,
    InvalidRequestError,
    NotFoundError,
    RateLimitedError,
    UncertainError,
    UnreachableError,
)
from kapso_inbox.lifecycle import (
    BusyError,
    InsideTransactionError,
    LiveError,
    ReplacedError,
    RevokedError,
)
from kapso_inbox.models import AccessLink, InboxEmbed

logger = logging.getLogger(__name__)

#: Seconds after which to ask again where Kapso's rate limit does not say.
RETRY_AFTER = 60


@dataclass(frozen=True)
class Described:
    """What a code stands for: the statuses that it comes with, and its meaning in words."""

    statuses: tuple[int, ...]
    meaning: str


#: Every code that an answer can hold. `docs/api.md` has them all.
CODES = {
    "invalid": Described((400,), "A value is not in order; `fields` says which."),
    "parse_error": Described((400,), "The body cannot be read."),
    "kapso_refused": Described((400,), "Kapso refused a value; nothing was done."),
    "not_authenticated": Described((401, 403), "Nobody is signed in."),
    "authentication_failed": Described((401, 403), "What was presented signs nobody in."),
    "permission_denied": Described((403,), "The user may not do this."),
    "not_found": Described((404,), "There is none, or none for this user."),
    "method_not_allowed": Described((405,), "This address knows no such method."),
    "not_acceptable": Described((406,), "No renderer makes what `Accept` asks for."),
    "slug_taken": Described((409,), "There is an embed with this slug already."),
    "busy": Described((409,), "Somebody is changing its link right now; try again in a moment."),
    "replaced": Described((409,), "Another link was begun since `newest_link_id`; look again."),
    "revoked": Described((409,), "It was revoked; `rotate/` brings it back."),
    "expired": Described((409,), "It has expired; nobody can open it."),
    "not_ready": Described((409,), "It has no link of this site's own yet."),
    "live": Described((409,), "A link of it may still work at Kapso; revoke it first."),
    "unsupported_media_type": Described((415,), "No parser reads this kind of body."),
    "throttled": Described((429,), "Too many requests; `Retry-After` says how long to wait."),
    "kapso_refused_key": Described((502,), "Kapso refused this site's API key."),
    "kapso_not_found": Described((502,), "Kapso knows nothing of it under this site's API key."),
    "kapso_unusable_answer": Described((502,), "Kapso answered nonsense; nothing was changed."),
    "outcome_uncertain": Described(
        (502, 504), "Perhaps Kapso did it; `retry_url` is the address that finds out."
    ),
    "not_revoked_yet": Described(
        (502, 503, 504),
        "Here the old link opens nothing any more; Kapso has not ended it yet. `retry_url` goes "
        "on with it, and so does `kapso_sync`.",
    ),
    "kapso_rate_limited": Described(
        (503,), "Kapso takes no more requests; `Retry-After` says how long to wait."
    ),
    "not_configured": Described((503,), "The settings of this site are not in order."),
    "inside_transaction": Described(
        (503,), "This site runs the API inside a database transaction; nothing was done."
    ),
    "not_stored": Described(
        (503,), "The database failed. What Kapso made meanwhile was revoked, or is in the log."
    ),
    "kapso_unreachable": Described((504,), "Kapso did not answer; nothing was changed."),
}

_CODE_OF: dict[type[Exception], str] = {
    exceptions.ParseError: "parse_error",
    exceptions.ValidationError: "invalid",
    exceptions.NotAuthenticated: "not_authenticated",
    exceptions.AuthenticationFailed: "authentication_failed",
    exceptions.PermissionDenied: "permission_denied",
    exceptions.NotFound: "not_found",
    exceptions.MethodNotAllowed: "method_not_allowed",
    exceptions.NotAcceptable: "not_acceptable",
    exceptions.UnsupportedMediaType: "unsupported_media_type",
    exceptions.Throttled: "throttled",
    BusyError: "busy",
    ReplacedError: "replaced",
    RevokedError: "revoked",
    LiveError: "live",
    InsideTransactionError: "inside_transaction",
    CredentialsError: "kapso_refused_key",
    NotFoundError: "kapso_not_found",
    InvalidRequestError: "kapso_refused",
    RateLimitedError: "kapso_rate_limited",
    UnreachableError: "kapso_unreachable",
    UncertainError: "outcome_uncertain",
    ValidationError: "invalid",
    ConfigurationError: "not_configured",
}


class ApiError(KapsoInboxError, exceptions.APIException):
    """An error as it is answered.

    Attributes:
        code: one of `CODES`.
        message: a text for people.
        fields: field -> texts.
        wait: seconds after which to ask again; None = unsaid.
        retry_url: the address that finds out what became of it; "" where nothing is open.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        fields: Mapping[str, list[str]] | None = None,
        wait: int | None = None,
        retry_url: str = "",
    ) -> None:
        super().__init__(message, code)
        self.status_code = status or CODES[code].statuses[0]
        self.code = code
        self.message = message
        self.fields = dict(fields or {})
        self.wait = wait
        self.retry_url = retry_url


def refusal(error: Exception, *, wanted: InboxEmbed | None = None, only_read: bool) -> ApiError:
    """Return what the lifecycle, the sync or a look-up raised as it is answered.

    Args:
        error: one of `refusals.REFUSALS`.
        wanted: what was to be made, where it was: a 404 of Kapso's is then about its scope.
        only_read: whether nothing can have been changed at Kapso.
    """
    code = next(_CODE_OF[kind] for kind in type(error).__mro__ if kind in _CODE_OF)
    if isinstance(error, ValidationError) and _is_taken(error):
        code = "slug_taken"
    explained = refusals.explain(error, wanted).message_dict
    text = " ".join(explained.pop(NON_FIELD_ERRORS, []))
    if isinstance(error, NotFoundError) and explained:
        code = "invalid"
    if isinstance(error, InvalidRequestError) and only_read:
        code = "kapso_unusable_answer"  # nothing of the caller's was sent that could be mended
    wait = None
    if isinstance(error, RateLimitedError):
        wait = int(error.retry_after or RETRY_AFTER)
    status = None
    if isinstance(error, UncertainError):
        # With a status, something answered.
        status = 502 if error.status else 504
        if only_read:
            code = "kapso_unusable_answer" if error.status else "kapso_unreachable"
            text = _("Kapso's answer did not arrive or cannot be read. Nothing was changed.")
    return ApiError(code, text or _see_fields(), status=status, fields=explained, wait=wait)


def _is_taken(error: ValidationError) -> bool:
    by_field = getattr(error, "error_dict", {})
    return any(one.code == "taken" for one in by_field.get("slug", ()))


def slug_taken() -> ApiError:
    """Return the answer where a slug belongs to an embed that the user may not touch."""
    text = _("There is an embed with this slug already.")
    return ApiError("slug_taken", text, fields={"slug": [text]})


def not_revoked_yet(error: Exception, retry_url: str) -> ApiError:
    """Return the answer where Kapso has not ended a link that opens nothing here any more."""
    cause = refusal(error, only_read=False)
    status = cause.status_code if cause.status_code >= 500 else 502
    text = _("Here the old link opens nothing any more, but Kapso has not ended it yet. Ask again.")
    return ApiError("not_revoked_yet", text, status=status, wait=cause.wait, retry_url=retry_url)


def handle(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """Answer an exception of a view: the views' own exception handler, whatever the host's is.

    Returns:
        None for what is a mistake in the program, which Django then answers.
    """
    if isinstance(error, Http404 | InboxEmbed.DoesNotExist | AccessLink.DoesNotExist):
        error = exceptions.NotFound()  # also one that somebody deleted a moment ago
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied(*error.args)
    elif isinstance(error, SuspiciousOperation):
        error = exceptions.ParseError()
    elif isinstance(error, refusals.REFUSALS):
        error = refusal(error, only_read=True)
    elif isinstance(error, DatabaseError) and context["request"].method not in SAFE_METHODS:
        logger.error("The database failed in a request to the API.", exc_info=error)
        error = ApiError("not_stored", refusals.texts(error))
    if not isinstance(error, exceptions.APIException):
        return None
    headers = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait))
    return Response({"error": _shape(error)}, status=error.status_code, headers=headers)


def _shape(error: exceptions.APIException) -> dict[str, Any]:
    if isinstance(error, ApiError):
        shape = {"code": error.code, "message": error.message, "fields": error.fields}
        return {**shape, "retry_url": error.retry_url} if error.retry_url else shape
    known = (_CODE_OF[kind] for kind in type(error).__mro__ if kind in _CODE_OF)
    code = next(known, error.default_code)
    if code != "invalid":
        return {"code": code, "message": " ".join(_texts(error.detail)), "fields": {}}
    detail = error.detail if isinstance(error.detail, dict) else {"": error.detail}
    fields = {_writable(name): list(_texts(lines)) for name, lines in detail.items()}
    general = [
        *fields.pop("", []),
        *fields.pop(str(api_settings.NON_FIELD_ERRORS_KEY), []),
    ]
    return {"code": code, "message": " ".join(general) or _see_fields(), "fields": fields}


def _texts(detail: Any) -> Iterator[str]:
    """Every text in what REST framework keeps of an error, however deep."""
    if isinstance(detail, Mapping):
        for inner in detail.values():
            yield from _texts(inner)
    elif isinstance(detail, list):
        for inner in detail:
            yield from _texts(inner)
    else:
        yield _writable(detail)


def _writable(text: Any) -> str:
    """Without half surrogates, which can stand in a body, and in no answer."""
    return str(text).encode(errors="replace").decode()


def _see_fields() -> str:
    return _("Some values are not in order.")
