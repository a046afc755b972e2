"""What most tests need: a CRM's people, and an embed that the sandbox's Kapso made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User

from kapso_inbox.lifecycle import create_embed
from kapso_inbox.models import InboxEmbed
from kapso_inbox.sandbox.engine import Sandbox

FRAME = {"HTTP_SEC_FETCH_DEST": "iframe", "HTTP_SEC_FETCH_SITE": "same-origin"}


@pytest.fixture
def sales(db: None) -> Group:
    return Group.objects.create(name="Sales")


@pytest.fixture
def make_agent(db: None) -> Callable[..., User]:
    def make(username: str, *groups: Group, may_open: bool = True, **fields: Any) -> User:
        user = User.objects.create_user(username, password="secret", **fields)
        user.groups.set(groups)
        if may_open:
            user.user_permissions.add(Permission.objects.get(codename="open_inboxembed"))
        return user

    return make


@pytest.fixture
def ana(make_agent: Callable[..., User], sales: Group) -> User:
    """An agent of Sales."""
    return make_agent("ana", sales)


@pytest.fixture
def embed(kapso_sandbox: Sandbox, sales: Group) -> InboxEmbed:
    """An embed that agents of Sales may open."""
    return create_embed(slug="sales", name="Sales inbox", groups=[sales])
