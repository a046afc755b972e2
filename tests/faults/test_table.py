"""Every step of every action fails in every way, and each time it ends well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import table
from .table import ACTIONS, STEPS, Outcome, cells, render
from .world import World, world

# For the database to be there. The tests themselves leave it alone: the world has run before.
pytestmark = pytest.mark.django_db

DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"


@pytest.fixture(scope="module")
def the_world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    """One world for all cells, which is cleaned by hand: emptying every table takes far longer."""
    with django_db_blocker.unblock(), world() as made:
        yield made


@pytest.fixture(scope="module")
def outcomes(the_world: World) -> dict[tuple[str, str], Outcome]:
    return {(action, name): table.run(the_world, action, name) for action, name in cells()}


@pytest.mark.parametrize(("action", "name"), list(cells()), ids=lambda value: value)
def test_whatever_goes_wrong_it_ends_well(
    outcomes: dict[tuple[str, str], Outcome], action: str, name: str
) -> None:
    assert outcomes[action, name].wrong == []


@pytest.mark.parametrize("action", ACTIONS)
def test_the_process_dies_between_any_two_steps(
    outcomes: dict[tuple[str, str], Outcome], action: str
) -> None:
    """The rows of deaths go through all the steps that the action really takes."""
    assert outcomes[action, "nothing"].steps == STEPS[action]
    deaths = [
        outcome.steps
        for (of, name), outcome in outcomes.items()
        if of == action and name.startswith("the process dies before")
    ]
    assert deaths == [STEPS[action][:number] for number in range(len(STEPS[action]))]


@pytest.mark.parametrize("action", ["create", "rotate"])
def test_where_database_and_delete_both_fail_the_log_tells_what_lives(
    outcomes: dict[tuple[str, str], Outcome], action: str
) -> None:
    name = "the database fails after Kapso's answer, for good, and so does the DELETE"
    assert len(outcomes[action, name].told) == 1
    others = [outcome.told for key, outcome in outcomes.items() if key[1] != name]
    assert not any(others)


def test_the_document_tells_what_came_of_it(outcomes: dict[tuple[str, str], Outcome]) -> None:
    assert DOCUMENT.read_text() == render(outcomes), (
        "renew it: python -m tests.faults.table > docs/faults.md"
    )
