"""The addresses of a host that has the models under Django's own ModelAdmin."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from kapso_inbox.models import InboxChange, InboxEmbed, LaunchAttempt

site = admin.AdminSite()
site.register([InboxEmbed, LaunchAttempt, InboxChange])

urlpatterns = [
    path("admin/", site.urls),
    path("kapso-inbox/", include("kapso_inbox.urls")),
]
