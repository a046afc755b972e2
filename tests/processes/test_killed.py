"""A process is killed (SIGKILL) in the middle of something, and somebody does it again."""

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

from .house import House, minutes_pass

State = AccessLink.State

#: The moments of the making of a link. The swap is the commit after the POST.
MAKING = [
    "before insert commit",  # the intent
    "before POST",
    "after POST",
    "before POST commit",
    "after POST commit",
]
#: Those of the end of the link before, which follow where there is one.
ENDING = ["before DELETE", "after DELETE", "after DELETE update"]


def settle() -> None:
    """What an operator, or time, does with links whose making is uncertain."""
    for _ in range(2):
        for link in AccessLink.objects.filter(state__in=AccessLink.LIVE - {State.ACTIVE}):
            lifecycle.resolve_embed(link.embed)
        minutes_pass(10)


def assert_one_link_works(house: House) -> None:
    house.assert_all_accounted_for()
    [live] = house.live()
    link = AccessLink.objects.get(state=State.ACTIVE)
    assert live["id"] == link.kapso_id
    assert live["embed_url"] == link.reveal_url()


@pytest.mark.parametrize("repeat", ["rotate", "revoke"])
@pytest.mark.parametrize("moment", MAKING + ENDING)
def test_a_rotation_that_was_killed_is_finished_by_whoever_comes_next(
    house: House, moment: str, repeat: str
) -> None:
    embed = lifecycle.create_embed(slug="sales", name="Sales")
    house.killed(("rotate_embed", "sales"), at=moment)
    house.assert_all_accounted_for()
    house.assert_what_is_active_lives()
    embed.refresh_from_db()
    assert embed.obstacle() is None, "at every instant a link works"
    minutes_pass(10)  # until then the killed one may still be at it
    if repeat == "rotate":
        lifecycle.rotate_embed(embed)
        house.assert_all_accounted_for()
        settle()
        assert_one_link_works(house)
    else:
        lifecycle.revoke_embed(embed)
        house.assert_all_accounted_for()
        settle()
        assert house.live() == []


@pytest.mark.parametrize("moment", ["before POST", "after POST"])
def test_a_rotation_that_was_killed_just_now_makes_the_next_one_wait_and_no_revocation(
    house: House, moment: str
) -> None:
    embed = lifecycle.create_embed(slug="sales", name="Sales")
    house.killed(("rotate_embed", "sales"), at=moment)
    with pytest.raises(lifecycle.BusyError):
        lifecycle.rotate_embed(embed)
    lifecycle.revoke_embed(embed)
    house.assert_all_accounted_for()
    settle()
    assert house.live() == []


@pytest.mark.parametrize("moment", MAKING)
def test_a_creation_that_was_killed_is_finished_by_ensuring_the_embed(
    house: House, moment: str
) -> None:
    house.killed(("create_embed", "sales"), at=moment)
    house.assert_all_accounted_for()
    minutes_pass(10)
    assert lifecycle.ensure_embed("sales").obstacle() is None
    house.assert_all_accounted_for()
    settle()
    assert_one_link_works(house)


@pytest.mark.parametrize("moment", ["before update commit", "after update commit", *ENDING])
def test_a_revocation_that_was_killed_is_finished_by_the_next(house: House, moment: str) -> None:
    embed = lifecycle.create_embed(slug="sales", name="Sales")
    house.killed(("revoke_embed", "sales"), at=moment)
    house.assert_all_accounted_for()
    lifecycle.revoke_embed(embed)
    assert house.live() == []
    assert AccessLink.objects.get().state == State.REVOKED


@pytest.mark.parametrize("moment", ["before PATCH", "after PATCH", "before PATCH commit"])
def test_a_change_that_was_killed_is_made_by_the_next(house: House, moment: str) -> None:
    embed = lifecycle.create_embed(slug="sales", name="Sales")
    house.killed(("update_embed", "sales", "dark"), at=moment)
    house.assert_all_accounted_for()
    assert lifecycle.update_embed(embed, default_mode="dark").default_mode == "dark"
    assert_one_link_works(house)
    assert house.live()[0]["default_mode"] == "dark"


# Encryption keys


@pytest.fixture
def before_and_after() -> dict[str, str]:
    return {"new": generate_key(), "old": generate_key()}


@pytest.fixture
def links(house: House, before_and_after: dict[str, str]) -> Iterator[list[AccessLink]]:
    """Five links under the old key; then every process has the new one, too."""
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
        house.kapso_inbox = settings.KAPSO_INBOX
        yield made


def keys(**configured: str) -> Any:
    """Settings with these encryption keys, and launches that ask Kapso for nothing."""
    own = {"ENCRYPTION_KEYS": configured, "VERIFY_AFTER": 0}
    return override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, **own})


def stored_under() -> set[str]:
    return {key_id_of(link.sealed_url) for link in AccessLink.objects.all()}


def assert_all_open(links: list[AccessLink]) -> None:
    for number, link in enumerate(links):
        link.refresh_from_db()
        assert link.reveal_url() == f"https://inbox.kapso.ai/embed/token-{number}"
        assert link.state == State.ACTIVE


@pytest.mark.parametrize(
    "moment",
    ["before update", "after update", "after update update update", "before update select"],
)
def test_a_rotation_of_keys_that_was_killed_is_finished_by_the_next(
    house: House, links: list[AccessLink], before_and_after: dict[str, str], moment: str
) -> None:
    house.killed(("command", "kapso_rotate_keys", "--batch-size=2"), at=moment)
    assert_all_open(links)
    assert "old" in stored_under()
    [[outcome]] = house.at_once([("command", "kapso_rotate_keys", "--batch-size=2")])
    assert outcome["error"] is None
    assert "may be removed: old" in outcome["result"]
    with keys(new=before_and_after["new"]):
        assert_all_open(links)


def test_agents_open_their_inboxes_while_two_processes_rotate_the_keys(
    house: House, links: list[AccessLink], before_and_after: dict[str, str]
) -> None:
    User.objects.create_superuser("ana")
    slugs = [f"inbox-{number}" for number in range(5)]
    rotation = [("command", "kapso_rotate_keys", "--batch-size=1", "--json")]
    *launches, first, second = house.at_once(
        *([("launches", slugs, 6)] for _ in range(2)), rotation, rotation
    )
    for [outcome] in launches:
        assert outcome["error"] is None
        assert outcome["result"] == {"opened": 30}
    assert [first[0]["error"], second[0]["error"]] == [None, None]
    assert stored_under() == {"new"}
    with keys(new=before_and_after["new"]):
        assert_all_open(links)
        assert reencrypt().current == 5
