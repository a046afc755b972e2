"""A deployment that shares its Kapso projects, such as one tenant of many: others' are not its."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.test import Client, override_settings
from django.urls import reverse

from kapso_inbox import lifecycle
from kapso_inbox.lifecycle import ForeignError
from kapso_inbox.models import AccessLink, InboxEmbed
from kapso_inbox.sandbox.engine import Sandbox
from kapso_inbox.sync import sync_project

pytestmark = pytest.mark.django_db

SHARED = {**settings.KAPSO_INBOX, "SHARED_PROJECTS": True}


@pytest.fixture
def theirs(kapso_sandbox: Sandbox) -> dict[str, Any]:
    """Create an embed of somebody else's at Kapso."""
    made: dict[str, Any] = kapso_sandbox.project().create(
        {"name": "Of another tenant #ki-0123456789", "scope_type": "project"}
    )
    return made


@pytest.fixture
def listed(theirs: dict[str, Any]) -> InboxEmbed:
    """List it here, from before the setting was made."""
    sync_project()
    return InboxEmbed.objects.get(slug=f"kapso-{theirs['id']}")


@pytest.fixture
def shared() -> Iterator[None]:
    with override_settings(KAPSO_INBOX=SHARED):
        yield


def lives(sandbox: Sandbox, kapso_id: str) -> bool:
    return kapso_id in [one["id"] for one in sandbox.project().active_embeds()]


def test_what_others_have_created_is_not_listed(
    embed: InboxEmbed, theirs: dict[str, Any], kapso_sandbox: Sandbox, shared: None
) -> None:
    report = sync_project()
    assert (report.complete, report.unmanaged, report.problems) == (True, 0, [])
    assert list(InboxEmbed.objects.all()) == [embed]
    assert lives(kapso_sandbox, theirs["id"])


def test_what_was_listed_before_is_forgotten_and_lives_on(
    embed: InboxEmbed, listed: InboxEmbed, theirs: dict[str, Any], kapso_sandbox: Sandbox
) -> None:
    with override_settings(KAPSO_INBOX=SHARED):
        sync_project(dry_run=True)
        assert InboxEmbed.objects.count() == 2
        sync_project()
    assert list(InboxEmbed.objects.all()) == [embed]
    assert list(AccessLink.objects.all()) == [embed.current_link]
    assert lives(kapso_sandbox, theirs["id"])
    assert {one.method for one in kapso_sandbox.requests} == {"GET", "POST"}


@pytest.mark.parametrize("verb", ["rotate", "revoke", "update"])
def test_what_was_listed_before_is_not_touched(
    listed: InboxEmbed, theirs: dict[str, Any], kapso_sandbox: Sandbox, shared: None, verb: str
) -> None:
    before = kapso_sandbox.project().active_embeds()
    changes = {"default_mode": "dark"} if verb == "update" else {}
    with pytest.raises(ForeignError, match="SHARED_PROJECTS"):
        getattr(lifecycle, f"{verb}_embed")(listed, **changes)
    assert kapso_sandbox.project().active_embeds() == before


def test_the_admin_says_why_it_adopts_none(
    listed: InboxEmbed, admin_client: Client, shared: None
) -> None:
    address = reverse("admin:kapso_inbox_inboxembed_verb", args=["adopt"])
    page = admin_client.get(address, {"id": listed.pk}).content.decode()
    assert "shares its Kapso project with others" in page


def test_its_own_links_are_kept_in_agreement_as_ever(
    embed: InboxEmbed, theirs: dict[str, Any], kapso_sandbox: Sandbox, shared: None
) -> None:
    link = embed.current_link
    assert link is not None
    kapso_sandbox.project().revoke(link.kapso_id)
    assert sync_project().ended == 1
    link.refresh_from_db()
    assert link.state == AccessLink.State.REVOKED
