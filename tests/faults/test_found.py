"""Mistakes that random sequences found, each in the fewest steps that show it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.db.models import F
from django.test import override_settings

from kapso_inbox import conf
from kapso_inbox.kapso import CredentialsError, UncertainError
from kapso_inbox.lifecycle import create_embed, issue, revoke_embed, rotate_embed, update_embed
from kapso_inbox.models import AccessLink, InboxEmbed
from kapso_inbox.sandbox.engine import Answer, Sandbox
from kapso_inbox.sync import sync_project

from .world import ProcessDied, Trouble, world

pytestmark = pytest.mark.django_db

State = AccessLink.State


def test_a_sync_under_another_projects_key_wipes_no_secret(kapso_sandbox: Sandbox) -> None:
    """The list holds a link created under that key. That proves nothing about other links."""
    embed = create_embed(slug="sales", name="Sales")
    kapso_sandbox.add_project("other-key")
    with override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "API_KEY": "other-key"}):
        create_embed(slug="support", name="Support")
        sync_project()
    link = AccessLink.objects.get(embed=embed)
    assert link.state == State.ACTIVE
    assert link.sealed_url


def test_a_sync_under_the_right_key_keeps_links_created_under_the_wrong_one(
    kapso_sandbox: Sandbox,
) -> None:
    create_embed(slug="sales", name="Sales")
    other = kapso_sandbox.add_project("other-key")
    with override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "API_KEY": "other-key"}):
        create_embed(slug="support", name="Support")
    sync_project()
    assert len(other.active_embeds()) == 1
    assert AccessLink.objects.get(embed__slug="support").state in AccessLink.LIVE


def test_a_sync_keeps_a_link_that_is_created_while_it_reads_the_list(
    kapso_sandbox: Sandbox,
) -> None:
    """Its creation began before the sync, and ended after the page that would have listed it."""
    embed = InboxEmbed.objects.create(slug="sales", name="Sales")
    link = AccessLink.objects.create(embed=embed, key_fingerprint=conf.project().key_fingerprint)

    def kapso_answers_the_post_after_this_page(listed: int) -> None:
        issue.issue_link(link, conf.project().client())

    sync_project(on_page=kapso_answers_the_post_after_this_page)
    link.refresh_from_db()
    assert link.state == State.ACTIVE
    assert link.sealed_url


def test_a_live_link_that_is_stored_as_failed_is_revoked_or_shown(kapso_sandbox: Sandbox) -> None:
    """Kapso created it and a proxy refused, or it appeared after two lists without it."""
    kapso_sandbox.fail_next(answer=Answer(403, "<html>error code: 1010</html>"), process=True)
    with pytest.raises(CredentialsError):
        create_embed(slug="sales", name="Sales")
    hour = timedelta(hours=1)
    AccessLink.objects.update(
        state_changed_at=F("state_changed_at") - hour, created_at=F("created_at") - hour
    )
    sync_project()
    lives = kapso_sandbox.project().active_embeds()
    assert not lives or AccessLink.objects.filter(state__in=AccessLink.LIVE).exists()


def test_a_sync_keeps_settings_that_wait_for_the_next_link(kapso_sandbox: Sandbox) -> None:
    embed = create_embed(slug="sales", name="Sales")
    kapso_sandbox.fail_next(method="DELETE", drop="before")
    with pytest.raises(UncertainError):
        revoke_embed(embed)
    assert update_embed(embed, name="New").name == "New"
    InboxEmbed.objects.update(updated_at=F("updated_at") - timedelta(hours=1))
    sync_project()
    embed.refresh_from_db()
    assert embed.name == "New"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("step", [0, 1])
def test_a_sync_that_died_while_showing_an_embed_is_finished_by_the_next_one(step: int) -> None:
    """The next sync finds the slug taken, and must not conclude that nothing is left to do."""
    with world() as made:
        made.sandbox.project().create({"name": "Created by hand", "scope_type": "project"})
        with pytest.raises(ProcessDied), made.trouble_with(Trouble(dies=step)):
            sync_project()
        made.heal()
        link = InboxEmbed.objects.get().current_link
        assert link is not None
        assert link.state == State.UNMANAGED


@pytest.mark.parametrize("current", [0, 1], ids=["current first", "current last"])
def test_an_embed_that_was_rotated_is_mirrored_like_any_other(
    kapso_sandbox: Sandbox, current: int
) -> None:
    """Kapso also lists its old link, and the two rows are in the order of their random keys."""
    embed = create_embed(slug="sales", name="Sales")
    while True:
        embed = rotate_embed(embed)
        assert embed.current_link is not None
        old, new = embed.links.order_by("created_at")
        if (new.pk > old.pk) == bool(current):
            break
        AccessLink.objects.filter(pk=old.pk).delete()
    InboxEmbed.objects.update(updated_at=F("updated_at") - timedelta(hours=1))
    kapso_sandbox.project().update(embed.current_link.kapso_id, {"default_mode": "dark"})
    sync_project()
    embed.refresh_from_db()
    assert embed.default_mode == "dark"


def test_a_link_created_under_a_wrong_key_does_not_block_settling_the_others(
    kapso_sandbox: Sandbox,
) -> None:
    """Under the right key again, only the other project's link is known by its ID."""
    kapso_sandbox.fail_next(drop="after")
    with pytest.raises(UncertainError):
        create_embed(slug="sales", name="Sales")
    kapso_sandbox.add_project("other-key")
    with override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "API_KEY": "other-key"}):
        create_embed(slug="support", name="Support")
    sync_project()
    assert kapso_sandbox.project().active_embeds() == []


def test_a_list_of_embeds_without_ids_does_not_prove_that_a_link_is_gone(
    kapso_sandbox: Sandbox,
) -> None:
    """A link that is looked up by its ID would be missing from that list, and count as revoked."""
    embed = create_embed(slug="sales", name="Sales")
    AccessLink.objects.update(state_changed_at=F("state_changed_at") - timedelta(hours=1))
    listed = [{"name": "Sales", "status": "active"}]
    meta = {"page": 1, "total_pages": 1}
    kapso_sandbox.fail_next(method="GET", answer=Answer(200, {"data": listed, "meta": meta}))
    report = sync_project()
    assert not report.complete
    embed.refresh_from_db()
    assert embed.obstacle() is None
