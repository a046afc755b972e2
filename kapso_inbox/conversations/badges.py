"""A badge: how many conversations wait, in any page of the CRM."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from django.http import HttpRequest
from django.template.context import Context
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import ngettext

from kapso_inbox.audit import is_impersonated
from kapso_inbox.inbox import component

from .waiting import last_counted

logger = logging.getLogger(__name__)

TEMPLATE = "kapso_inbox/waiting.html"

#: Kind of a badge -> the text for a number of conversations, which is written `{n}`.
KINDS: dict[str, Callable[[int], str]] = {
    "both": lambda number: ngettext(
        "{n} conversation waits for an answer", "{n} conversations wait for an answer", number
    ),
    "unanswered": lambda number: ngettext(
        "{n} conversation is unanswered", "{n} conversations are unanswered", number
    ),
    "handoff": lambda number: ngettext(
        "{n} conversation waits for a human", "{n} conversations wait for a human", number
    ),
}


def render_badge(
    context: Context, slugs: Sequence[str], *, kind: str = "both", in_title: bool = False
) -> SafeString:
    """Return the markup of a badge, or "" for whoever is not signed in. This makes no query.

    It shows the number that was last counted, if the cache has it. The script asks for the current
    one. Without a request, it is left to the script whether there is a number to show.

    Args:
        context: the context of the template around the badge.
        slugs: the slugs of the inboxes whose numbers are added up.
        kind: one of `KINDS`.
        in_title: whether the page's title shows the number, too.

    Raises:
        NoReverseMatch: the URLconf lacks the addresses of `kapso_inbox.urls`.
    """
    request = component.request_of(context)
    user = getattr(request, "user", None)
    if request is not None and not (user and user.is_authenticated):
        return SafeString()
    number = _last_number(user, slugs, kind) if user else 0
    if number and request and _may_be_impersonated(request):
        # The user's own inbox may be in it. What the script asks for leaves that one out.
        number = 0
    text = KINDS[kind]
    template = context.template.engine.get_template(TEMPLATE)  # type: ignore[union-attr]
    own = context.new(
        {
            "assets": component.render_assets_once(context, *component.WAITING),
            "address": reverse("kapso_inbox:waiting"),
            "slugs": " ".join(slugs),
            "kind": kind,
            "in_title": in_title,
            "number": number,
            "text": text(number).replace("{n}", str(number)),
            # The languages of our texts have two forms.
            "one": text(1),
            "other": text(2),
        }
    )
    own.autoescape = True
    # A link would underline the space at the end of the template.
    return SafeString(template.render(own).strip())


def _last_number(user: Any, slugs: Sequence[str], kind: str) -> int:
    try:
        counted = last_counted(user, slugs)
    except Exception as error:  # noqa: BLE001 (a cache that fails must not break the host's page)
        logger.warning("The cache could not be read for a badge: %s", type(error).__name__)
        return 0
    return getattr(counted, kind, 0)


def _may_be_impersonated(request: HttpRequest) -> bool:
    try:
        return is_impersonated(request)
    except Exception as error:  # noqa: BLE001 (a host's function must not break its page)
        logger.warning("REAL_USER failed for a badge: %s", type(error).__name__)
        return True
