"""The addresses that Kapso's webhooks and the pages' badges ask."""

from __future__ import annotations

import logging
from datetime import datetime, timezone

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import RequestDataTooBig
from django.db import Error as DatabaseFailure
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.request import RawPostDataException
from django.utils.cache import get_conditional_response
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_POST

from kapso_inbox.access import get_policy
from kapso_inbox.audit import is_impersonated

from .events import Event, read_events
from .intake import record_refused, take_in
from .secrets import is_signed, webhook_secrets
from .telling import tell
from .waiting import count_waiting, etag_of

logger = logging.getLogger(__name__)

#: The longest body that is read, in bytes.
MAX_BODY = 1024 * 1024


@require_GET
@login_not_required
def waiting_view(request: HttpRequest) -> HttpResponse:
    """Tell how many conversations wait in the inboxes that a page shows badges for.

    `?slug=support&slug=sales` is answered with `{"support": {"unanswered": 3, "handoff": 1}, …}`.
    With `both=1` each has a third number: those that are one or the other, each counted once. What
    the user may not open is left out. The answer has an ETag, and is 304 while nothing changed.

    Returns:
        200, 304, or 403 to whoever is not signed in, and to a request that the policy does not
        admit. It does not lead to a login page, which a script cannot use.
    """
    user = request.user
    if not user.is_authenticated or not get_policy().admits(request):
        answer: HttpResponse = JsonResponse({}, status=403)
    else:
        slugs = request.GET.getlist("slug")
        counted = count_waiting(user, slugs, with_own=not is_impersonated(request))
        names = ("unanswered", "handoff", *(["both"] if request.GET.get("both") else []))
        found = {
            slug: {name: getattr(counts, name) for name in names}
            for slug, counts in counted.items()
        }
        etag = etag_of(found)
        answer = get_conditional_response(request, etag=etag) or JsonResponse(found)
        answer["ETag"] = etag
    answer["Cache-Control"] = "private, no-cache"
    return answer


class _Received(HttpResponse):
    """The answer to a delivery. The host's receivers run once it was sent.

    Kapso repeats a delivery that is not answered within ten seconds. Django calls `close` when the
    server has sent the response.
    """

    events: list[Event]

    def close(self) -> None:
        """Tell the host what happened, and close the response."""
        events, self.events = self.events, []
        try:
            tell(events)
        finally:
            super().close()


@csrf_exempt
@login_not_required
@require_POST
@sensitive_variables()
def webhook_view(request: HttpRequest, project: str) -> HttpResponse:
    """Take in what a webhook of a project delivers.

    Args:
        request: a request of Kapso's.
        project: the alias of the project.

    Returns:
        200 for all that is signed, whatever it says, so that Kapso does not send it again; 401 for
        what is not signed with a secret of this project; 413 for more than a mebibyte; 503 if the
        database fails, so that Kapso does send it again.
    """
    try:
        body = _body(request)
    except RawPostDataException:
        logger.error(
            "A webhook of Kapso's could not be read: a middleware has read the request's stream "
            "before. Let it use request.body instead, or leave out %s.",
            request.path,
        )
        return HttpResponse(status=400)
    if body is None:
        return HttpResponse(status=413)
    secrets = webhook_secrets(project)
    if not secrets or not is_signed(body, request.headers.get("X-Webhook-Signature", ""), secrets):
        return _refused(project, is_known=bool(secrets))
    header = request.headers.get("X-Webhook-Event", "")
    found = list(read_events(project, body, header, received_at=datetime.now(timezone.utc)))
    answer = _Received()
    answer.events = []
    try:
        answer.events = take_in(project, request.headers.get("X-Idempotency-Key", ""), found)
    except DatabaseFailure as error:
        logger.error("A webhook of Kapso's was not stored: %s", type(error).__name__)
        return HttpResponse(status=503)
    return answer


def _body(request: HttpRequest) -> bytes | None:
    """Return the raw body, or None if it is too long.

    Raises:
        RawPostDataException: a middleware has read the stream.
    """
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isdecimal() or int(length) > MAX_BODY:
        return None
    try:
        body = request.body
    except RequestDataTooBig:
        return None
    return body if len(body) <= MAX_BODY else None


def _refused(project: str, *, is_known: bool) -> HttpResponse:
    if is_known:
        try:
            record_refused(project)
        except DatabaseFailure as error:
            logger.warning("A refused webhook was not recorded: %s", type(error).__name__)
    return HttpResponse(status=401)
