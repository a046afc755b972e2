"""One shape for every error: a stable code, a text for people, and texts by field."""

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
from kapso_inbox.exceptions import KapsoInboxError
from kapso_inbox.kapso import UncertainError
from kapso_inbox.meanings import fill_in, meaning_of, retry_after
from kapso_inbox.models import AccessLink, InboxEmbed

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ErrorCode:
    """The HTTP statuses that a code comes with, and what it means in words."""

    statuses: tuple[int, ...]
    meaning: str


#: Every code that an answer can hold. `docs/api.md` has them all.
CODES = {
    "invalid": ErrorCode((400,), "A value is not valid; `fields` says which."),
    "parse_error": ErrorCode((400,), "The body cannot be read."),
    "kapso_refused": ErrorCode((400,), "Kapso refused a value; nothing was done."),
    "not_authenticated": ErrorCode((401, 403), "Nobody is signed in."),
    "authentication_failed": ErrorCode((401, 403), "The credentials are not valid."),
    "permission_denied": ErrorCode((403,), "The user may not do this."),
    "token_required": ErrorCode((403,), "A ticket requires a token; a session gets none."),
    "not_admitted": ErrorCode((403,), "The access policy asks for more than being signed in."),
    "impersonated": ErrorCode((403,), "Somebody who acts as another user gets no ticket."),
    "not_found": ErrorCode((404,), "There is no such object, or the user may not see it."),
    "method_not_allowed": ErrorCode((405,), "This address does not support the method."),
    "not_acceptable": ErrorCode((406,), "No renderer can produce what `Accept` asks for."),
    "slug_taken": ErrorCode((409,), "There is an embed with this slug already."),
    "read_only": ErrorCode((409,), "This deployment is read-only; nothing was done."),
    "made_elsewhere": ErrorCode(
        (409,), "It belongs to somebody else who shares the Kapso project; nothing was done."
    ),
    "busy": ErrorCode((409,), "Somebody is changing its link right now; try again in a moment."),
    "replaced": ErrorCode((409,), "A newer link than `newest_link_id` was begun; look again."),
    "revoked": ErrorCode((409,), "It was revoked; `rotate/` brings it back."),
    "expired": ErrorCode((409,), "It has expired; nobody can open it."),
    "not_ready": ErrorCode((409,), "It has no link of this site's own yet."),
    "live": ErrorCode((409,), "A link of it may still work at Kapso; revoke it first."),
    "unsupported_media_type": ErrorCode((415,), "No parser can read a body of this type."),
    "throttled": ErrorCode((429,), "Too many requests; `Retry-After` says how long to wait."),
    "kapso_refused_key": ErrorCode((502,), "Kapso refused this site's API key."),
    "kapso_credits_used_up": ErrorCode(
        (502,), "The project's credits at Kapso are used up; nothing was done."
    ),
    "kapso_not_found": ErrorCode((502,), "Kapso does not know it under this site's API key."),
    "kapso_unusable_answer": ErrorCode(
        (502,), "Kapso's answer cannot be used; nothing was changed."
    ),
    "outcome_uncertain": ErrorCode(
        (502, 504), "Kapso may have done it; `POST` to `retry_url` to find out."
    ),
    "inbox_origin_missing": ErrorCode(
        (502,),
        "Kapso's inboxes are at an origin that `INBOX_ORIGINS` lacks, so the new link was revoked "
        "again. Add the origin, then `PUT` or `rotate/`. With a `retry_url`, it is not revoked "
        "yet.",
    ),
    "not_revoked_yet": ErrorCode(
        (502, 503, 504),
        "The old link no longer opens anything here, but Kapso has not ended it yet. `POST` to "
        "`retry_url` to try again; `kapso_sync` tries again, too.",
    ),
    "kapso_rate_limited": ErrorCode(
        (503,), "Kapso takes no more requests; `Retry-After` says how long to wait."
    ),
    "not_configured": ErrorCode((503,), "A setting of this site is missing or not valid."),
    "inside_transaction": ErrorCode(
        (503,), "This site runs the API inside a database transaction; nothing was done."
    ),
    "not_stored": ErrorCode(
        (503,), "The database failed. What Kapso created was revoked, or is in the log."
    ),
    "kapso_unreachable": ErrorCode((504,), "Kapso did not answer; nothing was changed."),
}

#: The codes of REST framework's own errors.
_CODE_OF: dict[type[exceptions.APIException], str] = {
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
}


class ApiError(KapsoInboxError, exceptions.APIException):
    """An error that becomes an answer of the API.

    Attributes:
        code: one of `CODES`.
        message: a text for people.
        fields: field -> texts.
        wait: seconds to wait before the next request, or None.
        retry_url: the address that finds out what became of the change, or "" if that is known.
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


def refusal(
    error: Exception,
    *,
    wanted: InboxEmbed | None = None,
    names_others: bool = False,
    only_read: bool,
) -> ApiError:
    """Return the answer to an error of the lifecycle, of a sync or of a look-up.

    Args:
        error: one of `refusals.REFUSALS`.
        wanted: the embed that was to be created, if the call was to create one.
        names_others: whether the answer may name the numbers or customers that the project has.
        only_read: whether the call cannot have changed anything at Kapso.
    """
    fields = refusals.explain(error, wanted, names_others=names_others).message_dict
    text = " ".join(fields.pop(NON_FIELD_ERRORS, []))
    if isinstance(error, ValidationError):
        code = "slug_taken" if _is_taken(error) else "invalid"
        return ApiError(code, text or _see_fields(), fields=fields)
    if refusals.is_about_scope(error, wanted):
        return ApiError("invalid", text or _see_fields(), fields=fields)
    meaning = meaning_of(error)
    code, status = meaning.code, None
    if only_read:
        code = meaning.read_code or code
        text = fill_in(meaning.read_outcome, error) or text
    if isinstance(error, UncertainError):
        # An error with a status has an answer.
        status = 502 if error.status else 504
        if only_read and not error.status:
            code = "kapso_unreachable"
    return ApiError(
        code, text or _see_fields(), status=status, fields=fields, wait=retry_after(error)
    )


def _is_taken(error: ValidationError) -> bool:
    by_field = getattr(error, "error_dict", {})
    return any(one.code == "taken" for one in by_field.get("slug", ()))


def slug_taken_error() -> ApiError:
    """Return the answer if the slug belongs to an embed that the user may not touch."""
    text = _("There is an embed with this slug already.")
    return ApiError("slug_taken", text, fields={"slug": [text]})


def not_revoked_yet(error: Exception, retry_url: str) -> ApiError:
    """Return the answer if Kapso has not ended a link that no longer opens anything here."""
    cause = refusal(error, only_read=False)
    status = cause.status_code if cause.status_code >= 500 else 502
    text = _("The old link no longer opens here, but Kapso has not ended it yet. Try again.")
    return ApiError("not_revoked_yet", text, status=status, wait=cause.wait, retry_url=retry_url)


def handle(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """Answer an exception of one of our views, whatever exception handler the host has.

    Returns:
        The answer, or None if the exception is a mistake in the program: Django answers it.
    """
    if isinstance(error, Http404 | InboxEmbed.DoesNotExist | AccessLink.DoesNotExist):
        error = exceptions.NotFound()  # also if somebody deleted the row a moment ago
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
    """Yield every text in the details of an error of REST framework, at any depth."""
    if isinstance(detail, Mapping):
        for inner in detail.values():
            yield from _texts(inner)
    elif isinstance(detail, list):
        for inner in detail:
            yield from _texts(inner)
    else:
        yield _writable(detail)


def _writable(text: Any) -> str:
    """Return a text without lone surrogates: JSON bodies may hold them, answers must not."""
    return str(text).encode(errors="replace").decode()


def _see_fields() -> str:
    return _("Some values are not valid.")
