"""What an agent's browser asks for about an inbox of their own: `mine/` in place of a slug."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_GET, require_http_methods, require_safe

from kapso_inbox.access import get_policy
from kapso_inbox.models import InboxEmbed, Outcome

from . import outcomes, own
from .launch import RefusedError, record_refusal
from .params import PARAMETERS, clean_query, with_params
from .views import BackToTheLaunch, in_frame_view, own_page, require_own_frame

logger = logging.getLogger(__name__)

#: How it stands with an inbox that is not there -> the status of the page that says so.
_STATUS = {"not_set_up": 200, "no_match": 404, "ambiguous": 409, "unsettled": 503, "failed": 503}


@csrf_exempt  # but by our own, whose refusal is shown in the frame as any page of ours
@require_http_methods(["GET", "POST"])
@in_frame_view
@csrf_protect
def my_launch(request: HttpRequest, slug: str) -> HttpResponse:
    """Send a frame on to the launch of the user's own inbox, or let them set it up first.

    Only a POST makes something at Kapso. Never run inside a transaction: see `urls`.
    """
    require_own_frame(request)
    params = clean_query(request.GET)
    embed = own.own_embed(request.user)
    if embed is not None:
        return HttpResponseRedirect(_to("launch", embed, params))
    if not get_policy().may_have_own(request.user):
        record_refusal(request, own.slug_for(request.user), Outcome.NOT_AVAILABLE)
        raise RefusedError(Outcome.NOT_AVAILABLE)
    if request.method == "POST":
        return _set_up(request, params)
    state = "unsettled" if own.is_unsettled(request.user) else "not_set_up"
    return _not_there(request, state)


@require_GET
@in_frame_view
def my_settings(request: HttpRequest, slug: str) -> HttpResponse:
    """Send a frame on to the settings of the user's own inbox; without one, to its launch."""
    require_own_frame(request)
    params = clean_query(request.GET)
    embed = own.own_embed(request.user)
    if embed is not None:
        return HttpResponseRedirect(_to("settings", embed, params))
    return HttpResponseRedirect(with_params(reverse("kapso_inbox:my_launch"), params))


@require_safe
@never_cache
@login_required
def my_inbox(request: HttpRequest) -> HttpResponse:
    """Show the user's own inbox as a whole page, with theme and filters of the page's address.

    Other parameters of that address are none of ours: people arrive from mails and campaigns.
    """
    if not get_policy().may_have_own(request.user):
        record_refusal(request, own.slug_for(request.user), Outcome.NOT_AVAILABLE)
        raise Http404(_("There is no such inbox for you."))
    params = {name: request.GET.get(name) for name in PARAMETERS}
    context = {"params": params, "theme": outcomes.theme(params["mode"])}
    return render(request, "kapso_inbox/my_inbox.html", context)


def _set_up(request: HttpRequest, params: Mapping[str, str]) -> HttpResponse:
    # Not at import: requests is only loaded in a process that really talks to Kapso.
    from kapso_inbox.refusals import REFUSALS, texts

    try:
        return BackToTheLaunch(_to("launch", own.set_up(request), params))
    except own.UnsettledError:
        return _not_there(request, "unsettled")
    except own.NoMatchError as error:
        return _not_there(request, "ambiguous" if error.is_ambiguous else "no_match", str(error))
    except REFUSALS as error:
        # Kapso may have made it all the same: then it is not to be tried again at once.
        unsettled = own.is_unsettled(request.user)
        return _not_there(request, "unsettled" if unsettled else "failed", texts(error))
    except DatabaseError:
        # What Kapso made is revoked again, or waits for the next sync.
        logger.exception("The inbox of the user %s could not be written down.", request.user.pk)
        return _not_there(request, "failed")


def _to(name: str, embed: InboxEmbed, params: Mapping[str, str]) -> str:
    return with_params(reverse(f"kapso_inbox:{name}", args=[embed.slug]), params)


def _not_there(request: HttpRequest, state: str, detail: str = "") -> HttpResponse:
    """Return the page in the frame that says why the user's own inbox is not there, and what to do.

    Args:
        request: of the frame.
        state: one of `_STATUS`.
        detail: what the state alone does not say.
    """
    user: Any = request.user
    manages = user.has_perm("kapso_inbox.change_inboxembed")
    is_mended_in_admin = manages and state in ("unsettled", "failed")
    context = {
        "outcome": state,
        "detail": detail,
        "theme": outcomes.theme(request.GET.get("mode")),
        "manages": manages,
        "admin_url": outcomes.admin_url(user, "health") if is_mended_in_admin else "",
    }
    return own_page(request, "mine", context, status=_STATUS[state], has_form=True)
