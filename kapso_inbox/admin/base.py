"""What all pages of embeds in the admin have in common: who may, where to, and how it looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import router
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.timesince import timeuntil
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from kapso_inbox.access import get_policy
from kapso_inbox.models import AccessLink, Condition, InboxEmbed, InboxEmbedQuerySet, ScopeType
from kapso_inbox.transactions import database

from .verbs import VERBS, condition, has_unsettled_links, moment

if TYPE_CHECKING:
    EmbedModelAdmin = admin.ModelAdmin[InboxEmbed]
else:
    EmbedModelAdmin = admin.ModelAdmin


class EmbedPages(EmbedModelAdmin):
    """The ground of `InboxEmbedAdmin`, whose parts stand in modules of their own."""

    # Who may do what

    def get_queryset(self, request: HttpRequest) -> InboxEmbedQuerySet:
        """Those that the administrator may know of."""
        embeds: Any = super().get_queryset(request).using(self._using(request))
        visible = get_policy().visible(request.user, embeds)
        groups = Prefetch("groups", Group.objects.using(embeds.db))
        return visible.select_related("current_link").prefetch_related(groups)

    def _shown(self, request: HttpRequest) -> InboxEmbedQuerySet:
        """The same, with what `state` and the verbs look at.

        Not in all of them, because of the list: what is only counted need not be joined.
        """
        return self.get_queryset(request).with_condition()

    def _using(self, request: HttpRequest) -> str:
        """The database to look in: what is to be changed is never looked for in a replica."""
        return database() if request.method == "POST" else router.db_for_read(InboxEmbed)

    def _embeds(self, request: HttpRequest) -> InboxEmbedQuerySet:
        return InboxEmbed.objects.using(self._using(request))

    def has_view_permission(self, request: HttpRequest, obj: InboxEmbed | None = None) -> bool:
        """Django's permission, and the policy where it is about one embed."""
        if obj is None:
            return bool(super().has_view_permission(request))
        one = self._embeds(request).filter(pk=obj.pk)
        return bool(get_policy().visible(request.user, one).exists())

    def has_change_permission(self, request: HttpRequest, obj: InboxEmbed | None = None) -> bool:
        """As for viewing."""
        return (
            super().has_change_permission(request)
            if obj is None
            else self._may(request, "change", obj)
        )

    def has_delete_permission(self, request: HttpRequest, obj: InboxEmbed | None = None) -> bool:
        """As for viewing."""
        return (
            super().has_delete_permission(request)
            if obj is None
            else self._may(request, "delete", obj)
        )

    def _may(self, request: HttpRequest, action: str, embed: InboxEmbed) -> bool:
        return self._manageable(request, action).filter(pk=embed.pk).exists()

    def _manageable(self, request: HttpRequest, action: str) -> InboxEmbedQuerySet:
        return get_policy().manageable(request.user, self._embeds(request), action)

    # Where to

    def _path(self, route: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
        wrapped = self.admin_site.admin_view(view)
        return path(route, wrapped, name=f"kapso_inbox_inboxembed_{name}")

    def _url(self, name: str, *args: Any, **query: str) -> str:
        address = reverse(
            f"admin:kapso_inbox_inboxembed_{name}", args=args, current_app=self.admin_site.name
        )
        return f"{address}?{urlencode(query)}" if query else address

    # How an embed looks

    @admin.display(description=gettext_lazy("shows"), ordering="scope_type")
    def shows(self, embed: InboxEmbed) -> str:
        """A number or a customer by name."""
        scope = ScopeType(embed.scope_type).label if embed.scope_type in ScopeType.values else ""
        named = embed.scope_name or embed.scope_id
        shown = f"{scope or embed.scope_type}: {named}" if named else str(scope)
        if embed.assigned_user_id:
            assigned = embed.assigned_user_name or embed.assigned_user_id
            shown = _("%(shown)s, only what is assigned to %(name)s") % {
                "shown": shown,
                "name": assigned,
            }
        return shown

    @admin.display(description=gettext_lazy("state"), ordering="condition")
    def state(self, embed: InboxEmbed) -> str:
        """In words and colour."""
        found = condition(embed)
        text = str(found.label)
        if found == Condition.EXPIRES_SOON and embed.expires_at:
            text = _("Expires in %(time)s") % {"time": timeuntil(embed.expires_at, depth=1)}
        if has_unsettled_links(embed) and found != Condition.WAITING:
            text = _("%(state)s; another link waits for Kapso") % {"state": text}
        return format_html('<span class="kapso-state kapso-state--{}">{}</span>', found.value, text)

    @admin.display(description=gettext_lazy("expires"), ordering="expires_at")
    def expires(self, embed: InboxEmbed) -> str:
        """Date or never."""
        return moment(embed.expires_at) or _("never")

    @admin.display(description=gettext_lazy("last used"), ordering="last_used_at")
    def last_used(self, embed: InboxEmbed) -> str:
        """As Kapso told last."""
        return moment(embed.last_used_at)

    @admin.display(description=gettext_lazy("who may open it"))
    def openable_by(self, embed: InboxEmbed) -> str:
        """Groups, or everyone with the permission."""
        if embed.personal_to:
            return _("only the user with the id %(id)s") % {"id": embed.personal_to}
        names = [group.name for group in embed.groups.all()]
        if embed.restricted and not names:
            return _("nobody: its groups were deleted")
        return ", ".join(names) or _("all with the permission")

    def _panel(self, request: HttpRequest, embed: InboxEmbed) -> dict[str, Any]:
        """What stands above an embed's form, and beside its preview."""
        may = {
            "change": self.has_change_permission(request, embed),
            "delete": self.has_delete_permission(request, embed),
        }
        return {
            "embed": embed,
            "state": self.state(embed),
            "reasons": list(self._reasons(embed)),
            "tag": f'{{% load kapso_inbox %}}{{% kapso_inbox "{embed.slug}" %}}',
            "preview_url": self._url("preview", embed.pk),
            "change_url": self._url("change", embed.pk),
            "verbs": [
                {
                    "name": verb.name,
                    "label": verb.label,
                    "is_dangerous": verb.is_dangerous,
                    "url": self._url("verb", verb.name, id=str(embed.pk)),
                }
                for verb in VERBS.values()
                if may[verb.permission] and not verb.obstacle(embed)
            ],
        }

    def _reasons(self, embed: InboxEmbed) -> Iterator[str]:
        """Say why the embed's links are as they are: the current one, and what is beside it.

        Why the making of a link failed stands on that link, which never became the current one.
        """
        link = embed.current_link
        if link is not None and link.reason:
            yield link.reason
        if link is not None and not has_unsettled_links(embed):
            return
        others = AccessLink.objects.using(embed._state.db).filter(embed=embed).defer("sealed_url")
        if link is not None:
            others = others.filter(state__in=AccessLink.UNSETTLED).exclude(pk=link.pk)
        newest = others.order_by("-created_at", "-pk").first()
        if newest is not None:
            yield f"{newest}: {newest.get_state_display()}. {newest.reason}".strip()

    def _page(self, request: HttpRequest, name: str, **context: Any) -> HttpResponse:
        """One of our own pages, in the look of the admin."""
        return TemplateResponse(
            request,
            f"admin/kapso_inbox/inboxembed/{name}.html",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "media": self.media,
                "list_url": self._url("changelist"),
                **context,
            },
        )
