"""What can only be looked at: what Kapso has to pick from, and who opened what."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from kapso_inbox import lookups
from kapso_inbox.access import get_policy
from kapso_inbox.models import LaunchAttempt

from .base import View
from .filters import LaunchAttemptFilter, PickerQuery, checked
from .serializers import FoundSerializer, LaunchAttemptSerializer


class PickerView(View):
    """What can be picked at Kapso, for whoever may make or change embeds."""

    needs = {"GET": ("add", "change")}
    serializer_class = FoundSerializer
    kind: ClassVar[lookups.Kind]

    def get(self, request: Request, **kwargs: Any) -> Response:
        """Search in Kapso's list, a part of which is kept for some minutes."""
        query = checked(PickerQuery, request)
        found = lookups.search(
            self.kind,
            query["q"],
            project=query["project"],
            page=query["page"],
            refresh=query["refresh"],
        )
        results = [dataclasses.asdict(choice) for choice in found.choices]
        return Response({"results": results, "next_page": found.next_page})


class PhoneNumbersView(PickerView):
    """The numbers of a project, for a scope or a filter."""

    kind = lookups.Kind.PHONE_NUMBER


class CustomersView(PickerView):
    """The customers of a project, for a scope."""

    kind = lookups.Kind.CUSTOMER


class TeamMembersView(PickerView):
    """The team members of a project, for an assignment."""

    kind = lookups.Kind.USER


class LaunchAttemptsView(ListModelMixin, View):
    """Who opened which inbox, for whoever may audit."""

    serializer_class = LaunchAttemptSerializer
    filter_backends = [LaunchAttemptFilter]

    def is_permitted(self) -> bool:
        """It takes what the policy says: by default the permission to view openings."""
        return not self.get_queryset().query.is_empty()

    def get_queryset(self) -> QuerySet[LaunchAttempt]:
        """Return the openings that the user may read."""
        return get_policy().auditable(self.request.user, LaunchAttempt.objects.all())

    def get(self, request: Request, **kwargs: Any) -> Response:
        """List them, newest first."""
        return self.list(request)
