from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LoginView
from django.urls import include, path

urlpatterns = [
    path("accounts/login/", LoginView.as_view(template_name="admin/login.html")),
    path("admin/", admin.site.urls),
    path("kapso-inbox/", include("kapso_inbox.urls")),
    path("api/kapso-inbox/", include("kapso_inbox.api.urls")),
]
