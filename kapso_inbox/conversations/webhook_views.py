"""The page of the webhooks at Kapso: which there are, and buttons that change them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.forms import Media
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from kapso_inbox import conf, refusals
from kapso_inbox.access import get_policy, has_permission
from kapso_inbox.origins import is_inbox_origin

from .models import WebhookDelivery
from .webhooks import (
    Registered,
    address_of,
    host_and_path,
    is_of_this_site,
    is_served_here,
    read_webhooks,
    registered_site,
    remove_webhooks,
    set_webhooks,
    test_webhooks,
)

if TYPE_CHECKING:
    DeliveryModelAdmin = admin.ModelAdmin[WebhookDelivery]
else:
    DeliveryModelAdmin = admin.ModelAdmin

VERBS: dict[str, Callable[[str, str], list[Registered]]] = {
    "set": set_webhooks,
    "test": test_webhooks,
    "remove": remove_webhooks,
}
#: What was done -> in words, with `count` for how many.
DONE: dict[str, Any] = {
    "created": ngettext_lazy(
        "%(count)d webhook was created.", "%(count)d webhooks were created.", "count"
    ),
    "updated": ngettext_lazy(
        "%(count)d webhook was updated.", "%(count)d webhooks were updated.", "count"
    ),
    "moved": ngettext_lazy(
        "%(count)d webhook had another address of this site and now has this one.",
        "%(count)d webhooks had another address of this site and now have this one.",
        "count",
    ),
    "removed": ngettext_lazy(
        "%(count)d webhook was removed.", "%(count)d webhooks were removed.", "count"
    ),
    "tested": ngettext_lazy(
        "Kapso sent %(count)d test event.", "Kapso sent %(count)d test events.", "count"
    ),
}


class SiteForm(forms.Form):
    """The address of this site, to which Kapso is to send."""

    site = forms.CharField(
        label=gettext_lazy("Address of this site, as Kapso reaches it"),
        widget=forms.URLInput(attrs={"class": "vURLField"}),
        # Longer than any that is of use.
        max_length=300,
    )

    def clean_site(self) -> str:
        """Check that Kapso is told to send only to this site: what it sends are people's messages.

        Raises:
            ValidationError: it is not an origin, or this site does not serve that host.
        """
        site = str(self.cleaned_data["site"]).rstrip("/")
        address_of(conf.DEFAULT_PROJECT, site)
        if not is_served_here(site):
            text = _("“%(host)s” is not in ALLOWED_HOSTS, so it is not this site.")
            raise ValidationError(text % {"host": host_and_path(site)[0]})
        return site


def webhooks_view(model_admin: DeliveryModelAdmin, request: HttpRequest) -> HttpResponse:
    """Show the webhooks at Kapso, and create, update, test or remove those of this site.

    It requires the permission to change embeds, and a policy that holds nothing back: a webhook
    concerns a whole project. To remove webhooks is confirmed on a page of its own. The address that
    was typed stays in its field, in the query of the page or beside what is wrong with it.

    Args:
        model_admin: whose page it is.
        request: the current request.
    """
    may_change = has_permission(request.user, "kapso_inbox.change_inboxembed")
    if not may_change or not get_policy().sees_everything(request.user):
        raise PermissionDenied
    if request.method != "POST":
        return _show(model_admin, request)
    project, verb = request.POST.get("project", ""), request.POST.get("verb", "")
    if verb not in VERBS or project not in conf.project_aliases():
        return HttpResponseRedirect(_page_url(model_admin))
    form = SiteForm(request.POST)
    if not form.is_valid():
        return _show(model_admin, request, project, form)
    site = form.cleaned_data["site"]
    try:
        if verb == "remove" and "confirmed" not in request.POST:
            return _confirm(model_admin, request, project, site)
        done = VERBS[verb](project, site)
    except refusals.REFUSALS as error:
        model_admin.message_user(request, refusals.texts(error), messages.ERROR)
    else:
        _report(model_admin, request, done, address_of(project, site))
    return HttpResponseRedirect(_page_url(model_admin, project, site))


def _show(
    model_admin: DeliveryModelAdmin,
    request: HttpRequest,
    project: str = "",
    form: SiteForm | None = None,
) -> HttpResponse:
    """Show the page.

    Args:
        model_admin: whose page it is.
        request: the current request. Its query can have the address of one project's form.
        project: the project whose form was filled in wrongly, or "".
        form: that form.
    """
    typed = SiteForm(request.GET)
    chosen = request.GET.get("project", "") if not form and typed.is_valid() else ""
    aliases = conf.project_aliases()
    projects = []
    for number, alias in enumerate(aliases):
        registered, error = _registered(alias)
        site = registered_site(registered, _site_of(request))
        if alias == chosen:
            site = typed.cleaned_data["site"]
        own = form if form and alias == project else SiteForm(initial={"site": site})
        own.auto_id = f"id_%s_{number}"
        # A field that was filled in wrongly stands for no address.
        wanted = "" if own.errors or not is_inbox_origin(site) else address_of(alias, site)
        rows = list(_rows(registered, wanted, site))
        projects.append(
            {
                "alias": alias,
                "rows": rows,
                "error": error,
                "form": own,
                "moves": wanted and any(row["is_other"] for row in rows),
                "may_double": any(row["may_double"] for row in rows),
            }
        )
    context = {"projects": projects, "names_projects": len(aliases) > 1}
    return _render(model_admin, request, "webhooks", _("Webhooks at Kapso"), **context)


def _confirm(
    model_admin: DeliveryModelAdmin, request: HttpRequest, project: str, site: str
) -> HttpResponse:
    """Show which webhooks would be removed, and ask for a confirmation."""
    address = address_of(project, site)
    registered = read_webhooks(project, conf.project(project).client())
    names = [one.place.name for one in registered if one.webhook and one.webhook.url == address]
    if not names:
        _report(model_admin, request, [], address)
        return HttpResponseRedirect(_page_url(model_admin, project, site))
    context = {"project": project, "site": site, "address": address, "names": names}
    back_url = _page_url(model_admin, project, site)
    title = _("Remove webhooks")
    return _render(model_admin, request, "remove_webhooks", title, back_url=back_url, **context)


def _render(
    model_admin: DeliveryModelAdmin, request: HttpRequest, name: str, title: str, **context: Any
) -> HttpResponse:
    site = model_admin.admin_site
    media = model_admin.media + Media(js=["kapso_inbox/admin.js"])
    list_url = reverse(
        "admin:kapso_conversations_webhookdelivery_changelist", current_app=site.name
    )
    return TemplateResponse(
        request,
        f"admin/kapso_conversations/{name}.html",
        {
            **site.each_context(request),
            "opts": model_admin.opts,
            "media": media,
            "list_url": list_url,
            "page_url": _page_url(model_admin),
            "title": title,
            **context,
        },
    )


def _page_url(model_admin: DeliveryModelAdmin, project: str = "", site: str = "") -> str:
    """Return the address of the page, on which a project's form has this address of the site."""
    name = model_admin.admin_site.name
    address = reverse("admin:kapso_conversations_webhooks", current_app=name)
    return f"{address}?{urlencode({'project': project, 'site': site})}" if site else address


def _site_of(request: HttpRequest) -> str:
    """Return the address of this site that the browser uses, by https where Kapso requires it.

    Behind a proxy that ends https, Django may know the request as one by http.
    """
    site = f"{request.scheme}://{request.get_host()}"
    return site if is_inbox_origin(site) else f"https://{request.get_host()}"


def _registered(project: str) -> tuple[list[Registered], str]:
    """Return the webhooks of a project, and why Kapso did not tell them, or ""."""
    try:
        return list(read_webhooks(project, conf.project(project).client())), ""
    except refusals.REFUSALS as error:
        return [], refusals.texts(error)


def _rows(registered: list[Registered], wanted: str, site: str) -> Iterator[dict[str, Any]]:
    """Yield what the table says: each webhook, and each place for which this site has none.

    Args:
        registered: the webhooks of a project.
        wanted: the address that the field stands for, or "".
        site: an origin of this site.
    """
    for place, found in groupby(registered, key=lambda one: one.place):
        webhooks = [one for one in found if one.webhook]
        rows = [_row(one, one.webhook.url, wanted, site) for one in webhooks if one.webhook]
        if not any(row["is_own"] for row in rows):
            rows.insert(0, _row(Registered(place, None), "", wanted, site))
        yield from rows


def _row(one: Registered, address: str, wanted: str, site: str) -> dict[str, Any]:
    """Return a row of the table.

    Args:
        one: the webhook.
        address: its address, or "".
        wanted: the address that the field stands for, or "".
        site: an origin of this site.
    """
    is_own = bool(address) and is_of_this_site(address, site)
    is_here = address == wanted
    may_double = bool(address) and not is_own and is_served_here(address)
    state, is_fine = _state(one)
    tone = "" if address and not is_own else "works" if is_fine else "secret_lost"
    if not address:
        whose = ""
    elif is_here:
        whose = _("The address in the field below")
    elif is_own:
        whose = _("Another address of this site")
    elif may_double:
        whose = _("Another address that ALLOWED_HOSTS allows")
    else:
        whose = _("Another site: ALLOWED_HOSTS does not name it")
    return {
        "name": one.place.name,
        "state": state,
        "tone": tone,
        "address": address,
        "whose": whose,
        "is_own": is_own,
        "is_other": is_own and not is_here,
        "may_double": may_double,
    }


def _state(one: Registered) -> tuple[str, bool]:
    """Return the state of a webhook in words, and whether it delivers all that it should."""
    if one.webhook is None:
        return _("Missing"), False
    if not one.webhook.active:
        return _("Paused by Kapso, because deliveries failed"), False
    if one.missing_events:
        text = _("Does not deliver: %(events)s")
        return text % {"events": ", ".join(one.missing_events)}, False
    return _("Delivers"), True


def _report(
    model_admin: DeliveryModelAdmin, request: HttpRequest, done: list[Registered], address: str
) -> None:
    for change, text in DONE.items():
        count = sum(one.change == change for one in done)
        if count:
            model_admin.message_user(request, text % {"count": count}, messages.SUCCESS)
    if not done:
        text = _("No webhook at Kapso leads to %(address)s, so nothing was done.")
        model_admin.message_user(request, text % {"address": address}, messages.WARNING)
