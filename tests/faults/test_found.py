"""Mistakes that random sequences found, each in as few steps as it takes."""

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
    """That a link made under this very key stands in the list says nothing of all others."""
    embed = create_embed(slug="sales", name="Sales")
    kapso_sandbox.add_project("other-key")
    with override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "API_KEY": "other-key"}):
        create_embed(slug="support", name="Support")
        sync_project()
    link = AccessLink.objects.get(embed=embed)
    assert link.state == State.ACTIVE
    assert link.sealed_url


def test_a_sync_under_the_right_key_forgets_nothing_made_under_the_wrong_one(
    kapso_sandbox: Sandbox,
) -> None:
    create_embed(slug="sales", name="Sales")
    other = kapso_sandbox.add_project("other-key")
    with override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "API_KEY": "other-key"}):
        create_embed(slug="support", name="Support")
    sync_project()
    assert len(other.active_embeds()) == 1
    assert AccessLink.objects.get(embed__slug="support").state in AccessLink.LIVE


def test_a_link_that_is_made_while_a_sync_reads_the_list_lives_on(kapso_sandbox: Sandbox) -> None:
    """It was begun before the sync, and finished after the page that would have held it."""
    embed = InboxEmbed.objects.create(slug="sales", name="Sales")
    link = AccessLink.objects.create(embed=embed, key_fingerprint=conf.project().key_fingerprint)

    def kapso_answers_the_post_after_this_page(listed: int) -> None:
        issue.issue_link(link, conf.project().client())

    sync_project(on_page=kapso_answers_the_post_after_this_page)
    link.refresh_from_db()
    assert link.state == State.ACTIVE
    assert link.sealed_url


def test_what_lives_though_its_link_failed_is_ended_or_shown(kapso_sandbox: Sandbox) -> None:
    """Kapso did it and a proxy in front refused; or it came about after two lists without it."""
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


def test_what_is_kept_for_the_next_link_outlives_a_sync(kapso_sandbox: Sandbox) -> None:
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
def test_what_one_sync_began_to_show_the_next_one_shows(step: int) -> None:
    """The next sync finds its slug taken, and takes all of it for done."""
    with world() as made:
        made.sandbox.project().create({"name": "Made by hand", "scope_type": "project"})
        with pytest.raises(ProcessDied), made.trouble_with(Trouble(dies=step)):
            sync_project()
        made.heal()
        link = InboxEmbed.objects.get().current_link
        assert link is not None
        assert link.state == State.UNMANAGED


@pytest.mark.parametrize("current", [0, 1], ids=["current first", "current last"])
def test_an_inbox_that_was_rotated_is_mirrored_like_any_other(
    kapso_sandbox: Sandbox, current: int
) -> None:
    """Kapso lists its old link, too; the order of the two rows is that of random keys."""
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


def test_what_was_made_under_a_wrong_key_keeps_nothing_from_being_settled(
    kapso_sandbox: Sandbox,
) -> None:
    """Under the right key again, the only link known by its id is that of the other project."""
    kapso_sandbox.fail_next(drop="after")
    with pytest.raises(UncertainError):
        create_embed(slug="sales", name="Sales")
    kapso_sandbox.add_project("other-key")
    with override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "API_KEY": "other-key"}):
        create_embed(slug="support", name="Support")
    sync_project()
    assert kapso_sandbox.project().active_embeds() == []


def test_a_list_whose_embeds_lack_their_ids_proves_nothing_gone(kapso_sandbox: Sandbox) -> None:
    """Known by its id alone, a link would be missing from such a list, and taken for revoked."""
    embed = create_embed(slug="sales", name="Sales")
    AccessLink.objects.update(state_changed_at=F("state_changed_at") - timedelta(hours=1))
    listed = [{"name": "Sales", "status": "active"}]
    meta = {"page": 1, "total_pages": 1}
    kapso_sandbox.fail_next(method="GET", answer=Answer(200, {"data": listed, "meta": meta}))
    report = sync_project()
    assert not report.complete
    embed.refresh_from_db()
    assert embed.obstacle() is None
