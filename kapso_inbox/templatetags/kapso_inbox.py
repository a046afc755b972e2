"""`{% load kapso_inbox %}`: the inbox in any page."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection
from typing import Any

from django import template
from django.conf import settings
from django.http import HttpRequest
from django.template.base import FilterExpression, Parser, Token, Variable, token_kwargs
from django.template.context import Context
from django.urls import NoReverseMatch, reverse
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from kapso_inbox import conf
from kapso_inbox.exceptions import KapsoInboxError
from kapso_inbox.inbox import component, phone
from kapso_inbox.inbox.coercion import as_text
from kapso_inbox.inbox.launch import LaunchRefusedError, open_inbox, require_admission
from kapso_inbox.inbox.params import (
    FLAGS,
    PARAMETERS,
    ParameterError,
    clean_params,
    clean_requested,
    in_a_view,
    unfiltered_search,
    with_params,
)
from kapso_inbox.models import MINE, InboxEmbed
from kapso_inbox.secret import Hidden

logger = logging.getLogger(__name__)
register = template.Library()

#: Short name of a parameter in a tag -> the parameter.
SHORT = {"conversation": "conversation_id"}
#: Parameters of every tag that can search for a contact.
CONTACT = (*PARAMETERS, *SHORT, "contact")

_SLUG = re.compile(r"[-a-zA-Z0-9_]+")


class _NotShownError(KapsoInboxError):
    """The inbox cannot be shown here. The text says why."""


class _InboxNode(template.Node):
    """What all tags share: the arguments, which are a slug and then options by name."""

    tag = "kapso_inbox"
    #: The names of the options.
    names: Collection[str] = ()

    def __init__(self, slug: FilterExpression, options: dict[str, FilterExpression]) -> None:
        self.slug = slug
        self.options = {SHORT.get(name, name): option for name, option in options.items()}

    def resolve(self, context: Context) -> tuple[str, dict[str, str], list[str]]:
        """Return the slug, the cleaned parameters, and what is wrong with those it left out."""
        slug = slug_of(self.slug.resolve(context, ignore_failures=True))
        problems = [] if slug else [_("its first argument is not the slug of an embed")]
        params = self.cleaned(context, PARAMETERS, clean_requested, problems)
        for problem in problems:
            self.warn(problem)
        return slug, params, problems

    def cleaned(
        self,
        context: Context,
        names: Collection[str],
        clean: Callable[[dict[str, Any]], dict[str, Any]],
        problems: list[str],
    ) -> dict[str, Any]:
        """Return the valid ones of the arguments in `names`; add what is wrong to `problems`."""
        values: dict[str, Any] = {}
        for name in self.options:
            if name not in names:
                continue
            try:
                values |= clean({name: self.value(context, name)})
            except ParameterError as error:
                problems.append(str(error))
        return values

    def value(self, context: Context, name: str) -> Any:
        """Return the value of an argument, or None if it is left out or its variable is missing."""
        option = self.options.get(name)
        return option and option.resolve(context, ignore_failures=True)

    def text(self, context: Context, name: str) -> str:
        """Return an argument as text, or "" if it has no value."""
        return as_text(self.value(context, name))

    def contact(self, context: Context) -> tuple[dict[str, str], str]:
        """Return the search for the number in `contact`, and what is wrong with the number."""
        if "contact" not in self.options:
            return {}, ""
        try:
            return {"search": phone.search_text(self.value(context, "contact"))}, ""
        except phone.NotANumberError as error:
            return {}, str(error)

    def warn(self, problem: object) -> None:
        """Log what is wrong with the tag, and in which template it is."""
        logger.warning("A %s tag in %s: %s", self.tag, template_of(self), problem)


class InboxFrameNode(_InboxNode):
    """The inbox itself."""

    names = (*CONTACT, "title", *component.OPTIONS)

    @sensitive_variables()
    def render(self, context: Context) -> str:
        slug, params, problems = self.resolve(context)
        found: list[str] = []
        options = self.cleaned(context, component.OPTIONS, component.clean_options, found)
        search, notice = self.contact(context)
        params = unfiltered_search(params | search)
        src, launch = None, ""
        if slug:
            try:
                # The launch finds out which embed is the user's own, and whether there is one.
                if conf.delivery() == "launch" or slug == MINE:
                    launch = _url("launch", slug)
                elif not notice:
                    src = _secret_src(component.request_of(context), slug, params)
                    launch = _url_or_nothing("launch", slug)
            except _NotShownError as error:
                found.append(str(error))
        for problem in found:
            self.warn(problem)
        return component.render_component(
            context,
            name=slug,
            title=self.text(context, "title") or _title(slug),
            launch=launch,
            params=params,
            options=options,
            src=src,
            settings_url=_url_or_nothing("settings", slug) if slug else "",
            reach_url=_url_or_nothing("reach", slug) if slug else "",
            notice=notice,
            problems=[*problems, *found] if settings.DEBUG else [],
        )


class LaunchUrlNode(_InboxNode):
    """The address of a launch, for an iframe that the host writes itself. It is never secret."""

    tag = "kapso_inbox_url"
    names = (*PARAMETERS, *SHORT)

    def __init__(
        self, slug: FilterExpression, options: dict[str, FilterExpression], variable: str = ""
    ) -> None:
        super().__init__(slug, options)
        self.variable = variable

    def render(self, context: Context) -> str:
        slug, params, _problems = self.resolve(context)
        url = ""
        if slug:
            try:
                asked = unfiltered_search(params)
                url = with_params(_url("launch", slug), asked)
            except _NotShownError as error:
                self.warn(error)
        if self.variable:
            context[self.variable] = url
            return ""
        return conditional_escape(url) if context.autoescape else url


class LinkNode(_InboxNode):
    """A link from a contact to their conversations."""

    tag = "kapso_inbox_link"
    names = (*CONTACT, "text", "class")

    def render(self, context: Context) -> str:
        slug, params, _problems = self.resolve(context)
        label = self.text(context, "text") or "WhatsApp"
        css_class = self.text(context, "class")
        search, reason = self.contact(context)
        href = ""
        if slug and not reason:
            try:
                asked = unfiltered_search(params | search)
                if not asked.keys().isdisjoint(FLAGS):
                    # In a drawer, no filter of the drawer's own comes on top.
                    asked = in_a_view(asked)
                href = with_params(_url("inbox", slug), asked)
            except _NotShownError as error:
                self.warn(error)
        if not href:
            reason = reason or _("There is no such inbox.")
            return component.render_no_link(reason=reason, label=label, css_class=css_class)
        return component.render_link(slug=slug, href=href, label=label, css_class=css_class)


@register.tag
def kapso_inbox(parser: Parser, token: Token) -> InboxFrameNode:
    """Show an inbox: `{% kapso_inbox "support" mode="dark" contact=customer.phone %}`.

    Arguments: the embed's slug, then any of

    - the parameters in `params.PARAMETERS`; `conversation` is short for `conversation_id`,
    - `title`, the accessible name of the frame,
    - `contact`, a phone number to search for, instead of `search`; if it is blank or not a number,
      the tag says so in place of the inbox,
    - the options in `component.OPTIONS`.

    None and "" count as left out.
    """
    slug, options, variable = _parse(parser, token, InboxFrameNode.names)
    if variable:
        raise template.TemplateSyntaxError(
            "'kapso_inbox' shows the inbox. For its address, use 'kapso_inbox_url … as'."
        )
    return InboxFrameNode(slug, options)


@register.tag
def kapso_my_inbox(parser: Parser, token: Token) -> InboxFrameNode:
    """Show the user's own inbox: `{% kapso_my_inbox variant="panel" mode="dark" %}`.

    It shows the conversations that are assigned to the user at Kapso. Users set it up in the frame
    themselves. The arguments are those of `kapso_inbox`, without the slug. The frame always starts
    from the launch, even if `DELIVERY` is `direct`.
    """
    tag, *bits = token.split_contents()
    contents = " ".join([tag, f'"{MINE}"', *bits])
    return kapso_inbox(parser, Token(token.token_type, contents, token.position, token.lineno))


@register.tag
def kapso_inbox_url(parser: Parser, token: Token) -> LaunchUrlNode:
    """Print or store the launch address: `{% kapso_inbox_url "support" unread=1 as url %}`."""
    return LaunchUrlNode(*_parse(parser, token, LaunchUrlNode.names))


@register.tag
def kapso_inbox_link(parser: Parser, token: Token) -> LinkNode:
    """Link to a contact's conversations: `{% kapso_inbox_link "support" contact=phone %}`.

    The link leads to the whole page of the inbox. On a page with a drawer of that inbox, it opens
    the drawer. It makes no query. Arguments: the embed's slug, `contact`, `text`, `class`, and the
    parameters in `params.PARAMETERS`.
    """
    slug, options, variable = _parse(parser, token, LinkNode.names)
    if variable:
        raise template.TemplateSyntaxError(
            "'kapso_inbox_link' is a link and does not support 'as'."
        )
    return LinkNode(slug, options)


@register.simple_tag(takes_context=True)
def kapso_inbox_assets(context: Context) -> SafeString:
    """Return stylesheet and script for the page's `<head>`; else the first inbox brings them."""
    return component.render_assets(context)


def slug_of(value: Any) -> str:
    """Return the slug that a tag's argument is or has; "" if it is not one."""
    slug = value.slug if isinstance(value, InboxEmbed) else as_text(value)
    return slug if _SLUG.fullmatch(slug) else ""


def _title(slug: str) -> str:
    if slug == MINE:
        return _("Your own WhatsApp inbox")
    return _("WhatsApp inbox: %(slug)s") % {"slug": slug}


@sensitive_variables()
def _secret_src(request: HttpRequest | None, slug: str, params: dict[str, str]) -> Hidden:
    """Return the secret address for the request's user (direct delivery)."""
    user = getattr(request, "user", None)
    if request is None or user is None or not user.is_authenticated:
        raise _NotShownError(_("with direct delivery the page needs a request of a signed-in user"))
    try:
        require_admission(request, slug)
        return Hidden(open_inbox(request, slug, params, verify=False))
    except LaunchRefusedError as refusal:
        raise _NotShownError(str(refusal)) from None


def _url(name: str, slug: str) -> str:
    try:
        return reverse(f"kapso_inbox:{name}", kwargs={"slug": slug})
    except NoReverseMatch:
        raise _NotShownError(
            _('the URLconf lacks path("kapso-inbox/", include("kapso_inbox.urls"))')
        ) from None


def _url_or_nothing(name: str, slug: str) -> str:
    try:
        return _url(name, slug)
    except _NotShownError:
        return ""


def _parse(
    parser: Parser, token: Token, names: Collection[str]
) -> tuple[FilterExpression, dict[str, FilterExpression], str]:
    """Return a tag's slug, its options, and the name of the variable after `as`, or "".

    Args:
        parser: the parser of the template.
        token: the tag.
        names: the names of the options that the tag has.

    Raises:
        TemplateSyntaxError: an option does not exist, or a literal value is wrong.
    """
    tag, *bits = token.split_contents()
    variable = ""
    if len(bits) >= 2 and bits[-2] == "as":
        variable = bits[-1]
        bits = bits[:-2]
    if not bits:
        raise template.TemplateSyntaxError(f"{tag!r} needs the slug of an embed.")
    slug = parser.compile_filter(bits.pop(0))
    known, literal = literal_value(slug)
    if known and not slug_of(literal):
        raise template.TemplateSyntaxError(f"{tag!r}: {literal!r} is not the slug of an embed.")
    given = len(bits)
    options: dict[str, FilterExpression] = token_kwargs(bits, parser)
    if len(options) != given - len(bits):
        raise template.TemplateSyntaxError(f"{tag!r} has the same argument twice.")
    if bits:
        raise template.TemplateSyntaxError(f"{tag!r}: {bits[0]!r} is not of the form name=value.")
    if {"contact", "search"} <= options.keys():
        raise template.TemplateSyntaxError(f"{tag!r} takes either 'contact' or 'search', not both.")
    for name, option in options.items():
        if name not in names:
            raise template.TemplateSyntaxError(
                f"{tag!r} has no argument {name!r}; it has: {', '.join(names)}."
            )
        known, literal = literal_value(option)
        if known:
            try:
                if (parameter := SHORT.get(name, name)) in PARAMETERS:
                    clean_params({parameter: literal})
                elif name in component.OPTIONS:
                    component.clean_options({name: literal})
            except ParameterError as error:
                raise template.TemplateSyntaxError(f"{tag!r}: {error}.") from None
    return slug, options, variable


def literal_value(expression: FilterExpression) -> tuple[bool, Any]:
    """Return whether an expression is a literal, and its value if it is."""
    var = expression.var
    if expression.filters:
        return False, None
    if not isinstance(var, Variable):
        return True, var
    if var.lookups is None:
        return True, var.literal
    builtin = {"True": True, "False": False, "None": None}
    return var.var in builtin, builtin.get(str(var.var))


def template_of(node: template.Node) -> str:
    """Return the template that a tag is in, for people."""
    return str(getattr(node, "origin", None) or "a template")
