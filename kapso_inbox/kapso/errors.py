"""What can go wrong in a call to Kapso, sorted by what the caller should do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kapso_inbox.exceptions import KapsoInboxError

#: Statuses that say that Kapso did not do what was asked. With 404 and 429 they are all: every
#: other one but a 2xx leaves open whether it did.
CREDENTIALS = frozenset({401, 403})
INVALID = frozenset({400, 422})

_CLOUDFLARE_CODE = re.compile(
    rb"error(?: code)?:?\s*(?:<[^>]{0,200}>\s*)*(1\d{3})\b", re.IGNORECASE
)
_LINK_TOKEN = re.compile(r"/embed/[^\s\"'<>]+")
_MAX_DETAIL = 500


class KapsoError(KapsoInboxError):
    """A call to Kapso failed. Its subclasses say what the caller should do.

    `str()` is a sentence of ours with the status, code and request id: never a body, a key or an
    address, so that it can be logged and shown.

    Attributes:
        status: the HTTP status, or None where there was no answer.
        code: Kapso's own error code, or "" (for a refusal by Cloudflare, `cloudflare-1010`).
        request_id: the answer's `X-Request-Id`, or "".
        detail: Kapso's own text, at most 500 characters, without the API key and link tokens.
            For an administrator; not for a log.
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
    """Kapso refused the API key (401, 403). Nothing was done. Mend the key."""

    summary = "Kapso refused the API key"


class NotFoundError(KapsoError):
    """Kapso knows nothing of that id under this key (404). Nothing was done.

    Nearly always the key of another project, or a pasted newline (reported by integrators).
    """

    summary = "Kapso knows nothing of that under this API key"


class InvalidRequestError(KapsoError):
    """Kapso refused what was sent (400, 422). Nothing was done. Mend the input.

    Attributes:
        field_errors: field name of Kapso -> its texts; empty where Kapso named no field.
    """

    summary = "Kapso refused what was sent"

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
    """Too many calls in this minute (429). Nothing was done. Wait, then ask again.

    Attributes:
        retry_after: seconds to wait, or None where Kapso did not say.
    """

    summary = "Kapso's rate limit is used up"

    def __init__(self, summary: str = "", *, retry_after: float | None = None, **kw: Any) -> None:
        super().__init__(summary, **kw)
        self.retry_after = retry_after


class UnreachableError(KapsoError):
    """No connection came about (DNS, refused, TLS, proxy, timeout). Surely nothing was done."""

    summary = "Kapso could not be reached; nothing was sent"


class UncertainError(KapsoError):
    """The request left and no usable answer came. Kapso may have done it, or not."""

    summary = "Kapso's answer did not arrive or cannot be read; it may have done what was asked"


def error_for(
    status: int, headers: Mapping[str, str], body: bytes, data: Any, *, api_key: str
) -> KapsoError:
    """Return the error that an answer stands for.

    Args:
        status: the HTTP status; anything but a 2xx.
        headers: the answer's headers.
        body: the answer's body as received.
        data: the body as JSON, or None where it is none (a proxy's HTML page).
        api_key: what must not stand in any text of the error.
    """
    text, code, field_errors = _read_body(body, data)

    def clean(value: str) -> str:
        value = value.replace(api_key, "[API key]")
        return _LINK_TOKEN.sub("/embed/[token]", value)[:_MAX_DETAIL]

    known: dict[str, Any] = {
        "status": status,
        "code": _identifier(clean(code)),
        "request_id": _identifier(clean(headers.get("X-Request-Id", ""))),
        "detail": clean(text),
    }
    if status in CREDENTIALS:
        if known["code"].startswith("cloudflare-"):
            return CredentialsError("Cloudflare, in front of Kapso, refused the request", **known)
        return CredentialsError(**known)
    if status == 404:
        return NotFoundError(**known)
    if status in INVALID:
        cleaned = {
            clean(field): tuple(clean(line) for line in lines)
            for field, lines in field_errors.items()
        }
        return InvalidRequestError(field_errors=cleaned, **known)
    if status == 429:
        return RateLimitedError(retry_after=_seconds(headers.get("Retry-After", "")), **known)
    if 300 <= status < 400:
        # requests would forward X-API-Key to wherever Location says (measured): none is followed.
        return UncertainError("Kapso answered with a redirect, which is not followed", **known)
    return UncertainError(**known)


def _read_body(body: bytes, data: Any) -> tuple[str, str, dict[str, list[str]]]:
    """Return text, code and field errors from any shape that Kapso's errors are known to have."""
    if not isinstance(data, dict):
        cloudflare = _CLOUDFLARE_CODE.search(body)
        return "", f"cloudflare-{cloudflare[1].decode()}" if cloudflare else "", {}
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
            str(field): [_text(line) for line in (lines if isinstance(lines, list) else [lines])]
            for field, lines in errors.items()
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
    """A code or id that is safe in a log line; "" for anything that does not look like one."""
    return value if re.fullmatch(r"[A-Za-z0-9_.:-]{1,80}", value) else ""


def _seconds(value: str) -> float | None:
    """`Retry-After` in seconds. Kapso sends a whole number; a date or nonsense counts as unsaid."""
    return float(value) if re.fullmatch(r"\s*\d{1,6}\s*", value) else None
