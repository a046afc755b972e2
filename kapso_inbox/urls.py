"""The addresses for a page of the CRM: `path("kapso-inbox/", include("kapso_inbox.urls"))`."""

from __future__ import annotations

from django.urls import path

from .inbox import own_views, views
from .transactions import outside_transactions

app_name = "kapso_inbox"

urlpatterns = [
    path("mine/", outside_transactions(own_views.my_inbox), name="my_inbox"),
    path(
        "mine/launch/",
        outside_transactions(own_views.my_launch),
        {"slug": "mine"},
        name="my_launch",
    ),
    path("mine/settings/", own_views.my_settings, {"slug": "mine"}, name="my_settings"),
    # A ticket's use and the record of an opening or a refusal stay, however the answer ends.
    path("<slug:slug>/", outside_transactions(views.inbox), name="inbox"),
    path("<slug:slug>/launch/", outside_transactions(views.launch), name="launch"),
    # No transaction is held open while Kapso is asked for its numbers.
    path("<slug:slug>/settings/", outside_transactions(views.settings), name="settings"),
    path("<slug:slug>/signed-in/", views.signed_in, name="signed_in"),
]
