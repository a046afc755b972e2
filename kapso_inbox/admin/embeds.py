"""Embeds in the admin: everything an administrator does, without a UUID and without the secret."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.db import connections, router
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.translation import gettext as _

from kapso_inbox import lifecycle, refusals, transactions
from kapso_inbox.models import InboxEmbed, InboxEmbedQuerySet

from .filters import ConditionFilter, ProjectFilter
from .form_views import FormPages
from .other_views import OtherPages
from .verb_views import VerbPages
from .verbs import VERBS, Verb

#: Of more embeds than so many the list has no date hierarchy.
HIERARCHY_OF = 1000


def _action(verb: Verb) -> Callable[..., HttpResponse | None]:
    """Return the verb as an action of Django's list: it asks for a confirmation."""

    @admin.action(description=cast(str, verb.label), permissions=[verb.permission])
    def ask(
        model_admin: InboxEmbedAdmin, request: HttpRequest, queryset: InboxEmbedQuerySet
    ) -> HttpResponse | None:
        return model_admin.ask_to_confirm(request, verb, queryset)

    ask.__name__ = verb.name
    return ask


class EmbedList(ChangeList):
    """Django's. What is shown of an embed is put together for those of the page alone."""

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> InboxEmbedQuerySet:
        """Return all that were asked for; in an order that was chosen, which may be that of states.

        Without one, what is counted here are rows of one table.
        """
        if ORDER_VAR in self.params:
            embeds: Any = self.root_queryset
            self.root_queryset = embeds.with_condition()
        found: Any = super().get_queryset(request, *args, **kwargs)
        return found  # type: ignore[no-any-return]

    def get_results(self, request: HttpRequest) -> None:
        """Count them, and read those of the page."""
        super().get_results(request)
        page: Any = self.result_list
        self.result_list = page.with_condition()


@admin.register(InboxEmbed)
class InboxEmbedAdmin(FormPages, VerbPages, OtherPages):
    """Add, change, rotate, revoke, and see what is wrong.

    All that changes something goes through the lifecycle, outside of any transaction: Kapso is
    never called inside one, and what it refuses leaves nothing half done.
    """

    list_display = ["name", "slug", "shows", "state", "expires", "last_used", "openable_by"]
    list_filter = [ConditionFilter, ProjectFilter, "scope_type", "groups"]
    list_per_page = 50
    # To count all of them beside those that were searched for takes as long as there are many.
    show_full_result_count = False
    list_select_related = ["current_link"]
    search_fields = [
        "name",
        "slug",
        "scope_name",
        "scope_id",
        "assigned_user_name",
        "current_link__reference",
    ]
    date_hierarchy = "created_at"
    ordering = ["name", "pk"]
    actions = [_action(verb) for verb in VERBS.values()]
    change_form_template = "admin/kapso_inbox/inboxembed/change_form.html"

    class Media:
        css = {"all": ["kapso_inbox/admin.css"]}
        js = ["kapso_inbox/admin.js"]

    # Addresses

    def get_urls(self) -> list[URLPattern]:
        """Django's own and ours, none of them inside a transaction of ATOMIC_REQUESTS."""
        own = [
            self._path("verbs/<slug:name>/", self.verb_view, "verb"),
            self._path("lookup/", self.lookup_view, "lookup"),
            self._path("health/", self.health_view, "health"),
            self._path("health/sync/", self.sync_view, "sync"),
            self._path("<path:object_id>/preview/", self.preview_view, "preview"),
        ]
        patterns = [*own, *super().get_urls()]
        for pattern in patterns:
            transactions.outside_transactions(pattern.callback)
        return patterns

    # The list

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Ours."""
        return EmbedList

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Without the date hierarchy where it cannot be had, or not for a moment's work.

        A database without time zones, such as MariaDB as installed, answers it with an error. And
        it looks at the date of every row that is listed.
        """
        changelist = super().get_changelist_instance(request)
        using = connections[router.db_for_read(InboxEmbed)]
        has_no_zones = settings.USE_TZ and not using.features.has_zoneinfo_database
        if has_no_zones or changelist.result_count > HIERARCHY_OF:
            changelist.date_hierarchy = None
        return changelist

    # Deleting

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> Any:
        """Without Django's own deletion, which knows nothing of Kapso; ours stands beside."""
        # Where they stand, Django says since 6.1, and looks for an argument of that name.
        where = {} if action_location is None else {"action_location": action_location}
        actions = super().get_actions(request, **where)
        actions.pop("delete_selected", None)
        return actions

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Name what still lives at Kapso among what stands in the way."""
        to_delete, counts, needed, protected = super().get_deleted_objects(objs, request)
        delete = VERBS["delete"]
        for embed in self._shown(request).filter(pk__in=[embed.pk for embed in objs]):
            if reason := delete.obstacle(embed):
                protected.append(f"{embed}: {reason}")
        return to_delete, counts, needed, protected

    def delete_model(self, request: HttpRequest, obj: InboxEmbed) -> None:
        """With a record of who did it."""
        lifecycle.delete_embed(obj, actor=request.user)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Django's own; a link that was made in the meantime keeps an embed that is still there."""
        try:
            return super().delete_view(request, object_id, extra_context)
        except lifecycle.LiveError as error:
            self.message_user(request, refusals.texts(error), messages.ERROR)
            return HttpResponseRedirect(self._url("change", object_id))
        except InboxEmbed.DoesNotExist:
            self.message_user(request, _("It is not there any more."), messages.WARNING)
            return HttpResponseRedirect(self._url("changelist"))
