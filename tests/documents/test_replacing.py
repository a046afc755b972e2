"""The steps of replacing.md replace an integration that was written by hand."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from django.conf import settings
from django.test import Client
from django.urls import reverse

from kapso_inbox.lifecycle import delete_embed
from kapso_inbox.models import InboxEmbed, Outcome
from kapso_inbox.sandbox.engine import Sandbox
from kapso_inbox.sync import sync_project
from tests.hosts.people import User

from . import DOCS, blocks

pytestmark = [pytest.mark.django_db, pytest.mark.table]

FRAME = {"Sec-Fetch-Dest": "iframe", "Sec-Fetch-Site": "same-origin"}
ID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@pytest.fixture
def number(kapso_sandbox: Sandbox) -> str:
    """Return the number of the document, which this Kapso has."""
    number = "106540352242910"
    kapso_sandbox.project().phone_numbers[0]["phone_number_id"] = number
    return number


@pytest.fixture
def shows(kapso_sandbox: Sandbox) -> Callable[[str], bool]:
    """Return a function that says whether an address at Kapso shows an inbox."""

    def shows(address: str) -> bool:
        token = urlsplit(address).path.removeprefix("/embed/")
        return kapso_sandbox.open_inbox(token, {}).status == 200

    return shows


@pytest.fixture
def launch(client: Client, admin_user: User) -> Callable[[str], str]:
    """Return a function that launches an inbox, and returns the address at Kapso."""
    client.force_login(admin_user)

    def launch(slug: str) -> str:
        answer = client.get(reverse("kapso_inbox:launch", args=[slug]), headers=FRAME)
        assert answer.status_code == 302
        return answer["Location"]

    return launch


def created_by_hand(number: str) -> dict[str, str]:
    """Create an embed as the replaced code does, and return the row that it stores."""
    embed = {
        "name": "Support",
        "scope_type": "phone_number",
        "scope_id": number,
        "allowed_origins": ["https://crm.example.com"],
    }
    answer = requests.post(
        "https://api.kapso.ai/platform/v1/inbox_embeds",
        json={"inbox_embed": embed},
        headers={"X-API-Key": settings.KAPSO_INBOX["API_KEY"]},
        timeout=5,
    )
    created = answer.json()["data"]
    return {"id": created["id"], "embed_url": created["embed_url"]}


def run(names: dict[str, Any], step: str, *, kapso_id: str = "") -> None:
    """Run the block of the document that does a step, for an embed of this test."""
    shown = (block for block in blocks(DOCS / "replacing.md") if block.language == "python")
    [code] = [block.code for block in shown if f"{step}(" in block.code]
    exec(re.sub(ID, kapso_id, code), names)  # noqa: S102 (our own document)


def test_the_new_inbox_opens_beside_the_old_one_which_is_then_revoked(
    number: str, shows: Callable[[str], bool], launch: Callable[[str], str]
) -> None:
    old, forgotten = created_by_hand(number), created_by_hand(number)
    sync_project()
    names: dict[str, Any] = {}
    run(names, "ensure_embed")
    new = launch("support")
    assert shows(new)
    assert shows(old["embed_url"])

    run(names, "revoke_embed", kapso_id=old["id"])
    assert not shows(old["embed_url"])
    assert launch("support") == new
    assert shows(new)
    # What the table does not name is left to the reader.
    assert shows(forgotten["embed_url"])
    [left] = names["elsewhere"].all()
    assert (left.name, left.current_link.kapso_id) == ("Support", forgotten["id"])

    delete_embed(InboxEmbed.objects.get(slug=f"kapso-{old['id']}"))
    assert sync_project().unmanaged == 0


def test_an_adopted_inbox_keeps_its_settings_and_ends_the_old_address(
    number: str, shows: Callable[[str], bool], launch: Callable[[str], str]
) -> None:
    old = created_by_hand(number)
    sync_project()
    embed = InboxEmbed.objects.get(slug=f"kapso-{old['id']}")
    assert embed.obstacle() == Outcome.NOT_READY
    names: dict[str, Any] = {}
    run(names, "revoke_embed", kapso_id="nothing")  # for the imports that the page shows before
    run(names, "rotate_embed", kapso_id=old["id"])
    assert shows(launch("sales"))
    assert not shows(old["embed_url"])
    embed.refresh_from_db()
    assert (embed.scope_id, embed.allowed_origins) == (number, ["https://crm.example.com"])
