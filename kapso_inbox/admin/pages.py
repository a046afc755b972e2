"""What the pages of embeds share: their addresses, their frame, and the panel above an embed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy

from kapso_inbox import refusals
from kapso_inbox.models import InboxEmbed

from .advice import GROUPS, ORIGINS, advise
from .descriptions import details_of_links
from .owners import tag_for
from .policy import PolicyModelAdmin
from .verbs import VERBS, why_not

#: Buttons that lead to a field of the embed's form: the field and the text.
FIELDS = {
    ORIGINS: ("allowed_origins", gettext_lazy("Change its origins")),
    GROUPS: ("groups", gettext_lazy("Choose its groups")),
}


def page_url(
    model_admin: PolicyModelAdmin, name: str, *args: Any, request: HttpRequest | None = None
) -> str:
    """Return the address of a page of embeds, on the admin site of this ModelAdmin.

    Args:
        model_admin: whose page it is.
        name: the page's name without its prefix, such as `change` or `health`.
        args: the arguments of the address.
        request: the current request, if the address is to keep the filters of the list that the
            request came with, as the links of Django's own pages do.
    """
    address = reverse(
        f"admin:kapso_inbox_inboxembed_{name}", args=args, current_app=model_admin.admin_site.name
    )
    if request is None:
        return address
    filters = model_admin.get_preserved_filters(request)
    context: dict[str, Any] = {"opts": model_admin.opts, "preserved_filters": filters}
    return str(add_preserved_filters(context, address))


def verb_url(
    model_admin: PolicyModelAdmin,
    request: HttpRequest,
    name: str,
    ids: Iterable[int],
    origin: str = "",
) -> str:
    """Return the address of a verb's confirmation.

    Args:
        model_admin: whose page it is.
        request: the current request.
        name: the verb's name.
        ids: the primary keys of the embeds.
        origin: the page that has the link, to which the confirmation leads back: `list`, `health`
            or `preview`; "" = the page of the embed.
    """
    address = page_url(model_admin, "verb", name, request=request)
    query = [("id", str(one)) for one in ids] + ([("from", origin)] if origin else [])
    return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"


def redirect_to_embed(
    model_admin: PolicyModelAdmin, request: HttpRequest, embed: InboxEmbed, name: str
) -> HttpResponse:
    """Redirect to a page of an embed; if the user may not see it, to the list or the index."""
    if model_admin.has_view_permission(request, embed):
        return HttpResponseRedirect(page_url(model_admin, name, embed.pk, request=request))
    return redirect_to_list(model_admin, request)


def redirect_to_list(model_admin: PolicyModelAdmin, request: HttpRequest) -> HttpResponse:
    """Redirect to the list with its filters, or to the index if the user may not see the list."""
    if model_admin.has_view_permission(request):
        return HttpResponseRedirect(page_url(model_admin, "changelist", request=request))
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
            "list_url": page_url(model_admin, "changelist", request=request),
            **context,
        },
    )


def panel_of(
    model_admin: PolicyModelAdmin, request: HttpRequest, embed: InboxEmbed, origin: str = ""
) -> dict[str, Any]:
    """Return what stands above an embed's form and its preview.

    Args:
        model_admin: whose page it is.
        request: the current request.
        embed: the embed, read with its condition.
        origin: the page that it stands on, as for `verb_url`.
    """
    permissions = model_admin.get_permissions(request, embed)
    advice = advise(embed, site_of(request))
    change_url = page_url(model_admin, "change", embed.pk, request=request)
    buttons = {
        verb.name: {
            "name": verb.name,
            "label": str(verb.label),
            "is_dangerous": verb.is_dangerous,
            "url": verb_url(model_admin, request, verb.name, [embed.pk], origin),
        }
        for verb in VERBS.values()
        # Django's form has a link to delete an embed.
        if verb.name != "delete" and verb.permission in permissions and not why_not(verb, embed)
    }
    primary = buttons.pop(advice.press, None)
    if advice.press in FIELDS and "change" in permissions:
        field, label = FIELDS[advice.press]
        primary = {"label": str(label), "url": f"{change_url}#id_{field}"}
    if primary is not None:
        remedy = str(advice.remedy) % {"press": primary["label"]}
    else:
        remedy = "" if advice.press else str(advice.remedy)
    return {
        "embed": embed,
        "state": model_admin.state(embed),
        "advice": f"{advice.matter} {remedy}".strip(),
        "primary": primary,
        "verbs": list(buttons.values()),
        "shows": advice.shows,
        "links": details_of_links(embed),
        "read_only": refusals.read_only_notice(),
        "tag": tag_for(embed),
        "preview_url": page_url(model_admin, "preview", embed.pk, request=request),
        "change_url": change_url,
    }


def site_of(request: HttpRequest) -> str:
    """Return the origin of the page that the request asks for."""
    return f"{request.scheme}://{request.get_host()}"
