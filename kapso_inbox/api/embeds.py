"""Embeds, and everything that a manager does with them."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from rest_framework import exceptions, serializers, status
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from kapso_inbox import access, audit, lifecycle, sync
from kapso_inbox.lifecycle import UNSET
from kapso_inbox.models import AccessLink, InboxEmbed, InboxEmbedQuerySet

from . import errors, schema
from .base import ApiView, presentable
from .filters import EmbedFilter, EmbedQuery
from .schema import embed_operation, operation
from .serializers import (
    InboxEmbedChangesSerializer,
    InboxEmbedSerializer,
    InboxEmbedSettingsSerializer,
    InboxRotationSerializer,
    InboxSyncReportSerializer,
    InboxSyncSerializer,
    NewInboxEmbedSerializer,
)

#: What a new embed requires of a PUT. Without a scope it would show the whole project.
_REQUIRED = ("name", "scope_type")
#: The settings that a 404 of Kapso's to a creation is about.
_SCOPE = ("project", "scope_type", "scope_id")


class EmbedsView(ListModelMixin, ApiView):
    """The embeds that the user may see, and new ones."""

    required_actions = {"GET": ("view", "change"), "POST": ("add",)}
    body_serializers = {"POST": NewInboxEmbedSerializer}
    query_serializer = EmbedQuery
    serializer_class = InboxEmbedSerializer
    filter_backends = [EmbedFilter]

    def get_queryset(self) -> InboxEmbedQuerySet:
        """Return the embeds that the user may see."""
        return self.visible()

    @operation(
        "embeds_list",
        InboxEmbedSerializer,
        {200: "The embeds that the user may see."},
        "invalid",
        query=EmbedQuery,
        many=True,
    )
    def get(self, request: Request, **kwargs: Any) -> Response:
        """List the embeds as they are stored here. Kapso is not asked."""
        embeds: Any = self.filter_queryset(self.get_queryset())
        page = self.paginate_queryset(embeds)
        if page is None:
            return Response(self.get_serializer(presentable(embeds), many=True).data)
        # Only the rows of the page are annotated, not those that are counted or skipped.
        keys = [embed.pk for embed in page]
        rows = presentable(InboxEmbed.objects.using(embeds.db)).in_bulk(keys)
        answers = self.get_serializer([rows[key] for key in keys if key in rows], many=True)
        return self.get_paginated_response(answers.data)

    @operation(
        "embeds_create",
        InboxEmbedSerializer,
        {201: "The new embed, with a link that works."},
        *schema.CREATING,
        body=NewInboxEmbedSerializer,
    )
    def post(self, request: Request, **kwargs: Any) -> Response:
        """Create an embed, and its link at Kapso."""
        embed = create_requested_embed(self, **self.validated_body())
        return self.embed_response(embed, status.HTTP_201_CREATED)


class EmbedView(ApiView):
    """One embed."""

    required_actions = {
        "GET": ("view", "change"),
        "PUT": ("add", "change"),
        "PATCH": ("change",),
        "DELETE": ("delete",),
    }
    body_serializers = {"PUT": InboxEmbedSettingsSerializer, "PATCH": InboxEmbedChangesSerializer}
    serializer_class = InboxEmbedSerializer

    def get_queryset(self) -> InboxEmbedQuerySet:
        """Return the embeds that the user may see."""
        return presentable(self.visible())

    @embed_operation("embeds_retrieve", "The embed.")
    def get(self, request: Request, **kwargs: Any) -> Response:
        """Show the embed as it is stored here. Kapso is not asked."""
        return Response(self.get_serializer(self.get_object()).data)

    @operation(
        "embeds_ensure",
        InboxEmbedSerializer,
        {
            200: "The embed existed. It has these settings and a link that works.",
            201: "The embed was created.",
        },
        *schema.CREATING,
        "revoked",
        "not_ready",
        body=InboxEmbedSettingsSerializer,
        has_slug=True,
    )
    def put(self, request: Request, slug: str, **kwargs: Any) -> Response:
        """Make sure that the embed exists, with these settings and a link that works.

        To create an embed, `name` and `scope_type` are required. If the embed exists, every setting
        that is left out keeps its value. The same request again changes nothing.
        """
        changeable = self.manageable("change").filter(slug=slug).select_related("current_link")
        changeable = changeable.defer("current_link__sealed_url")
        existing = found = changeable.first()
        wanted = self.validated_body(shown=lambda: self.shown(found) if found else {"slug": slug})
        if existing is None:
            if not self.can_manage("add"):
                raise exceptions.NotFound
            _check_new_embed(wanted)
            try:
                embed = create_requested_embed(self, slug=slug, **wanted)
            except errors.ApiError as error:
                # Another request may have created the same embed a moment ago.
                existing = changeable.first() if error.code == "slug_taken" else None
                if existing is None:
                    raise
            else:
                return self.embed_response(embed, status.HTTP_201_CREATED)
        link = existing.current_link
        if link is not None and link.state == AccessLink.State.UNMANAGED:
            # Adopting it ends a link that somebody uses. That must be requested, by `rotate/`.
            raise errors.ApiError("not_ready", _("It was not created here. Adopt it instead."))
        # Kapso's 404 to a change is about the link. Without a link yet, it is about the scope.
        scope = None if link else _scope_of(wanted)
        with self.reporting_refusals(slug, embed=existing, wanted=scope):
            embed = lifecycle.ensure_embed(slug, actor=audit.actor_of(request), **wanted)
        return self.embed_response(embed)

    @embed_operation(
        "embeds_update",
        "The embed as it is now.",
        *schema.BODY,
        *schema.CHANGING_KAPSO,
        "slug_taken",
        "busy",
        body=InboxEmbedChangesSerializer,
    )
    def patch(self, request: Request, slug: str, **kwargs: Any) -> Response:
        """Change settings of the embed: at Kapso first, then here."""
        embed = self.get_embed("change")
        changes = self.validated_body(shown=lambda: self.shown(embed), partial=True)
        with self.reporting_refusals(slug, embed=embed):
            embed = lifecycle.update_embed(embed, actor=audit.actor_of(request), **changes)
        return self.embed_response(embed)

    @embed_operation(
        "embeds_revoke",
        "The embed, which is revoked. It stays in the list.",
        *schema.BODY,
        *schema.CHANGING_KAPSO,
        "not_revoked_yet",
    )
    def delete(self, request: Request, slug: str, **kwargs: Any) -> Response:
        """Revoke the embed. It stays in the list, as revoked."""
        embed = self.get_embed("delete")
        with self.reporting_refusals(slug, embed=embed, revokes=True):
            embed = lifecycle.revoke_embed(embed, actor=audit.actor_of(request))
        return self.embed_response(embed)


class RotateView(ApiView):
    """A new link for an embed."""

    required_actions = {"POST": ("change",)}
    body_serializers = {"POST": InboxRotationSerializer}
    serializer_class = InboxEmbedSerializer

    @embed_operation(
        "embeds_rotate",
        "The embed, with its new link.",
        *schema.MAKING_A_LINK,
        "replaced",
        "revoked",
        body=InboxRotationSerializer,
    )
    def post(self, request: Request, slug: str, **kwargs: Any) -> Response:
        """Give the embed a new link, then revoke the one that it had."""
        embed = self.get_embed("change")
        body = self.validated_body()
        expected = body.get("newest_link_id", UNSET)
        revive = body.get("revive")
        if revive is None:
            # A client that read the embed first knows whether it was revoked then.
            revive = expected is UNSET
        with self.reporting_refusals(slug, embed=embed):
            embed = lifecycle.rotate_embed(
                embed, expected_link=expected, revive=revive, actor=audit.actor_of(request)
            )
        return self.embed_response(embed)


class ResolveView(ApiView):
    """What became of the unsettled links of an embed."""

    required_actions = {"POST": ("change",)}
    serializer_class = InboxEmbedSerializer

    @embed_operation(
        "embeds_resolve",
        "The embed as it is now.",
        *schema.BODY,
        *schema.CHANGING_KAPSO,
        "busy",
        "not_revoked_yet",
    )
    def post(self, request: Request, slug: str, **kwargs: Any) -> Response:
        """Look for the embed's uncertain links at Kapso, and continue its revocations."""
        embed = self.get_embed("change")
        with self.reporting_refusals(slug, embed=embed, revokes=True):
            embed = lifecycle.resolve_embed(embed, actor=audit.actor_of(request))
        return self.embed_response(embed)


class RefreshView(ApiView):
    """Kapso's current settings of an embed."""

    required_actions = {"POST": ("change",)}
    serializer_class = InboxEmbedSerializer

    @embed_operation(
        "embeds_refresh",
        "The embed as Kapso answered it.",
        *schema.BODY,
        *schema.READING_KAPSO,
        *schema.STORING,
    )
    def post(self, request: Request, **kwargs: Any) -> Response:
        """Read the embed from Kapso in one request, and store what Kapso says."""
        embed = self.get_embed("change")
        return self.embed_response(lifecycle.refresh_embed(embed, actor=audit.actor_of(request)))


class SyncView(ApiView):
    """The agreement of the CRM and one Kapso project."""

    required_actions = {"POST": ("change",)}
    body_serializers = {"POST": InboxSyncSerializer}
    serializer_class = InboxSyncReportSerializer

    def is_permitted(self) -> bool:
        """Return whether the user may change embeds, and the policy holds none back from them."""
        return super().is_permitted() and self.sees_everything()

    @operation(
        "embeds_sync",
        InboxSyncReportSerializer,
        {200: "What was found and done. If `complete` is false, `problems` says why."},
        *schema.BODY,
        *schema.STORING,
        "not_configured",
        body=InboxSyncSerializer,
    )
    def post(self, request: Request, **kwargs: Any) -> Response:
        """Bring the CRM and one Kapso project into agreement.

        Kapso's rate limit is not waited for: what it prevents is reported as a problem.
        """
        actor = audit.actor_of(self.request)
        report = sync.sync_project(**self.validated_body(), patience=0, actor=actor)
        return Response(report.in_words())


def create_requested_embed(view: ApiView, *, slug: str, **wanted: Any) -> InboxEmbed:
    """Create the embed that a request asks for, and return it.

    Args:
        view: the view that answers the request.
        slug: the new embed's slug.
        wanted: its other settings, as for `create_embed`.

    Raises:
        ApiError: the embed could not be created; or the slug belongs to an embed that is out of the
            user's reach. That includes one whose creation failed, whose slug is free otherwise.
    """
    with view.reporting_refusals(slug, wanted=_scope_of(wanted)):
        if not access.may_take(view.request.user, slug):
            raise errors.slug_taken_error()
        return lifecycle.create_embed(slug=slug, actor=audit.actor_of(view.request), **wanted)


def _check_new_embed(wanted: dict[str, Any]) -> None:
    """Check that a PUT gives what a new embed requires.

    Raises:
        ValidationError: with a text at the name of each setting that is missing.
    """
    required = serializers.Field.default_error_messages["required"]
    missing = {name: [required] for name in _REQUIRED if name not in wanted}
    if missing:
        raise serializers.ValidationError(missing)


def _scope_of(wanted: dict[str, Any]) -> InboxEmbed:
    """Return an embed with the scope that is asked for, and nothing else."""
    return InboxEmbed(**{name: wanted[name] for name in _SCOPE if name in wanted})
