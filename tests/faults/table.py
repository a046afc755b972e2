"""The table of faults: each action with each thing that can go wrong in it, run and written down.

`python -m tests.faults.table > docs/faults.md` renews the document.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .world import Trouble, World

ACTIONS = ("create", "update", "rotate", "revoke")

#: What each action does where nothing goes wrong. `test_table.py` holds it to that.
STEPS = {
    "create": ("commit", "POST", "commit"),
    "update": ("PATCH", "commit"),
    "rotate": ("commit", "POST", "commit", "DELETE", "write"),
    "revoke": ("commit", "DELETE", "write"),
}
_STEPS_IN_WORDS = {
    "create": ("the intent is committed", "the POST", "the link is stored"),
    "update": ("the PATCH", "the change is stored"),
    "rotate": (
        "the intent is committed",
        "the POST",
        "the new link takes the place of the old",
        "the DELETE of the old link",
        "it is written down that the old link is revoked",
    ),
    "revoke": ("the intent is committed", "the DELETE", "it is written down that it is revoked"),
}
_REQUEST = {"create": "POST", "update": "PATCH", "rotate": "POST", "revoke": "DELETE"}

#: What only an answer that makes a link can have.
_OF_A_POST = ("2xx without a URL", "2xx, the URL on a foreign host")
#: What can befall the second request of a rotation: a choice, as `revoke` has all of them.
_OF_A_SECOND_REQUEST = (
    "connection refused",
    "read timeout, Kapso did it",
    "reset, Kapso did nothing",
    "404",
    "429",
    "500",
)


@dataclass
class Outcome:
    """What came of an action in which something went wrong.

    Attributes:
        raised: the class of the exception that the caller gets, or "-".
        steps: what was done, step by step.
        then: how things stand then. Of a change: which settings are kept here, the old or the new
            ones. Else: the states of the inbox's links, the oldest first.
        kapso: of a change, which settings Kapso has then; else how many links live there.
        synced: as `then`, once `kapso_sync` has nothing left to do.
        again: as `then`, once the action was repeated after that.
        told: the names of what lives at Kapso of which the log tells the id as CRITICAL.
        wrong: what should have been otherwise, in words.
    """

    raised: str = "-"
    steps: tuple[str, ...] = ()
    then: str = ""
    kapso: str = ""
    told: tuple[str, ...] = ()
    synced: str = ""
    again: str = ""
    wrong: list[str] = field(default_factory=list)


def troubles(action: str) -> dict[str, Callable[[], Trouble]]:
    """Return everything that can go wrong in an action: its name in the table -> the trouble."""
    from .troubles import REQUEST_TROUBLES, request_trouble
    from .world import Trouble

    request = _REQUEST[action]
    found: dict[str, Callable[[], Trouble]] = {"nothing": Trouble}
    if action != "update":
        found["the database fails at the intent"] = lambda: Trouble(database="fails")
        found["the intent is committed, and the database's answer lost"] = lambda: Trouble(
            database="lost"
        )
    for number, name in enumerate(_STEPS_IN_WORDS[action]):
        found[f"the process dies before {name}"] = lambda number=number: Trouble(dies=number)  # type: ignore[misc]
    found["the process dies after the last step"] = lambda: Trouble(dies=len(STEPS[action]))
    for name in REQUEST_TROUBLES:
        if name not in _OF_A_POST or request == "POST":
            found[f"{request}: {name}"] = lambda name=name: request_trouble(name, request)  # type: ignore[misc]
    if action == "rotate":
        for name in _OF_A_SECOND_REQUEST:
            found[f"DELETE: {name}"] = lambda name=name: request_trouble(name, "DELETE")  # type: ignore[misc]

    def answered(before: Sequence[str]) -> bool:
        return request in before

    for how, words in (
        ("fails", "once"),
        ("lost", "by losing its own answer"),
        ("down", "for good"),
    ):
        found[f"the database fails after Kapso's answer, {words}"] = lambda how=how: Trouble(  # type: ignore[misc]
            database=how, due=answered
        )
    if request == "POST":
        from kapso_inbox.sandbox.engine import Fault

        found["the database fails after Kapso's answer, for good, and so does the DELETE"] = (
            lambda: Trouble(database="down", due=answered, fault=Fault(drop="before"), at="DELETE")
        )
    return found


def run(world: World, action: str, name: str) -> Outcome:
    """Do the action while this goes wrong, and heal it in both ways: by the sync, by repeating."""
    outcome = Outcome()
    _begin(world, action, name, outcome)
    _expect(outcome, "afterwards", world.check_truth, world.check_no_secret_is_told)
    world.heal()
    outcome.synced = _here(world, action)
    _expect(outcome, "after a sync", world.check_truth, lambda: _check_in_order(world, action))
    if action != "create" or "active" not in world.states():
        _try(action)
    outcome.again = _here(world, action)
    _expect(outcome, "after a sync and again", lambda: _check_end(world, action))

    other = Outcome(wrong=outcome.wrong)
    _begin(world, action, name, other)
    _try(action)
    _expect(outcome, "done again at once", world.check_truth)
    world.heal()
    if not _has_ended(world, action):
        _try(action)
        world.heal()
    _expect(outcome, "done again at once, after a sync", lambda: _check_end(world, action))
    _expect(outcome, "in all", world.check_no_secret_is_told)
    return outcome


def _begin(world: World, action: str, name: str, outcome: Outcome) -> None:
    from kapso_inbox.lifecycle import create_embed

    from .world import ProcessDied

    world.clean()
    if action != "create":
        create_embed(slug="sales", name="Sales")
    try:
        with world.trouble_with(troubles(action)[name]()):
            _act(action)
    except ProcessDied:
        outcome.raised = "(the process is gone)"
    except Exception as error:  # noqa: BLE001 (whatever it is, it goes into the table)
        outcome.raised = type(error).__name__
    outcome.steps = tuple(world.steps)
    outcome.then = _here(world, action)
    outcome.kapso = _at_kapso(world, action)
    critical = "\n".join(world.log.critical)
    outcome.told = tuple(one["name"] for one in world.lives() if one["id"] in critical)


def _here(world: World, action: str) -> str:
    from kapso_inbox.models import InboxEmbed

    if action == "update":
        return "new" if InboxEmbed.objects.get().name == "New" else "old"
    return ", ".join(f"`{state}`" for state in world.states()) or "none"


def _at_kapso(world: World, action: str) -> str:
    if action == "update":
        return "new" if world.lives()[0]["name"].startswith("New") else "old"
    return str(len(world.lives()))


def _act(action: str) -> None:
    from kapso_inbox import lifecycle
    from kapso_inbox.models import InboxEmbed

    if action == "create":
        lifecycle.create_embed(slug="sales", name="Sales")
        return
    embed = InboxEmbed.objects.get(slug="sales")
    if action == "update":
        lifecycle.update_embed(embed, name="New")
    elif action == "rotate":
        lifecycle.rotate_embed(embed)
    else:
        lifecycle.revoke_embed(embed)


def _try(action: str) -> None:
    """Do it again, as a user would: what exists already is not created but ensured."""
    from django.core.exceptions import ValidationError

    from kapso_inbox.kapso import KapsoError
    from kapso_inbox.lifecycle import LifecycleError, ensure_embed

    try:
        try:
            _act(action)
        except ValidationError:
            ensure_embed("sales")
    except (KapsoError, LifecycleError):
        pass  # then the sync comes first


def _check_in_order(world: World, action: str) -> None:
    """What has to be so once a sync has nothing left to do, whether or not the action is done."""
    from kapso_inbox.models import InboxEmbed, name_without_reference

    states, lives = world.states(), world.lives()
    assert len(lives) == states.count("active") <= 1, f"{states}, and {len(lives)} live"
    assert set(states) <= {"active", "failed", "revoked"}, f"{states} waits"
    if action in ("update", "rotate"):
        assert len(lives) == 1, "an inbox that worked works no more"
        embed = InboxEmbed.objects.get()
        assert embed.name == name_without_reference(lives[0]["name"]), "the mirror differs"
        assert embed.current_link is not None
        assert embed.current_link.kapso_id == lives[0]["id"], "its current link is not that one"


def _check_end(world: World, action: str) -> None:
    """What the action was for."""
    _check_in_order(world, action)
    assert _has_ended(world, action), "what was wanted has not come about"


def _has_ended(world: World, action: str) -> bool:
    if action == "revoke":
        return not world.lives() and "active" not in world.states()
    names = [embed["name"].split(" #")[0] for embed in world.lives()]
    return names == (["New"] if action == "update" else ["Sales"])


def _expect(outcome: Outcome, when: str, *checks: Callable[[], None]) -> None:
    for check in checks:
        try:
            check()
        except AssertionError as error:
            outcome.wrong.append(f"{when}: {error}")


def cells() -> Iterator[tuple[str, str]]:
    """Yield every action with the name of everything that can go wrong in it."""
    for action in ACTIONS:
        for name in troubles(action):
            yield action, name


def render(outcomes: dict[tuple[str, str], Outcome]) -> str:
    """Return the document with these outcomes."""
    parts = [_INTRODUCTION]
    for action in ACTIONS:
        parts.append(f"## {_TITLES[action]}\n")
        here, kapso = _COLUMNS[action == "update"]
        parts.append(
            f"| what goes wrong | the caller gets | {here} then | {kapso} then "
            "| after `kapso_sync` | after doing it again |\n|---|---|---|---|---|---|"
        )
        for (of, name), outcome in outcomes.items():
            if of == action:
                raised = outcome.raised if outcome.raised[0] in "-(" else f"`{outcome.raised}`"
                row = (name, raised, outcome.then, outcome.kapso, outcome.synced, outcome.again)
                parts.append(f"| {' | '.join(row)} |")
        parts.append("")
    parts.append(_MUTATIONS)
    return "\n".join(parts)


#: How things stand here and at Kapso, and that for a change.
_COLUMNS = (("its links", "alive at Kapso"), ("settings here", "settings at Kapso"))

_TITLES = {
    "create": "Creating an inbox",
    "update": "Changing its settings",
    "rotate": "Giving it a new link",
    "revoke": "Revoking it",
}

_INTRODUCTION = """\
<!-- Made by the tests. Renew it with: python -m tests.faults.table > docs/faults.md -->
# What can go wrong, and what comes of it

Kapso tells the secret address of a link once, and takes no idempotency key. So every step of an
action can fail in a way that leaves something alive at Kapso. This document lists the steps and the
ways. Each row was run against the [sandbox](testing.md), and the tests hold this document to what
came of it.

**How to read it.** A row is one thing that goes wrong, once. "Its links then" are the states of the
inbox's links just afterwards, the oldest first; [embeds and their links](links.md) explains them.
"Alive at Kapso then" is how many of them work at that moment. For a change of settings it says
instead whether the old or the new ones are kept, here and at Kapso. The last two columns are the
ends: first `kapso_sync` runs, as from cron, until nothing waits any more, which takes two runs some
minutes apart at most; then somebody does the same thing again (or, for an inbox that is there
already, `ensure_embed` does).

**What holds in every row.** What is alive at Kapso stands in exactly one row here, in a state that
says so, or, where the database is down and Kapso cannot be reached either, in the log as `CRITICAL`
with its id and reference. No log line holds a secret. After the sync there are never two live links
of one inbox, and an inbox that worked before a change or a rotation works after it. Doing it again
before the sync has run leads to the same end.

**What you have to do.** Have cron run `kapso_sync`, and repeat what failed. An exception says what
was wrong; `UncertainError` means that Kapso may have done it, and that the sync will find out.
"""

_MUTATIONS = """\
## How far this can be trusted

Beside these rows, a test runs thousands of random sequences of actions, faults, crashes, wrong keys
and work at Kapso itself, and looks after each whether all is in order once it is quiet
(`tests/faults/test_state_machine.py`). That this test finds mistakes is itself tested
(`tests/faults/test_mutations.py`). It fails when the intent is not committed before the POST, when
the POST is retried, when what could not be stored is not revoked again at Kapso, and when a
rotation revokes the old link before the new one works.
"""


def main() -> None:
    """Write the document to the standard output."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    from tests.hosts.database import connection

    from .world import world

    name = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        with world() as made:
            outcomes = {(action, name): run(made, action, name) for action, name in cells()}
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)
    sys.stdout.write(render(outcomes))


if __name__ == "__main__":
    main()
