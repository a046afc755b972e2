"""The addresses of a host whose admin is not called `admin`."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.models import Group
from django.urls import include, path

from kapso_inbox.admin import InboxEmbedAdmin
from kapso_inbox.models import InboxEmbed

site = admin.AdminSite(name="crm_admin")
site.register(InboxEmbed, InboxEmbedAdmin)
site.register(Group)

urlpatterns = [
    path("crm-admin/", site.urls),
    path("kapso-inbox/", include("kapso_inbox.urls")),
]
