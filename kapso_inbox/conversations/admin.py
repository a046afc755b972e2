"""Conversations in the admin, the deletion of a person's data, and the webhooks at Kapso."""

from __future__ import annotations

from dataclasses import is_dataclass, replace
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from kapso_inbox import conf
from kapso_inbox.access import get_policy
from kapso_inbox.models import InboxEmbed

from .models import (
    Conversation,
    ConversationQuerySet,
    WebhookDelivery,
    WhatsAppNumber,
    of_same_people,
)
from .webhook_views import webhooks_view

if TYPE_CHECKING:
    ConversationModelAdmin = admin.ModelAdmin[Conversation]
    DeliveryModelAdmin = admin.ModelAdmin[WebhookDelivery]
else:
    ConversationModelAdmin = DeliveryModelAdmin = admin.ModelAdmin


class WaitingFilter(admin.SimpleListFilter):
    """Filters conversations by what they wait for."""

    # Django shows it after the word "By", in other languages after "Por".
    title = gettext_lazy("reason for waiting")
    parameter_name = "waiting"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return what a conversation can wait for."""
        return [
            ("any", _("For an answer or for a human")),
            ("unanswered", _("For an answer")),
            ("handoff", _("For a human")),
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the conversations that wait so."""
        methods = {
            "any": queryset.waiting,
            "unanswered": queryset.unanswered,
            "handoff": queryset.waiting_for_human,
        }
        method = methods.get(self.value() or "")
        return method() if method else queryset


class StatusFilter(admin.SimpleListFilter):
    """Filters conversations by the statuses that are known, in the reader's words."""

    title = gettext_lazy("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the statuses."""
        return Conversation.Status.choices

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the conversations with the status."""
        return queryset.filter(status=self.value()) if self.value() else queryset


@admin.register(Conversation)
class ConversationAdmin(ConversationModelAdmin):
    """The list of conversations. To delete one is to delete all that is known of its person."""

    list_display = ("person", "waits", "number", "status_in_words", "last_active_at")
    list_filter = (WaitingFilter, StatusFilter)
    search_fields = ("name", "phone", "username", "business_scoped_user_id", "kapso_id")
    # Counting all rows takes longer the more there are.
    show_full_result_count = False

    class Media:
        css = {"all": ["kapso_inbox/admin.css"]}

    fields = (
        "person",
        "waits",
        "number",
        "phone",
        "business_scoped_user_id",
        "username",
        "status_in_words",
        "last_inbound_at",
        "last_outbound_at",
        "handoff_at",
        "ended_at",
        "assigned_user_id",
        "last_text",
        "kapso_id",
        "project",
    )

    def get_queryset(self, request: HttpRequest) -> ConversationQuerySet:
        """Return the conversations of the embeds that the user may see."""
        rows: Any = super().get_queryset(request)
        numbers = WhatsAppNumber.objects.filter(
            project=OuterRef("project"), phone_number_id=OuterRef("phone_number_id")
        )
        rows = rows.annotate(number_name=Subquery(numbers.values("name")[:1]))
        policy = get_policy()
        if policy.sees_everything(request.user):
            return rows  # type: ignore[no-any-return]
        return rows.within(*policy.visible(request.user, InboxEmbed.objects.all()))  # type: ignore[no-any-return]

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        """Search a number by its digits, however it was typed."""
        digits = "".join(letter for letter in search_term if letter.isdecimal())
        if digits and not any(letter.isalpha() for letter in search_term):
            search_term = digits
        return super().get_search_results(request, queryset, search_term)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave out the text where none is stored, and for those who may not read it."""
        fields = super().get_fields(request, obj)
        shows = conf.value("STORE_TEXT") and obj is not None and _may_read(request, obj)
        return [name for name in fields if shows or name != "last_text"]

    @admin.display(description=gettext_lazy("person"), ordering="name")
    def person(self, conversation: Conversation) -> str:
        """Return what to call the person."""
        return conversation.person

    @admin.display(description=gettext_lazy("waiting"))
    def waits(self, conversation: Conversation) -> str:
        """Return what the conversation waits for, in words."""
        if conversation.waits_for_human:
            return _("For a human")
        return _("For an answer") if conversation.unanswered else "-"

    @admin.display(description=gettext_lazy("status"), ordering="status")
    def status_in_words(self, conversation: Conversation) -> str:
        """Return the status in the reader's words, or as Kapso has it if there are none."""
        words: dict[str, Any] = dict(Conversation.Status.choices)
        return str(words.get(conversation.status, conversation.status))

    @admin.display(description=gettext_lazy("number"), ordering="phone_number_id")
    def number(self, conversation: Conversation) -> str:
        """Return the name of the WhatsApp number."""
        name: str | None = conversation.number_name  # type: ignore[attr-defined]
        return name or conversation.phone_number_id or "-"

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: only webhooks and `kapso_sync` add conversations."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: nobody can change one here."""
        return False

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> Any:
        """Name Django's deletion after what it does here."""
        # Since 6.1, Django passes where the actions are shown, to a parameter of this name.
        where = {} if action_location is None else {"action_location": action_location}
        actions: Any = super().get_actions(request, **where)
        text = _("Delete all data of these people")
        if (found := actions.get("delete_selected")) is not None:
            # A tuple until 6.0.
            actions["delete_selected"] = (
                replace(found, description=text, plural_description=text)
                if is_dataclass(found) and not isinstance(found, type)
                else (*found[:2], text)
            )
        return actions

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Show all conversations of these people, since all of them are deleted."""
        return super().get_deleted_objects(self._people(objs, request), request)

    def delete_model(self, request: HttpRequest, obj: Conversation) -> None:
        """Delete all conversations of a person."""
        self._people([obj], request).delete()

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        """Delete all conversations of the people."""
        self._people(queryset, request).delete()

    def _people(self, conversations: Any, request: HttpRequest) -> ConversationQuerySet:
        """Return all conversations of these people that the user may know of."""
        same = of_same_people(conversations)
        if get_policy().sees_everything(request.user):
            return same
        return same.filter(pk__in=self.get_queryset(request).order_by().values("pk"))


def _may_read(request: HttpRequest, conversation: Conversation) -> bool:
    """Return whether the user may open an inbox that shows the conversation."""
    openable = get_policy().openable(request.user, InboxEmbed.objects.all())
    return Conversation.objects.within(*openable).filter(pk=conversation.pk).exists()


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(DeliveryModelAdmin):
    """What webhooks delivered, and the page of the webhooks at Kapso."""

    list_display = ("received_at", "event", "outcome", "project", "keys")
    list_filter = ("outcome", "event")
    show_full_result_count = False

    class Media:
        css = {"all": ["kapso_inbox/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return all rows, or none to whom the policy holds something back: nobody knows whose."""
        rows = super().get_queryset(request)
        return rows if get_policy().sees_everything(request.user) else rows.none()

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: only webhooks add rows."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: nobody can change a row."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: `kapso_sync` deletes rows when they are old."""
        return False

    def get_urls(self) -> list[URLPattern]:
        """Add the page of the webhooks at Kapso."""
        view = self.admin_site.admin_view(self.webhooks_view)
        name = "kapso_conversations_webhooks"
        return [path("webhooks/", view, name=name), *super().get_urls()]

    def webhooks_view(self, request: HttpRequest) -> HttpResponse:
        """Show the webhooks at Kapso, and change those of this site."""
        return webhooks_view(self, request)
