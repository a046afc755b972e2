"""An embed can be deleted once none of its links lives at Kapso, and its audit trail stays."""

from __future__ import annotations

import pytest

from kapso_inbox import lifecycle
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed, InboxPreference
from kapso_inbox.sandbox.engine import Sandbox
from tests.hosts.people import User

pytestmark = pytest.mark.django_db


def test_deleting_a_revoked_embed_leaves_an_audit_entry_with_the_actor(
    embed: InboxEmbed, ana: User
) -> None:
    InboxPreference.objects.create(user=ana, embed=embed)
    lifecycle.revoke_embed(embed)
    lifecycle.delete_embed(embed, actor=ana)
    assert not InboxEmbed.objects.exists()
    assert not AccessLink.objects.exists()
    change = InboxChange.objects.order_by("pk").last()
    assert change is not None
    assert (change.action, change.username, change.slug) == ("deleted", "ana", "sales")


@pytest.mark.parametrize("state", sorted(AccessLink.LIVE))
def test_an_embed_with_a_link_that_may_live_cannot_be_deleted(
    embed: InboxEmbed, state: str
) -> None:
    lifecycle.revoke_embed(embed)
    AccessLink.objects.create(embed=embed, state=state)
    with pytest.raises(lifecycle.LiveError):
        lifecycle.delete_embed(embed)
    assert InboxEmbed.objects.exists()
    assert not InboxChange.objects.filter(action="deleted").exists()


def test_deleting_an_embed_twice_raises_does_not_exist(embed: InboxEmbed) -> None:
    lifecycle.revoke_embed(embed)
    lifecycle.delete_embed(embed)
    with pytest.raises(InboxEmbed.DoesNotExist):
        lifecycle.delete_embed(embed)


def test_two_rotations_of_the_same_expected_link_create_one_link(
    embed: InboxEmbed, kapso_sandbox: Sandbox
) -> None:
    seen = lifecycle.newest_link(embed)
    lifecycle.rotate_embed(embed, expected_link=seen)
    with pytest.raises(lifecycle.ReplacedError):
        lifecycle.rotate_embed(embed, expected_link=seen)
    assert [link["status"] for link in kapso_sandbox.project().links()].count("active") == 1
    assert embed.links.count() == 2


def test_two_rotations_of_an_embed_expected_to_have_no_link_create_one_link(
    kapso_sandbox: Sandbox,
) -> None:
    embed = InboxEmbed.objects.create(slug="sales", name="Sales")
    lifecycle.rotate_embed(embed, expected_link=None)
    with pytest.raises(lifecycle.ReplacedError):
        lifecycle.rotate_embed(embed, expected_link=None)
    assert embed.links.count() == 1
    lifecycle.rotate_embed(embed)
    assert embed.links.count() == 2


def test_a_rotation_without_revive_is_refused_if_the_embed_was_revoked(
    embed: InboxEmbed, kapso_sandbox: Sandbox
) -> None:
    lifecycle.rotate_embed(embed, revive=False)
    lifecycle.revoke_embed(embed)
    for state in (AccessLink.State.REVOKED, AccessLink.State.REVOKING):
        AccessLink.objects.filter(pk=lifecycle.newest_link(embed)).update(state=state)
        with pytest.raises(lifecycle.RevokedError):
            lifecycle.rotate_embed(embed, revive=False)
    assert kapso_sandbox.project().active_embeds() == []
    assert lifecycle.rotate_embed(embed).obstacle() is None
