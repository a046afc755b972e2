"""The addresses for a page of the CRM: `path("kapso-inbox/", include("kapso_inbox.urls"))`."""

from __future__ import annotations

from django.urls import path

from . import views

app_name = "kapso_inbox"

urlpatterns = [
    path("<slug:slug>/", views.inbox, name="inbox"),
    path("<slug:slug>/launch/", views.launch, name="launch"),
]
