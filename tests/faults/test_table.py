"""Every step of every action can fail in every way without losing a link."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import table
from .table import ACTIONS, STEPS, Outcome, cells, render
from .world import World, world

# Sets the database up. The tests themselves do not use it, because the fixtures run the actions.
pytestmark = pytest.mark.django_db

DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"


@pytest.fixture(scope="module")
def the_world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    """Yield one world for all rows. It cleans up by itself, because flushing takes far longer."""
    with django_db_blocker.unblock(), world() as made:
        yield made


@pytest.fixture(scope="module")
def outcomes(the_world: World) -> dict[tuple[str, str], Outcome]:
    return {(action, name): table.run(the_world, action, name) for action, name in cells()}


@pytest.mark.parametrize(("action", "name"), list(cells()), ids=lambda value: value)
def test_whatever_goes_wrong_no_check_fails(
    outcomes: dict[tuple[str, str], Outcome], action: str, name: str
) -> None:
    assert outcomes[action, name].wrong == []


@pytest.mark.parametrize("action", ACTIONS)
def test_the_process_dies_between_any_two_steps(
    outcomes: dict[tuple[str, str], Outcome], action: str
) -> None:
    """The table has a row for a death before each step that the action really takes."""
    assert outcomes[action, "nothing"].steps == STEPS[action]
    deaths = [
        outcome.steps
        for (of, name), outcome in outcomes.items()
        if of == action and name.startswith("the process dies before")
    ]
    assert deaths == [STEPS[action][:number] for number in range(len(STEPS[action]))]


@pytest.mark.parametrize("action", ["create", "rotate"])
def test_the_log_names_what_lives_if_the_database_cannot_say_what_became_of_it(
    outcomes: dict[tuple[str, str], Outcome], action: str
) -> None:
    assert {name for (of, name), outcome in outcomes.items() if of == action and outcome.told} == {
        "the database fails after Kapso's answer, permanently",
        "the database fails after Kapso's answer, by losing its own answer, then permanently",
    }


def test_the_document_matches_the_outcomes(outcomes: dict[tuple[str, str], Outcome]) -> None:
    assert DOCUMENT.read_text() == render(outcomes), (
        "generate it again: python -m tests.faults.table > docs/faults.md"
    )
