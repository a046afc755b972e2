"""The views that an agent's browser asks for: the launch, the preferences, and the whole page."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth.decorators import login_not_required, login_required
from django.core.exceptions import PermissionDenied
from django.core.signals import got_request_exception
from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.log import log_response
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods, require_safe

from kapso_inbox import conf
from kapso_inbox.csp import csp_sources
from kapso_inbox.models import InboxEmbed, InboxPreference, Outcome

from . import outcomes, preferences
from .launch import (
    LaunchRefusedError,
    admit,
    open_inbox,
    openable,
    params_of_host,
    record_refusal,
    require_admission,
)
from .params import ParameterError, clean_known, clean_query, opening_view, with_params

logger = logging.getLogger(__name__)

_FrameView = Callable[[HttpRequest, str], HttpResponse]

#: Outcomes that the same request would have again, so that the page offers no second try.
_FINAL = frozenset(
    {Outcome.NOT_IN_FRAME, Outcome.BAD_PARAMETER, Outcome.BAD_TICKET, Outcome.OTHER_USER}
)


#: The launch's address, relative to every page in the frame. It leaves out the slug, so that the
#: pages for a hidden embed and for a missing one are equal.
_LAUNCH = "../launch/"

REACH_SCRIPT = "kapso_inbox/reach.js"

#: Seconds that a browser may keep the page that asks whether the inbox's host answers.
_REACH_KEPT = 3600


class _RedirectToInbox(HttpResponseRedirect):
    """The redirect of a launch. Its `repr`, which error pages show, leaves out the address."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class RedirectToLaunch(HttpResponseRedirect):
    """The answer to a form in the frame. The status 303 turns the POST into a GET."""

    status_code = 303


def in_frame_view(view: _FrameView) -> _FrameView:
    """Turn a view's refusals into pages for the frame, and keep all of its answers uncached.

    The view decides by itself who is let in. `LoginRequiredMiddleware` would send the frame to a
    login page that no page may frame, also with a ticket.
    """

    @login_not_required
    @wraps(view)
    @sensitive_variables()
    def in_frame(request: HttpRequest, slug: str) -> HttpResponse:
        try:
            return _answer(view, request, slug)
        except Exception as error:
            if settings.DEBUG_PROPAGATE_EXCEPTIONS:
                raise
            return _failure(request, slug, error)

    return in_frame


@sensitive_variables()
def _answer(view: _FrameView, request: HttpRequest, slug: str) -> HttpResponse:
    """Return the answer of a view of a frame, or the page about its refusal."""
    try:
        response = view(request, slug)
        return _private(response, is_for_any_site=outcomes.has_ticket(request))
    except ParameterError as error:
        record_refusal(request, slug, Outcome.BAD_PARAMETER)
        return refusal_page(
            request, slug, Outcome.BAD_PARAMETER, detail=str(error), wrong=error.name
        )
    except LaunchRefusedError as refusal:
        return refusal_page(request, slug, refusal.outcome, refusal.embed, refusal.detail)
    except (Http404, PermissionDenied):
        # Code of the host refuses it, such as its access policy.
        record_refusal(request, slug, Outcome.NOT_AVAILABLE)
        return refusal_page(request, slug, Outcome.NOT_AVAILABLE)


@require_GET
@sensitive_variables()
@in_frame_view
def launch_view(request: HttpRequest, slug: str) -> HttpResponse:
    """Send a frame on to the inbox. This is the address that an iframe starts from.

    The answer is a 302 to the secret address. Only frames get it, because a script could read where
    its fetch ended: a frame on a page of this site, or a frame on any page that brings a ticket.
    Everything else gets a small page that says what is wrong. This view never runs inside a
    transaction: see `kapso_inbox.urls`.
    """
    if outcomes.has_ticket(request):
        params = admit(request, slug)
        _require_frame(request, slug)
    else:
        require_frame_of_this_site(request, slug)
        params = clean_query(request.GET)
    return _RedirectToInbox(open_inbox(request, slug, params, page=outcomes.page_origin(request)))


@csrf_exempt  # except for our own check below, whose refusal is shown in the frame
@require_http_methods(["GET", "POST"])
@in_frame_view
@csrf_protect
def preferences_view(request: HttpRequest, slug: str) -> HttpResponse:
    """Let users choose their own theme and filters in the frame, then lead back to the launch.

    The query is the launch's own query: what the page asks for. It overrides a user's own choice,
    and goes back to the launch with the user.
    """
    require_frame_of_this_site(request, slug)
    asked = clean_query(request.GET)
    embed = openable(request).filter(slug=slug).first()
    if embed is None:
        record_refusal(request, slug, Outcome.NOT_AVAILABLE)
        raise LaunchRefusedError(Outcome.NOT_AVAILABLE)
    saved = preferences.saved(request.user, embed)
    numbers = preferences.choosable_numbers(embed)
    data = request.POST if request.method == "POST" else None
    form = preferences.PreferenceForm(data, saved=saved, asked=asked, numbers=numbers or [])
    back = with_params(_LAUNCH, asked)
    if form.is_valid():
        try:
            preferences.save(request.user, embed, form.params(), decided=form.fields)
        except InboxPreference.DoesNotExist:
            raise LaunchRefusedError(Outcome.NOT_AVAILABLE) from None
        except DatabaseError:
            logger.exception("A preference for the inbox %r could not be saved.", slug)
            raise LaunchRefusedError(Outcome.NOT_RECORDED) from None
        return RedirectToLaunch(back)
    context = {
        "embed": embed,
        "form": form,
        "back": back,
        "numbers_unknown": numbers is None,
        "has_notifications": has_badges(),
        "theme": theme_around(request, embed, asked, saved),
    }
    return render_bare_page(request, "settings", context, has_form=True, has_script=has_badges())


@require_safe
@login_not_required
def reach_view(request: HttpRequest, slug: str) -> HttpResponse:
    """Return a page that asks the inbox's host for a sign of life, in a hidden frame.

    The policy of the page around it may forbid the question, so this page has its own. It is the
    same for every slug, and says nothing to anyone who is not signed in.
    """
    user = getattr(request, "user", None)
    is_known = user is not None and user.is_authenticated
    origins = conf.inbox_origins() if is_known else []
    script = format_html('<script src="{}" defer></script>', static(REACH_SCRIPT))
    page = format_html(
        '<!doctype html><html lang="en" data-kapso-inbox data-origins="{}"><title>Inbox</title>{}',
        " ".join(origins),
        script if origins else "",
    )
    response = HttpResponse(page)
    _set_policy(
        response,
        {
            "default-src": ["'none'"],
            "script-src": csp_sources()["script-src"],
            "connect-src": list(origins) or ["'none'"],
            "base-uri": ["'none'"],
            "form-action": ["'none'"],
            "frame-ancestors": ["'self'"],
        },
    )
    response["X-Frame-Options"] = "SAMEORIGIN"
    response["Referrer-Policy"] = "no-referrer"
    kept = f"private, max-age={_REACH_KEPT}"
    response["Cache-Control"] = kept if is_known else "no-store, private"
    return response


@require_safe
@never_cache
@login_required
def signed_in_view(request: HttpRequest, slug: str) -> HttpResponse:
    """Tell users who signed in in another tab that they can go on where they were."""
    return _private(render_bare_page(request, "signed_in", {"slug": slug}))


@require_safe
@never_cache
@login_required
def inbox_view(request: HttpRequest, slug: str) -> HttpResponse:
    """Show the inbox as a whole page, with the theme and filters of the page's own address.

    Where the address asks for no quick view, the user's saved filters choose the first one. Other
    parameters of that address are ignored, since people arrive from mails and campaigns.
    """
    embed = openable(request).filter(slug=slug).first()
    if embed is None:
        record_refusal(request, slug, Outcome.NOT_AVAILABLE)
        return refusal_page(request, slug, Outcome.NOT_AVAILABLE, back="./")
    try:
        params = clean_known(request.GET)
    except ParameterError as error:
        record_refusal(request, slug, Outcome.BAD_PARAMETER)
        return refusal_page(
            request, slug, Outcome.BAD_PARAMETER, detail=str(error), wrong=error.name, back="./"
        )
    saved = preferences.saved(request.user, embed)
    context = {
        "embed": embed,
        "params": opening_view(params, saved),
        "theme": theme_around(request, embed, params, saved),
        "has_badges": has_badges(),
    }
    return render(request, "kapso_inbox/inbox.html", context)


def theme_around(
    request: HttpRequest, embed: InboxEmbed, asked: Mapping[str, str], saved: Mapping[str, str]
) -> str:
    """Return the theme of a page of ours that belongs to an embed: the one that the inbox gets.

    Args:
        request: the current request, which has a user.
        embed: the embed, which the user may open.
        asked: what the page's address asks for.
        saved: what the user saved for this embed.
    """
    of_host = params_of_host(request, embed)
    wishes = (source.get("mode") for source in (asked, saved, of_host))
    return outcomes.page_theme(*wishes, embed.default_mode)


def has_badges() -> bool:
    """Return whether the app is installed that knows which conversations wait."""
    return apps.is_installed("kapso_inbox.conversations")


def require_frame_of_this_site(request: HttpRequest, slug: str) -> None:
    """Check that a signed-in user asks, from a frame on a page of this site, and may.

    Raises:
        LaunchRefusedError: it is another request, the user is signed out, or the access policy does
            not admit the request.
    """
    _require_frame(request, slug, site="same-origin")
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        raise LaunchRefusedError(Outcome.SIGNED_OUT)
    require_admission(request, slug)


def _require_frame(request: HttpRequest, slug: str, site: str | None = None) -> None:
    """Check that a frame asks, by the browser's Fetch Metadata.

    Args:
        request: the request of the frame.
        slug: the slug that was asked for, for the record.
        site: the `Sec-Fetch-Site` that the frame must have; None for a page of any site.

    Raises:
        LaunchRefusedError: no frame asks, or the browser does not say so (an old browser, or a
            site without https).
    """
    is_frame = request.headers.get("Sec-Fetch-Dest") == "iframe"
    is_there = site is None or request.headers.get("Sec-Fetch-Site") == site
    if conf.value("REQUIRE_FETCH_METADATA") and not (is_frame and is_there):
        record_refusal(request, slug, Outcome.NOT_IN_FRAME)
        raise LaunchRefusedError(Outcome.NOT_IN_FRAME)


def refusal_page(
    request: HttpRequest,
    slug: str,
    outcome: Outcome,
    embed: InboxEmbed | None = None,
    detail: str = "",
    *,
    wrong: str = "",
    back: str = _LAUNCH,
) -> HttpResponse:
    """Return the page that says why the inbox does not open, and what to do about it.

    Args:
        request: the request for the inbox.
        slug: the slug that was asked for.
        outcome: why it does not open.
        embed: the embed with that slug, if the user may open it.
        detail: what the outcome alone does not say.
        wrong: the parameter of the address that is wrong.
        back: the address that was asked for, without its query.
    """
    context = outcomes.message_context(request, slug, outcome, embed, detail)
    asked = request.GET.dict()
    is_for_any_site = outcomes.may_be_framed_by_any_site(request, outcome)
    if wrong and not is_for_any_site:
        asked.pop(wrong, None)
        context["without"] = with_params(back, asked)
    elif outcome not in _FINAL and not is_for_any_site:
        context["again"] = with_params(back, asked)
    response = render_bare_page(
        request,
        "message",
        context,
        status=outcomes.STATUS[outcome],
        is_for_any_site=is_for_any_site,
    )
    return _private(response, is_for_any_site=is_for_any_site)


@sensitive_variables()
def _failure(request: HttpRequest, slug: str, error: Exception) -> HttpResponse:
    """Report an exception as Django does that of any view, and return our own page about it.

    Browsers do not show the pages that Django and hosts have for errors in a frame.
    """
    got_request_exception.send(sender=None, request=request)
    with suppress(Exception):  # Perhaps it is the user who cannot be read.
        record_refusal(request, slug, Outcome.FAILED)
    last_line = traceback.format_exception_only(error)[-1].strip() if settings.DEBUG else ""
    try:
        response = refusal_page(request, slug, Outcome.FAILED, detail=last_line)
    except Exception:
        # Perhaps our template, or a file that it names, is what cannot be found.
        logger.exception("The page about an error in the frame could not be rendered.")
        response = _plain_failure(request, last_line)
    log_response(
        "%s: %s",
        response.reason_phrase,
        request.path,
        response=response,
        request=request,
        exception=error,
    )
    return response


def _plain_failure(request: HttpRequest, last_line: str) -> HttpResponse:
    """Return the page about an error without any template, translation or static file."""
    page = format_html(
        '<!doctype html><html lang="en" data-kapso-inbox><title>WhatsApp inbox</title>'
        '<main data-outcome="{}"><h1>The inbox did not open, because of an error in the CRM</h1>'
        "<p>{}</p></main>",
        Outcome.FAILED.value,
        last_line,
    )
    response = HttpResponse(page, status=outcomes.STATUS[Outcome.FAILED])
    return _private(response, is_for_any_site=outcomes.has_ticket(request))


def render_bare_page(
    request: HttpRequest,
    name: str,
    context: Mapping[str, Any],
    *,
    status: int = 200,
    has_form: bool = False,
    has_script: bool = False,
    is_for_any_site: bool = False,
) -> HttpResponse:
    """Return a page whose Content Security Policy allows its own files and nothing else.

    Args:
        request: the request for the page.
        name: the name of its template, without folder and suffix.
        context: the context of its template.
        status: the HTTP status.
        has_form: whether the page has a form, which leads to the launch and so into the inbox.
        has_script: whether the page has a script.
        is_for_any_site: whether pages of any site may frame it.
    """
    # Chromium checks every hop of the redirects against form-action.
    leads_to = ["'self'", *conf.inbox_origins()] if has_form else ["'none'"]
    response = render(request, f"kapso_inbox/{name}.html", dict(context), status=status)
    policy = {
        "default-src": ["'none'"],
        "style-src": csp_sources()["style-src"],
        **({"script-src": csp_sources()["script-src"]} if has_script else {}),
        "base-uri": ["'none'"],
        "form-action": leads_to,
    }
    if not is_for_any_site:
        policy["frame-ancestors"] = ["'self'"]
    _set_policy(response, policy)
    return response


def _set_policy(response: HttpResponse, policy: Mapping[str, list[str]]) -> None:
    response["Content-Security-Policy"] = "; ".join(
        " ".join([directive, *sources]) for directive, sources in policy.items()
    )


def _private(response: HttpResponse, *, is_for_any_site: bool = False) -> HttpResponse:
    """Keep an answer out of caches, and say who may frame it: this site, or any."""
    response["Cache-Control"] = "no-store, private"
    # Django's default, same-origin, would drop the Referer that Kapso checks origins by, even if
    # the iframe itself asks for strict-origin (measured in Chromium 156).
    response["Referrer-Policy"] = "strict-origin"
    if is_for_any_site:
        response.xframe_options_exempt = True
    else:
        response["X-Frame-Options"] = "SAMEORIGIN"
    return response
