"""What all views of the API share: permissions, throttles, bodies, answers and errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, cast
from uuid import UUID

from django.contrib.auth.models import Group
from django.core.validators import slug_re
from django.db.models import Prefetch
from django.urls import reverse
from django.utils.translation import gettext as _
from rest_framework import exceptions, status
from rest_framework.filters import BaseFilterBackend
from rest_framework.generics import GenericAPIView
from rest_framework.mixins import ListModelMixin
from rest_framework.pagination import BasePagination, PageNumberPagination
from rest_framework.parsers import BaseParser, JSONParser
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.renderers import BrowsableAPIRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer, Serializer
from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle, ScopedRateThrottle
from rest_framework.versioning import QueryParameterVersioning

from kapso_inbox import refusals
from kapso_inbox.access import get_policy, may_manage
from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.kapso import KapsoError
from kapso_inbox.models import AccessLink, InboxEmbed, InboxEmbedQuerySet

from . import errors, names
from .serializers import InboxEmbedSerializer

WRITES = "kapso_inbox_writes"
LAUNCHES = "kapso_inbox_launches"


class DefaultPagination(PageNumberPagination):
    """The pagination of lists if the host's settings name none."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200

    def get_page_size(self, request: Request) -> int | None:
        """Return how many rows a page has.

        Raises:
            ValidationError: the query asks for a number that is not valid.
        """
        size = super().get_page_size(request)
        given = request.query_params.get(self.page_size_query_param)
        if given and given != str(size):
            text = _("Enter a whole number from 1 to %(most)s.") % {"most": self.max_page_size}
            raise exceptions.ValidationError({self.page_size_query_param: [text]})
        return size


class HostRateThrottle(ScopedRateThrottle):
    """A throttle whose rate the host sets in `DEFAULT_THROTTLE_RATES`; without one, no limit."""

    # Not `throttle_scope`: a scoped throttle among the host's own would insist on a rate for it.
    scope_attr = "kapso_inbox_throttle"

    def get_rate(self) -> str | None:
        """Return the host's rate for the scope, such as `30/min`, or None if it has not set one."""
        return cast("str | None", (api_settings.DEFAULT_THROTTLE_RATES or {}).get(self.scope or ""))


class ViewPermission(BasePermission):
    """Whether the user may do this at all. For which embeds, the queries of the view decide."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Return whether somebody is signed in and the view permits them what they ask for."""
        return bool(request.user and request.user.is_authenticated and view.is_permitted())


class ApiView(GenericAPIView[Any]):
    """A view of the API: the host's REST framework settings, our permissions, our errors."""

    permission_classes = [ViewPermission]
    lookup_field = "slug"
    filter_backends: Sequence[type[BaseFilterBackend]] = ()
    #: The browsable pages ask every view for a queryset.
    queryset = InboxEmbed.objects.none()
    #: HTTP method -> the actions of `AccessPolicy.manageable` of which the user needs any one.
    required_actions: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    #: HTTP method -> the serializer that reads its body.
    body_serializers: ClassVar[Mapping[str, type[BaseSerializer[Any]]]] = {}
    #: The serializer that reads the query of a GET; None if it takes no parameters.
    query_serializer: ClassVar[type[Serializer[Any]] | None] = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check the user, the rate, the slug and the names before the method runs."""
        super().initial(request, *args, **kwargs)
        if not slug_re.match(kwargs.get("slug", "-")):
            raise exceptions.NotFound
        method = request.method or ""
        if method == "OPTIONS" or not hasattr(self, method.lower()):
            return
        self._check_query(request)
        if method not in (*SAFE_METHODS, *self.body_serializers):
            names.BodySerializer(data=self.read_body()).is_valid(raise_exception=True)

    def _check_query(self, request: Request) -> None:
        """Check that the query names only what this method reads.

        Raises:
            ValidationError: it names something else, or something twice.
        """
        reads = request.method in SAFE_METHODS
        others = [api_settings.URL_FORMAT_OVERRIDE]
        if reads and isinstance(self, ListModelMixin) and self.paginator is not None:
            parameters = self.paginator.get_schema_operation_parameters(self)
            others += [parameter["name"] for parameter in parameters]
        if isinstance(request.versioning_scheme, QueryParameterVersioning):
            others.append(request.versioning_scheme.version_param)
        serializer = self.query_serializer if reads else None
        if wrong := names.query_errors(request.query_params, serializer, others):
            raise exceptions.ValidationError(wrong)

    def get_parsers(self) -> list[BaseParser]:
        """Return the host's parsers. REST framework's own for JSON then takes no name twice."""
        return [
            names.UniqueNamesParser() if type(parser) is JSONParser else parser
            for parser in super().get_parsers()
        ]

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Prepare the response. For a browsable page, which shows the body, read the body first.

        After a failure REST framework takes an unread body for empty, and it does not expect one
        that is nested too deeply.
        """
        response = super().finalize_response(request, response, *args, **kwargs)
        if isinstance(response.accepted_renderer, BrowsableAPIRenderer):
            with suppress(RecursionError, exceptions.APIException):
                request.data  # noqa: B018
        return response

    @property
    def pagination_class(self) -> type[BasePagination]:  # type: ignore[override]
        """The host's pagination, or ours; the setting is read at use."""
        host_pagination = api_settings.DEFAULT_PAGINATION_CLASS
        return cast("type[BasePagination]", host_pagination or DefaultPagination)

    @property
    def kapso_inbox_throttle(self) -> str:
        """The scope of `HostRateThrottle` that this request counts in."""
        return "" if self.request.method in SAFE_METHODS else WRITES

    def get_throttles(self) -> list[BaseThrottle]:
        """Return the host's throttles and ours."""
        return [*super().get_throttles(), HostRateThrottle()]

    def get_exception_handler(self) -> Callable[..., Response | None]:
        """Return our handler, so that errors have the same shape in every host."""
        return errors.handle

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        """Return the serializer of this method's body, or else the one of the answer."""
        answer = self.serializer_class or Serializer
        return self.body_serializers.get(self.request.method or "", answer)

    def is_permitted(self) -> bool:
        """Return whether the user may do this at all, whichever embed the request names."""
        method = "GET" if self.request.method == "HEAD" else self.request.method
        actions = self.required_actions.get(method or "")
        return actions is None or any(self.can_manage(action) for action in actions)

    def can_manage(self, action: str) -> bool:
        """Return whether the access policy permits the user this action on embeds at all.

        Args:
            action: `add`, `change`, `delete` or `view`.
        """
        allowed = get_policy().manageable(self.request.user, self.embeds(), action)
        return not allowed.query.is_empty()

    def sees_everything(self) -> bool:
        """Return whether the policy holds nothing back from the user: see `AccessPolicy`."""
        return get_policy().sees_everything(self.request.user)

    def manageable(self, action: str) -> InboxEmbedQuerySet:
        """Return the embeds on which the user may perform this action."""
        return may_manage(self.request.user, self.embeds(), action)

    def embeds(self) -> InboxEmbedQuerySet:
        """Return all embeds. For a change, they are never read from a replica."""
        embeds = InboxEmbed.objects.all()
        return embeds if self.request.method in SAFE_METHODS else embeds.for_write()

    def visible(self) -> InboxEmbedQuerySet:
        """Return the embeds that the user may see."""
        return get_policy().visible(self.request.user, self.embeds())

    def get_embed(self, action: str) -> InboxEmbed:
        """Return the embed that the address names.

        Args:
            action: the action that the user wants to perform on it.

        Raises:
            NotFound: the embed does not exist, or the user may not see it.
            PermissionDenied: the user may see the embed, but not perform this action.
        """
        slug = self.kwargs["slug"]
        embed = self.manageable(action).filter(slug=slug).first()
        if embed is not None:
            return embed
        if self.visible().filter(slug=slug).exists():
            raise exceptions.PermissionDenied
        raise exceptions.NotFound

    def read_body(self) -> Any:
        """Return what the body of the request holds.

        Raises:
            ParseError: the body cannot be read.
        """
        try:
            return self.request.data
        except RecursionError:
            raise exceptions.ParseError from None

    def validated_body(
        self, *, shown: Callable[[], Mapping[str, Any]] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Return the values in the body of the request.

        Args:
            shown: returns what a GET answers now. The body may send back what is read-only there.
            options: keyword arguments for the serializer.

        Raises:
            ValidationError: a name is not known, or a value is not valid.
            ParseError: the body cannot be read.
        """
        context = {**self.get_serializer_context(), "shown": shown}
        serializer = self.get_serializer(data=self.read_body(), context=context, **options)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def shown(self, embed: InboxEmbed) -> Mapping[str, Any]:
        """Return what an answer shows of an embed as it is now."""
        row = presentable(InboxEmbed.objects.for_write()).get(pk=embed.pk)
        return cast("Mapping[str, Any]", InboxEmbedSerializer(row).data)

    def embed_response(self, embed: InboxEmbed, code: int = status.HTTP_200_OK) -> Response:
        """Return the response that shows an embed as it is now, with its address if it is new."""
        answer = self.shown(embed)
        headers = {}
        if code == status.HTTP_201_CREATED:
            headers["Location"] = self.absolute_url("embed", answer["slug"])
        return Response(answer, status=code, headers=headers)

    def absolute_url(self, name: str, slug: str) -> str:
        """Return the absolute URL of a view of an embed, wherever the host includes the API."""
        match = self.request.resolver_match
        assert match is not None  # noqa: S101 (for the type checker: a view was found)
        kwargs = {**match.kwargs, "slug": slug}
        return self.request.build_absolute_uri(reverse(f"{match.namespace}:{name}", kwargs=kwargs))

    @contextmanager
    def reporting_refusals(
        self,
        slug: str,
        *,
        embed: InboxEmbed | None = None,
        wanted: InboxEmbed | None = None,
        revokes: bool = False,
    ) -> Iterator[None]:
        """Answer what the lifecycle raises when a change was not made, or not completely.

        Args:
            slug: the slug of the embed that is changed or created.
            embed: the embed as it was found before the change; None for a creation.
            wanted: an embed with the scope that is asked for, if a 404 of Kapso's is about that.
            revokes: whether the change is meant to end links.

        Raises:
            ApiError: with the `retry_url` that finds out more, if the outcome is uncertain.
        """
        before = embed.current_link_id if embed is not None else self._current_link(slug)
        try:
            yield
        except refusals.REFUSALS as error:
            links = AccessLink.objects.for_write().filter(embed__slug=slug)
            if isinstance(error, (KapsoError, ConfigurationError)):
                is_revoking = links.filter(state=AccessLink.State.REVOKING).exists()
                if is_revoking and (revokes or self._current_link(slug) != before):
                    retry_url = self.absolute_url("resolve", slug)
                    raise errors.not_revoked_yet(error, retry_url) from None
            refusal = errors.refusal(
                error, wanted=wanted, names_others=self.sees_everything(), only_read=False
            )
            is_unsettled = links.unsettled().exists()
            if refusal.code == "outcome_uncertain":
                view_name = "resolve" if is_unsettled else "refresh"
                refusal.retry_url = self.absolute_url(view_name, slug)
            elif refusal.code == "inbox_origin_missing" and is_unsettled:
                refusal.retry_url = self.absolute_url("resolve", slug)
            raise refusal from None

    def _current_link(self, slug: str) -> UUID | None:
        embeds = InboxEmbed.objects.for_write().filter(slug=slug)
        return embeds.values_list("current_link", flat=True).first()


def presentable(embeds: InboxEmbedQuerySet) -> InboxEmbedQuerySet:
    """Return the embeds with everything that an answer shows, in two queries, without secrets."""
    return (
        embeds.with_condition()
        .with_newest_link()
        .select_related("current_link")
        .defer("current_link__sealed_url")
        # From the database of the embeds: a replica may not have the groups yet.
        .prefetch_related(Prefetch("groups", Group.objects.using(embeds.db)))
    )
