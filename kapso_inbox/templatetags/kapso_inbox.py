"""`{% load kapso_inbox %}`: the inbox in any page."""

from __future__ import annotations

import logging
import re
from typing import Any

from django import template
from django.conf import settings
from django.http import HttpRequest
from django.template.base import FilterExpression, Parser, Token, Variable, token_kwargs
from django.template.context import Context
from django.urls import NoReverseMatch, reverse
from django.utils.html import conditional_escape
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from kapso_inbox import conf, presentation
from kapso_inbox.launch import RefusedError, open_inbox
from kapso_inbox.models import InboxEmbed

logger = logging.getLogger(__name__)
register = template.Library()

FRAME_TEMPLATE = "kapso_inbox/frame.html"

_SLUG = re.compile(r"[-a-zA-Z0-9_]+")


class _InboxNode(template.Node):
    """Arguments of both tags: a slug and the parameters of the allow-list."""

    def __init__(self, slug: FilterExpression, options: dict[str, FilterExpression]) -> None:
        self.slug = slug
        self.options = options

    def resolve(self, context: Context) -> tuple[str, dict[str, str], list[str]]:
        """Return slug, cleaned parameters, and what was wrong with those that were left out."""
        embed = self.slug.resolve(context, ignore_failures=True)
        slug = embed.slug if isinstance(embed, InboxEmbed) else presentation.text(embed)
        problems = []
        if not _SLUG.fullmatch(slug):
            problems.append(_("its first argument is not the slug of an embed"))
            slug = ""
        params: dict[str, str] = {}
        for name, option in self.options.items():
            if name not in presentation.PARAMETERS:
                continue
            try:
                params |= presentation.clean({name: option.resolve(context, ignore_failures=True)})
            except presentation.ParameterError as error:
                problems.append(str(error))
        for problem in problems:
            logger.warning("A kapso_inbox tag in %s: %s", _origin(self), problem)
        return slug, params, problems


class InboxFrameNode(_InboxNode):
    """The inbox itself."""

    @sensitive_variables()
    def render(self, context: Context) -> str:
        request = context.get("request")
        if not isinstance(request, HttpRequest):
            request = None  # a name that the page has for something of its own
        slug, params, problems = self.resolve(context)
        src = ""
        if slug:
            try:
                src = _frame_src(request, slug, params)
            except _NotShownError as error:
                logger.warning("A kapso_inbox tag in %s: %s", _origin(self), error)
                problems.append(str(error))
        title = self.options.get("title")
        return context.template.engine.get_template(FRAME_TEMPLATE).render(  # type: ignore[union-attr]
            context.new(
                {
                    "src": src,
                    "title": (
                        title and presentation.text(title.resolve(context, ignore_failures=True))
                    )
                    or _("WhatsApp inbox: %(slug)s") % {"slug": slug},
                    "permissions": presentation.frame_permissions(conf.inbox_origins()),
                    "problems": problems if settings.DEBUG else [],
                }
            )
        )


class LaunchUrlNode(_InboxNode):
    """The address of a launch, for an iframe that the host writes itself. Never the secret one."""

    def __init__(
        self, slug: FilterExpression, options: dict[str, FilterExpression], variable: str
    ) -> None:
        super().__init__(slug, options)
        self.variable = variable

    def render(self, context: Context) -> str:
        slug, params, _problems = self.resolve(context)
        url = ""
        if slug:
            try:
                url = _launch_url(slug, params)
            except _NotShownError as error:
                logger.warning("A kapso_inbox_url tag in %s: %s", _origin(self), error)
        if self.variable:
            context[self.variable] = url
            return ""
        return conditional_escape(url) if context.autoescape else url


@register.tag
def kapso_inbox(parser: Parser, token: Token) -> InboxFrameNode:
    """Show an inbox: `{% kapso_inbox "support" mode="dark" search=contact.phone %}`.

    Arguments: the embed's slug, then any of the parameters in `presentation.PARAMETERS` and
    `title`, the accessible name of the frame. None and "" count as left out.
    """
    slug, options, variable = _parse(parser, token, extra=("title",))
    if variable:
        raise template.TemplateSyntaxError(
            "'kapso_inbox' shows the inbox; for its address take 'kapso_inbox_url … as'."
        )
    return InboxFrameNode(slug, options)


@register.tag
def kapso_inbox_url(parser: Parser, token: Token) -> LaunchUrlNode:
    """The launch address: `{% kapso_inbox_url "support" unread=1 as url %}`."""
    return LaunchUrlNode(*_parse(parser, token))


class _NotShownError(Exception):
    """The inbox cannot be shown here; the text says why."""


def _frame_src(request: HttpRequest | None, slug: str, params: dict[str, str]) -> str:
    if conf.delivery() == "launch":
        return _launch_url(slug, params)
    user = getattr(request, "user", None)
    if request is None or user is None or not user.is_authenticated:
        raise _NotShownError(_("with direct delivery the page needs a request of a signed-in user"))
    try:
        return open_inbox(request, slug, params, verify=False)
    except RefusedError as refusal:
        raise _NotShownError(str(refusal)) from None


def _launch_url(slug: str, params: dict[str, str]) -> str:
    try:
        url = reverse("kapso_inbox:launch", kwargs={"slug": slug})
    except NoReverseMatch:
        raise _NotShownError(
            _('the URLconf lacks path("kapso-inbox/", include("kapso_inbox.urls"))')
        ) from None
    return presentation.with_params(url, params)


def _parse(
    parser: Parser, token: Token, extra: tuple[str, ...] = ()
) -> tuple[FilterExpression, dict[str, FilterExpression], str]:
    """Return slug, options and the variable after `as`.

    Raises:
        TemplateSyntaxError: a wrong name, or a wrong literal value.
    """
    tag, *bits = token.split_contents()
    variable = ""
    if len(bits) >= 2 and bits[-2] == "as":
        variable = bits[-1]
        bits = bits[:-2]
    if not bits:
        raise template.TemplateSyntaxError(f"{tag!r} needs the slug of an embed.")
    slug = parser.compile_filter(bits.pop(0))
    known, literal = _literal(slug)
    if known and not _SLUG.fullmatch(str(literal or "")):
        raise template.TemplateSyntaxError(f"{tag!r}: {literal!r} is not the slug of an embed.")
    given = len(bits)
    options: dict[str, FilterExpression] = token_kwargs(bits, parser)
    if len(options) != given - len(bits):
        raise template.TemplateSyntaxError(f"{tag!r} has an argument twice.")
    if bits:
        raise template.TemplateSyntaxError(f"{tag!r}: {bits[0]!r} is not of the form name=value.")
    names = (*presentation.PARAMETERS, *extra)
    for name, option in options.items():
        if name not in names:
            raise template.TemplateSyntaxError(
                f"{tag!r} has no argument {name!r}; it has: {', '.join(names)}."
            )
        known, literal = _literal(option)
        if known and name not in extra:
            try:
                presentation.clean({name: literal})
            except presentation.ParameterError as error:
                raise template.TemplateSyntaxError(f"{tag!r}: {error}.") from None
    return slug, options, variable


def _literal(expression: FilterExpression) -> tuple[bool, Any]:
    """Say whether an expression stands for itself in the template, and for what."""
    var = expression.var
    if expression.filters:
        return False, None
    if not isinstance(var, Variable):
        return True, var
    if var.lookups is None:
        return True, var.literal
    builtin = {"True": True, "False": False, "None": None}
    return var.var in builtin, builtin.get(str(var.var))


def _origin(node: template.Node) -> str:
    return str(getattr(node, "origin", None) or "a template")
