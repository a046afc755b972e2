"""`{% load kapso_conversations %}`: what is waiting, in any page."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django import template
from django.template.base import FilterExpression, Parser, Token, token_kwargs
from django.template.context import Context
from django.urls import NoReverseMatch
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from kapso_inbox.access import get_policy
from kapso_inbox.audit import is_impersonated
from kapso_inbox.conversations.badges import KINDS, render_badge
from kapso_inbox.conversations.models import Conversation
from kapso_inbox.inbox import component
from kapso_inbox.inbox.coercion import as_text
from kapso_inbox.inbox.params import ParameterError, read_switch
from kapso_inbox.inbox.phone import NotANumberError, search_text
from kapso_inbox.models import InboxEmbed
from kapso_inbox.templatetags.kapso_inbox import (
    literal_value,
    slug_of,
    template_of,
)

logger = logging.getLogger(__name__)
register = template.Library()


def _kind(name: str, value: str) -> str:
    if value and value not in KINDS:
        raise ParameterError(name, _("must be one of %s") % ", ".join(KINDS))
    return value or "both"


#: Option of the tag -> what reads its value.
_READERS: dict[str, Callable[[str, str], Any]] = {"kind": _kind, "title": read_switch}


class BadgeNode(template.Node):
    """A badge."""

    tag = "kapso_waiting"
    #: The names of the options.
    names = tuple(_READERS)

    def __init__(self, *slugs: FilterExpression, **options: FilterExpression) -> None:
        self.slugs = slugs
        self.options = options

    def render(self, context: Context) -> str:
        """Return the badge, or "" if no argument is the slug of an embed."""
        values = [one.resolve(context, ignore_failures=True) for one in self.slugs]
        slugs = [slug for slug in map(slug_of, values) if slug]
        if len(slugs) < len(values):
            self.warn(_("one of its arguments is not the slug of an embed"))
        kind, in_title = self.read(context, "kind"), self.read(context, "title")
        try:
            return render_badge(context, slugs, kind=kind, in_title=in_title) if slugs else ""
        except NoReverseMatch:
            self.warn(_('the URLconf lacks path("kapso-inbox/", include("kapso_inbox.urls"))'))
            return ""

    def read(self, context: Context, name: str) -> Any:
        """Return the value of an option, or its default if it is left out or wrong."""
        option = self.options.get(name)
        value = as_text(option and option.resolve(context, ignore_failures=True)).strip()
        try:
            return _READERS[name](name, value)
        except ParameterError as error:
            self.warn(error)
            return _READERS[name](name, "")

    def warn(self, problem: object) -> None:
        """Log what is wrong with the tag, and in which template it is."""
        logger.warning("A %s tag in %s: %s", self.tag, template_of(self), problem)


@register.tag
def kapso_waiting(parser: Parser, token: Token) -> BadgeNode:
    """Show how many conversations wait: `{% kapso_waiting "support" "sales" kind="handoff" %}`.

    It makes no query. The script asks for the numbers of all badges of a page at once. Arguments:
    the slugs of one or more embeds, whose numbers are added up (`"mine"` is the user's own), then

    - `kind`: `both` (if left out), `unanswered` or `handoff`,
    - `title`: whether the title of the page shows the number, too.
    """
    tag, *bits = token.split_contents()
    slugs: list[FilterExpression] = []
    options: dict[str, FilterExpression] = {}
    for bit in bits:
        given = token_kwargs([bit], parser)
        if given.keys() & options.keys():
            raise template.TemplateSyntaxError(f"{tag!r} has the same argument twice.")
        if options and not given:
            raise template.TemplateSyntaxError(f"{tag!r}: {bit!r} is not of the form name=value.")
        options |= given
        if not given:
            slugs.append(parser.compile_filter(bit))
    if not slugs:
        raise template.TemplateSyntaxError(f"{tag!r} needs the slug of an embed.")
    for slug in slugs:
        known, literal = literal_value(slug)
        if known and not slug_of(literal):
            raise template.TemplateSyntaxError(f"{tag!r}: {literal!r} is not the slug of an embed.")
    for name, option in options.items():
        if name not in BadgeNode.names:
            raise template.TemplateSyntaxError(
                f"{tag!r} has no argument {name!r}; it has: {', '.join(BadgeNode.names)}."
            )
        known, literal = literal_value(option)
        try:
            _READERS[name](name, as_text(literal).strip() if known else "")
        except ParameterError as error:
            raise template.TemplateSyntaxError(f"{tag!r}: {error}.") from None
    return BadgeNode(*slugs, **options)


@register.simple_tag(takes_context=True)
def kapso_waiting_assets(context: Context) -> SafeString:
    """Return stylesheet and script for the page's `<head>`; else the first badge brings them."""
    return component.render_assets(context, *component.WAITING)


@register.simple_tag(takes_context=True)
def kapso_latest_conversation(
    context: Context, phone: Any = "", business_scoped_user_id: str = ""
) -> Conversation | None:
    """Return a person's latest conversation: `{% kapso_latest_conversation phone=… as name %}`.

    Only conversations in inboxes that the reader may open count. This makes two queries.

    Args:
        context: the template's context, with the request.
        phone: the person's number, in any form that the tag `kapso_inbox` takes as `contact`.
        business_scoped_user_id: WhatsApp's id of the person.

    Returns:
        The conversation, or None.
    """
    request = component.request_of(context)
    user = getattr(request, "user", None)
    if request is None or user is None or not user.is_authenticated:
        return None
    policy = get_policy()
    if not policy.admits(request):
        return None
    try:
        digits = search_text(phone)
    except NotANumberError:
        digits = ""
    openable = policy.openable(user, InboxEmbed.objects.all())
    if is_impersonated(request):
        openable = openable.filter(personal_to="")
    embeds = [one for one in openable.select_related("current_link") if one.obstacle() is None]
    return (
        Conversation.objects.within(*embeds)
        .of_person(phone=digits, business_scoped_user_id=as_text(business_scoped_user_id))
        .first()
    )
