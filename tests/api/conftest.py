"""Whom the tests of the API ask as, and how."""

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
def _nothing_kept() -> None:
    """What is kept of Kapso's lists, and how often somebody asked."""
    cache.clear()


@pytest.fixture
def make_manager(db: None) -> Callable[..., User]:
    """Somebody with these permissions, by their code names."""

    def make(username: str, *codenames: str, **fields: Any) -> User:
        user = User.objects.create_user(username, password="secret", **fields)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        return user

    return make


@pytest.fixture
def manager(make_manager: Callable[..., User]) -> User:
    """Somebody who may manage embeds and audit openings, and read no conversations."""
    codenames = [f"{action}_inboxembed" for action in MANAGE]
    return make_manager("mona", *codenames, "view_launchattempt")


@pytest.fixture
def ask() -> Callable[[User], APIClient]:
    """A program that is signed in by something of the host's."""

    def ask(user: User) -> APIClient:
        # Not at import: a host without the extra has no such library.
        from rest_framework.test import APIClient

        client = APIClient()
        client.force_authenticate(user)
        client.default_format = "json"
        return client

    return ask


@pytest.fixture
def api(ask: Callable[[User], APIClient], manager: User) -> APIClient:
    """The manager's program."""
    return ask(manager)


def error(response: Any) -> dict[str, Any]:
    """What an answer says went wrong."""
    body = response.json()
    assert list(body) == ["error"], body
    shape: dict[str, Any] = body["error"]
    assert shape.keys() - {"retry_url"} == {"code", "message", "fields"}
    assert shape["message"]
    return shape
