"""The user's own: a ticket that opens an embed, and their theme and filters for it."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any
from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from rest_framework import exceptions, status
from rest_framework.request import Request
from rest_framework.response import Response

from kapso_inbox.access import get_policy
from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.inbox import launch, preferences, tickets
from kapso_inbox.inbox.params import PARAMETERS
from kapso_inbox.models import InboxEmbed, InboxPreference, Outcome

from .base import LAUNCHES, View
from .errors import ApiError
from .schema import BODY, PARAMS, PREFERENCES, operation
from .serializers import ParamsSerializer, TicketSerializer

#: Obstacles that neither a ticket nor the launch can remove.
_OBSTACLES = frozenset({Outcome.REVOKED, Outcome.EXPIRED, Outcome.NOT_READY})


class OwnView(View):
    """A view of an embed that the user may open."""

    @property
    def user(self) -> Any:
        """Return the user who asks, who is signed in: the permission requires it."""
        return self.request.user

    def openable(self) -> InboxEmbed | None:
        """Return the embed that the address names, if the user may open it."""
        embeds = self.embeds().select_related("current_link").defer("current_link__sealed_url")
        allowed = get_policy().openable(self.user, embeds)
        return allowed.filter(slug=self.kwargs["slug"]).first()


class LaunchView(OwnView):
    """A ticket, for a front end on another origin or one that signs in by token."""

    inputs = {"POST": ParamsSerializer}
    serializer_class = TicketSerializer
    kapso_inbox_throttle = LAUNCHES

    @operation(
        "embeds_launch",
        {201: (TicketSerializer, "A ticket, valid once and for sixty seconds.")},
        *BODY,
        "revoked",
        "expired",
        "not_ready",
        "not_configured",
        "not_stored",
        example={
            "ticket": "5f0e7c1c2b7d4f9ab0e4d1f2a7c9e110:PZ0Yt5d3",
            "url": "https://crm.example.com/kapso-inbox/support/launch/?ticket=5f0e7c1c2b7d4f9a",
            "expires_in": 60,
        },
        takes=ParamsSerializer,
        body=PARAMS,
        is_about_one=True,
    )
    def post(self, request: Request, slug: str, **kwargs: Any) -> Response:
        """Issue a ticket, which works once, soon, and only if the user may still open the embed."""
        params = self.validated_body()
        embed = self.openable()
        if embed is None:
            launch.record_refusal(request, slug, Outcome.NOT_AVAILABLE)
            raise exceptions.NotFound
        obstacle = embed.obstacle()
        if obstacle in _OBSTACLES:
            launch.record_refusal(request, slug, obstacle)
            raise ApiError(obstacle.value, _("It does not open: %s.") % obstacle.label)
        address = _launch_address(slug)
        ticket = tickets.issue_ticket(self.user, embed, params)
        url = request.build_absolute_uri(f"{address}?{urlencode({'ticket': ticket})}")
        answer = {"ticket": ticket, "url": url, "expires_in": tickets.LIFETIME}
        headers = {"Cache-Control": "no-store, private"}
        return Response(
            TicketSerializer(answer).data, status=status.HTTP_201_CREATED, headers=headers
        )


class PreferencesView(OwnView):
    """The user's own theme and filters for an embed."""

    inputs = {"PUT": ParamsSerializer, "PATCH": ParamsSerializer}
    serializer_class = ParamsSerializer

    @operation(
        "preferences_retrieve",
        {200: (ParamsSerializer, "What is saved; null means nothing.")},
        example=PREFERENCES,
        is_about_one=True,
    )
    def get(self, request: Request, **kwargs: Any) -> Response:
        """Return the user's preferences for an embed."""
        saved = preferences.saved(self.user, self._embed())
        return Response(self.get_serializer(saved).data)

    @operation(
        "preferences_replace",
        {200: (ParamsSerializer, "What is saved now.")},
        *BODY,
        "not_stored",
        example=PREFERENCES,
        takes=ParamsSerializer,
        body=PARAMS,
        is_about_one=True,
    )
    def put(self, request: Request, **kwargs: Any) -> Response:
        """Replace the user's preferences for an embed."""
        return self._save(self._embed(), self.validated_body(), decided=PARAMETERS)

    @operation(
        "preferences_update",
        {200: (ParamsSerializer, "What is saved now.")},
        *BODY,
        "not_stored",
        example=PREFERENCES,
        takes=ParamsSerializer,
        body={"mode": "light", "unread": None},
        is_about_one=True,
    )
    def patch(self, request: Request, **kwargs: Any) -> Response:
        """Change the preferences that are given. Null removes one."""
        return self._save(self._embed(), self.validated_body(), decided=self.request.data)

    def _embed(self) -> InboxEmbed:
        embed = self.openable()
        if embed is None:
            raise exceptions.NotFound
        return embed

    def _save(
        self, embed: InboxEmbed, given: Mapping[str, str], *, decided: Container[str]
    ) -> Response:
        try:
            saved = preferences.save(self.user, embed, given, decided=decided)
        except InboxPreference.DoesNotExist:
            raise exceptions.NotFound from None  # it went with its embed
        return Response(ParamsSerializer(saved).data)


def _launch_address(slug: str) -> str:
    try:
        return reverse("kapso_inbox:launch", args=[slug])
    except NoReverseMatch:
        raise ConfigurationError(
            'The addresses for pages are not included: path("kapso-inbox/", '
            'include("kapso_inbox.urls")).'
        ) from None
