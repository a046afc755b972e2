"""A process is killed (SIGKILL) during an action, and the action is repeated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from kapso_inbox import lifecycle
from kapso_inbox.encryption import generate_key, key_id_of
from kapso_inbox.lifecycle.reencrypt import reencrypt
from kapso_inbox.models import AccessLink, InboxEmbed
from tests.hosts.people import User

from .deployment import Deployment, minutes_pass

State = AccessLink.State

#: Moments in the creation of a link. The commit after the POST replaces the current link.
CREATING = [
    "before insert commit",  # the intent
    "before POST",
    "after POST",
    "before POST commit",
    "after POST commit",
]
#: Moments in the revocation of a link. In a rotation they follow the creation of the new link.
REVOKING = ["before DELETE", "after DELETE", "after DELETE update"]


def settle() -> None:
    """Resolve the uncertain links, twice with some minutes between, as an operator does."""
    for _ in range(2):
        for link in AccessLink.objects.filter(state__in=AccessLink.LIVE - {State.ACTIVE}):
            lifecycle.resolve_embed(link.embed)
        minutes_pass(10)


def assert_one_link_works(deployment: Deployment) -> None:
    deployment.assert_all_accounted_for()
    [live] = deployment.live()
    link = AccessLink.objects.get(state=State.ACTIVE)
    assert live["id"] == link.kapso_id
    assert live["embed_url"] == link.reveal_url()


@pytest.mark.parametrize("repeat", ["rotate", "revoke"])
@pytest.mark.parametrize("moment", CREATING + REVOKING)
def test_a_rotation_that_was_killed_is_finished_by_the_next_action(
    deployment: Deployment, moment: str, repeat: str
) -> None:
    embed = lifecycle.create_embed(slug="sales", name="Sales")
    deployment.killed(("rotate_embed", "sales"), at=moment)
    deployment.assert_all_accounted_for()
    deployment.assert_what_is_active_lives()
    embed.refresh_from_db()
    assert embed.obstacle() is None, "a link must work at every moment"
    minutes_pass(10)  # until then the killed process might still be running
    if repeat == "rotate":
        lifecycle.rotate_embed(embed)
        deployment.assert_all_accounted_for()
        settle()
        assert_one_link_works(deployment)
    else:
        lifecycle.revoke_embed(embed)
        deployment.assert_all_accounted_for()
        settle()
        assert deployment.live() == []


@pytest.mark.parametrize("moment", ["before POST", "after POST"])
def test_a_rotation_that_was_just_killed_delays_the_next_rotation_but_not_a_revocation(
    deployment: Deployment, moment: str
) -> None:
    embed = lifecycle.create_embed(slug="sales", name="Sales")
    deployment.killed(("rotate_embed", "sales"), at=moment)
    with pytest.raises(lifecycle.BusyError):
        lifecycle.rotate_embed(embed)
    lifecycle.revoke_embed(embed)
    deployment.assert_all_accounted_for()
    settle()
    assert deployment.live() == []


@pytest.mark.parametrize("moment", CREATING)
def test_a_creation_that_was_killed_is_finished_by_ensuring_the_embed(
    deployment: Deployment, moment: str
) -> None:
    deployment.killed(("create_embed", "sales"), at=moment)
    deployment.assert_all_accounted_for()
    minutes_pass(10)
    assert lifecycle.ensure_embed("sales").obstacle() is None
    deployment.assert_all_accounted_for()
    settle()
    assert_one_link_works(deployment)


@pytest.mark.parametrize("moment", ["before update commit", "after update commit", *REVOKING])
def test_a_revocation_that_was_killed_is_finished_by_the_next(
    deployment: Deployment, moment: str
) -> None:
    embed = lifecycle.create_embed(slug="sales", name="Sales")
    deployment.killed(("revoke_embed", "sales"), at=moment)
    deployment.assert_all_accounted_for()
    lifecycle.revoke_embed(embed)
    assert deployment.live() == []
    assert AccessLink.objects.get().state == State.REVOKED


@pytest.mark.parametrize("moment", ["before PATCH", "after PATCH", "before PATCH commit"])
def test_an_update_that_was_killed_is_completed_by_the_next(
    deployment: Deployment, moment: str
) -> None:
    embed = lifecycle.create_embed(slug="sales", name="Sales")
    deployment.killed(("update_embed", "sales", "dark"), at=moment)
    deployment.assert_all_accounted_for()
    assert lifecycle.update_embed(embed, default_mode="dark").default_mode == "dark"
    assert_one_link_works(deployment)
    assert deployment.live()[0]["default_mode"] == "dark"


# Encryption keys


@pytest.fixture
def before_and_after() -> dict[str, str]:
    return {"new": generate_key(), "old": generate_key()}


@pytest.fixture
def links(deployment: Deployment, before_and_after: dict[str, str]) -> Iterator[list[AccessLink]]:
    """Yield five links encrypted under the old key; all processes then have the new key, too."""
    made = []
    with keys(old=before_and_after["old"]):
        for number in range(5):
            embed = InboxEmbed.objects.create(slug=f"inbox-{number}", name=f"Inbox {number}")
            link = AccessLink(embed=embed, state=State.ACTIVE, kapso_id=str(number))
            link.store_url(f"https://inbox.kapso.ai/embed/token-{number}")
            link.save()
            InboxEmbed.objects.filter(pk=embed.pk).update(current_link=link)
            made.append(link)
    with keys(**before_and_after):
        deployment.kapso_inbox = settings.KAPSO_INBOX
        yield made


def keys(**configured: str) -> Any:
    """Override the encryption keys, and let launches ask Kapso nothing."""
    own = {"ENCRYPTION_KEYS": configured, "VERIFY_AFTER": 0}
    return override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, **own})


def stored_under() -> set[str]:
    return {key_id_of(link.sealed_url) for link in AccessLink.objects.all()}


def assert_all_decrypt(links: list[AccessLink]) -> None:
    for number, link in enumerate(links):
        link.refresh_from_db()
        assert link.reveal_url() == f"https://inbox.kapso.ai/embed/token-{number}"
        assert link.state == State.ACTIVE


@pytest.mark.parametrize(
    "moment",
    ["before update", "after update", "after update update update", "before update select"],
)
def test_a_rotation_of_keys_that_was_killed_is_finished_by_the_next(
    deployment: Deployment, links: list[AccessLink], before_and_after: dict[str, str], moment: str
) -> None:
    deployment.killed(("command", "kapso_rotate_keys", "--batch-size=2"), at=moment)
    assert_all_decrypt(links)
    assert "old" in stored_under()
    [[outcome]] = deployment.at_once([("command", "kapso_rotate_keys", "--batch-size=2")])
    assert outcome["error"] is None
    assert "may be removed: old" in outcome["result"]
    with keys(new=before_and_after["new"]):
        assert_all_decrypt(links)


def test_agents_can_open_their_inboxes_while_two_processes_rotate_the_keys(
    deployment: Deployment, links: list[AccessLink], before_and_after: dict[str, str]
) -> None:
    User.objects.create_superuser("ana")
    slugs = [f"inbox-{number}" for number in range(5)]
    rotation = [("command", "kapso_rotate_keys", "--batch-size=1", "--json")]
    *launches, first, second = deployment.at_once(
        *([("launches", slugs, 6)] for _ in range(2)), rotation, rotation
    )
    for [outcome] in launches:
        assert outcome["error"] is None
        assert outcome["result"] == {"opened": 30}
    assert [first[0]["error"], second[0]["error"]] == [None, None]
    assert stored_under() == {"new"}
    with keys(new=before_and_after["new"]):
        assert_all_decrypt(links)
        assert reencrypt().current == 5
