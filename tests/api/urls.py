"""The API alone, at the address that the documents give it: what the golden schema is made of."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("api/kapso-inbox/", include("kapso_inbox.api.urls"))]
