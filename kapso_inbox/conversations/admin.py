"""Conversations in the admin, the deletion of a person's data, and the webhooks at Kapso."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass, replace
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from kapso_inbox import conf, refusals
from kapso_inbox.access import get_policy, has_permission
from kapso_inbox.kapso import KapsoError
from kapso_inbox.models import InboxEmbed

from .models import (
    Conversation,
    ConversationQuerySet,
    WebhookDelivery,
    WhatsAppNumber,
    of_same_people,
)
from .webhooks import (
    Registered,
    is_served_here,
    read_webhooks,
    remove_webhooks,
    set_webhooks,
    test_webhooks,
)

if TYPE_CHECKING:
    ConversationModelAdmin = admin.ModelAdmin[Conversation]
    DeliveryModelAdmin = admin.ModelAdmin[WebhookDelivery]
else:
    ConversationModelAdmin = DeliveryModelAdmin = admin.ModelAdmin


class WaitingFilter(admin.SimpleListFilter):
    """Filters conversations by what they wait for."""

    title = gettext_lazy("waiting")
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
        """Show the webhooks at Kapso, and create, update, test or remove those of this site.

        It requires the permission to change embeds, and a policy that holds nothing back: a webhook
        concerns a whole project.
        """
        may_change = has_permission(request.user, "kapso_inbox.change_inboxembed")
        if not may_change or not get_policy().sees_everything(request.user):
            raise PermissionDenied
        if request.method == "POST":
            return self._change_webhooks(request)
        site = f"{request.scheme}://{request.get_host()}"
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Webhooks at Kapso"),
            "site": site,
            "projects": [_state_of(alias) for alias in conf.project_aliases()],
        }
        return TemplateResponse(request, "admin/kapso_conversations/webhooks.html", context)

    def _change_webhooks(self, request: HttpRequest) -> HttpResponse:
        project, site = request.POST.get("project", ""), request.POST.get("site", "").strip()
        verb = _VERBS.get(request.POST.get("verb", ""))
        if verb is not None and project in conf.project_aliases():
            try:
                _check_is_this_site(site)
                done = verb(project, site)
            except ValidationError as error:
                self.message_user(request, " ".join(error.messages), messages.ERROR)
            except refusals.REFUSALS as error:
                self.message_user(request, refusals.texts(error), messages.ERROR)
            else:
                self._report(request, done)
        here = reverse("admin:kapso_conversations_webhooks", current_app=self.admin_site.name)
        return HttpResponseRedirect(here)

    def _report(self, request: HttpRequest, done: list[Registered]) -> None:
        for change, text in _DONE.items():
            count = sum(one.change == change for one in done)
            if count:
                self.message_user(request, text % {"count": count}, messages.SUCCESS)
        if not done:
            self.message_user(request, _("This site has no webhooks at Kapso."), messages.WARNING)


def _check_is_this_site(site: str) -> None:
    """Check that Kapso is told to send only to this site: what it sends are people's messages.

    Raises:
        ValidationError: the site does not serve that host.
    """
    if not is_served_here(site):
        text = _("“%(host)s” is not in ALLOWED_HOSTS, so it is not this site.")
        raise ValidationError(text % {"host": site})


_VERBS: dict[str, Callable[[str, str], list[Registered]]] = {
    "set": set_webhooks,
    "test": test_webhooks,
    "remove": remove_webhooks,
}
#: What was done -> in words, with `count` for how many.
_DONE: dict[str, Any] = {
    "created": ngettext_lazy(
        "%(count)d webhook was created.", "%(count)d webhooks were created.", "count"
    ),
    "updated": ngettext_lazy(
        "%(count)d webhook was updated.", "%(count)d webhooks were updated.", "count"
    ),
    "removed": ngettext_lazy(
        "%(count)d webhook was removed.", "%(count)d webhooks were removed.", "count"
    ),
    "tested": ngettext_lazy(
        "Kapso sent %(count)d test event.", "Kapso sent %(count)d test events.", "count"
    ),
}


def _state_of(project: str) -> dict[str, Any]:
    """Return the webhooks of a project, each with its state in words, or why Kapso did not tell."""
    try:
        registered = list(read_webhooks(project, conf.project(project).client()))
    except (KapsoError, *refusals.REFUSALS) as error:
        return {"alias": project, "rows": [], "error": refusals.texts(error)}
    rows = [{"name": one.place.name, "webhook": one.webhook, **_words(one)} for one in registered]
    return {"alias": project, "rows": rows, "error": ""}


def _words(one: Registered) -> dict[str, Any]:
    if one.webhook is None:
        return {"is_fine": False, "state": _("Missing")}
    if not one.webhook.active:
        return {"is_fine": False, "state": _("Paused by Kapso, because deliveries failed")}
    if one.missing_events:
        text = _("Does not deliver: %(events)s")
        return {"is_fine": False, "state": text % {"events": ", ".join(one.missing_events)}}
    return {"is_fine": True, "state": _("Delivers")}
