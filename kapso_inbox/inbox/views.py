"""What an agent's browser asks for: the launch into the inbox, and the inbox as a whole page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods, require_safe

from kapso_inbox import conf
from kapso_inbox.csp import csp_sources
from kapso_inbox.models import InboxEmbed, InboxPreference, Outcome

from . import outcomes, preferences
from .launch import RefusedError, admit, open_inbox, openable, record_refusal
from .params import PARAMETERS, ParameterError, clean_query, merge_params, with_params

logger = logging.getLogger(__name__)

View = Callable[[HttpRequest, str], HttpResponse]


class _IntoTheInbox(HttpResponseRedirect):
    """The redirect of a launch. An error page shows the `repr` of responses, so it has none."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class BackToTheLaunch(HttpResponseRedirect):
    """What a form in the frame is answered with: go and get the inbox (303 makes it a GET)."""

    status_code = 303


def in_frame_view(view: View) -> View:
    """Make a view one of the frame's: why it refuses is a page of ours, and nothing is cached."""

    @wraps(view)
    @sensitive_variables()
    def in_frame(request: HttpRequest, slug: str) -> HttpResponse:
        try:
            return _private(request, view(request, slug))
        except ParameterError as error:
            record_refusal(request, slug, Outcome.BAD_PARAMETER)
            return _message(request, slug, Outcome.BAD_PARAMETER, detail=str(error))
        except RefusedError as refusal:
            if refusal.outcome == Outcome.NOT_IN_FRAME:
                record_refusal(request, slug, refusal.outcome)
            return _message(request, slug, refusal.outcome, refusal.embed)

    return in_frame


@require_GET
@sensitive_variables()
@in_frame_view
def launch(request: HttpRequest, slug: str) -> HttpResponse:
    """Send a frame on to the inbox: the address an iframe starts from.

    Answers 302 with the secret address, to a frame only, since a script could read where a fetch
    ended: to one on a page of this very site, or to one anywhere that brings a ticket. Everything
    else is a small page that says what is wrong. Never run inside a transaction: see `urls`.
    """
    if outcomes.has_ticket(request):
        params = admit(request, slug)
        _require_frame(request)
    else:
        require_own_frame(request)
        params = clean_query(request.GET)
    return _IntoTheInbox(open_inbox(request, slug, params, page=outcomes.page_of(request)))


@csrf_exempt  # but by our own, whose refusal is shown in the frame as any page of ours
@require_http_methods(["GET", "POST"])
@in_frame_view
@csrf_protect
def settings(request: HttpRequest, slug: str) -> HttpResponse:
    """Let a user choose theme and filters of their own, in the frame; then back to the launch.

    The query is the launch's own: what the page asks for. It comes before a user's own choice, and
    goes back with them to the launch.
    """
    require_own_frame(request)
    asked = clean_query(request.GET)
    embed = openable(request).filter(slug=slug).first()
    if embed is None:
        record_refusal(request, slug, Outcome.NOT_AVAILABLE)
        raise RefusedError(Outcome.NOT_AVAILABLE)
    saved = preferences.saved(request.user, embed)
    numbers = preferences.numbers(embed)
    data = request.POST if request.method == "POST" else None
    # A quick view says of each filter whether it is on. That one is off, nobody asks for.
    wanted = merge_params(asked)
    form = preferences.PreferenceForm(data, saved=saved, asked=wanted, numbers=numbers or [])
    back = _launch_from_here(asked)
    if form.is_valid():
        try:
            preferences.save(request.user, embed, form.params(), decided=form.fields)
        except InboxPreference.DoesNotExist:
            raise RefusedError(Outcome.NOT_AVAILABLE) from None
        except DatabaseError:
            logger.exception("A preference for the inbox %r could not be saved.", slug)
            raise RefusedError(Outcome.NOT_RECORDED) from None
        return BackToTheLaunch(back)
    context = {
        "embed": embed,
        "form": form,
        "back": back,
        "numbers_unknown": numbers is None,
        "theme": outcomes.theme(asked.get("mode"), saved.get("mode"), embed.default_mode),
    }
    return own_page(request, "settings", context, has_form=True)


@require_safe
@never_cache
@login_required
def signed_in(request: HttpRequest, slug: str) -> HttpResponse:
    """Say to who signed in in a tab of its own that they can go on where they were."""
    return _private(request, own_page(request, "signed_in", {"slug": slug}))


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
    for name in query.keys() - PARAMETERS.keys():
        del query[name]
    try:
        params = clean_query(query)
    except ParameterError as error:
        record_refusal(request, slug, Outcome.BAD_PARAMETER)
        return _message(request, slug, Outcome.BAD_PARAMETER, detail=str(error))
    own = preferences.saved(request.user, embed)
    theme = outcomes.theme(params.get("mode"), own.get("mode"), embed.default_mode)
    context = {"embed": embed, "params": params, "theme": theme}
    return render(request, "kapso_inbox/inbox.html", context)


def _require_frame(request: HttpRequest, site: str | None = None) -> None:
    """Refuse what is no frame, by the browser's Fetch Metadata.

    Args:
        request: of the launch.
        site: the `Sec-Fetch-Site` of a frame on a page of this origin; None for a page anywhere.

    Raises:
        RefusedError: it is not, or the browser does not say (an old one, or a site without https).
    """
    is_frame = request.headers.get("Sec-Fetch-Dest") == "iframe"
    is_there = site is None or request.headers.get("Sec-Fetch-Site") == site
    if conf.value("REQUIRE_FETCH_METADATA") and not (is_frame and is_there):
        raise RefusedError(Outcome.NOT_IN_FRAME)


def require_own_frame(request: HttpRequest) -> None:
    """Refuse what is no frame on a page of this site, and who is signed out.

    Raises:
        RefusedError: it is, or they are.
    """
    _require_frame(request, site="same-origin")
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        raise RefusedError(Outcome.SIGNED_OUT)


def _launch_from_here(params: Mapping[str, str]) -> str:
    """Return the launch's address, as it is seen from every page of the frame.

    Without the slug: what may not be known of an embed, its page cannot tell either.
    """
    return with_params("../launch/", params)


def _message(
    request: HttpRequest,
    slug: str,
    outcome: Outcome,
    embed: InboxEmbed | None = None,
    detail: str = "",
) -> HttpResponse:
    """Return the page that says why the inbox does not open, and what to do."""
    context = outcomes.context(request, slug, outcome, embed, detail)
    if not outcomes.has_ticket(request) and outcome not in _FINAL:
        context["again"] = _launch_from_here(request.GET.dict())
    response = own_page(request, "message", context, status=outcomes.STATUS[outcome])
    return _private(request, response)


#: What asking again in the same way cannot change.
_FINAL = frozenset({Outcome.NOT_IN_FRAME, Outcome.BAD_PARAMETER, Outcome.BAD_TICKET})


def own_page(
    request: HttpRequest,
    name: str,
    context: Mapping[str, Any],
    *,
    status: int = 200,
    has_form: bool = False,
) -> HttpResponse:
    """Return a page of ours that needs no more than its stylesheet.

    Args:
        request: that asks for it.
        name: of its template.
        context: of its template.
        status: of the answer.
        has_form: whether it has a form, which leads to the launch and so into the inbox.
    """
    # Chromium holds every hop of the redirects against form-action.
    leads_to = ["'self'", *conf.inbox_origins()] if has_form else ["'none'"]
    response = render(request, f"kapso_inbox/{name}.html", dict(context), status=status)
    policy = {
        "default-src": ["'none'"],
        "style-src": csp_sources()["style-src"],
        "base-uri": ["'none'"],
        "form-action": leads_to,
    }
    if not outcomes.has_ticket(request):
        policy["frame-ancestors"] = ["'self'"]
    response["Content-Security-Policy"] = "; ".join(
        " ".join([directive, *sources]) for directive, sources in policy.items()
    )
    return response


def _private(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store, private"
    # Django's default, same-origin, would drop the Referer that Kapso checks origins by, also where
    # the iframe itself asks for strict-origin (measured in Chromium 156).
    response["Referrer-Policy"] = "strict-origin"
    # A ticket's frame stands on a page of another origin, which we do not know. What it may frame
    # holds no secret and offers nothing to click on.
    if outcomes.has_ticket(request):
        response.xframe_options_exempt = True
    else:
        response["X-Frame-Options"] = "SAMEORIGIN"
    return response
