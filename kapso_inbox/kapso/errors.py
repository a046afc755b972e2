"""The errors of calls to Kapso, one class for each thing that the caller can do about them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from kapso_inbox.exceptions import KapsoInboxError

from .redaction import known_secrets, plain_text, redacted

#: With 402, 404 and 429, these are all statuses which mean that Kapso did nothing. Any other status
#: except a 2xx leaves that open: a 409 too, for it can also say that the request was carried out
#: before.
_CREDENTIALS_STATUSES = frozenset({401, 403})
_INVALID_STATUSES = frozenset({400, 422})

_CLOUDFLARE_CODE = re.compile(r"error(?: code)?:?\s*(1\d{3})\b", re.IGNORECASE)
#: How much of a page that is not JSON is looked through for such a code.
_MAX_PAGE = 64 * 1024
_MAX_DETAIL = 500
#: How many fields with errors are read, and how many lines about each.
_MAX_FIELDS, _MAX_LINES = 20, 10


class KapsoError(KapsoInboxError):
    """A call to Kapso failed. Its subclasses say what the caller should do.

    `str()` is the app's own summary with the status, code and request id. It never contains a body,
    a key or an address, so it can be logged and shown.

    Attributes:
        status: the HTTP status, or None if there was no answer.
        code: Kapso's own error code, or "". A refusal by Cloudflare has a code such as
            `cloudflare-1010`.
        request_id: the answer's `X-Request-Id`, or "".
        detail: Kapso's own text, at most 500 characters, without the API key and without what looks
            like a token. Show it to administrators; do not log it.
    """

    summary = "The call to Kapso failed"

    def __init__(
        self,
        summary: str = "",
        *,
        status: int | None = None,
        code: str = "",
        request_id: str = "",
        detail: str = "",
    ) -> None:
        super().__init__(summary or self.summary)
        self.status = status
        self.code = code
        self.request_id = request_id
        self.detail = detail

    def __str__(self) -> str:
        facts = [
            f"HTTP {self.status}" if self.status else "",
            f"code {self.code}" if self.code else "",
            f"request {self.request_id}" if self.request_id else "",
        ]
        known = ", ".join(fact for fact in facts if fact)
        return f"{self.args[0]} ({known})" if known else str(self.args[0])


class CredentialsError(KapsoError):
    """Kapso refused the API key (401, 403). Nothing was done. Fix the key."""

    summary = "Kapso refused the API key"


class PaymentRequiredError(KapsoError):
    """The project's credits at Kapso are used up (402). Nothing was done. Buy credits."""

    summary = "The project's credits at Kapso are used up"


class NotFoundError(KapsoError):
    """Kapso has nothing with that id under this API key (404). Nothing was done.

    Integrators report that the cause is nearly always another project's key, or a pasted newline.
    """

    summary = "Kapso has nothing with that id under this API key"


class InvalidRequestError(KapsoError):
    """Kapso refused the values that were sent (400, 422). Nothing was done. Fix the values.

    Attributes:
        field_errors: Kapso's name of a field -> the texts about it; empty if Kapso named no field.
    """

    summary = "Kapso refused the values that were sent"

    def __init__(
        self,
        summary: str = "",
        *,
        field_errors: Mapping[str, Sequence[str]] | None = None,
        **kw: Any,
    ) -> None:
        super().__init__(summary, **kw)
        self.field_errors = dict(field_errors or {})


class RateLimitedError(KapsoError):
    """There were too many calls in this minute (429). Nothing was done. Wait, then try again.

    Attributes:
        retry_after: seconds to wait, or None if Kapso did not say.
    """

    summary = "Kapso's rate limit is used up"

    def __init__(self, summary: str = "", *, retry_after: float | None = None, **kw: Any) -> None:
        super().__init__(summary, **kw)
        self.retry_after = retry_after


class UnreachableError(KapsoError):
    """No connection was made (DNS, refused, TLS, proxy, timeout). Certainly nothing was done."""

    summary = "Kapso could not be reached; nothing was sent"


class ReadOnlyClientError(KapsoError):
    """The client may only read. Certainly nothing was done."""

    summary = "This client may only read; nothing was sent"


class NetworkRefusedError(KapsoError):
    """A test tried to send a request to Kapso. Certainly nothing was done. See docs/testing.md."""

    summary = (
        "Tests must not reach Kapso; nothing was sent. Use the pytest fixture kapso_sandbox, or "
        "kapso_inbox.sandbox.testcases.KapsoSandboxMixin. To allow requests, mark the test with "
        "kapso_inbox_network, or set kapso_inbox_network = true in pytest's ini file"
    )


class UncertainError(KapsoError):
    """The request was sent, and no usable answer came. Kapso may have carried it out, or not."""

    summary = "Kapso's answer is missing or unreadable; Kapso may have carried out the request"


class InboxOriginError(UncertainError):
    """Kapso created a link whose address is at an origin that is not configured.

    The link was revoked again, or waits for that.

    Attributes:
        origin: the origin of the address, without its path, which is secret.
        inbox_origins: the configured origins.
        setting: the name of the setting that holds them.
        is_revoked: whether Kapso has confirmed that it revoked the link.
    """

    summary = "Kapso created a link at an origin that is not configured"

    def __init__(
        self,
        summary: str = "",
        *,
        origin: str = "",
        inbox_origins: Sequence[str] = (),
        setting: str = "",
        is_revoked: bool = False,
        **kw: Any,
    ) -> None:
        super().__init__(summary, **kw)
        self.origin = origin
        self.inbox_origins = list(inbox_origins)
        self.setting = setting
        self.is_revoked = is_revoked

    def __str__(self) -> str:
        if self.is_revoked:
            return f"{self.args[0]}. The link was revoked again"
        return f"{self.args[0]}. The link is not revoked yet; kapso_sync goes on with it"


def error_for(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    data: Any,
    *,
    api_key: str,
    sent: Mapping[str, Any] | None = None,
    method: str = "",
) -> KapsoError:
    """Return the error for an answer that is not a 2xx.

    Args:
        status: the HTTP status.
        headers: the answer's headers.
        body: the answer's body as received.
        data: the body as JSON, or None if it is something else (a proxy's HTML page).
        api_key: the key, which is removed from every text of the error.
        sent: the body of the request. Its secrets are removed as well: Kapso may quote them.
        method: the method of the request: a GET changes nothing, whatever its answer is.
    """
    text, code, field_errors = _read_body(body, data)
    secrets = known_secrets(api_key, data, sent)

    def clean(value: str) -> str:
        return redacted(value, secrets)[:_MAX_DETAIL]

    known: dict[str, Any] = {
        "status": status,
        "code": _identifier(clean(code)),
        "request_id": _identifier(clean(headers.get("X-Request-Id", ""))),
        "detail": clean(text),
    }
    if status in _CREDENTIALS_STATUSES:
        if known["code"].startswith("cloudflare-"):
            return CredentialsError("Cloudflare, in front of Kapso, refused the request", **known)
        return CredentialsError(**known)
    if status == 402:
        return PaymentRequiredError(**known)
    if status == 404:
        return NotFoundError(**known)
    if status in _INVALID_STATUSES:
        cleaned = {
            clean(field): tuple(clean(line) for line in lines)
            for field, lines in field_errors.items()
        }
        return InvalidRequestError(field_errors=cleaned, **known)
    if status == 429:
        return RateLimitedError(retry_after=_seconds(headers.get("Retry-After", "")), **known)
    if 300 <= status < 400:
        # requests would send X-API-Key on to whatever host Location names (measured).
        return UncertainError("Kapso answered with a redirect, which is not followed", **known)
    is_read = method == "GET"
    return UncertainError("Kapso's answer is missing or unreadable" if is_read else "", **known)


def _read_body(body: bytes, data: Any) -> tuple[str, str, dict[str, list[str]]]:
    """Return text, code and field errors from any of the known shapes of Kapso's errors."""
    if not isinstance(data, dict):
        page = plain_text(body[:_MAX_PAGE].decode(errors="replace"))
        cloudflare = _CLOUDFLARE_CODE.search(page)
        return "", f"cloudflare-{cloudflare[1]}" if cloudflare else "", {}
    error = data.get("error")
    text = code = ""
    if isinstance(error, dict):
        text, code = _text(error.get("message")), _text(error.get("code"))
    elif error is not None:
        text = _text(error)
    text = text or _text(data.get("message"))
    code = code or _text(data.get("code"))
    errors = data.get("errors")
    fields = {}
    if isinstance(errors, dict):
        fields = {
            str(field): [
                _text(line) for line in (lines[:_MAX_LINES] if isinstance(lines, list) else [lines])
            ]
            for field, lines in islice(errors.items(), _MAX_FIELDS)
        }
    elif isinstance(errors, list):
        text = text or "; ".join(_text(line) for line in errors)
    return text, code, fields


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return ""
    try:
        return str(value)
    except (RecursionError, ValueError):  # nested too deeply, or a number of too many digits
        return ""


def _identifier(value: str) -> str:
    """Return the value if it looks like a code or id, which is safe in a log line; else ""."""
    return value if re.fullmatch(r"[A-Za-z0-9_.:-]{1,80}", value) else ""


def _seconds(value: str) -> float | None:
    """Return the seconds of a `Retry-After`, or None for a date or nonsense.

    Kapso sends a whole number.
    """
    return float(value) if re.fullmatch(r"\s*\d{1,6}\s*", value) else None
