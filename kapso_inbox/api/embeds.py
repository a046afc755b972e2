"""Embeds: a program may do with them what its user may do in the CRM."""

from __future__ import annotations

import dataclasses
from typing import Any

from django.utils.translation import gettext as _
from rest_framework import exceptions, status
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from kapso_inbox import access, lifecycle, sync
from kapso_inbox.access import get_policy
from kapso_inbox.lifecycle import UNSET
from kapso_inbox.models import AccessLink, InboxEmbed, InboxEmbedQuerySet

from . import errors
from .base import View, presentable
from .filters import EmbedFilter, EmbedQuery
from .schema import BODY, CREATING, LINK_ID, READING, SETTINGS, WRITING, operation
from .serializers import (
    ChangesSerializer,
    EmbedSerializer,
    NewEmbedSerializer,
    ReportSerializer,
    RotationSerializer,
    SettingsSerializer,
    SyncSerializer,
)

#: The settings that a 404 by Kapso is explained with.
_SCOPE = ("project", "scope_type", "scope_id")


class EmbedsView(ListModelMixin, View):
    """The embeds that the user may see, and new ones."""

    needs = {"GET": ("view", "change"), "POST": ("add",)}
    inputs = {"POST": NewEmbedSerializer}
    serializer_class = EmbedSerializer
    filter_backends = [EmbedFilter]

    def get_queryset(self) -> InboxEmbedQuerySet:
        """Return the embeds that the user may see."""
        return self.visible()

    @operation(
        "embeds_list",
        {200: (EmbedSerializer(many=True), "The embeds that the user may see.")},
        "invalid",
        "not_found",
        query=EmbedQuery,
    )
    def get(self, request: Request, **kwargs: Any) -> Response:
        """List embeds, without a request to Kapso."""
        embeds: Any = self.filter_queryset(self.get_queryset())
        page = self.paginate_queryset(embeds)
        if page is None:
            return Response(self.get_serializer(presentable(embeds), many=True).data)
        # Only the embeds of the page are read with all that an answer contains: counting and
        # skipping the others must not cost that.
        keys = [embed.pk for embed in page]
        rows = presentable(InboxEmbed.objects.using(embeds.db)).in_bulk(keys)
        answers = self.get_serializer([rows[key] for key in keys if key in rows], many=True)
        return self.get_paginated_response(answers.data)

    @operation(
        "embeds_create",
        {201: (None, "The embed, with a link that works.")},
        *CREATING,
        takes=NewEmbedSerializer,
        body={"slug": "support", **SETTINGS},
    )
    def post(self, request: Request, **kwargs: Any) -> Response:
        """Create an embed, with its link at Kapso."""
        embed = create_for_user(self, **self.validated_body())
        return self.answer(embed, status.HTTP_201_CREATED)


class EmbedView(View):
    """One embed."""

    needs = {
        "GET": ("view", "change"),
        "PUT": ("add", "change"),
        "PATCH": ("change",),
        "DELETE": ("delete",),
    }
    inputs = {"PUT": SettingsSerializer, "PATCH": ChangesSerializer}
    serializer_class = EmbedSerializer

    def get_queryset(self) -> InboxEmbedQuerySet:
        """Return the embeds that the user may see."""
        return presentable(self.visible())

    @operation("embeds_retrieve", {200: (None, "The embed.")}, is_about_one=True)
    def get(self, request: Request, **kwargs: Any) -> Response:
        """Return an embed as it is stored here, without a request to Kapso."""
        return Response(self.get_serializer(self.get_object()).data)

    @operation(
        "embeds_ensure",
        {
            200: (None, "The embed existed; it has these settings and a link that works."),
            201: (None, "The embed was created."),
        },
        *CREATING,
        "revoked",
        "not_ready",
        takes=SettingsSerializer,
        body=SETTINGS,
        is_about_one=True,
    )
    def put(self, request: Request, slug: str, **kwargs: Any) -> Response:
        """Make sure that there is an embed with these settings and a link that works.

        A new embed needs `name` and `scope_type`. An existing one keeps what is left out.
        """
        wanted = self.validated_body()
        existing = self.manageable("change").filter(slug=slug).select_related("current_link")
        existing = existing.defer("current_link__sealed_url")
        found = existing.first()
        if found is None:
            if not self.may("add"):
                raise exceptions.NotFound
            self._require_for_a_new_one(wanted)
            try:
                embed = create_for_user(self, slug=slug, **wanted)
            except errors.ApiError as error:
                # Another request may have asked for the same embed at once, and come first.
                found = existing.first() if error.code == "slug_taken" else None
                if found is None:
                    raise
            else:
                return self.answer(embed, status.HTTP_201_CREATED)
        link = found.current_link
        if link is not None and link.state == AccessLink.State.UNMANAGED:
            # Adopting it ends a link that somebody uses, so it must be asked for, by `rotate/`.
            raise errors.ApiError("not_ready", _("It was not made here. Adopt it instead."))
        # A 404 is about the link of an embed that has one, otherwise about the scope.
        with self.writing(slug, wanted=None if link else _with_scope(wanted)):
            embed = lifecycle.ensure_embed(slug, actor=request.user, **wanted)
        return self.answer(embed)

    def _require_for_a_new_one(self, given: dict[str, Any]) -> None:
        """Check that the settings that a new embed needs are given.

        Raises:
            ValidationError: some are missing; with a text for each.
        """
        fields = SettingsSerializer().fields
        missing = [name for name in ("name", "scope_type") if name not in given]
        if missing:
            required = {name: [fields[name].error_messages["required"]] for name in missing}
            raise exceptions.ValidationError(required)

    @operation(
        "embeds_update",
        {200: (None, "The embed as it now is.")},
        *BODY,
        *WRITING,
        "slug_taken",
        "busy",
        takes=ChangesSerializer,
        body={"default_mode": "dark"},
        is_about_one=True,
    )
    def patch(self, request: Request, slug: str, **kwargs: Any) -> Response:
        """Change settings of an embed: at Kapso first, then here."""
        embed = self.get_embed("change")
        changes = self.validated_body(partial=True)
        with self.writing(slug):
            embed = lifecycle.update_embed(embed, actor=request.user, **changes)
        return self.answer(embed)

    @operation(
        "embeds_revoke",
        {200: (None, "The embed is revoked; its row stays.")},
        *WRITING,
        "not_revoked_yet",
        is_about_one=True,
    )
    def delete(self, request: Request, slug: str, **kwargs: Any) -> Response:
        """Revoke an embed. Its row stays, and says so."""
        embed = self.get_embed("delete")
        with self.writing(slug, revokes=True):
            embed = lifecycle.revoke_embed(embed, actor=request.user)
        return self.answer(embed)


class RotateView(View):
    """A new link for an embed."""

    needs = {"POST": ("change",)}
    inputs = {"POST": RotationSerializer}
    serializer_class = EmbedSerializer

    @operation(
        "embeds_rotate",
        {200: (None, "The embed, with its new link.")},
        *BODY,
        *WRITING,
        "busy",
        "replaced",
        "revoked",
        "not_revoked_yet",
        takes=RotationSerializer,
        body={"newest_link_id": LINK_ID},
        is_about_one=True,
    )
    def post(self, request: Request, slug: str, **kwargs: Any) -> Response:
        """Give an embed a new link, then revoke the one it had."""
        embed = self.get_embed("change")
        given = self.validated_body()
        expected = given.get("newest_link_id", UNSET)
        revive = given.get("revive")
        if revive is None:
            # A client that looked before knows whether it was revoked then, and must say so.
            revive = expected is UNSET
        with self.writing(slug):
            embed = lifecycle.rotate_embed(
                embed, expected_link=expected, revive=revive, actor=request.user
            )
        return self.answer(embed)


class ResolveView(View):
    """The unsettled links of an embed."""

    needs = {"POST": ("change",)}
    serializer_class = EmbedSerializer

    @operation(
        "embeds_resolve",
        {200: (None, "The embed as it now is.")},
        *WRITING,
        "busy",
        "not_revoked_yet",
        is_about_one=True,
    )
    def post(self, request: Request, slug: str, **kwargs: Any) -> Response:
        """Find out what became of an embed's uncertain links, and resume its revocations."""
        embed = self.get_embed("change")
        with self.writing(slug, revokes=True):
            embed = lifecycle.resolve_embed(embed, actor=request.user)
        return self.answer(embed)


class RefreshView(View):
    """An embed as it is at Kapso."""

    needs = {"POST": ("change",)}
    serializer_class = EmbedSerializer

    @operation(
        "embeds_refresh",
        {200: (None, "The embed as it is at Kapso.")},
        *READING,
        "inside_transaction",
        "not_stored",
        is_about_one=True,
    )
    def post(self, request: Request, **kwargs: Any) -> Response:
        """Ask Kapso about an embed, in one request."""
        embed = lifecycle.refresh_embed(self.get_embed("change"), actor=request.user)
        return self.answer(embed)


class SyncView(View):
    """The agreement of the CRM and one Kapso project."""

    needs = {"POST": ("change",)}
    inputs = {"POST": SyncSerializer}
    serializer_class = ReportSerializer

    def is_permitted(self) -> bool:
        """Require the permission, and a policy that holds no embed back from the user."""
        return super().is_permitted() and get_policy().reaches_all(self.request.user)

    @operation(
        "embeds_sync",
        {200: (ReportSerializer, "What was found and done.")},
        *BODY,
        "not_configured",
        "inside_transaction",
        "not_stored",
        example={
            **dataclasses.asdict(sync.SyncReport("default", complete=True)),
            "listed": 12,
            "pages": 1,
            "updated": 1,
            "settled": 1,
        },
        takes=SyncSerializer,
        body={"project": "default", "dry_run": True},
    )
    def post(self, request: Request, **kwargs: Any) -> Response:
        """Sync a project, without waiting for Kapso's rate limit. The report says what failed."""
        report = sync.sync_project(**self.validated_body(), patience=0)
        return Response(dataclasses.asdict(report))


def create_for_user(view: View, *, slug: str, **wanted: Any) -> InboxEmbed:
    """Create an embed for the user of the request.

    Args:
        view: the view that asks for it.
        slug: the slug of the new embed.
        wanted: its settings, as for `lifecycle.create_embed`.

    Raises:
        ApiError: it could not be created, or the slug belongs to an embed that the user may not
            change, even if the creation of that one failed.
    """
    with view.writing(slug, wanted=_with_scope(wanted)):
        if not access.may_take(view.request.user, slug):
            raise errors.slug_taken_error()
        return lifecycle.create_embed(slug=slug, actor=view.request.user, **wanted)


def _with_scope(wanted: dict[str, Any]) -> InboxEmbed:
    return InboxEmbed(**{name: wanted[name] for name in _SCOPE if name in wanted})
