"""How an embed is doing, in one word, by the database alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from kapso_inbox.models import AccessLink, Condition, InboxEmbed, Outcome

pytestmark = pytest.mark.django_db

State = AccessLink.State


def read(embed: InboxEmbed) -> Any:
    return InboxEmbed.objects.filter(pk=embed.pk).with_condition().get()


def make(
    state: State | None, *, days: int | None = None, others: tuple[State, ...] = ()
) -> InboxEmbed:
    expires = None if days is None else timezone.now() + timedelta(days=days)
    embed = InboxEmbed.objects.create(slug="an-inbox", name="An inbox", expires_at=expires)
    for other in others:
        AccessLink.objects.create(embed=embed, state=other)
    if state is not None:
        embed.current_link = AccessLink.objects.create(embed=embed, state=state)
        embed.save()
    return embed


@pytest.mark.parametrize(
    ("state", "days", "others", "condition", "loose"),
    [
        (State.ACTIVE, None, (), Condition.WORKS, False),
        (State.ACTIVE, 30, (), Condition.WORKS, False),
        (State.ACTIVE, 3, (), Condition.EXPIRES_SOON, False),
        (State.ACTIVE, -1, (), Condition.EXPIRED, False),
        (State.ACTIVE, None, (State.REVOKED, State.FAILED), Condition.WORKS, False),
        (State.ACTIVE, None, (State.UNKNOWN,), Condition.WORKS, True),
        (State.ACTIVE, None, (State.REVOKING,), Condition.WORKS, True),
        (State.SECRET_LOST, None, (), Condition.SECRET_LOST, False),
        (State.UNMANAGED, None, (), Condition.UNMANAGED, False),
        (State.REVOKING, None, (), Condition.WAITING, False),
        (State.REVOKED, -1, (), Condition.REVOKED, False),
        (State.REVOKED, None, (State.CREATING,), Condition.WAITING, True),
        (None, None, (State.CREATING,), Condition.WAITING, True),
        (None, None, (State.UNKNOWN,), Condition.WAITING, True),
        (None, None, (State.FAILED,), Condition.NO_LINK, False),
        (None, None, (), Condition.NO_LINK, False),
    ],
)
def test_each_state_has_its_word(
    state: State | None,
    days: int | None,
    others: tuple[State, ...],
    condition: Condition,
    loose: bool,
) -> None:
    embed = read(make(state, days=days, others=others))
    assert (embed.condition, bool(embed.has_unsettled_links)) == (condition, loose)


@pytest.mark.parametrize("own", [{}, {"personal_to": "7"}])
@pytest.mark.parametrize("days", [None, 30, 3, -1])
@pytest.mark.parametrize("state", [None, *State])
def test_it_works_where_nothing_keeps_it_from_opening(
    state: State | None, days: int | None, own: dict[str, str]
) -> None:
    embed = make(state, days=days)
    InboxEmbed.objects.update(**own)
    embed = read(embed)
    opens = embed.condition in (Condition.WORKS, Condition.EXPIRES_SOON)
    assert opens is (embed.obstacle() is None)
    assert (embed.condition == Condition.EXPIRED) is (embed.obstacle() == Outcome.EXPIRED)


def test_what_is_one_users_own_and_narrowed_to_nobody_is_said() -> None:
    embed = make(State.ACTIVE)
    InboxEmbed.objects.update(personal_to="7")
    assert read(embed).condition == Condition.UNASSIGNED
    InboxEmbed.objects.update(assigned_user_id="9c0d3c1e-0a52-4b5e-8f4e-3a9c5a1d2b10")
    assert read(embed).condition == Condition.WORKS
