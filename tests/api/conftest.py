"""The users and the clients of the tests of the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Permission
from django.core.cache import cache

from tests.hosts.people import User

if TYPE_CHECKING:
    from rest_framework.test import APIClient

API = "/api/kapso-inbox/"
EMBEDS = f"{API}embeds/"
SALES = f"{EMBEDS}sales/"

MANAGE = ("add", "change", "delete", "view")


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    """Clear the cache of Kapso's lists, and the throttles' counts."""
    cache.clear()


@pytest.fixture
def make_manager(db: None) -> Callable[..., User]:
    """Return a function that creates a user with permissions, by their code names."""

    def make(username: str, *codenames: str, **fields: Any) -> User:
        user = User.objects.create_user(username, password="secret", **fields)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        return user

    return make


@pytest.fixture
def manager(make_manager: Callable[..., User]) -> User:
    """Return a user who may manage embeds and audit launch attempts, but not read conversations."""
    codenames = [f"{action}_inboxembed" for action in MANAGE]
    return make_manager("mona", *codenames, "view_launchattempt")


@pytest.fixture
def ask() -> Callable[[User], APIClient]:
    """Return a function that returns a client, signed in by a token."""

    def ask(user: User) -> APIClient:
        # Not at import: without the extra, this library is not installed.
        from rest_framework.test import APIClient

        client = APIClient()
        client.force_authenticate(user, token="a token")
        client.default_format = "json"
        return client

    return ask


@pytest.fixture
def api(ask: Callable[[User], APIClient], manager: User) -> APIClient:
    """Return the manager's client."""
    return ask(manager)


def error(response: Any) -> dict[str, Any]:
    """Return the error that an answer holds, after checking its shape."""
    body = response.json()
    assert list(body) == ["error"], body
    shape: dict[str, Any] = body["error"]
    assert shape.keys() - {"retry_url"} == {"code", "message", "fields"}
    assert shape["message"]
    return shape
