"""The query parameters of the lists. A wrong value is an error at its name, never ignored."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request
from rest_framework.views import APIView

from kapso_inbox import conf, lookups
from kapso_inbox.clock import as_stored
from kapso_inbox.models import Condition, Outcome, ScopeType

from .serializers import MomentField, configured_project

_ORDERINGS = ("name", "slug", "created_at", "updated_at", "expires_at", "last_used_at")


class EmbedQuery(serializers.Serializer[Any]):
    """The filters of the list of embeds."""

    condition = serializers.MultipleChoiceField(
        choices=Condition.values, required=False, help_text="Repeat it for several values."
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
        help_text="A text in the name, the slug or the scope.",
    )
    ordering = serializers.ChoiceField(
        [*_ORDERINGS, *(f"-{name}" for name in _ORDERINGS)], required=False, default="name"
    )


class LaunchAttemptQuery(serializers.Serializer[Any]):
    """The filters of the record of launch attempts."""

    slug = serializers.CharField(required=False, allow_blank=True, max_length=50)
    outcome = serializers.MultipleChoiceField(
        choices=Outcome.values, required=False, help_text="Repeat it for several values."
    )
    user = serializers.CharField(
        required=False, allow_blank=True, max_length=254, help_text="The user's username."
    )
    since = MomentField(required=False)
    until = MomentField(required=False)


class PickerQuery(serializers.Serializer[Any]):
    """The query of a list to pick from."""

    q = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=100,
        help_text="Words that must all occur. Digits also match numbers written with spaces.",
    )
    project = serializers.CharField(required=False, default=conf.DEFAULT_PROJECT, max_length=50)
    page = serializers.IntegerField(
        required=False,
        default=1,
        min_value=1,
        max_value=lookups.LAST_PAGE,
        help_text="The page to begin with: the `next_page` of the previous answer.",
    )
    refresh = serializers.BooleanField(
        required=False, default=False, help_text="Whether to ask Kapso again for what is cached."
    )

    def validate_project(self, project: str) -> str:
        """Return the alias if such a project is configured."""
        return configured_project(project)


def validated_query(
    serializer_class: type[serializers.Serializer[Any]], request: Request
) -> dict[str, Any]:
    """Return the values in the query of a request. A blank value counts as left out.

    Args:
        serializer_class: the serializer that reads the query.
        request: the request.

    Raises:
        ValidationError: with a text at the name of each parameter that is not valid.
    """
    given = request.query_params.copy()
    for name, values in list(given.lists()):
        given.setlist(name, [value for value in values if value])
        if not given.getlist(name):
            del given[name]
    query = serializer_class(data=given)
    query.is_valid(raise_exception=True)
    return dict(query.validated_data)


class EmbedFilter(BaseFilterBackend):
    """The filters and the order of the list of embeds."""

    def filter_queryset(self, request: Request, queryset: Any, view: APIView) -> QuerySet[Any]:
        """Return the rows that the query asks for, in order."""
        query = validated_query(EmbedQuery, request)
        for name in ("project", "scope_type", "scope_id", "assigned_user_id"):
            if query.get(name):
                queryset = queryset.filter(**{name: query[name]})
        if query.get("condition"):
            queryset = queryset.with_condition().filter(Q(condition__in=query["condition"]))
        if query.get("expires_before"):
            queryset = queryset.filter(expires_at__lt=as_stored(query["expires_before"]))
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
            ValidationError: the order is by a time that some embeds lack. A cursor cannot continue
                from a null.
        """
        ordering = validated_query(EmbedQuery, request)["ordering"]
        if queryset.model._meta.get_field(ordering.removeprefix("-")).null:
            text = _("Cursor pagination does not support this order.")
            raise serializers.ValidationError({"ordering": [text]})
        return ordering, "pk"


class LaunchAttemptFilter(BaseFilterBackend):
    """The filters and the order of the record of launch attempts."""

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any], view: APIView
    ) -> QuerySet[Any]:
        """Return the rows that the query asks for, in order."""
        query = validated_query(LaunchAttemptQuery, request)
        if query.get("slug"):
            queryset = queryset.filter(slug=query["slug"])
        if query.get("outcome"):
            queryset = queryset.filter(outcome__in=query["outcome"])
        if query.get("user"):
            queryset = queryset.filter(username=query["user"])
        if query.get("since"):
            queryset = queryset.filter(created_at__gte=as_stored(query["since"]))
        if query.get("until"):
            queryset = queryset.filter(created_at__lt=as_stored(query["until"]))
        return queryset.order_by(*self.get_ordering(request, queryset, view))

    def get_ordering(self, request: Request, queryset: Any, view: APIView) -> tuple[str, ...]:
        """Return the order, for a cursor pagination of the host's."""
        return "-created_at", "-pk"
