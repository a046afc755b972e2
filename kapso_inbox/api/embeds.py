"""Embeds and all that is done with them: what a manager of the CRM may, a program may."""

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
from .filters import EmbedFilter
from .serializers import (
    ChangesSerializer,
    EmbedSerializer,
    NewEmbedSerializer,
    ReportSerializer,
    RotationSerializer,
    SettingsSerializer,
    SyncSerializer,
)

#: What a 404 of Kapso's is explained by.
_SCOPE = ("project", "scope_type", "scope_id")


class EmbedsView(ListModelMixin, View):
    """All embeds that the user may see, and new ones."""

    needs = {"GET": ("view", "change"), "POST": ("add",)}
    inputs = {"POST": NewEmbedSerializer}
    serializer_class = EmbedSerializer
    filter_backends = [EmbedFilter]

    def get_queryset(self) -> InboxEmbedQuerySet:
        """Return the embeds that the user may see."""
        return self.visible()

    def get(self, request: Request, **kwargs: Any) -> Response:
        """List them, without a request to Kapso."""
        embeds: Any = self.filter_queryset(self.get_queryset())
        page = self.paginate_queryset(embeds)
        if page is None:
            return Response(self.get_serializer(presentable(embeds), many=True).data)
        # What an answer holds is put together for the page alone: not to be counted or skipped.
        keys = [embed.pk for embed in page]
        rows = presentable(InboxEmbed.objects.using(embeds.db)).in_bulk(keys)
        answers = self.get_serializer([rows[key] for key in keys if key in rows], many=True)
        return self.get_paginated_response(answers.data)

    def post(self, request: Request, **kwargs: Any) -> Response:
        """Create one, with its link at Kapso."""
        settings = self.read()
        return self.answer(create(self, **settings), status.HTTP_201_CREATED)


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

    def get(self, request: Request, **kwargs: Any) -> Response:
        """Show it as it is here, without a request to Kapso."""
        return Response(self.get_serializer(self.get_object()).data)

    def put(self, request: Request, slug: str, **kwargs: Any) -> Response:
        """Make sure that there is one with these settings and a link that works."""
        settings = self.read()
        existing = self.manageable("change").filter(slug=slug).select_related("current_link")
        existing = existing.defer("current_link__sealed_url")
        found = existing.first()
        if found is None:
            if not self.may("add"):
                raise exceptions.NotFound
            try:
                embed = create(self, slug=slug, **{"name": slug, **settings})
            except exceptions.APIException as error:
                # Perhaps the same was asked for at the same time, and came first.
                found = existing.first() if getattr(error, "code", "") == "slug_taken" else None
                if found is None:
                    raise
            else:
                return self.answer(embed, status.HTTP_201_CREATED)
        link = found.current_link
        if link is not None and link.state == AccessLink.State.UNMANAGED:
            # To adopt it ends a link that somebody uses: that is to be asked for, by `rotate/`.
            raise errors.ApiError("not_ready", _("It was not made here. Adopt it instead."))
        # A 404 to a change is about its link. Of one that has none yet, it is about its scope.
        with self.writing(slug, wanted=None if link else _wanted(settings)):
            embed = lifecycle.ensure_embed(slug, actor=request.user, **settings)
        return self.answer(embed)

    def patch(self, request: Request, slug: str, **kwargs: Any) -> Response:
        """Change settings of it: at Kapso first, then here."""
        embed = self.find("change")
        changes = self.read(partial=True)
        with self.writing(slug):
            embed = lifecycle.update_embed(embed, actor=request.user, **changes)
        return self.answer(embed)

    def delete(self, request: Request, slug: str, **kwargs: Any) -> Response:
        """Revoke it. Its row stays, and says so."""
        embed = self.find("delete")
        with self.writing(slug, revokes=True):
            embed = lifecycle.revoke_embed(embed, actor=request.user)
        return self.answer(embed)


class RotateView(View):
    """A new link for an embed."""

    needs = {"POST": ("change",)}
    inputs = {"POST": RotationSerializer}
    serializer_class = EmbedSerializer

    def post(self, request: Request, slug: str, **kwargs: Any) -> Response:
        """Give it a new link, then revoke the one it had."""
        embed = self.find("change")
        given = self.read()
        expected = given.get("newest_link_id", UNSET)
        revive = given.get("revive")
        if revive is None:
            # Who looked before knows whether it was revoked then, and says so.
            revive = expected is UNSET
        with self.writing(slug):
            embed = lifecycle.rotate_embed(
                embed, expected_link=expected, revive=revive, actor=request.user
            )
        return self.answer(embed)


class ResolveView(View):
    """What became of the uncertain links of an embed."""

    needs = {"POST": ("change",)}
    serializer_class = EmbedSerializer

    def post(self, request: Request, slug: str, **kwargs: Any) -> Response:
        """Look for each at Kapso, and go on with revocations."""
        embed = self.find("change")
        with self.writing(slug, revokes=True):
            embed = lifecycle.resolve_embed(embed, actor=request.user)
        return self.answer(embed)


class RefreshView(View):
    """What Kapso says of an embed now."""

    needs = {"POST": ("change",)}
    serializer_class = EmbedSerializer

    def post(self, request: Request, **kwargs: Any) -> Response:
        """Ask Kapso, in one request."""
        return self.answer(lifecycle.refresh_embed(self.find("change"), actor=request.user))


class SyncView(View):
    """The agreement of the CRM and one Kapso project."""

    needs = {"POST": ("change",)}
    inputs = {"POST": SyncSerializer}
    serializer_class = ReportSerializer

    def is_permitted(self) -> bool:
        """It takes the permission, and that the policy holds no embed back: it is about all."""
        policy = get_policy()
        return super().is_permitted() and policy.reaches_all(self.request.user)

    def post(self, request: Request, **kwargs: Any) -> Response:
        """Sync, without waiting for Kapso's rate limit; what failed stands in the report."""
        report = sync.sync_project(**self.read(), patience=0)
        return Response(dataclasses.asdict(report))


def create(view: View, *, slug: str, **settings: Any) -> InboxEmbed:
    """Create an embed for the user of the request.

    Raises:
        ApiError: it could not be made, or the slug belongs to an embed that the user may not touch,
            also where that one's making failed, so that its slug could be had otherwise.
    """
    with view.writing(slug, wanted=_wanted(settings)):
        if not access.may_take(view.request.user, slug):
            raise errors.slug_taken_error()
        return lifecycle.create_embed(slug=slug, actor=view.request.user, **settings)


def _wanted(settings: dict[str, Any]) -> InboxEmbed:
    return InboxEmbed(**{name: settings[name] for name in _SCOPE if name in settings})
