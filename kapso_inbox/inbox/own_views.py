"""The views for a user's own inbox: `mine/` in place of a slug."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_GET, require_http_methods, require_safe

from kapso_inbox import audit, conf, refusals
from kapso_inbox.access import get_policy, has_permission
from kapso_inbox.models import MINE, InboxEmbed, Outcome

from . import outcomes, own, preferences
from .launch import LaunchRefusedError, record_refusal
from .params import ParameterError, clean_known, clean_query, with_params
from .views import (
    RedirectToLaunch,
    has_badges,
    in_frame_view,
    refusal_page,
    render_bare_page,
    require_frame_of_this_site,
    theme_around,
)

logger = logging.getLogger(__name__)

#: State of an inbox that does not exist yet -> the HTTP status of the page that reports it.
_STATUS = {
    "not_set_up": 200,
    "read_only": 403,
    "no_match": 404,
    "ambiguous": 409,
    "unsettled": 503,
    "failed": 503,
}


@csrf_exempt  # except for our own check below, whose refusal is shown in the frame
@require_http_methods(["GET", "POST"])
@in_frame_view
@csrf_protect
def my_launch_view(request: HttpRequest, slug: str) -> HttpResponse:
    """Send a frame on to the launch of the user's own inbox, or let the user set it up first.

    Only a POST creates something at Kapso. This view never runs inside a transaction: see
    `kapso_inbox.urls`.
    """
    require_frame_of_this_site(request, slug)
    params = clean_query(request.GET)
    embed = own.own_embed(request.user)
    if embed is not None:
        return HttpResponseRedirect(_address("launch", embed, params))
    if not get_policy().may_have_own(request.user):
        record_refusal(request, own.slug_for(request.user), Outcome.NOT_AVAILABLE)
        raise LaunchRefusedError(Outcome.NOT_AVAILABLE)
    if audit.is_impersonated(request):
        record_refusal(request, own.slug_for(request.user), Outcome.IMPERSONATED)
        raise LaunchRefusedError(Outcome.IMPERSONATED)
    if conf.is_read_only():
        return _state_page(request, "read_only")
    if request.method == "POST":
        return _set_up(request, params)
    state = "unsettled" if own.is_unsettled(request.user) else "not_set_up"
    return _state_page(request, state)


@require_GET
@in_frame_view
def my_preferences_view(request: HttpRequest, slug: str) -> HttpResponse:
    """Send a frame on to the preferences for the user's own inbox, or to its launch without one."""
    require_frame_of_this_site(request, slug)
    params = clean_query(request.GET)
    embed = own.own_embed(request.user)
    if embed is not None:
        return HttpResponseRedirect(_address("settings", embed, params))
    return HttpResponseRedirect(with_params(reverse("kapso_inbox:my_launch"), params))


@require_safe
@never_cache
@login_required
def my_inbox_view(request: HttpRequest) -> HttpResponse:
    """Show the user's own inbox as a whole page, with theme and filters of the page's address.

    Other parameters of that address are ignored, since people arrive from mails and campaigns.
    """
    if not get_policy().may_have_own(request.user):
        record_refusal(request, own.slug_for(request.user), Outcome.NOT_AVAILABLE)
        return refusal_page(request, MINE, Outcome.NOT_AVAILABLE, back="./")
    try:
        params = clean_known(request.GET)
    except ParameterError as error:
        record_refusal(request, own.slug_for(request.user), Outcome.BAD_PARAMETER)
        return refusal_page(
            request, MINE, Outcome.BAD_PARAMETER, detail=str(error), wrong=error.name, back="./"
        )
    embed = own.own_embed(request.user)
    if embed is None:
        theme = outcomes.page_theme(params.get("mode"))
    else:
        saved = preferences.saved(request.user, embed)
        theme = theme_around(request, embed, params, saved)
    context = {"params": params, "theme": theme, "has_badges": has_badges()}
    return render(request, "kapso_inbox/my_inbox.html", context)


def _set_up(request: HttpRequest, params: Mapping[str, str]) -> HttpResponse:
    """Set up the user's own inbox, and lead to its launch or say why that failed."""
    try:
        return RedirectToLaunch(_address("launch", own.set_up(request), params))
    except own.UnsettledError:
        return _state_page(request, "unsettled")
    except own.NoMatchError as error:
        return _state_page(request, "ambiguous" if error.is_ambiguous else "no_match", str(error))
    except refusals.REFUSALS as error:
        # Kapso may have created it all the same. Then the page must not offer another try at once.
        state = "unsettled" if own.is_unsettled(request.user) else "failed"
        return _state_page(request, state, refusals.texts(error))
    except DatabaseError:
        # What Kapso created is revoked again, or waits for the next sync.
        logger.exception("The inbox of the user %s could not be stored.", request.user.pk)
        return _state_page(request, "failed")


def _address(name: str, embed: InboxEmbed, params: Mapping[str, str]) -> str:
    return with_params(reverse(f"kapso_inbox:{name}", args=[embed.slug]), params)


def _state_page(request: HttpRequest, state: str, detail: str = "") -> HttpResponse:
    """Return the page that says why the user's own inbox does not exist yet, and what to do.

    Args:
        request: the request of the frame.
        state: one of `_STATUS`.
        detail: what the state alone does not say.
    """
    user: Any = request.user
    manages = has_permission(user, "kapso_inbox.change_inboxembed")
    is_fixed_in_admin = manages and state in ("unsettled", "failed")
    context = {
        "outcome": state,
        "detail": detail,
        "theme": outcomes.page_theme(request.GET.get("mode")),
        "manages": manages,
        "admin_url": outcomes.admin_url(user, "health") if is_fixed_in_admin else "",
    }
    return render_bare_page(request, "mine", context, status=_STATUS[state], has_form=True)
