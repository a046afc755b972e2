"""The filters of lists. A wrong value is an error named by its parameter, never ignored."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request
from rest_framework.views import APIView

from kapso_inbox import conf, lookups
from kapso_inbox.models import Condition, Outcome, ScopeType

from .serializers import MomentField, known_project

_ORDERINGS = ("name", "slug", "created_at", "updated_at", "expires_at", "last_used_at")


class EmbedQuery(serializers.Serializer[Any]):
    """The filters of the list of embeds."""

    condition = serializers.MultipleChoiceField(
        choices=Condition.values, required=False, help_text="One or several."
    )
    project = serializers.CharField(required=False, allow_blank=True, max_length=50)
    scope_type = serializers.ChoiceField(ScopeType.values, required=False)
    scope_id = serializers.CharField(required=False, allow_blank=True, max_length=64)
    assigned_user_id = serializers.CharField(required=False, allow_blank=True, max_length=64)
    expires_before = MomentField(required=False)
    search = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=100,
        help_text="In the name, the slug and the scope.",
    )
    ordering = serializers.ChoiceField(
        [*_ORDERINGS, *(f"-{name}" for name in _ORDERINGS)], required=False, default="name"
    )


class LaunchAttemptQuery(serializers.Serializer[Any]):
    """The filters of the launch attempts."""

    slug = serializers.CharField(required=False, allow_blank=True, max_length=50)
    outcome = serializers.MultipleChoiceField(
        choices=Outcome.values, required=False, help_text="One or several."
    )
    user = serializers.CharField(
        required=False, allow_blank=True, max_length=254, help_text="The user's name."
    )
    since = MomentField(required=False)
    until = MomentField(required=False)


class PickerQuery(serializers.Serializer[Any]):
    """The query of a search for something to pick."""

    q = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=100,
        help_text="Words that must all occur. Digits match a number however it is written.",
    )
    project = serializers.CharField(required=False, default=conf.DEFAULT_PROJECT, max_length=50)
    page = serializers.IntegerField(
        required=False,
        default=1,
        min_value=1,
        max_value=lookups.LAST_PAGE,
        help_text="The `next_page` of the previous answer.",
    )
    refresh = serializers.BooleanField(
        required=False, default=False, help_text="Ask Kapso again, and ignore the cache."
    )

    def validate_project(self, project: str) -> str:
        """Return the alias if there is such a project."""
        return known_project(project)


def checked(kind: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    """Return the checked query of a request. Blank parameters count as left out.

    Args:
        kind: the serializer of the query.
        request: the request.

    Raises:
        ValidationError: a parameter is not valid; with a text for each such parameter.
    """
    given = request.query_params.copy()
    for name, values in list(given.lists()):
        given.setlist(name, [value for value in values if value])
        if not given.getlist(name):
            del given[name]
    query = kind(data=given)
    query.is_valid(raise_exception=True)
    return dict(query.validated_data)


def _stored(moment: datetime) -> datetime:
    return moment if settings.USE_TZ else timezone.make_naive(moment)


class EmbedFilter(BaseFilterBackend):
    """Filter and order the list of embeds."""

    def filter_queryset(self, request: Request, queryset: Any, view: APIView) -> QuerySet[Any]:
        """Return the rows that the query asks for."""
        query = checked(EmbedQuery, request)
        for name in ("project", "scope_type", "scope_id", "assigned_user_id"):
            if query.get(name):
                queryset = queryset.filter(**{name: query[name]})
        if query.get("condition"):
            queryset = queryset.with_condition().filter(Q(condition__in=query["condition"]))
        if query.get("expires_before"):
            queryset = queryset.filter(expires_at__lt=_stored(query["expires_before"]))
        if text := query.get("search"):
            fields = ("name", "slug", "scope_name", "scope_id")
            queryset = queryset.filter(
                Q(*((f"{field}__icontains", text) for field in fields), _connector=Q.OR)
            )
        found: QuerySet[Any] = queryset.order_by(query["ordering"], "pk")
        return found

    def get_ordering(self, request: Request, queryset: Any, view: APIView) -> tuple[str, ...]:
        """Return the order, for a cursor pagination of the host's.

        Raises:
            ValidationError: the order is by a time that some embeds do not have. A cursor cannot
                continue from a missing value.
        """
        ordering = checked(EmbedQuery, request)["ordering"]
        if queryset.model._meta.get_field(ordering.removeprefix("-")).null:
            text = _("Pages that go on from a cursor cannot be in this order.")
            raise serializers.ValidationError({"ordering": [text]})
        return ordering, "pk"


class LaunchAttemptFilter(BaseFilterBackend):
    """Filter the launch attempts, the newest first."""

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any], view: APIView
    ) -> QuerySet[Any]:
        """Return the rows that the query asks for."""
        query = checked(LaunchAttemptQuery, request)
        if query.get("slug"):
            queryset = queryset.filter(slug=query["slug"])
        if query.get("outcome"):
            queryset = queryset.filter(outcome__in=query["outcome"])
        if query.get("user"):
            queryset = queryset.filter(username=query["user"])
        if query.get("since"):
            queryset = queryset.filter(created_at__gte=_stored(query["since"]))
        if query.get("until"):
            queryset = queryset.filter(created_at__lt=_stored(query["until"]))
        return queryset.order_by(*self.get_ordering(request, queryset, view))

    def get_ordering(self, request: Request, queryset: Any, view: APIView) -> tuple[str, ...]:
        """Return the order, for a cursor pagination of the host's."""
        return "-created_at", "-pk"
