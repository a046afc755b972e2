"""The inbox as it stands in a page: its options, its addresses and its markup."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest
from django.template.context import Context
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from django.views.decorators.debug import sensitive_variables

from kapso_inbox import conf
from kapso_inbox.csp import STYLESHEET, frame_permissions

from .coercion import as_text
from .params import FLAGS, OFF, ParameterError, read_switch, with_params

TEMPLATE = "kapso_inbox/component.html"
SCRIPT = "kapso_inbox/kapso_inbox.js"

VARIANTS = ("panel", "page", "drawer", "floating")
#: Variants that open on demand, and how the browser closes them again.
POPOVERS = {"drawer": "auto", "floating": "manual"}


def clean_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the component looks and behaves.

    Args:
        options: name -> value, from a template. None counts as left out.

    Raises:
        ParameterError: the first that is not in order.
    """
    cleaned = {}
    for name, value in options.items():
        if name not in OPTIONS:
            raise ParameterError(name, _("is none of %s") % ", ".join(OPTIONS))
        if value is not None:
            cleaned[name] = OPTIONS[name](name, as_text(value).strip())
    return cleaned


@sensitive_variables()
def render_component(
    context: Context,
    *,
    name: str,
    title: str,
    launch: str,
    params: Mapping[str, str],
    options: Mapping[str, Any],
    src: str = "",
    settings_url: str = "",
    notice: str = "",
    problems: Sequence[str] = (),
) -> SafeString:
    """Return the component's markup. Asks neither the database nor Kapso.

    Args:
        context: of the template that the component stands in.
        name: what the page's links call this inbox; a slug.
        title: the accessible name.
        launch: the address of the launch, without theme and filters; "" shows no frame, and what
            leads to a launch is left out.
        params: cleaned theme and filters.
        options: cleaned, see `clean_options`.
        src: where the frame starts instead of at the launch (direct delivery).
        settings_url: the page with the user's own settings; "" for none.
        notice: what is shown instead of the frame; for everybody.
        problems: what is wrong with the tag; for whoever writes the page.
    """
    request = request_of(context)
    page = _page(request)
    variant = options.get("variant") or "panel"
    popover = POPOVERS.get(variant, "")
    frame = page.unique(f"kapso-inbox-{options.get('id') or name}")
    if options.get("views"):
        params = _in_a_view(params)
    address = with_params(launch, params) if launch else ""
    shown = "" if notice else src or address
    has_launch = bool(shown and launch)
    theme_source = options.get("theme_source", "")
    template = context.template.engine.get_template(TEMPLATE)  # type: ignore[union-attr]
    own = context.new(
        {
            "assets": "" if page.has_assets else assets(context),
            "name": name,
            "title": title,
            "variant": variant,
            "popover": popover,
            "frame": frame,
            "id": options.get("id", ""),
            "src": shown,
            "launch": address,
            "views": _views(launch, params) if has_launch and options.get("views") else [],
            "settings_url": (
                with_params(settings_url, params)
                if has_launch and settings_url and options.get("settings")
                else ""
            ),
            "theme_source": theme_source,
            # What opens on demand was not opened by anybody yet. And a frame that is about to get
            # the page's theme need not be launched without it first.
            "lazy": options.get("lazy", bool(popover or (theme_source and "mode" not in params))),
            "origins": " ".join(conf.inbox_origins()),
            "permissions": frame_permissions(conf.inbox_origins()),
            "notice": notice,
            "problems": problems,
        }
    )
    own.autoescape = True
    return template.render(own)


def assets(context: Context) -> SafeString:
    """Return stylesheet and script; from here on, no component of this page brings them again.

    Carries the nonce of the page's policy, where it has one: `csp_nonce` of the context (Django's
    own context processor) or of the request (django-csp).
    """
    request = request_of(context)
    _page(request).has_assets = True
    nonce = context.get("csp_nonce")
    if nonce is None:
        nonce = getattr(request, "csp_nonce", None)
    # Both are lazy, and made by being read: their truth says only whether they were.
    nonce = as_text(nonce)
    attribute = format_html(' nonce="{}"', nonce) if nonce else ""
    return format_html(
        '<link rel="stylesheet" href="{}"{}>\n<script src="{}" defer{}></script>\n',
        static(STYLESHEET),
        attribute,
        static(SCRIPT),
        attribute,
    )


def render_link(*, slug: str, href: str, label: str, css_class: str = "") -> SafeString:
    """Return a link to the whole page of an inbox, which opens a drawer where the page has it.

    Args:
        slug: of the embed.
        href: the whole page, with filters for what is to be seen.
        label: the text; presented as text, whatever is in it.
        css_class: more classes, separated by blanks.
    """
    return format_html(
        '<a class="{}" href="{}" data-kapso-inbox-open="{}">{}</a>',
        _link_class(css_class),
        href,
        slug,
        # What a host marked as safe is escaped, too: it comes from a contact's data.
        str.__str__(label),
    )


def render_no_link(*, reason: str, label: str, css_class: str = "") -> SafeString:
    """Return what stands where a link would lead nowhere, with the reason."""
    return format_html(
        '<span class="{}" title="{}">{}</span>', _link_class(css_class), reason, str.__str__(label)
    )


def request_of(context: Context) -> HttpRequest | None:
    """Return the request, unless the page has the name for something of its own."""
    request = context.get("request")
    return request if isinstance(request, HttpRequest) else None


@dataclass
class _Page:
    """What the components of one page have to know of each other."""

    has_assets: bool = False
    names: Counter[str] = field(default_factory=Counter)

    def unique(self, name: str) -> str:
        self.names[name] += 1
        return name if self.names[name] == 1 else f"{name}-{self.names[name]}"


def _page(request: HttpRequest | None) -> _Page:
    if request is None:
        return _Page()
    page: _Page = request.__dict__.setdefault("_kapso_inbox_page", _Page())
    return page


def _views(launch: str, params: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the quick views: text and address."""
    others = {name: value for name, value in params.items() if name not in FLAGS}
    return [
        (label, with_params(launch, _in_a_view({**others, **filters})))
        for label, filters in (
            (pgettext("conversations", "All"), {}),
            (_("Unread"), {"unread": "1"}),
            (_("Waiting for a human"), {"handoff": "1"}),
        )
    ]


def _in_a_view(params: Mapping[str, str]) -> dict[str, str]:
    """Say of each filter of the views whether it is on: what the tabs show is so for everybody."""
    others = {name: value for name, value in params.items() if name not in FLAGS}
    return others | {name: params.get(name, OFF) for name in FLAGS}


def _link_class(more: str) -> str:
    return " ".join(["kapso-inbox-link", *more.split()])


def _variant(name: str, value: str) -> str:
    if value and value not in VARIANTS:
        raise ParameterError(name, _("is one of %s") % ", ".join(VARIANTS))
    return value


def _theme_source(name: str, value: str) -> str:
    if value and not re.fullmatch(r"[^\x00-\x1f]{1,200}\[[a-zA-Z][\w:.-]*\]", value):
        raise ParameterError(name, _("is a selector and an attribute, such as html[data-theme]"))
    return value


def _id(name: str, value: str) -> str:
    if value and not re.fullmatch(r"[a-zA-Z][-\w]{0,99}", value, re.ASCII):
        raise ParameterError(name, _("is a letter, then letters, digits, - and _"))
    return value


#: Option of the tag -> what reads its value.
OPTIONS: dict[str, Callable[[str, str], Any]] = {
    "variant": _variant,
    "lazy": read_switch,
    "views": read_switch,
    "settings": read_switch,
    "theme_source": _theme_source,
    "id": _id,
}
