"""The addresses of this app, below those of `kapso_inbox.urls`, which includes them."""

from __future__ import annotations

from django.urls import path

from kapso_inbox.transactions import outside_transactions

from . import views

urlpatterns = [
    path("waiting/", views.waiting_view, name="waiting"),
    path(
        "webhooks/<slug:project>/",
        # What was taken in must be committed before it is told.
        outside_transactions(views.webhook_view),
        name="webhook",
    ),
]
