"""What all views of the API share: permissions, throttles, bodies, and errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, cast
from uuid import UUID

from django.contrib.auth.models import Group
from django.core.validators import slug_re
from django.db.models import Prefetch
from django.urls import reverse
from rest_framework import exceptions, status
from rest_framework.filters import BaseFilterBackend
from rest_framework.generics import GenericAPIView
from rest_framework.pagination import BasePagination, PageNumberPagination
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.renderers import BrowsableAPIRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer, Serializer
from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle, ScopedRateThrottle

from kapso_inbox import refusals
from kapso_inbox.access import get_policy
from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.kapso import KapsoError
from kapso_inbox.models import AccessLink, AccessLinkQuerySet, InboxEmbed, InboxEmbedQuerySet

from . import errors
from .serializers import EmbedSerializer

State = AccessLink.State

WRITES = "kapso_inbox_writes"
LAUNCHES = "kapso_inbox_launches"


class Pagination(PageNumberPagination):
    """The pagination of lists if the host has none of its own."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200


class Throttle(ScopedRateThrottle):
    """A throttle whose rate the host may set in `DEFAULT_THROTTLE_RATES`. Unset, it is off."""

    # Not `throttle_scope`: a scoped throttle of the host would require a rate for it.
    scope_attr = "kapso_inbox_throttle"

    def get_rate(self) -> str | None:
        """Return the host's rate for the scope, such as `30/min`, or None if it is not set."""
        return cast("str | None", (api_settings.DEFAULT_THROTTLE_RATES or {}).get(self.scope or ""))


class Permission(BasePermission):
    """Whether the user may use a view at all. The view's queries say for which embeds."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Return what the view says, if somebody is signed in."""
        return bool(request.user and request.user.is_authenticated and view.is_permitted())


class View(GenericAPIView[Any]):
    """A view with the host's REST framework settings, our permissions and our errors."""

    permission_classes = [Permission]
    lookup_field = "slug"
    filter_backends: Sequence[type[BaseFilterBackend]] = ()
    #: The browsable API requires one of every view.
    queryset = InboxEmbed.objects.none()
    #: method -> actions on embeds, of which the access policy must allow at least one.
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    #: method -> the serializer of its body.
    inputs: ClassVar[Mapping[str, type[BaseSerializer[Any]]]] = {}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check permissions and throttles, and that the slug can be one."""
        super().initial(request, *args, **kwargs)
        if not slug_re.match(kwargs.get("slug", "-")):
            raise exceptions.NotFound

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Finish the response. Read the body first if the browsable API will show it.

        After a failure, REST framework would take the body for empty, and it does not expect one
        that is nested too deeply.
        """
        response = super().finalize_response(request, response, *args, **kwargs)
        if isinstance(response.accepted_renderer, BrowsableAPIRenderer):
            with suppress(RecursionError, exceptions.APIException):
                request.data  # noqa: B018
        return response

    @property
    def pagination_class(self) -> type[BasePagination]:  # type: ignore[override]
        """Return the host's pagination, or ours. It is looked up at use."""
        return cast("type[BasePagination]", api_settings.DEFAULT_PAGINATION_CLASS or Pagination)

    @property
    def kapso_inbox_throttle(self) -> str:
        """Return the scope of `Throttle` that this request counts in."""
        return "" if self.request.method in SAFE_METHODS else WRITES

    def get_throttles(self) -> list[BaseThrottle]:
        """Return the host's throttles and ours."""
        return [*super().get_throttles(), Throttle()]

    def get_exception_handler(self) -> Callable[..., Response | None]:
        """Return our handler, so that errors have one shape in every host."""
        return errors.handle

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        """Return the serializer of this method's body, or that of the answer."""
        answer = self.serializer_class or Serializer
        return self.inputs.get(self.request.method or "", answer)

    def is_permitted(self) -> bool:
        """Return whether the user may use this method at all, for any embed."""
        method = "GET" if self.request.method == "HEAD" else self.request.method
        needed = self.needs.get(method or "")
        return needed is None or any(self.may(action) for action in needed)

    def may(self, action: str) -> bool:
        """Return whether the access policy allows the user an action on embeds at all.

        Args:
            action: `add`, `change`, `delete` or `view`.
        """
        return not self.manageable(action).query.is_empty()

    def manageable(self, action: str) -> InboxEmbedQuerySet:
        """Return the embeds on which the user may perform an action.

        Args:
            action: `add`, `change`, `delete` or `view`.
        """
        return get_policy().manageable(self.request.user, self.embeds(), action)

    def embeds(self) -> InboxEmbedQuerySet:
        """Return all embeds; from the writing database if something may be changed."""
        embeds = InboxEmbed.objects.all()
        return embeds if self.request.method in SAFE_METHODS else embeds.for_write()

    def visible(self) -> InboxEmbedQuerySet:
        """Return the embeds that the user may see."""
        return get_policy().visible(self.request.user, self.embeds())

    def get_embed(self, action: str) -> InboxEmbed:
        """Return the embed that the address names.

        Args:
            action: what the user wants to do with it.

        Raises:
            NotFound: there is no such embed, or the user may not see it.
            PermissionDenied: the user may see the embed, but not do this.
        """
        slug = self.kwargs["slug"]
        embed = self.manageable(action).filter(slug=slug).first()
        if embed is not None:
            return embed
        if self.visible().filter(slug=slug).exists():
            raise exceptions.PermissionDenied
        raise exceptions.NotFound

    def validated_body(self, **options: Any) -> dict[str, Any]:
        """Return the checked body of the request.

        Args:
            options: options of the serializer.

        Raises:
            ValidationError: a value is not valid.
            ParseError: the body cannot be read.
        """
        try:
            data = self.request.data
        except RecursionError:
            raise exceptions.ParseError from None
        serializer = self.get_serializer(data=data, **options)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def answer(self, embed: InboxEmbed, code: int = status.HTTP_200_OK) -> Response:
        """Answer with an embed as it now is, and with its address if it is new.

        Args:
            embed: the embed.
            code: the status of the answer.
        """
        row = presentable(InboxEmbed.objects.for_write()).get(pk=embed.pk)
        headers = {}
        if code == status.HTTP_201_CREATED:
            headers["Location"] = self.address("embed", row.slug)
        return Response(EmbedSerializer(row).data, status=code, headers=headers)

    def address(self, name: str, slug: str) -> str:
        """Return the absolute address of an embed's view, wherever the host includes the API.

        Args:
            name: the name of the view.
            slug: the slug of the embed.
        """
        match = self.request.resolver_match
        assert match is not None  # noqa: S101 (for the type checker: a view was found)
        kwargs = {**match.kwargs, "slug": slug}
        return self.request.build_absolute_uri(reverse(f"{match.namespace}:{name}", kwargs=kwargs))

    @contextmanager
    def writing(
        self, slug: str, *, wanted: InboxEmbed | None = None, revokes: bool = False
    ) -> Iterator[None]:
        """Turn what a change raises into an answer, with the address that finds out more.

        Args:
            slug: the slug of the embed that is changed.
            wanted: the embed that is to be created, if any.
            revokes: whether the change is meant to end links.

        Raises:
            ApiError: the change was refused, or it is uncertain whether it was made.
        """
        before = self._current_link(slug)
        try:
            yield
        except refusals.REFUSALS as error:
            if isinstance(error, (KapsoError, ConfigurationError)):
                is_revoking = self.links(slug).filter(state=State.REVOKING).exists()
                if is_revoking and (revokes or self._current_link(slug) != before):
                    raise errors.not_revoked_yet(error, self.address("resolve", slug)) from None
            refusal = errors.refusal(error, wanted=wanted, only_read=False)
            if refusal.code == "outcome_uncertain":
                is_open = self.links(slug).unsettled().exists()
                refusal.retry_url = self.address("resolve" if is_open else "refresh", slug)
            raise refusal from None

    def links(self, slug: str) -> AccessLinkQuerySet:
        """Return the links of the embed of that slug, as the writing database has them."""
        return AccessLink.objects.for_write().filter(embed__slug=slug)

    def _current_link(self, slug: str) -> UUID | None:
        embeds = InboxEmbed.objects.for_write().filter(slug=slug)
        return embeds.values_list("current_link", flat=True).first()


def presentable(embeds: InboxEmbedQuerySet) -> InboxEmbedQuerySet:
    """Return the embeds with all that an answer contains, in two queries. No secret is read."""
    return (
        embeds.with_condition()
        .with_newest_link()
        .select_related("current_link")
        .defer("current_link__sealed_url")
        # From the database that the embeds are read from: a replica may not have the groups yet.
        .prefetch_related(Prefetch("groups", Group.objects.using(embeds.db)))
    )
