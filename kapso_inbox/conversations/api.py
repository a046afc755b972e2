"""The REST API of conversations: `conversations/` and `waiting/` below the API's addresses."""

from __future__ import annotations

from typing import Any, cast

from django.db.models import QuerySet
from django.urls import path
from rest_framework import serializers
from rest_framework.filters import BaseFilterBackend
from rest_framework.mixins import ListModelMixin
from rest_framework.pagination import BasePagination, CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from kapso_inbox.access import OPEN, get_policy, has_permission
from kapso_inbox.api.base import ApiView
from kapso_inbox.api.filters import validated_query
from kapso_inbox.api.schema import operation
from kapso_inbox.api.serializers import MomentField
from kapso_inbox.audit import is_impersonated
from kapso_inbox.clock import as_stored
from kapso_inbox.models import InboxEmbed
from kapso_inbox.transactions import outside_transactions

from .models import Conversation
from .waiting import MAX_SLUGS, Waiting, count_waiting

_CONVERSATION = {
    "project": "default",
    "id": "c0ffee00-5f0b-4f1e-8d54-5f7f0d2b9c33",
    "phone_number_id": "106540352242922",
    "phone": "14155550123",
    "business_scoped_user_id": "",
    "username": "",
    "name": "Lucía Ferrer",
    "status": "active",
    "unanswered": True,
    "waits_for_human": False,
    "last_inbound_at": "2026-11-20T09:30:00Z",
    "last_outbound_at": "2026-11-20T09:12:00Z",
    "last_active_at": "2026-11-20T09:30:00Z",
    "handoff_at": None,
    "assigned_user_id": "",
}

#: The answer of `waiting/` in the schema: slug -> the fields of `Waiting`.
_WAITING = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "properties": {name: {"type": "integer"} for name in Waiting._fields},
        "required": list(Waiting._fields),
    },
}


class ConversationSerializer(serializers.Serializer[Any]):
    """A conversation, as far as it is known here. No message is part of it."""

    project = serializers.CharField()
    id = serializers.CharField(source="kapso_id", help_text="The conversation's ID at Kapso.")
    phone_number_id = serializers.CharField(
        allow_blank=True, help_text="The WhatsApp number that it is with; blank if not known yet."
    )
    phone = serializers.CharField(
        allow_blank=True, help_text="The person's number, digits only; blank if WhatsApp hides it."
    )
    business_scoped_user_id = serializers.CharField(allow_blank=True)
    username = serializers.CharField(allow_blank=True)
    name = serializers.CharField(allow_blank=True)
    status = serializers.CharField(help_text="Kapso's word: `active` or `ended`.")
    unanswered = serializers.BooleanField(
        help_text="Whether it is active and its last message came from the person."
    )
    waits_for_human = serializers.BooleanField(
        help_text="Whether a workflow asked for a human, and nobody has written since."
    )
    last_inbound_at = MomentField(allow_null=True)
    last_outbound_at = MomentField(allow_null=True)
    last_active_at = MomentField(allow_null=True)
    handoff_at = MomentField(allow_null=True)
    assigned_user_id = serializers.CharField(
        allow_blank=True, help_text="Who it was assigned to at the last sync."
    )


class ConversationQuery(serializers.Serializer[Any]):
    """The filters of the list of conversations."""

    slug = serializers.ListField(
        child=serializers.CharField(max_length=50),
        required=False,
        help_text="An inbox that shows it. Repeat it for several.",
    )
    waiting = serializers.BooleanField(
        required=False, allow_null=True, default=None, help_text="Unanswered, or asked for a human."
    )
    status = serializers.CharField(required=False, max_length=20)
    phone = serializers.CharField(
        required=False, max_length=40, help_text="The person's number with its country code."
    )
    business_scoped_user_id = serializers.CharField(required=False, max_length=140)
    since = MomentField(required=False, help_text="Active at this time or later.")


class WaitingQuery(serializers.Serializer[Any]):
    """The inboxes to count in."""

    slug = serializers.ListField(
        child=serializers.CharField(max_length=50),
        max_length=MAX_SLUGS,
        required=False,
        default=list,
        help_text="The slug of an inbox, or `mine`. Repeat it for several.",
    )


class ConversationFilter(BaseFilterBackend):
    """The filters of the list of conversations."""

    def filter_queryset(self, request: Request, queryset: Any, view: APIView) -> QuerySet[Any]:
        """Return the rows that the query asks for."""
        query = validated_query(ConversationQuery, request)
        person = {
            name: query[name] for name in ("phone", "business_scoped_user_id") if query.get(name)
        }
        if person:
            queryset = queryset.of_person(**person)
        if query.get("waiting") is not None:
            waiting = queryset.waiting().values("pk")
            queryset = queryset.waiting() if query["waiting"] else queryset.exclude(pk__in=waiting)
        if query.get("status"):
            queryset = queryset.filter(status=query["status"])
        if query.get("since"):
            queryset = queryset.filter(last_active_at__gte=as_stored(query["since"]))
        return cast("QuerySet[Any]", queryset)


class ConversationPagination(CursorPagination):
    """Pages that stay right while conversations move to the top."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200
    ordering = ("-last_active_at", "-pk")


class ConversationsView(ListModelMixin, ApiView):
    """The conversations that the inboxes of the user show."""

    serializer_class = ConversationSerializer
    query_serializer = ConversationQuery
    filter_backends = [ConversationFilter]

    @property
    def pagination_class(self) -> type[BasePagination]:  # type: ignore[override]
        """Cursor pages, in every host: a page of a list in motion repeats and skips rows."""
        return ConversationPagination

    def is_permitted(self) -> bool:
        """Return whether the user may read conversations at all."""
        policy = get_policy()
        openable = policy.openable(self.request.user, InboxEmbed.objects.all())
        return policy.admits(self.request) and not openable.query.is_empty()

    def get_queryset(self) -> QuerySet[Conversation]:
        """Return the conversations within the scopes of the inboxes that the user may open."""
        slugs = validated_query(ConversationQuery, self.request).get("slug")
        openable = get_policy().openable(self.request.user, InboxEmbed.objects.all())
        embeds = openable.filter(slug__in=slugs) if slugs else openable
        if is_impersonated(self.request):
            embeds = embeds.filter(personal_to="")
        shown = [embed for embed in embeds.select_related("current_link") if not embed.obstacle()]
        return Conversation.objects.within(*shown)

    @operation(
        "conversations_list",
        ConversationSerializer,
        {200: "The conversations in the inboxes that the user may open, the latest first."},
        "invalid",
        query=ConversationQuery,
        many=True,
        example=_CONVERSATION,
    )
    def get(self, request: Request, **kwargs: Any) -> Response:
        """List conversations: whose, when, and whether they wait. No message is in the list."""
        return self.list(request)


class WaitingView(ApiView):
    """How many conversations wait in the user's inboxes."""

    query_serializer = WaitingQuery

    def is_permitted(self) -> bool:
        """Return whether the user may read conversations at all."""
        user = self.request.user
        return has_permission(user, OPEN) and get_policy().admits(self.request)

    @operation(
        "waiting_count",
        _WAITING,
        {200: "The counts by slug. What the user may not open is left out."},
        "invalid",
        query=WaitingQuery,
        example={"support": {"unanswered": 3, "handoff": 1, "both": 3}},
    )
    def get(self, request: Request, **kwargs: Any) -> Response:
        """Count the conversations that are unanswered or wait for a human."""
        query = validated_query(WaitingQuery, request)
        with_own = not is_impersonated(request)
        counted = count_waiting(request.user, query["slug"], with_own=with_own)  # type: ignore[arg-type]
        return Response({slug: counts._asdict() for slug, counts in counted.items()})


urlpatterns = [
    path("conversations/", outside_transactions(ConversationsView.as_view()), name="conversations"),
    path("waiting/", outside_transactions(WaitingView.as_view()), name="waiting"),
]
