from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("kapso-inbox/", include("kapso_inbox.urls"))]
