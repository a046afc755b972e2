"""The views that a developer would write first, to compare with the tag and the launch.

Their page is for anyone who is signed in, and takes the address from a plain column: no permission,
no group, no encryption, no record of who opened it, and the secret in the page's source.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.decorators import login_required, permission_required
from django.db import transaction
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template import engines
from django.urls import include, path
from django.utils.http import urlencode

from kapso_inbox.models import AccessLink, InboxEmbed, InboxPreference, LaunchAttempt

from .models import PlainInbox


def _page(place: str) -> Any:
    return engines["django"].from_string(
        """{% load kapso_inbox %}<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>CRM</title></head>
<body><h1>Customers</h1><p>Signed in as {{ user }}.</p><div class="place">"""
        f"{place}</div></body></html>"
    )


_without = _page("")
_by_hand = _page('<iframe src="{{ url }}" width="100%" height="100%" frameborder="0"></iframe>')
_tag = _page('{% kapso_inbox "sales" %}')


@login_required
def without(request: HttpRequest) -> HttpResponse:
    """Return the page without an inbox."""
    return HttpResponse(_without.render({}, request))


@login_required
def by_hand(request: HttpRequest, slug: str) -> HttpResponse:
    """Return the page with an iframe as Kapso documents it."""
    url = get_object_or_404(PlainInbox, slug=slug).url
    return HttpResponse(_by_hand.render({"url": url}, request))


@login_required
def tag(request: HttpRequest) -> HttpResponse:
    """Return the page with the app's tag."""
    return HttpResponse(_tag.render({}, request))


@login_required
def redirect(request: HttpRequest, slug: str) -> HttpResponse:
    """Launch without any check: one query, and a redirect."""
    return HttpResponseRedirect(get_object_or_404(PlainInbox, slug=slug).url)


@login_required
@permission_required("kapso_inbox.open_inboxembed", raise_exception=True)
@transaction.non_atomic_requests
def guarded(request: HttpRequest, slug: str) -> HttpResponse:
    """Launch with the app's checks and record for an inbox that opens, but read no secret."""
    user = request.user
    inboxes = InboxEmbed.objects.select_related("current_link")
    theirs = Q(groups=None) | Q(groups__in=user.groups.all())
    inbox = get_object_or_404(inboxes.filter(theirs).distinct(), slug=slug)
    link = inbox.current_link
    if link is None or link.state != AccessLink.State.ACTIVE or inbox.personal_to:
        raise Http404
    params = InboxPreference.objects.filter(user=user.pk, embed=inbox).values_list("params").first()
    LaunchAttempt.objects.create(
        user_id=user.pk,
        username=user.get_username(),
        embed=inbox,
        slug=slug,
        link=link,
        outcome="opened",
        address=request.META["REMOTE_ADDR"],
    )
    query = urlencode(params[0] if params else {})
    return HttpResponseRedirect(f"https://inbox.example/embed/{link.kapso_id}?{query}")


urlpatterns = [
    path("admin/", admin.site.urls),
    path("without/", without),
    path("by-hand/<slug:slug>/", by_hand),
    path("tag/", tag),
    path("redirect/<slug:slug>/", redirect),
    path("guarded/<slug:slug>/", guarded),
    path("kapso-inbox/", include("kapso_inbox.urls")),
]
