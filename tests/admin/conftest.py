"""An administrator, and the pages they use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from kapso_inbox.models import InboxEmbed
from kapso_inbox.sandbox.engine import Sandbox
from tests.hosts.people import User

MANAGING = ("add", "change", "delete", "view")


def url(name: str, *args: Any) -> str:
    return reverse(f"admin:kapso_inbox_inboxembed_{name}", args=args)


@pytest.fixture
def make_administrator(db: None) -> Callable[..., User]:
    """Make a staff user with these permissions: for embeds by verb, others by codename."""

    def make(username: str, *names: str, **fields: Any) -> User:
        user = User.objects.create_user(username, password="secret", is_staff=True, **fields)
        codenames = [
            f"{name}_inboxembed" if name in (*MANAGING, "open") else name for name in names
        ]
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        return user

    return make


@pytest.fixture
def administrator(make_administrator: Callable[..., User]) -> User:
    """Return a user who may manage every embed, but read no conversations."""
    return make_administrator("admin", *MANAGING)


@pytest.fixture
def admin(client: Client, administrator: User) -> Client:
    """Return the administrator's browser."""
    client.force_login(administrator)
    return client


@pytest.fixture
def number(kapso_sandbox: Sandbox) -> dict[str, Any]:
    """Return a phone number of the project."""
    return kapso_sandbox.project().phone_numbers[0]


@pytest.fixture
def filled_in(number: dict[str, Any]) -> dict[str, Any]:
    """Return the data of the form of a new embed, filled in."""
    return {
        "name": "Support inbox",
        "slug": "support",
        "scope_type": "phone_number",
        "scope_id": number["phone_number_id"],
        "assigned_user_id": "",
        "allowed_origins": "https://crm.example.com",
        "default_mode": "system",
        "language": "",
        "expiry": "never",
        "expires_at_0": "",
        "expires_at_1": "",
    }


@pytest.fixture
def change_form(admin: Client) -> Callable[..., dict[str, Any]]:
    """Return a reader of the data in an embed's form, with its hidden initial values."""

    def read(embed: InboxEmbed, **changed: Any) -> dict[str, Any]:
        page = admin.get(url("change", embed.pk))
        form = page.context["adminform"].form
        data: dict[str, Any] = {}
        for bound in form:
            value = bound.value()
            for prefix in ("", "initial-"):
                names = [f"{prefix}{bound.name}"]
                values = [value]
                if bound.name == "expires_at":
                    names = [f"{names[0]}_0", f"{names[0]}_1"]
                    values = bound.field.widget.decompress(value)
                for name, one in zip(names, values, strict=True):
                    one = bound.field.prepare_value(one)
                    if one is not None:
                        data[name] = one
        return {**data, **changed}

    return read
