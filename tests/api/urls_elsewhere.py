"""A host that includes the API below an argument and in a namespace of its own."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path(
        "hosts/<slug:host>/",
        include(([path("inboxes/", include("kapso_inbox.api.urls"))], "hosts")),
    ),
    path("kapso-inbox/", include("kapso_inbox.urls")),
]
