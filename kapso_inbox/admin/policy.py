"""What the pages of embeds need of their ModelAdmin: permissions, querysets, and the state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.auth.models import Group
from django.db import router
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from kapso_inbox.access import get_policy, may_manage
from kapso_inbox.models import InboxEmbed, InboxEmbedQuerySet
from kapso_inbox.transactions import database

from .descriptions import condition_of, describe_state, is_open_to_any_site
from .records import links_to_records

if TYPE_CHECKING:
    EmbedModelAdmin = admin.ModelAdmin[InboxEmbed]
else:
    EmbedModelAdmin = admin.ModelAdmin


class PolicyModelAdmin(EmbedModelAdmin):
    """A ModelAdmin for embeds that asks the access policy who may see and do what.

    If no single embed is meant, Django's permissions decide. `InboxEmbedAdmin` is its subclass; the
    modules of our own pages know only this base, so that they can be imported by that one.
    """

    def get_queryset(self, request: HttpRequest) -> InboxEmbedQuerySet:
        """Return the embeds that the user may see."""
        embeds: Any = super().get_queryset(request).using(self._database(request))
        visible = get_policy().visible(request.user, embeds)
        groups = Prefetch("groups", Group.objects.using(embeds.db))
        return visible.select_related("current_link").prefetch_related(groups)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Show Django's history, with the ways to our own records of the embed."""
        records = list(links_to_records(self.admin_site, request, unquote(object_id)))
        return super().history_view(
            request, object_id, {**(extra_context or {}), "records": records}
        )

    def redirect_missing(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Answer as Django's own pages do if an embed does not exist, or the user may not see it.

        Args:
            request: the current request.
            object_id: the embed's primary key, quoted as Django's admin quotes it.
        """
        answer: HttpResponse = self._get_obj_does_not_exist_redirect(  # type: ignore[attr-defined]
            request, self.opts, object_id
        )
        return answer

    def get_manageable(self, request: HttpRequest, permission: str) -> InboxEmbedQuerySet:
        """Return the embeds that the user may manage.

        Args:
            request: the current request.
            permission: `change` or `delete`.
        """
        return may_manage(request.user, self._embeds(request), permission)

    def sees_everything(self, request: HttpRequest) -> bool:
        """Return whether the policy holds nothing back from the user: see `AccessPolicy`."""
        return get_policy().sees_everything(request.user)

    def get_permissions(self, request: HttpRequest, embed: InboxEmbed | None = None) -> set[str]:
        """Return which of `add`, `change` and `delete` the user may do.

        Args:
            request: the current request.
            embed: the embed that `change` and `delete` are about; None = embeds in general.
        """
        permissions = {
            "add": self.has_add_permission(request),
            "change": self.has_change_permission(request, embed),
            "delete": self.has_delete_permission(request, embed),
        }
        return {name for name, is_granted in permissions.items() if is_granted}

    def has_view_permission(self, request: HttpRequest, obj: InboxEmbed | None = None) -> bool:
        """Return whether the user may see embeds, or this one."""
        if obj is None:
            return bool(super().has_view_permission(request))
        one = self._embeds(request).filter(pk=obj.pk)
        return bool(get_policy().visible(request.user, one).exists())

    def has_change_permission(self, request: HttpRequest, obj: InboxEmbed | None = None) -> bool:
        """Return whether the user may change embeds, or this one."""
        if obj is None:
            return super().has_change_permission(request)
        return self.get_manageable(request, "change").filter(pk=obj.pk).exists()

    def has_delete_permission(self, request: HttpRequest, obj: InboxEmbed | None = None) -> bool:
        """Return whether the user may delete embeds, or this one."""
        if obj is None:
            return super().has_delete_permission(request)
        return self.get_manageable(request, "delete").filter(pk=obj.pk).exists()

    def _embeds(self, request: HttpRequest) -> InboxEmbedQuerySet:
        return InboxEmbed.objects.using(self._database(request))

    def _database(self, request: HttpRequest) -> str:
        """Return the database to read: a replica may not have what a POST is about to change."""
        return database() if request.method == "POST" else router.db_for_read(InboxEmbed)

    @admin.display(description=gettext_lazy("state"), ordering="condition")
    def state(self, embed: InboxEmbed) -> str:
        """Return the embed's state, in words and colour, marked if any site may show the embed."""
        value = condition_of(embed).value
        text = describe_state(embed)
        state = format_html('<span class="kapso-state kapso-state--{}">{}</span>', value, text)
        if not is_open_to_any_site(embed):
            return state
        return format_html('{} <span class="kapso-badge">{}</span>', state, _("On any site"))
