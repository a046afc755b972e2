"""The tags of `{% load kapso_inbox %}` as functions for Jinja2.

Nothing of this app imports this module, since Jinja2 is optional. A host names the extension in its
`TEMPLATES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.template import Context, Engine, TemplateDoesNotExist
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_variables
from jinja2 import Environment, Undefined, pass_context
from jinja2.ext import Extension
from jinja2.runtime import Context as JinjaContext

from .exceptions import ConfigurationError
from .inbox import component
from .models import MINE
from .templatetags import kapso_inbox as tags

#: The tags of an optional app, if it is installed.
waiting: Any = None
if apps.is_installed("kapso_inbox.conversations"):
    from .conversations.templatetags import kapso_conversations as waiting


class KapsoInboxExtension(Extension):
    """Adds a function for each tag, under the tag's name: `{{ kapso_inbox("support") }}`.

    A function takes the tag's arguments, and raises a `TypeError` for any other, and a
    `ConfigurationError` if Django's own template engine is not configured. Wrong values are left
    out, logged, and shown in the page where `DEBUG` is on.
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals.update(
            kapso_inbox=_function(tags.InboxFrameNode),
            kapso_my_inbox=_function(tags.InboxFrameNode, MINE),
            kapso_inbox_link=_function(tags.LinkNode),
            kapso_inbox_url=_function(tags.LaunchUrlNode),
            kapso_inbox_assets=_assets,
        )
        if waiting:
            environment.globals.update(kapso_waiting=_badge, kapso_waiting_assets=_badge_assets)


@pass_context
def _assets(context: JinjaContext) -> SafeString:
    return component.render_assets(_djangos_context(context))


def _function(kind: type[Any], *slug: str) -> Callable[..., str]:
    """Return a function that renders a tag's node, which has this slug or gets one by the page."""

    @pass_context
    def render(context: JinjaContext, *given: Any, **options: Any) -> str:
        return _rendered(kind, context, options, *slug, *given)

    return render


@pass_context
def _badge(context: JinjaContext, *slugs: Any, kind: Any = None, title: Any = None) -> str:
    options = {"kind": _Given(kind), "title": _Given(title)}
    return _render_node(waiting.BadgeNode(*map(_Given, slugs), **options), context)


@pass_context
def _badge_assets(context: JinjaContext) -> SafeString:
    assets: SafeString = waiting.kapso_waiting_assets(_djangos_context(context))
    return assets


class _Given:
    """A value where a tag has an expression."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def resolve(self, context: Context, ignore_failures: bool = False) -> Any:
        """Return the value, or None if its variable is missing."""
        return None if isinstance(self.value, Undefined) else self.value


@sensitive_variables()
def _rendered(kind: type[Any], context: JinjaContext, options: dict[str, Any], slug: Any) -> str:
    """Return what the node of a tag renders."""
    for name in options:
        if name not in kind.names:
            raise TypeError(
                f"{kind.tag}() has no argument {name!r}; it has: {', '.join(kind.names)}."
            )
    if {"contact", "search"} <= options.keys():
        raise TypeError(f"{kind.tag}() takes either 'contact' or 'search', not both.")
    given = {name: _Given(value) for name, value in options.items()}
    return _render_node(kind(_Given(slug), given), context)


@sensitive_variables()
def _render_node(node: Any, context: JinjaContext) -> str:
    node.origin = context.name
    own = _djangos_context(context)
    try:
        template = Engine.get_default().get_template(component.TEMPLATE)
    except (ImproperlyConfigured, TemplateDoesNotExist):
        raise ConfigurationError(
            "The templates of kapso_inbox are Django templates. Add to TEMPLATES, beside Jinja2: "
            '{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}.'
        ) from None
    with own.bind_template(template):
        rendered: str = node.render(own)
    return rendered


def _djangos_context(context: JinjaContext) -> Context:
    """Return what the tags take from the context of a page, which escapes what it prints."""
    values = {name: context.get(name) for name in ("request", "csp_nonce")}
    return Context(values, autoescape=False)
