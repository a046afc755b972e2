"""The API that a developer would write first, to compare with in `python -m benchmarks.api`.

It is plain REST framework without mistakes: related rows are prefetched, and a page has 50 embeds.
It requires no permission, knows no condition of an embed, and has no policy on who sees what.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.signing import Signer
from django.shortcuts import get_object_or_404
from django.urls import include, path
from rest_framework import serializers, status
from rest_framework.pagination import PageNumberPagination
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView
from rest_framework.viewsets import ModelViewSet

from kapso_inbox.models import AccessLink, InboxEmbed, LaunchTicket


class _Pages(PageNumberPagination):
    page_size = 50


class _LinkSerializer(serializers.ModelSerializer[AccessLink]):
    class Meta:
        model = AccessLink
        fields = [
            "id",
            "kapso_id",
            "reference",
            "state",
            "reason",
            "created_at",
            "state_changed_at",
        ]


class _EmbedSerializer(serializers.ModelSerializer[InboxEmbed]):
    current_link = _LinkSerializer()

    class Meta:
        model = InboxEmbed
        fields = [
            "slug",
            "name",
            "project",
            "scope_type",
            "scope_id",
            "scope_name",
            "assigned_user_id",
            "assigned_user_name",
            "allowed_origins",
            "default_mode",
            "language",
            "expires_at",
            "last_used_at",
            "groups",
            "current_link",
            "created_at",
            "updated_at",
        ]


class _EmbedViewSet(ModelViewSet[InboxEmbed]):
    queryset = (
        InboxEmbed.objects.order_by("name", "pk")
        .select_related("current_link")
        .prefetch_related("groups")
    )
    serializer_class = _EmbedSerializer
    lookup_field = "slug"
    permission_classes = [IsAuthenticated]
    pagination_class = _Pages


class _LaunchView(APIView):
    permission_classes = [IsAuthenticated]

    def post(self, request: Request, slug: str) -> Response:
        embed = get_object_or_404(InboxEmbed, slug=slug)
        row = LaunchTicket.objects.create(user_id=request.user.pk, embed=embed)
        return Response({"ticket": Signer().sign(row.pk.hex)}, status=status.HTTP_201_CREATED)


_router: Any = SimpleRouter()
_router.register("embeds", _EmbedViewSet)

urlpatterns = [
    path("admin/", admin.site.urls),
    path("kapso-inbox/", include("kapso_inbox.urls")),
    path("api/", include("kapso_inbox.api.urls")),
    path("plain/embeds/<slug:slug>/launch/", _LaunchView.as_view()),
    path("plain/", include(_router.urls)),
]
