"""The user's own: tickets to open an inbox, and saved themes and filters."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any
from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import exceptions, status
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request
from rest_framework.response import Response

from kapso_inbox import audit, conf
from kapso_inbox.access import get_policy
from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.inbox import launch, preferences, tickets
from kapso_inbox.inbox.params import PARAMETERS
from kapso_inbox.models import InboxEmbed, InboxPreference, Outcome

from . import schema
from .base import LAUNCHES, ApiView
from .errors import ApiError
from .schema import Method, operation
from .serializers import InboxParamsSerializer, InboxTicketSerializer

#: The obstacles for which no ticket is issued, since the launch cannot remove them.
_OBSTACLES = frozenset({Outcome.REVOKED, Outcome.EXPIRED, Outcome.NOT_READY})

_TOKEN_REQUIRED = gettext_lazy(
    "A ticket is issued only to a request that is signed in by a token. In a page of this site, "
    "show the inbox with the template tag. To issue tickets to sessions, set TICKETS_FOR_SESSIONS."
)
_NOT_ADMITTED = gettext_lazy(
    "This site asks for more before it opens an inbox, such as a second factor."
)
_IMPERSONATED = gettext_lazy("No ticket is issued to somebody who acts as another user.")


class OpenableEmbedView(ApiView):
    """A view about an embed that the user may open."""

    @property
    def user(self) -> Any:
        """The user, who is signed in: `ViewPermission` has checked that."""
        return self.request.user

    def find_openable_embed(self) -> InboxEmbed | None:
        """Return the embed that the address names, or None if the user may not open it."""
        embeds = self.embeds().select_related("current_link").defer("current_link__sealed_url")
        allowed = get_policy().openable(self.user, embeds)
        return allowed.filter(slug=self.kwargs["slug"]).first()


class LaunchView(OpenableEmbedView):
    """Tickets, for a front end on another origin or one that signs in by token."""

    body_serializers = {"POST": InboxParamsSerializer}
    serializer_class = InboxTicketSerializer
    kapso_inbox_throttle = LAUNCHES

    @operation(
        "embeds_launch",
        InboxTicketSerializer,
        {201: "A ticket. It works once, within sixty seconds."},
        *schema.BODY,
        "token_required",
        "not_admitted",
        "impersonated",
        "revoked",
        "expired",
        "not_ready",
        "not_configured",
        "not_stored",
        body=InboxParamsSerializer,
        has_slug=True,
    )
    def post(self, request: Request, slug: str, **kwargs: Any) -> Response:
        """Issue a ticket that opens the inbox, and say where to use it.

        The request must be signed in by a token, not by a session. The launch checks again that the
        user may open the inbox.
        """
        params = self.validated_body()
        if conf.value("TICKETS_FOR_SESSIONS") is not True and not _is_signed_in_by_token(request):
            raise ApiError("token_required", str(_TOKEN_REQUIRED))
        try:
            launch.require_admission(request, slug)
        except launch.LaunchRefusedError as refusal:
            raise ApiError("not_admitted", str(_NOT_ADMITTED)) from refusal
        # A ticket does not say who really uses it, and an opening is recorded under that name.
        if audit.is_impersonated(request):
            launch.record_refusal(request, slug, Outcome.IMPERSONATED)
            raise ApiError("impersonated", str(_IMPERSONATED))
        embed = self.find_openable_embed()
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
            InboxTicketSerializer(answer).data, status=status.HTTP_201_CREATED, headers=headers
        )


def _is_signed_in_by_token(request: Request) -> bool:
    """Return whether the caller itself knows what the request is signed in by.

    A browser adds a cookie, a password of HTTP Basic or a client certificate to whatever a script
    on the page asks for. A ticket leads to the permanent address of the inbox, which no such script
    may get.
    """
    if request.auth is None or isinstance(request.successful_authenticator, SessionAuthentication):
        return False
    return "Authorization" in request.headers or not request.COOKIES


def preferences_operation(
    name: str,
    meaning: str,
    *codes: str,
    body: type[InboxParamsSerializer] | None = None,
) -> Callable[[Method], Method]:
    """Describe a method of `PreferencesView`. The arguments are those of `operation`."""
    return operation(
        f"preferences_{name}",
        InboxParamsSerializer,
        {200: meaning},
        *codes,
        body=body,
        has_slug=True,
    )


class PreferencesView(OpenableEmbedView):
    """The user's own theme and filters for an embed."""

    body_serializers = {"PUT": InboxParamsSerializer, "PATCH": InboxParamsSerializer}
    serializer_class = InboxParamsSerializer

    @preferences_operation("retrieve", "What is saved. Null means that nothing is.")
    def get(self, request: Request, **kwargs: Any) -> Response:
        """Show the user's saved theme and filters."""
        saved = preferences.saved(self.user, self._get_openable_embed())
        return Response(self.get_serializer(saved).data)

    @preferences_operation(
        "replace", "What is saved now.", *schema.BODY, "not_stored", body=InboxParamsSerializer
    )
    def put(self, request: Request, **kwargs: Any) -> Response:
        """Replace the user's saved theme and filters."""
        return self._save(self._get_openable_embed(), self.validated_body(), decided=PARAMETERS)

    @preferences_operation(
        "update", "What is saved now.", *schema.BODY, "not_stored", body=InboxParamsSerializer
    )
    def patch(self, request: Request, **kwargs: Any) -> Response:
        """Change the parameters that are given. Null removes one."""
        return self._save(
            self._get_openable_embed(), self.validated_body(), decided=self.request.data
        )

    def _get_openable_embed(self) -> InboxEmbed:
        """Return the embed that the address names.

        Raises:
            NotFound: the embed does not exist, or the user may not open it.
        """
        embed = self.find_openable_embed()
        if embed is None:
            raise exceptions.NotFound
        return embed

    def _save(
        self, embed: InboxEmbed, given: Mapping[str, str], *, decided: Container[str]
    ) -> Response:
        """Save what is given, and answer what is saved then.

        Args:
            embed: the embed that the preferences are about.
            given: the values to save.
            decided: the parameters that the request decides about. The others keep their values.

        Raises:
            NotFound: the embed was deleted meanwhile.
        """
        try:
            saved = preferences.save(self.user, embed, given, decided=decided)
        except InboxPreference.DoesNotExist:
            raise exceptions.NotFound from None  # it was deleted with its embed
        return Response(InboxParamsSerializer(saved).data)


def _launch_address(slug: str) -> str:
    """Return the path of the launch.

    Raises:
        ConfigurationError: the host does not include `kapso_inbox.urls`.
    """
    try:
        return reverse("kapso_inbox:launch", args=[slug])
    except NoReverseMatch:
        raise ConfigurationError(
            'The URLs of the pages are missing. Add path("kapso-inbox/", '
            'include("kapso_inbox.urls")) to the URLconf.'
        ) from None
