from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("kapso-inbox/", include("kapso_inbox.urls")),
    path("api/kapso-inbox/", include("kapso_inbox.api.urls")),
]
