"""What a page of this app says in place of the inbox: to agents, and to who can fix the cause."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, reverse

from kapso_inbox import access, origins, refusals
from kapso_inbox.models import InboxEmbed, Mode, Outcome

#: Outcome -> the HTTP status of the page that reports it.
STATUS = {
    Outcome.NOT_IN_FRAME: 403,
    Outcome.SIGNED_OUT: 403,
    Outcome.BAD_PARAMETER: 400,
    Outcome.NOT_AVAILABLE: 404,
    Outcome.NOT_READY: 503,
    Outcome.REVOKED: 410,
    Outcome.EXPIRED: 410,
    Outcome.SECRET_LOST: 503,
    Outcome.DIFFERENT: 503,
    Outcome.NOT_RECORDED: 503,
    Outcome.BAD_TICKET: 403,
    Outcome.OTHER_USER: 403,
    Outcome.WRONG_ORIGIN: 403,
    Outcome.NOT_ADMITTED: 403,
    Outcome.IMPERSONATED: 403,
    Outcome.FAILED: 500,
}

#: Outcomes that an administrator can fix on the embed's page in the admin.
_FIXED_IN_ADMIN = frozenset(
    {
        Outcome.NOT_AVAILABLE,
        Outcome.NOT_READY,
        Outcome.REVOKED,
        Outcome.EXPIRED,
        Outcome.SECRET_LOST,
        Outcome.DIFFERENT,
        Outcome.WRONG_ORIGIN,
    }
)


def has_ticket(request: HttpRequest) -> bool:
    """Return whether a launch is by ticket: in a frame on a page of any site, without a session."""
    return "ticket" in request.GET


def is_kept_from_cookies(request: HttpRequest) -> bool:
    """Return whether another site's page is around the CRM's, so that the session stays unknown.

    Only then does Chromium send this header, from version 133 on: `active` if it allows third-party
    cookies, of which it still sends `SameSite=None` ones alone (measured in Chromium 156). Of other
    browsers nothing is known: False.
    """
    access = request.headers.get("Sec-Fetch-Storage-Access")
    sends_cookies = access == "active" and settings.SESSION_COOKIE_SAMESITE == "None"
    return access is not None and not sends_cookies


def may_be_framed_by_any_site(request: HttpRequest, outcome: Outcome) -> bool:
    """Return whether the page about an outcome may be shown whatever is around it.

    A frame with a ticket is on a page of another origin, which we do not know. And who is signed
    out because another site's page is around the CRM's must be told that. Such a page holds no
    secret, and offers nothing to click on that changes anything.
    """
    return has_ticket(request) or (outcome == Outcome.SIGNED_OUT and is_kept_from_cookies(request))


def page_origin(request: HttpRequest) -> origins.Origin | None:
    """Return the origin of the page around a frame of this site, or None if it is unknown.

    Our iframe asks for `strict-origin`, so the Referer is the page's origin. Frames with a ticket
    are on pages of other sites, about which we know nothing.
    """
    if has_ticket(request) or request.headers.get("Sec-Fetch-Dest") != "iframe":
        return None
    page = origins.parse_origin(request.headers.get("Referer", ""))
    return page if page and page.scheme in ("http", "https") else None


def page_theme(*wishes: object) -> str:
    """Return the theme of a page of this app: the first valid one of `wishes`, or `system`."""
    return next((str(wish) for wish in wishes if wish in Mode.values), Mode.SYSTEM.value)


def message_context(
    request: HttpRequest,
    slug: str,
    outcome: Outcome,
    embed: InboxEmbed | None = None,
    detail: str = "",
) -> dict[str, Any]:
    """Return the template context of the page that reports an outcome.

    For an outcome that an administrator can fix, this takes a few queries. It says something about
    an embed only to users who may open or manage it.

    Args:
        request: the request that had this outcome.
        slug: the slug that was asked for.
        outcome: how the launch ended.
        embed: the embed with that slug, if the request's user may open it.
        detail: what the outcome alone does not say.
    """
    context: dict[str, Any] = {
        "outcome": outcome.value,
        "detail": detail,
        "theme": page_theme(request.GET.get("mode")),
        "has_fetch_metadata": "Sec-Fetch-Dest" in request.headers,
        # Nobody reads what a script fetches, unless it is a service worker that answers a frame.
        "is_fetched": request.headers.get("Sec-Fetch-Dest") == "empty",
        "is_secure": request.is_secure(),
    }
    if outcome == Outcome.NOT_IN_FRAME:
        # Asked before it is known who asks, and about no embed.
        user = getattr(request, "user", None)
        context["manages"] = user is not None and access.has_permission(
            user, "kapso_inbox.change_inboxembed"
        )
    if outcome == Outcome.WRONG_ORIGIN and embed is not None:
        context |= {"page": page_origin(request), "allowed": embed.allowed_origins}
    # Any site may frame the page that a ticket leads to, so it offers nothing to click on.
    if has_ticket(request):
        return context
    if outcome == Outcome.SIGNED_OUT and is_kept_from_cookies(request):
        context["page_url"] = reverse("kapso_inbox:inbox", args=[slug])
    elif outcome == Outcome.SIGNED_OUT:
        context["login_url"] = _login_url(request, slug)
    if outcome in _FIXED_IN_ADMIN:
        context |= _for_administrators(request, slug, outcome)
    return context


def _for_administrators(request: HttpRequest, slug: str, outcome: Outcome) -> dict[str, Any]:
    """Return what the page tells users who may change the embed; {} for all others."""
    user: Any = request.user
    embeds = InboxEmbed.objects.filter(slug=slug)
    embed = access.may_manage(user, embeds, "change").first()
    if embed is None:
        return _for_those_who_may_add(user, slug) if outcome == Outcome.NOT_AVAILABLE else {}
    context = {
        "manages": True,
        "embed": embed,
        "admin_url": admin_url(user, "change", embed.pk),
        "read_only": refusals.read_only_notice(),
    }
    if outcome == Outcome.NOT_AVAILABLE:
        context |= {
            "lacks_permission": not access.has_permission(user, access.OPEN),
            "lacks_groups": _missing_groups(user, embed),
            "is_of_another": embed.personal_to not in ("", str(user.pk)),
        }
    return context


def _for_those_who_may_add(user: Any, slug: str) -> dict[str, Any]:
    """Return what the page tells users who may add embeds: most likely the slug is wrong."""
    if not access.has_permission(user, "kapso_inbox.add_inboxembed"):
        return {}
    address = admin_url(user, "add")
    query = urlencode({"slug": slug})
    return {"adds": True, "slug": slug, "add_url": f"{address}?{query}" if address else ""}


def _missing_groups(user: Any, embed: InboxEmbed) -> list[str]:
    """Return the names of the embed's groups, or [] if the user is in one of them."""
    names = {group.pk: group.name for group in embed.groups.all()}
    if access.members_lookup() and user.groups.filter(pk__in=names).exists():
        return []
    return sorted(names.values())


def admin_url(user: Any, name: str, *args: Any) -> str:
    """Return the address of an admin page about embeds, or "" for a user who may not enter there.

    Args:
        user: the reader.
        name: the name of the page, after `admin:kapso_inbox_inboxembed_`.
        args: the arguments of its address.
    """
    if not getattr(user, "is_staff", False):
        return ""
    try:
        return reverse(f"admin:kapso_inbox_inboxembed_{name}", args=args)
    except NoReverseMatch:
        return ""


def _login_url(request: HttpRequest, slug: str) -> str:
    """Return the login address, which leads on to the page `signed_in`; "" if there is none."""
    # This module loads Django's login forms. In a site that has neither the admin nor Django's
    # login views, nothing else does, and start-up would take 20 ms longer (Django 5.2).
    from django.contrib.auth.views import redirect_to_login

    try:
        address = resolve_url(settings.LOGIN_URL or "")
        after = reverse("kapso_inbox:signed_in", args=[slug])
    except NoReverseMatch:
        return ""
    # On another site, a path alone would be a path of that site.
    after = request.build_absolute_uri(after) if "//" in address else after
    return redirect_to_login(after, address).url
