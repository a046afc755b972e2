"""The REST API: `path("api/kapso-inbox/", include("kapso_inbox.api.urls"))`."""

from __future__ import annotations

from importlib.util import find_spec

from django.apps import apps
from django.urls import URLPattern, URLResolver, include, path

from kapso_inbox.exceptions import ConfigurationError

if find_spec("rest_framework") is None or find_spec("drf_spectacular") is None:
    raise ConfigurationError(
        "The REST API requires Django REST framework and drf-spectacular: "
        "install django-kapso-inbox[api]."
    )

if not apps.is_installed("kapso_inbox"):
    raise ConfigurationError('Add "kapso_inbox" to INSTALLED_APPS.')

from kapso_inbox.transactions import outside_transactions

from . import embeds, lists, own

app_name = "kapso_inbox_api"

# `str` and not `slug`: our own views answer what is not a slug, too.
urlpatterns: list[URLPattern | URLResolver] = [
    path(route, outside_transactions(view), name=name)
    for route, view, name in (
        ("embeds/", embeds.EmbedsView.as_view(), "embeds"),
        ("embeds/sync/", embeds.SyncView.as_view(), "sync"),
        ("embeds/<str:slug>/", embeds.EmbedView.as_view(), "embed"),
        ("embeds/<str:slug>/rotate/", embeds.RotateView.as_view(), "rotate"),
        ("embeds/<str:slug>/resolve/", embeds.ResolveView.as_view(), "resolve"),
        ("embeds/<str:slug>/refresh/", embeds.RefreshView.as_view(), "refresh"),
        ("embeds/<str:slug>/launch/", own.LaunchView.as_view(), "launch"),
        ("embeds/<str:slug>/preferences/", own.PreferencesView.as_view(), "preferences"),
        ("phone-numbers/", lists.PhoneNumbersView.as_view(), "phone-numbers"),
        ("customers/", lists.CustomersView.as_view(), "customers"),
        ("team-members/", lists.TeamMembersView.as_view(), "team-members"),
        ("openings/", lists.LaunchAttemptsView.as_view(), "openings"),
    )
]
if apps.is_installed("kapso_inbox.conversations"):
    urlpatterns.append(path("", include("kapso_inbox.conversations.api")))
