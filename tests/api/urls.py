"""The API alone, at the address in the documents. The golden schema is generated from it."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("api/kapso-inbox/", include("kapso_inbox.api.urls"))]
