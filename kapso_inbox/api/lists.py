"""What can only be read: what there is to pick at Kapso, and who tried to open what."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema_view
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from kapso_inbox import lookups
from kapso_inbox.access import get_policy
from kapso_inbox.models import LaunchAttempt

from .base import View
from .filters import LaunchAttemptFilter, LaunchAttemptQuery, PickerQuery, checked
from .schema import LINK_ID, READING, operation
from .serializers import FoundSerializer, LaunchAttemptSerializer


def _pick(name: str) -> Any:
    """Describe the search of a picker: a decorator for its view."""
    found = {
        "results": [
            {
                "id": "106540352242922",
                "name": "Support line",
                "detail": "+1 555-010-1234",
                "internal_id": "5a5e3d4e-0a0e-4b0e-8f5e-2f3b1d7c9e44",
            }
        ],
        "next_page": None,
    }
    answers = {200: (FoundSerializer, "What was found so far, in Kapso's order.")}
    search = operation(name, answers, "invalid", *READING, example=found, query=PickerQuery)
    return extend_schema_view(get=search)


class PickerView(View):
    """What can be picked at Kapso, for users who may add or change embeds."""

    needs = {"GET": ("add", "change")}
    serializer_class = FoundSerializer
    kind: ClassVar[lookups.Kind]

    def get(self, request: Request, **kwargs: Any) -> Response:
        """Search Kapso's list, parts of which are cached for some minutes."""
        query = checked(PickerQuery, request)
        found = lookups.search(
            self.kind,
            query["q"],
            project=query["project"],
            page=query["page"],
            refresh=query["refresh"],
        )
        results = [choice._asdict() for choice in found.choices]
        return Response({"results": results, "next_page": found.next_page})


@_pick("phone_numbers_pick")
class PhoneNumbersView(PickerView):
    """The numbers of a project, for a scope or a filter."""

    kind = lookups.Kind.PHONE_NUMBER


@_pick("customers_pick")
class CustomersView(PickerView):
    """The customers of a project, for a scope."""

    kind = lookups.Kind.CUSTOMER


@_pick("team_members_pick")
class TeamMembersView(PickerView):
    """The team members of a project, for an assignment."""

    kind = lookups.Kind.USER


class LaunchAttemptsView(ListModelMixin, View):
    """Who tried to open which inbox, and how it ended."""

    serializer_class = LaunchAttemptSerializer
    filter_backends = [LaunchAttemptFilter]

    def is_permitted(self) -> bool:
        """Require what the policy says: by default, the permission to view launch attempts."""
        return not self.get_queryset().query.is_empty()

    def get_queryset(self) -> QuerySet[LaunchAttempt]:
        """Return the launch attempts that the user may read."""
        return get_policy().auditable(self.request.user, LaunchAttempt.objects.all())

    @operation(
        "launch_attempts_list",
        {200: (LaunchAttemptSerializer(many=True), "The newest first.")},
        "invalid",
        "not_found",
        example={
            "id": 4711,
            "created_at": "2026-11-20T09:30:00Z",
            "user": "ana",
            "user_id": "1",
            "slug": "support",
            "link": LINK_ID,
            "outcome": "opened",
            "address": "203.0.113.7",
        },
        query=LaunchAttemptQuery,
    )
    def get(self, request: Request, **kwargs: Any) -> Response:
        """List launch attempts, the newest first."""
        return self.list(request)
