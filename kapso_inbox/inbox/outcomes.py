"""What a page of ours says in place of the inbox: to an agent, and to who can mend it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, reverse

from kapso_inbox import access, origins
from kapso_inbox.access import get_policy
from kapso_inbox.models import InboxEmbed, Mode, Outcome

STATUS = {
    Outcome.NOT_IN_FRAME: 403,
    Outcome.SIGNED_OUT: 403,
    Outcome.BAD_PARAMETER: 400,
    Outcome.NOT_AVAILABLE: 404,
    Outcome.NOT_READY: 503,
    Outcome.REVOKED: 410,
    Outcome.EXPIRED: 410,
    Outcome.SECRET_LOST: 503,
    Outcome.NOT_RECORDED: 503,
    Outcome.BAD_TICKET: 403,
    Outcome.WRONG_ORIGIN: 403,
}

#: What is mended on the embed's page in the admin.
_MENDED_IN_ADMIN = frozenset(
    {
        Outcome.NOT_AVAILABLE,
        Outcome.NOT_READY,
        Outcome.REVOKED,
        Outcome.EXPIRED,
        Outcome.SECRET_LOST,
        Outcome.WRONG_ORIGIN,
    }
)


def has_ticket(request: HttpRequest) -> bool:
    """Say whether a launch is one by ticket: in a frame on a page anywhere, without a session."""
    return "ticket" in request.GET


def page_of(request: HttpRequest) -> origins.Origin | None:
    """Return where the page is that a frame of this site stands on; None where nobody says.

    Our iframe asks for `strict-origin`, so the Referer is the page's origin. What comes by ticket
    stands on pages of others, of which we know nothing.
    """
    if has_ticket(request) or request.headers.get("Sec-Fetch-Dest") != "iframe":
        return None
    page = origins.parse_origin(request.headers.get("Referer", ""))
    return page if page and page.scheme in ("http", "https") else None


def theme(*wishes: object) -> str:
    """Return the theme of a page of ours: the first of these that is one, `system` for none."""
    return next((str(wish) for wish in wishes if wish in Mode.values), Mode.SYSTEM.value)


def context(
    request: HttpRequest,
    slug: str,
    outcome: Outcome,
    embed: InboxEmbed | None = None,
    detail: str = "",
) -> dict[str, Any]:
    """Return what the page for an outcome is made of.

    Costs a few queries where an administrator could mend it. It tells of an embed only to who may
    open it, as its caller has found out, or may manage it.

    Args:
        request: that came to this outcome.
        slug: which embed was asked for.
        outcome: how it ended.
        embed: the one of that slug, if the request's user may open it.
        detail: what the outcome alone does not say.
    """
    said: dict[str, Any] = {
        "outcome": outcome.value,
        "detail": detail,
        "theme": theme(request.GET.get("mode")),
        "has_fetch_metadata": "Sec-Fetch-Dest" in request.headers,
    }
    if outcome == Outcome.WRONG_ORIGIN and embed is not None:
        said |= {"page": page_of(request), "allowed": embed.allowed_origins}
    # Any site may frame what a ticket comes to; it offers nothing to click on.
    if has_ticket(request):
        return said
    if outcome == Outcome.SIGNED_OUT:
        said["login_url"] = _login_url(request, slug)
    if outcome in _MENDED_IN_ADMIN:
        said |= _for_administrators(request, slug, outcome)
    return said


def _for_administrators(request: HttpRequest, slug: str, outcome: Outcome) -> dict[str, Any]:
    user: Any = request.user
    named = InboxEmbed.objects.filter(slug=slug)
    embed = get_policy().manageable(user, named, "change").first()
    if embed is None:
        return _for_whoever_may_add(user, slug) if outcome == Outcome.NOT_AVAILABLE else {}
    said = {
        "manages": True,
        "embed": embed,
        "admin_url": admin_url(user, "change", embed.pk),
    }
    if outcome == Outcome.NOT_AVAILABLE:
        said |= {
            "lacks_permission": not user.has_perm(access.OPEN),
            "lacks_groups": _lacking_groups(user, embed),
            "is_of_another": embed.personal_to not in ("", str(user.pk)),
        }
    return said


def _for_whoever_may_add(user: Any, slug: str) -> dict[str, Any]:
    """Return what is said to who may add an embed: most likely the page has a slug of none."""
    if not user.has_perm("kapso_inbox.add_inboxembed"):
        return {}
    address = admin_url(user, "add")
    query = urlencode({"slug": slug})
    return {"adds": True, "slug": slug, "add_url": f"{address}?{query}" if address else ""}


def _lacking_groups(user: Any, embed: InboxEmbed) -> list[str]:
    """Return the groups of which one would do; none where the user is in one, or it has none."""
    needed = {group.pk: group.name for group in embed.groups.all()}
    own = getattr(user, "groups", None)
    if own is None or own.filter(pk__in=needed).exists():
        return []
    return sorted(needed.values())


def admin_url(user: Any, name: str, *args: Any) -> str:
    """Return the address of a page about embeds in the admin; "" for who is not let in there.

    Args:
        user: the reader.
        name: of the page, after `admin:kapso_inbox_inboxembed_`.
        args: of its address.
    """
    if not getattr(user, "is_staff", False):
        return ""
    try:
        return reverse(f"admin:kapso_inbox_inboxembed_{name}", args=args)
    except NoReverseMatch:
        return ""


def _login_url(request: HttpRequest, slug: str) -> str:
    """Return where to sign in, and to be told then to go on where one was; "" for nowhere."""
    from django.contrib.auth.views import redirect_to_login

    try:
        address = resolve_url(settings.LOGIN_URL)
        after = reverse("kapso_inbox:signed_in", args=[slug])
    except NoReverseMatch:
        return ""
    # Somewhere else, a path alone would be one of that site.
    after = request.build_absolute_uri(after) if "//" in address else after
    return redirect_to_login(after, address).url
