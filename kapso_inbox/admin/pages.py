"""What the pages of embeds share: their addresses, their frame, and the panel above an embed."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from kapso_inbox import refusals
from kapso_inbox.models import InboxEmbed

from .descriptions import describe_links
from .owners import tag_for
from .policy import PolicyModelAdmin
from .verbs import VERBS, why_not


def page_url(model_admin: PolicyModelAdmin, name: str, *args: Any, **query: str) -> str:
    """Return the address of a page of embeds, on the admin site of this ModelAdmin.

    Args:
        model_admin: whose page it is.
        name: the page's name without its prefix, such as `change` or `health`.
        args: the arguments of the address.
        query: its query string.
    """
    address = reverse(
        f"admin:kapso_inbox_inboxembed_{name}", args=args, current_app=model_admin.admin_site.name
    )
    return f"{address}?{urlencode(query)}" if query else address


def redirect_to_embed(
    model_admin: PolicyModelAdmin, request: HttpRequest, embed: InboxEmbed, name: str
) -> HttpResponse:
    """Redirect to a page of an embed, or to the index if the user may add but not look."""
    if model_admin.has_view_permission(request, embed):
        return HttpResponseRedirect(page_url(model_admin, name, embed.pk))
    return HttpResponseRedirect(reverse("admin:index", current_app=model_admin.admin_site.name))


def render_page(
    model_admin: PolicyModelAdmin, request: HttpRequest, name: str, **context: Any
) -> HttpResponse:
    """Render one of our own pages inside the admin site's frame.

    Args:
        model_admin: whose page it is.
        request: the current request.
        name: the template's name in `admin/kapso_inbox/inboxembed/`, without `.html`.
        context: what the template shows.
    """
    return TemplateResponse(
        request,
        f"admin/kapso_inbox/inboxembed/{name}.html",
        {
            **model_admin.admin_site.each_context(request),
            "opts": model_admin.opts,
            "media": model_admin.media,
            "list_url": page_url(model_admin, "changelist"),
            **context,
        },
    )


def panel_of(
    model_admin: PolicyModelAdmin, request: HttpRequest, embed: InboxEmbed
) -> dict[str, Any]:
    """Return what stands above an embed's form and its preview.

    Args:
        model_admin: whose page it is.
        request: the current request.
        embed: the embed, read with its condition.
    """
    permissions = model_admin.get_permissions(request, embed)
    return {
        "embed": embed,
        "state": model_admin.state(embed),
        "reasons": list(describe_links(embed)),
        "read_only": refusals.read_only_notice(),
        "tag": tag_for(embed),
        "preview_url": page_url(model_admin, "preview", embed.pk),
        "change_url": page_url(model_admin, "change", embed.pk),
        "verbs": [
            {
                "name": verb.name,
                "label": verb.label,
                "is_dangerous": verb.is_dangerous,
                "url": page_url(model_admin, "verb", verb.name, id=str(embed.pk)),
            }
            for verb in VERBS.values()
            if verb.permission in permissions and not why_not(verb, embed)
        ],
    }
