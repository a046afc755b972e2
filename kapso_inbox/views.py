"""What an agent's browser asks for: the launch into the inbox, and the inbox as a whole page."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.templatetags.static import static
from django.urls import NoReverseMatch
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_safe

from . import conf, presentation
from .launch import RefusedError, open_inbox, openable, record_refusal
from .models import Outcome

STYLESHEET = "kapso_inbox/kapso_inbox.css"

_STATUS = {
    Outcome.NOT_IN_FRAME: 403,
    Outcome.SIGNED_OUT: 403,
    Outcome.BAD_PARAMETER: 400,
    Outcome.NOT_AVAILABLE: 404,
    Outcome.NOT_READY: 503,
    Outcome.REVOKED: 410,
    Outcome.EXPIRED: 410,
    Outcome.SECRET_LOST: 503,
    Outcome.NOT_RECORDED: 503,
}


class _IntoTheInbox(HttpResponseRedirect):
    """The redirect of a launch. An error page shows the `repr` of responses, so it has none."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


# Not atomic: an opening is committed before the browser is sent on, and Kapso is never called
# inside a transaction.
@transaction.non_atomic_requests
@require_GET
@sensitive_variables()
def launch(request: HttpRequest, slug: str) -> HttpResponse:
    """Send a frame of ours on to the inbox: the address an iframe starts from.

    Answers 302 with the secret address, to a frame of this very site only, since a script could
    read where a fetch ended. Everything else is a small page that says what is wrong.
    """
    try:
        _require_own_frame(request)
        if not request.user.is_authenticated:
            raise RefusedError(Outcome.SIGNED_OUT)
        params = presentation.clean_query(request.GET)
        return _private(_IntoTheInbox(open_inbox(request, slug, params)))
    except presentation.ParameterError as error:
        record_refusal(request, slug, Outcome.BAD_PARAMETER)
        return _message(request, Outcome.BAD_PARAMETER, str(error))
    except RefusedError as refusal:
        if refusal.outcome == Outcome.NOT_IN_FRAME:
            record_refusal(request, slug, refusal.outcome)
        return _message(request, refusal.outcome)


@require_safe
@never_cache
@login_required
def inbox(request: HttpRequest, slug: str) -> HttpResponse:
    """Show the inbox as a whole page, with the theme and filters of the page's own address.

    Other parameters of that address are none of ours: people arrive from mails and campaigns.
    """
    embed = openable(request).filter(slug=slug).first()
    if embed is None:
        record_refusal(request, slug, Outcome.NOT_AVAILABLE)
        raise Http404(_("There is no such inbox for you."))
    query = request.GET.copy()
    for name in query.keys() - presentation.PARAMETERS.keys():
        del query[name]
    try:
        params = presentation.clean_query(query)
    except presentation.ParameterError as error:
        record_refusal(request, slug, Outcome.BAD_PARAMETER)
        return _message(request, Outcome.BAD_PARAMETER, str(error))
    return render(request, "kapso_inbox/inbox.html", {"embed": embed, "params": params})


def _require_own_frame(request: HttpRequest) -> None:
    """Refuse what is no frame on a page of this origin, by the browser's Fetch Metadata.

    Raises:
        RefusedError: it is not, or the browser does not say (an old one, or a site without https).
    """
    own_frame = (
        request.headers.get("Sec-Fetch-Dest") == "iframe"
        and request.headers.get("Sec-Fetch-Site") == "same-origin"
    )
    if conf.value("REQUIRE_FETCH_METADATA") and not own_frame:
        raise RefusedError(Outcome.NOT_IN_FRAME)


def _message(request: HttpRequest, outcome: Outcome, detail: str = "") -> HttpResponse:
    """Return the page that says why the inbox does not open, and what to do."""
    context = {
        "outcome": outcome.value,
        "detail": detail,
        "login_url": _login_url() if outcome == Outcome.SIGNED_OUT else "",
        "has_fetch_metadata": "Sec-Fetch-Dest" in request.headers,
    }
    response = render(request, "kapso_inbox/message.html", context, status=_STATUS[outcome])
    response["Content-Security-Policy"] = (
        f"default-src 'none'; style-src {_style_source()}; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self'"
    )
    return _private(response)


def _login_url() -> str:
    try:
        return resolve_url(settings.LOGIN_URL)
    except NoReverseMatch:
        return ""


def _style_source() -> str:
    parts = urlsplit(static(STYLESHEET))
    if not parts.netloc:
        return "'self'"
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme else parts.netloc


def _private(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store, private"
    # Django's default, same-origin, would drop the Referer that Kapso checks origins by, also where
    # the iframe itself asks for strict-origin (measured in Chromium 156).
    response["Referrer-Policy"] = "strict-origin"
    response["X-Frame-Options"] = "SAMEORIGIN"
    return response
