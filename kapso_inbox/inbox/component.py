"""The inbox as a component of a page: its options, its addresses and its markup."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
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
from kapso_inbox.secret import Hidden

from .coercion import as_text
from .params import FLAGS, ParameterError, in_a_view, read_switch, with_params

TEMPLATE = "kapso_inbox/component.html"
SCRIPT = "kapso_inbox/kapso_inbox.js"
#: Stylesheet and script of the badges, which are in the app `kapso_inbox.conversations`.
WAITING = ("kapso_inbox/waiting.css", "kapso_inbox/waiting.js")

VARIANTS = ("panel", "page", "drawer", "floating")
#: Variant that opens on demand -> its `popover` attribute: whether a click elsewhere closes it.
POPOVERS = {"drawer": "auto", "floating": "manual"}


def clean_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the component, each as its own type.

    Args:
        options: name -> value, from a template. None counts as left out.

    Raises:
        ParameterError: an option has a wrong value, or does not exist; it names the first such.
    """
    cleaned = {}
    for name, value in options.items():
        if name not in OPTIONS:
            raise ParameterError(
                name, _("is not a known name. The known names are: %s") % ", ".join(OPTIONS)
            )
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
    src: Hidden | None = None,
    settings_url: str = "",
    reach_url: str = "",
    notice: str = "",
    problems: Sequence[str] = (),
) -> SafeString:
    """Return the component's markup. This asks neither the database nor Kapso.

    Args:
        context: the context of the template around the component.
        name: the slug by which the page's links refer to this inbox.
        title: the accessible name.
        launch: the address of the launch, without theme and filters. With "" the component has no
            links to a launch, and no frame unless `src` is given.
        params: the theme and filters, cleaned.
        options: the options, as `clean_options` returns them.
        src: the secret address, which the frame starts from instead of the launch (direct
            delivery).
        settings_url: the address of the page with the user's own settings, or "".
        reach_url: the address of the page that asks whether the inbox's host answers, or "".
        notice: a text for everybody, shown instead of the frame.
        problems: what is wrong with the tag, for the developer of the page.
    """
    request = request_of(context)
    page = _page(request)
    variant = options.get("variant") or "panel"
    popover = POPOVERS.get(variant, "")
    frame = page.unique(f"kapso-inbox-{options.get('id') or name}")
    if options.get("views"):
        params = in_a_view(params)
    address = with_params(launch, params) if launch else ""
    has_frame = bool(src or address) and not notice
    has_launch = has_frame and bool(launch)
    theme_source = options.get("theme_source", "")
    views = _views(launch, params) if has_launch and options.get("views") else []
    if not (has_launch and options.get("settings")):
        settings_url = ""
    template = context.template.engine.get_template(TEMPLATE)  # type: ignore[union-attr]
    own = context.new(
        {
            "assets": render_assets_once(context),
            **_for_badges(context, is_wanted=bool(name and options.get("waiting"))),
            "name": name,
            "title": title,
            "variant": variant,
            "popover": popover,
            "frame": frame,
            "id": options.get("id", ""),
            "has_frame": has_frame,
            "src": src or address,
            "launch": address,
            "has_bar": bool(popover or views or settings_url),
            "views": views,
            "settings_url": settings_url and with_params(settings_url, params),
            "reach_url": reach_url if has_launch else "",
            "theme_source": theme_source,
            # Nobody has opened yet what opens on demand. And a frame that is about to get the
            # page's theme need not be launched without it first.
            "lazy": options.get("lazy", bool(popover or (theme_source and "mode" not in params))),
            "origins": " ".join(conf.inbox_origins()),
            "permissions": frame_permissions(conf.inbox_origins()),
            "notice": notice,
            "problems": problems,
        }
    )
    own.autoescape = True
    return template.render(own)


def render_assets_once(
    context: Context, stylesheet: str = STYLESHEET, script: str = SCRIPT
) -> SafeString:
    """Return what `render_assets` does, or "" if the page has it already."""
    if script in _page(request_of(context)).scripts:
        return SafeString()
    return render_assets(context, stylesheet, script)


def render_assets(
    context: Context, stylesheet: str = STYLESHEET, script: str = SCRIPT
) -> SafeString:
    """Return the tags for stylesheet and script; later components of the page leave them out.

    If the page's policy has a nonce, they carry it: `csp_nonce` of the context (Django's own
    context processor) or of the request (django-csp).
    """
    request = request_of(context)
    _page(request).scripts.add(script)
    nonce = context.get("csp_nonce")
    if nonce is None:
        nonce = getattr(request, "csp_nonce", None)
    # Both are lazy and generated by being read. Until then they are false.
    nonce = as_text(nonce)
    attribute = format_html(' nonce="{}"', nonce) if nonce else ""
    return format_html(
        '<link rel="stylesheet" href="{}"{}>\n<script src="{}" defer{}></script>\n',
        static(stylesheet),
        attribute,
        static(script),
        attribute,
    )


def render_link(*, slug: str, href: str, label: str, css_class: str = "") -> SafeString:
    """Return a link to the whole page of an inbox; on a page with its drawer, it opens that.

    Args:
        slug: the slug of the embed.
        href: the address of the whole page, with filters.
        label: the text. It is always escaped.
        css_class: more classes, separated by spaces.
    """
    return format_html(
        '<a class="{}" href="{}" data-kapso-inbox-open="{}">{}</a>',
        _link_class(css_class),
        href,
        slug,
        # Escaped even if the host marked it as safe: it comes from a contact's data.
        str.__str__(label),
    )


def render_no_link(*, reason: str, label: str, css_class: str = "") -> SafeString:
    """Return a text in place of a link that would lead nowhere, with the reason as its title."""
    return format_html(
        '<span class="{}" title="{}">{}</span>', _link_class(css_class), reason, str.__str__(label)
    )


def request_of(context: Context) -> HttpRequest | None:
    """Return the context's request, or None if the page uses that name for something else."""
    request = context.get("request")
    return request if isinstance(request, HttpRequest) else None


@dataclass
class _Page:
    """What the components of one page must know about each other."""

    scripts: set[str] = field(default_factory=set)
    names: Counter[str] = field(default_factory=Counter)

    def unique(self, name: str) -> str:
        """Return a name that no other component of the page has."""
        self.names[name] += 1
        return name if self.names[name] == 1 else f"{name}-{self.names[name]}"


def _page(request: HttpRequest | None) -> _Page:
    if request is None:
        return _Page()
    page: _Page = request.__dict__.setdefault("_kapso_inbox_page", _Page())
    return page


def _for_badges(context: Context, *, is_wanted: bool) -> dict[str, Any]:
    """Return what the badges of a component take from the context around it."""
    return {
        "waiting": is_wanted,
        "waiting_assets": render_assets_once(context, *WAITING) if is_wanted else "",
        "request": request_of(context),
        "csp_nonce": context.get("csp_nonce"),
    }


def _views(launch: str, params: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return the quick views, each as its text, its address, and the kind of its badge or ""."""
    # A tab shows a list, and not one conversation.
    left_out = (*FLAGS, "conversation_id")
    others = {name: value for name, value in params.items() if name not in left_out}
    return [
        (label, with_params(launch, in_a_view({**others, **filters})), kind)
        # Nobody but Kapso knows what is unread, so that view has no badge.
        for label, filters, kind in (
            (pgettext("conversations", "All"), {}, ""),
            (_("Unread"), {"unread": "1"}, ""),
            (_("Waiting for a human"), {"handoff": "1"}, "handoff"),
        )
    ]


def _link_class(more: str) -> str:
    return " ".join(["kapso-inbox-link", *more.split()])


def _variant(name: str, value: str) -> str:
    if value and value not in VARIANTS:
        raise ParameterError(name, _("must be one of %s") % ", ".join(VARIANTS))
    return value


def _waiting(name: str, value: str) -> bool:
    is_on = read_switch(name, value)
    if is_on and not apps.is_installed("kapso_inbox.conversations"):
        raise ParameterError(name, _('needs "kapso_inbox.conversations" in INSTALLED_APPS'))
    return is_on


def _theme_source(name: str, value: str) -> str:
    if value and not re.fullmatch(r"[^\x00-\x1f]{1,200}\[[a-zA-Z][\w:.-]*\]", value):
        raise ParameterError(
            name, _("must be a selector and an attribute, such as html[data-theme]")
        )
    return value


def _id(name: str, value: str) -> str:
    if value and not re.fullmatch(r"[a-zA-Z][-\w]{0,99}", value, re.ASCII):
        raise ParameterError(name, _("must be a letter, followed by letters, digits, - and _"))
    return value


#: Option of the tag -> what reads its value.
OPTIONS: dict[str, Callable[[str, str], Any]] = {
    "variant": _variant,
    "lazy": read_switch,
    "views": read_switch,
    "settings": read_switch,
    "waiting": _waiting,
    "theme_source": _theme_source,
    "id": _id,
}
