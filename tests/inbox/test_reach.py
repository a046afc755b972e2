"""The page that asks whether the inbox's host answers, in a hidden frame of the component."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.hosts.people import User

pytestmark = pytest.mark.django_db

REACH = "/kapso-inbox/sales/reach/"


def test_its_policy_allows_its_script_to_ask_the_hosts_of_inboxes_and_nobody_else(
    client: Client, settings: Any
) -> None:
    origins = ["https://inbox.kapso.ai", "https://inbox.example.com"]
    settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, "INBOX_ORIGINS": origins}
    client.force_login(User.objects.create_user("bo"))
    page = client.get(REACH)
    assert f'data-origins="{" ".join(origins)}"' in page.content.decode()
    assert '<script src="/static/kapso_inbox/reach.js" defer></script>' in page.content.decode()
    assert page["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; connect-src " + " ".join(origins) + "; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )
    assert page["X-Frame-Options"] == "SAMEORIGIN"
    assert page["Cache-Control"] == "private, max-age=3600"


def test_it_is_the_same_for_every_slug(client: Client) -> None:
    client.force_login(User.objects.create_user("bo"))
    assert client.get(REACH).content == client.get("/kapso-inbox/nobodys/reach/").content


def test_it_tells_a_visitor_who_is_not_signed_in_no_origin(client: Client) -> None:
    page = client.get(REACH)
    assert page.status_code == 200
    assert "kapso.ai" not in page.content.decode() + page["Content-Security-Policy"]
    assert "<script" not in page.content.decode()
    assert page["Cache-Control"] == "no-store, private"
