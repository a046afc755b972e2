"""Embeds in the admin: everything an administrator does, without a UUID and without the secret."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from types import MethodType
from typing import Any, cast

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.options import IS_POPUP_VAR, TO_FIELD_VAR
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.db import connections, router
from django.db.models import OuterRef, Subquery
from django.db.models.functions import Coalesce, Greatest
from django.forms import CheckboxSelectMultiple, ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from kapso_inbox import audit, conf, lifecycle, refusals, transactions
from kapso_inbox.models import InboxEmbed, InboxEmbedQuerySet, LaunchAttempt, Outcome
from kapso_inbox.reasons import format_time

from . import descriptions, submissions
from .filters import ConditionFilter, ProjectFilter
from .forms import AddEmbedForm, ChangeEmbedForm
from .health import health_view
from .look import SYNC, may_look, sync_view
from .lookup import lookup_view, or_of_number
from .owners import name_owners
from .pages import page_url, panel_of, redirect_to_embed, site_of, verb_url
from .preview import preview_view
from .read_only import AS_THEY_ARE, ReadOnlyModelAdmin
from .targets import is_id
from .verb import Verb
from .verb_views import MAX_EMBEDS, results_view, verb_view
from .verbs import VERBS

#: With more embeds than this, the list has no date hierarchy.
DATE_HIERARCHY_LIMIT = 1000


def _action(verb: Verb) -> Callable[..., HttpResponse | None]:
    """Return the verb as an action of Django's list. It asks for a confirmation first."""

    @admin.action(description=cast(str, verb.label), permissions=[verb.permission])
    def ask(
        model_admin: InboxEmbedAdmin, request: HttpRequest, queryset: InboxEmbedQuerySet
    ) -> HttpResponse | None:
        ids = queryset.order_by().values_list("pk", flat=True)[: MAX_EMBEDS + 1]
        return HttpResponseRedirect(verb_url(model_admin, request, verb.name, ids, "list"))

    ask.__name__ = verb.name
    return ask


def _last_use() -> Coalesce:
    """Return an annotation: when an embed was last opened here, or used at Kapso, if later.

    Kapso tells of a use only when it is asked. Each opening is recorded at once.
    """
    openings = LaunchAttempt.objects.filter(embed=OuterRef("pk"), outcome=Outcome.OPENED)
    opened = Subquery(openings.order_by("-created_at").values("created_at")[:1])
    # Where one of them is NULL, some databases return NULL for the greatest.
    return Coalesce(Greatest("last_used_at", opened), "last_used_at", opened)


class EmbedList(ChangeList):
    """A change list that reads conditions only for the embeds of the current page."""

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> InboxEmbedQuerySet:
        """Return all embeds that match, with their conditions only if they may order the list.

        Without them, counting the embeds reads a single table.
        """
        if ORDER_VAR in self.params:
            embeds: Any = self.root_queryset
            self.root_queryset = embeds.with_condition().annotate(last_use=_last_use())
        found: Any = super().get_queryset(request, *args, **kwargs)
        return found  # type: ignore[no-any-return]

    def get_results(self, request: HttpRequest) -> None:
        """Count the embeds, and read those of the current page with their conditions.

        The date hierarchy is left out where it fails or is slow. A database without time zone
        tables, such as MariaDB as installed, answers it with an error. And it reads the date of
        every embed that is listed.
        """
        super().get_results(request)
        page: Any = self.result_list
        self.result_list = page.with_condition().annotate(last_use=_last_use())
        name_owners(self.result_list)
        #: Whether there is no embed at all, and not only none that matches.
        self.is_blank = not self.result_count and not self.root_queryset.exists()
        using = connections[router.db_for_read(InboxEmbed)]
        has_no_zones = settings.USE_TZ and not using.features.has_zoneinfo_database
        if has_no_zones or self.result_count > DATE_HIERARCHY_LIMIT:
            self.date_hierarchy = None


@admin.register(InboxEmbed)
class InboxEmbedAdmin(ReadOnlyModelAdmin):
    """Add, change and rotate embeds, and see what is wrong with them.

    Every change goes through the lifecycle and outside of any transaction. Kapso is never called
    inside one, and what Kapso refuses leaves nothing half done.
    """

    list_display = ["name", "state", "shows", "openable_by", "slug", "expires", "last_used"]
    list_filter = [ConditionFilter, ProjectFilter, "scope_type", "groups"]
    list_per_page = 50
    # Counting all embeds, besides those that match a search, takes longer the more there are.
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
        """Return Django's addresses and ours, all exempt from ATOMIC_REQUESTS."""
        own = (
            ("verbs/<slug:name>/", verb_view, "verb"),
            ("results/<slug:key>/", results_view, "results"),
            ("lookup/", lookup_view, "lookup"),
            ("health/", health_view, "health"),
            ("health/sync/", sync_view, "sync"),
            ("<path:object_id>/preview/", preview_view, "preview"),
        )
        patterns = [
            path(
                route,
                self.admin_site.admin_view(MethodType(view, self)),
                name=f"kapso_inbox_inboxembed_{name}",
            )
            for route, view, name in own
        ]
        patterns += super().get_urls()
        for pattern in patterns:
            transactions.outside_transactions(pattern.callback)
        return patterns

    # The list

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return our change list."""
        return EmbedList

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, with the button that looks for inboxes at Kapso."""
        look_url = page_url(self, SYNC, request=request) if may_look(self, request) else ""
        return super().changelist_view(request, {"look_url": look_url, **(extra_context or {})})

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> Any:
        """Return the actions without Django's deletion, which does not know Kapso; ours does."""
        # Since 6.1, Django passes where the actions are shown, to a parameter of this name.
        where = {} if action_location is None else {"action_location": action_location}
        actions = super().get_actions(request, **where)
        actions.pop("delete_selected", None)
        return actions

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> Any:
        """Find embeds by their phone number, too, with or without its spaces, + and hyphens."""
        found, has_duplicates = super().get_search_results(request, queryset, search_term)
        return or_of_number(found, search_term, queryset), has_duplicates

    # What is shown of an embed

    @admin.display(description=gettext_lazy("shows"), ordering="scope_type")
    def shows(self, embed: InboxEmbed) -> str:
        """Return whose conversations the embed shows."""
        return descriptions.describe_scope(embed)

    @admin.display(description=gettext_lazy("expires"), ordering="expires_at")
    def expires(self, embed: InboxEmbed) -> str:
        """Return when the embed expires."""
        return format_time(embed.expires_at) or _("never")

    @admin.display(description=gettext_lazy("last used"), ordering="last_use")
    def last_used(self, embed: InboxEmbed) -> str:
        """Return when the embed was last opened here, or used as Kapso last said, if later.

        The day is enough, and leaves room for the other columns.
        """
        when: datetime | None = embed.last_use  # type: ignore[attr-defined]
        if when is None:
            return ""
        day = format_time(when, "DATE_FORMAT")
        return format_html('<span title="{}">{}</span>', format_time(when), day)

    @admin.display(description=gettext_lazy("who may open it"))
    def openable_by(self, embed: InboxEmbed) -> str:
        """Return who may open the embed."""
        return descriptions.describe_readers(embed)

    # The forms

    def get_form(
        self,
        request: HttpRequest,
        obj: InboxEmbed | None = None,
        change: bool = False,
        **kwargs: Any,
    ) -> type[ModelForm[InboxEmbed]]:
        """Return the form class for this request, which knows the site and any refusal."""
        base = ChangeEmbedForm if change else AddEmbedForm
        form: Any = super().get_form(request, obj, change=change, form=base, **kwargs)
        # Set on this class, which is made for the request; its fields are shared with all requests.
        form.refusal = submissions.refusal_of(request)
        form.lookup_url = page_url(self, "lookup") if self.sees_everything(request) else ""
        form.here = site_of(request)
        return form  # type: ignore[no-any-return]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Propose the configured origins for a new embed, or else this site's own."""
        origins = conf.value("ALLOWED_ORIGINS")
        if origins is None:
            origins = [site_of(request)]
        proposed = {"allowed_origins": origins, "any_site": not origins}
        return {**proposed, **super().get_changeform_initial_data(request)}

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Show groups as check boxes: all are visible, and each takes one key press."""
        return super().formfield_for_manytomany(
            db_field, request, widget=CheckboxSelectMultiple(), **kwargs
        )

    def get_fieldsets(self, request: HttpRequest, obj: InboxEmbed | None = None) -> Any:
        """Return the fieldsets for a new embed or for an existing one."""
        ends, sites = ["expiry", "expires_at"], ["allowed_origins", "any_site"]
        readers, looks = ["groups"], ["default_mode", "language"]
        slug = "slug_as_it_is" if obj is not None and obj.is_own_inbox else "slug"
        if obj is None:
            project = ["kapso_project"] if len(conf.project_aliases()) > 1 else []
            scope = [*project, "scope_type", "scope_id", "assigned_user_id"]
        else:
            scope = ["scope_as_it_is"]
            # A user's own embed is for that user, whatever groups it has.
            readers = ["readers_as_they_are"] if obj.personal_to else readers
            if not self.has_change_permission(request, obj):
                ends, sites = ["expires"], ["sites_as_they_are"]
                readers, looks = ["readers_as_they_are"], ["theme_as_it_is", "language_as_it_is"]
        return [
            (None, {"fields": ["name", slug]}),
            (_("What it shows"), {"fields": scope}),
            (_("Who may open it"), {"fields": readers}),
            (_("Where it may be shown"), {"fields": sites}),
            (_("How it looks, and how long it lasts"), {"fields": [*looks, *ends]}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: InboxEmbed | None = None) -> Any:
        """Return the fields of an existing embed that are only shown."""
        return [name for name in AS_THEY_ARE if obj is not None]

    def get_prepopulated_fields(self, request: HttpRequest, obj: InboxEmbed | None = None) -> Any:
        """Propose a slug for a new embed only: templates refer to an existing one's slug."""
        return {"slug": ["name"]} if obj is None else {}

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Submit a form before Django's view, outside its transaction.

        Django's view then only shows the form: empty, with the errors in what was typed, or with
        what Kapso answered.
        """
        if request.method == "POST":
            # Our form has no such button, and Django would add an embed without the lifecycle.
            request.POST = request.POST.copy()  # type: ignore[assignment]
            request.POST.pop("_saveasnew", None)  # type: ignore[misc]
            response = submissions.submit_form(self, request, object_id)
            if response is not None:
                return response
        return super().changeform_view(request, object_id, form_url, extra_context)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Refuse to save, which would bypass Kapso. Our views never call this."""
        raise NotImplementedError("Embeds are changed through kapso_inbox.lifecycle.")

    def response_add(
        self, request: HttpRequest, obj: InboxEmbed, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Redirect to the preview, which shows the inbox and the tag to copy.

        Somebody who may add, but not look, gets Django's own answer.
        """
        is_asked = {IS_POPUP_VAR, "_addanother", "_continue"} & set(request.POST)
        if is_asked or not self.has_view_permission(request, obj):
            return super().response_add(request, obj, post_url_continue)
        text = _("“%(name)s” is ready. This is what it looks like, and how to show it on a page.")
        self.message_user(request, text % {"name": obj.name}, messages.SUCCESS)
        return redirect_to_embed(self, request, obj, "preview")

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Add the panel to the form of an existing embed, and what keeps both from saving."""
        context["read_only"] = refusals.read_only_notice()
        embed = kwargs.get("obj")
        if embed is not None:
            # Read again: the form's embed holds what was typed, and perhaps refused.
            stored = self.get_queryset(request).with_condition().get(pk=embed.pk)
            context["panel"] = panel_of(self, request, stored)
        return super().render_change_form(request, context, *args, **kwargs)

    # Deleting

    def delete_model(self, request: HttpRequest, obj: InboxEmbed) -> None:
        """Delete an embed through the lifecycle, which records who did it. Our views do without."""
        lifecycle.delete_embed(obj, actor=audit.actor_of(request))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Redirect to the confirmation of our verb, the only way to delete an embed."""
        key = unquote(object_id)
        if not is_id(key):
            return self.redirect_missing(request, object_id)
        address = verb_url(self, request, "delete", [int(key)])
        popup: dict[str, str] = {
            k: request.GET[k] for k in (IS_POPUP_VAR, TO_FIELD_VAR) if k in request.GET
        }
        return HttpResponseRedirect(f"{address}&{urlencode(popup)}" if popup else address)
