"""The addresses of a host that subclasses our ModelAdmin."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, include, path

from kapso_inbox.admin import InboxEmbedAdmin
from kapso_inbox.models import InboxEmbed


class HostAdmin(InboxEmbedAdmin):
    """Shows the state in the host's words, lets nobody delete, and has one more page."""

    def get_urls(self) -> list[URLPattern]:
        return [path("own/", self.own_view), *super().get_urls()]

    def own_view(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("A page of the host")

    @admin.display(description="state")
    def state(self, embed: InboxEmbed) -> str:
        return "The host's own words"

    def has_delete_permission(self, request: HttpRequest, obj: InboxEmbed | None = None) -> bool:
        return False


site = admin.AdminSite()
site.register(InboxEmbed, HostAdmin)
site.register(Group)

urlpatterns = [
    path("admin/", site.urls),
    path("kapso-inbox/", include("kapso_inbox.urls")),
]
