"""The addresses for the pages of a CRM: `path("kapso-inbox/", include("kapso_inbox.urls"))`."""

from __future__ import annotations

from django.apps import apps
from django.urls import include, path

from kapso_inbox.exceptions import ConfigurationError

if not apps.is_installed("kapso_inbox"):
    raise ConfigurationError('Add "kapso_inbox" to INSTALLED_APPS.')

from .inbox import own_views, views
from .transactions import outside_transactions

app_name = "kapso_inbox"

urlpatterns = [
    # An optional app, which nothing else imports. Its words are no slugs.
    *(
        [path("", include("kapso_inbox.conversations.urls"))]
        if apps.is_installed("kapso_inbox.conversations")
        else []
    ),
    path("mine/", outside_transactions(own_views.my_inbox_view), name="my_inbox"),
    path(
        "mine/launch/",
        outside_transactions(own_views.my_launch_view),
        {"slug": "mine"},
        name="my_launch",
    ),
    path("mine/settings/", own_views.my_preferences_view, {"slug": "mine"}, name="my_settings"),
    # A failing request must not roll back that a ticket was used, nor the record of the attempt.
    path("<slug:slug>/", outside_transactions(views.inbox_view), name="inbox"),
    path("<slug:slug>/launch/", outside_transactions(views.launch_view), name="launch"),
    # No transaction stays open while Kapso is asked for its numbers.
    path("<slug:slug>/settings/", outside_transactions(views.preferences_view), name="settings"),
    path("<slug:slug>/reach/", views.reach_view, name="reach"),
    path("<slug:slug>/signed-in/", views.signed_in_view, name="signed_in"),
]
