"""Lists that can only be read: what to pick from at Kapso, and the record of launch attempts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from kapso_inbox import lookups
from kapso_inbox.access import get_policy
from kapso_inbox.models import LaunchAttempt

from . import schema
from .base import ApiView
from .filters import LaunchAttemptFilter, LaunchAttemptQuery, PickerQuery, validated_query
from .schema import Method, operation
from .serializers import InboxChoicesSerializer, LaunchAttemptSerializer


class PickerView(ApiView):
    """A list at Kapso to pick from, for users who may create or change embeds."""

    required_actions = {"GET": ("add", "change")}
    serializer_class = InboxChoicesSerializer
    query_serializer = PickerQuery

    def is_permitted(self) -> bool:
        """Return whether the user may pick: the list shows everything that the project has."""
        return super().is_permitted() and self.sees_everything()

    def search(self, kind: lookups.Kind) -> Response:
        """Return the answer to the request's query.

        Args:
            kind: the list to search.
        """
        query = validated_query(PickerQuery, self.request)
        found = lookups.search(
            kind,
            query["q"],
            project=query["project"],
            page=query["page"],
            refresh=query["refresh"],
        )
        results = [choice._asdict() for choice in found.choices]
        return Response({"results": results, "next_page": found.next_page})


def picker_operation(name: str) -> Callable[[Method], Method]:
    """Describe the method of a `PickerView`.

    Args:
        name: what is picked, in the plural.
    """
    return operation(
        f"{name}_pick",
        InboxChoicesSerializer,
        {200: "What was found so far, in Kapso's order."},
        "invalid",
        *schema.READING_KAPSO,
        query=PickerQuery,
    )


class PhoneNumbersView(PickerView):
    """The phone numbers of a project, for a scope or a filter."""

    @picker_operation("phone_numbers")
    def get(self, request: Request, **kwargs: Any) -> Response:
        """Search the project's phone numbers. Kapso's list is cached for some minutes."""
        return self.search(lookups.Kind.PHONE_NUMBER)


class CustomersView(PickerView):
    """The customers of a project, for a scope."""

    @picker_operation("customers")
    def get(self, request: Request, **kwargs: Any) -> Response:
        """Search the project's customers. Kapso's list is cached for some minutes."""
        return self.search(lookups.Kind.CUSTOMER)


class TeamMembersView(PickerView):
    """The team members of a project, for an assignment."""

    @picker_operation("team_members")
    def get(self, request: Request, **kwargs: Any) -> Response:
        """Search the project's team members. Kapso's list is cached for some minutes."""
        return self.search(lookups.Kind.USER)


class LaunchAttemptsView(ListModelMixin, ApiView):
    """The attempts to open an inbox, for users who may audit them."""

    serializer_class = LaunchAttemptSerializer
    query_serializer = LaunchAttemptQuery
    filter_backends = [LaunchAttemptFilter]

    def is_permitted(self) -> bool:
        """Return what the policy says: by default, whether the user may view launch attempts."""
        return not self.get_queryset().query.is_empty()

    def get_queryset(self) -> QuerySet[LaunchAttempt]:
        """Return the launch attempts that the user may read."""
        return get_policy().auditable(self.request.user, LaunchAttempt.objects.all())

    @operation(
        "openings_list",
        LaunchAttemptSerializer,
        {200: "The launch attempts that the user may read, newest first."},
        "invalid",
        query=LaunchAttemptQuery,
        many=True,
    )
    def get(self, request: Request, **kwargs: Any) -> Response:
        """List who tried to open which inbox, and how it ended."""
        return self.list(request)
