"""The table of faults: what comes of each action with each thing that can go wrong in it.

`python -m tests.faults.table > docs/faults.md` generates the document.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .world import Trouble, World

ACTIONS = ("create", "update", "rotate", "revoke", "sync")

#: The steps of each action if nothing goes wrong. `test_table.py` checks them.
STEPS = {
    "create": ("commit", "POST", "commit"),
    "update": ("PATCH", "commit"),
    "rotate": ("commit", "POST", "commit", "DELETE", "write"),
    "revoke": ("commit", "DELETE", "write"),
    "sync": ("GET", "write"),
}
_STEPS_IN_WORDS = {
    "create": ("the intent is committed", "the POST", "the link is stored"),
    "update": ("the PATCH", "the change is stored"),
    "rotate": (
        "the intent is committed",
        "the POST",
        "the new link replaces the old one",
        "the DELETE of the old link",
        "the revocation of the old link is stored",
    ),
    "revoke": ("the intent is committed", "the DELETE", "the revocation is stored"),
    "sync": ("the GET of the list", "what the list holds is stored"),
}
_REQUEST = {
    "create": "POST",
    "update": "PATCH",
    "rotate": "POST",
    "revoke": "DELETE",
    "sync": "GET",
}

#: What can be wrong only with the answer that creates a link, and only with a list.
_OF_A_POST = (
    "2xx without a URL",
    "2xx, the URL on a foreign host",
    "2xx, for a team member instead of all",
)
_OF_A_ROTATION = ("2xx, the id of the link to be replaced",)
_OF_A_LIST = (
    "2xx, the list is empty",
    "2xx, the list is empty, and 404 for each link",
    "2xx, the list is shorter than it says",
    "2xx, the link shows other conversations",
)
_OF_ONE_REQUEST = {
    **dict.fromkeys(_OF_A_POST, ("create", "rotate")),
    **dict.fromkeys(_OF_A_ROTATION, ("rotate",)),
    **dict.fromkeys(_OF_A_LIST, ("sync",)),
}
#: What happens to the second request of a rotation: a selection, because `revoke` has all of them.
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
    """The outcome of an action in which something went wrong.

    Attributes:
        raised: the class name of the exception that the caller gets, or "-".
        steps: the steps that were taken.
        then: for an update, whether the "old" or the "new" settings are stored here just
            afterwards; for any other action, the states of the embed's links, the oldest first.
        kapso: for an update, whether Kapso has the "old" or the "new" settings just afterwards;
            for any other action, the number of live links at Kapso.
        synced: as `then`, once `kapso_sync` has nothing left to do.
        again: as `then`, once the action was then repeated.
        told: the names of the live embeds at Kapso whose IDs are in a CRITICAL log line.
        wrong: the failed checks, in words.
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
    """Return everything that can go wrong in an action: name in the table -> trouble."""
    from .troubles import REQUEST_TROUBLES, request_trouble
    from .world import Trouble

    request = _REQUEST[action]
    found: dict[str, Callable[[], Trouble]] = {"nothing": Trouble}
    if action not in ("update", "sync"):
        found["the database fails at the intent"] = lambda: Trouble(database="fails")
        found["the intent is committed, and the database's answer is lost"] = lambda: Trouble(
            database="lost"
        )
    for number, name in enumerate(_STEPS_IN_WORDS[action]):
        found[f"the process dies before {name}"] = lambda number=number: Trouble(dies=number)  # type: ignore[misc]
    found["the process dies after the last step"] = lambda: Trouble(dies=len(STEPS[action]))
    for name in REQUEST_TROUBLES:
        if action in _OF_ONE_REQUEST.get(name, ACTIONS):
            found[f"{request}: {name}"] = lambda name=name: request_trouble(name, request)  # type: ignore[misc]
    if action == "rotate":
        for name in _OF_A_SECOND_REQUEST:
            found[f"DELETE: {name}"] = lambda name=name: request_trouble(name, "DELETE")  # type: ignore[misc]

    def answered(before: Sequence[str]) -> bool:
        return request in before

    for how, words in (
        ("fails", "once"),
        ("lost", "by losing its own answer"),
        ("down", "permanently"),
        ("lost, then down", "by losing its own answer, then permanently"),
    ):
        found[f"the database fails after Kapso's answer, {words}"] = lambda how=how: Trouble(  # type: ignore[misc]
            database=how, due=answered
        )
    number = 2 if request == "POST" else 1
    for days, words in ((365, "ahead"), (-365, "behind")):
        wrong = f"this server's clock is a year {words} meanwhile"
        off = timedelta(days=days)
        found[wrong] = lambda off=off: Trouble(clock=off)  # type: ignore[misc]
        found[f"{wrong}, and the process dies before {_STEPS_IN_WORDS[action][number]}"] = (
            lambda off=off: Trouble(clock=off, dies=number)  # type: ignore[misc]
        )
    return found


def run(world: World, action: str, name: str) -> Outcome:
    """Run the action while something goes wrong; then sync and repeat it, in either order."""
    outcome = Outcome()
    _begin(world, action, name, outcome)
    _expect(outcome, "afterwards", world.check_truth, world.check_no_secret_is_told)
    world.heal()
    outcome.synced = _here(world, action)
    _expect(outcome, "after a sync", world.check_truth, lambda: _check_consistent(world, action))
    if action != "create" or "active" not in world.states():
        _try(action)
    outcome.again = _here(world, action)
    _expect(outcome, "repeated after a sync", lambda: _check_achieved(world, action))

    other = Outcome(wrong=outcome.wrong)
    _begin(world, action, name, other)
    _try(action)
    _expect(outcome, "repeated at once", world.check_truth)
    world.heal()
    if not _is_achieved(world, action):
        _try(action)
        world.heal()
    _expect(outcome, "repeated at once, after a sync", lambda: _check_achieved(world, action))
    _expect(outcome, "at the end", world.check_no_secret_is_told)
    return outcome


def _begin(world: World, action: str, name: str, outcome: Outcome) -> None:
    from kapso_inbox.lifecycle import create_embed

    from .world import ProcessDied

    world.clean()
    if action != "create":
        create_embed(slug="sales", name="Sales")
    try:
        with world.trouble_with(troubles(action)[name]()):
            outcome.raised = _act(action)
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


def _act(action: str) -> str:
    """Act; return what the caller gets if nothing was raised."""
    from kapso_inbox import lifecycle
    from kapso_inbox.models import InboxEmbed
    from kapso_inbox.sync import sync_project

    if action == "create":
        lifecycle.create_embed(slug="sales", name="Sales")
        return "-"
    if action == "sync":
        return "(a problem in its report)" if sync_project().problems else "-"
    embed = InboxEmbed.objects.get(slug="sales")
    if action == "update":
        lifecycle.update_embed(embed, name="New")
    elif action == "rotate":
        lifecycle.rotate_embed(embed)
    else:
        lifecycle.revoke_embed(embed)
    return "-"


def _try(action: str) -> None:
    """Repeat the action, as a user would: an embed that exists is not created but ensured."""
    from django.core.exceptions import ValidationError

    from kapso_inbox.kapso import KapsoError
    from kapso_inbox.lifecycle import LifecycleError, ensure_embed

    try:
        try:
            _act(action)
        except ValidationError:
            ensure_embed("sales")
    except (KapsoError, LifecycleError):
        pass  # the sync must come first


def _check_consistent(world: World, action: str) -> None:
    """Check what must hold once a sync has nothing left to do, whether the action worked or not."""
    from kapso_inbox.models import InboxEmbed, name_without_reference

    states, lives = world.states(), world.lives()
    assert len(lives) == states.count("active") <= 1, f"{states}, and {len(lives)} live"
    assert set(states) <= {"active", "failed", "revoked"}, f"{states}, and one is unsettled"
    if action in ("update", "rotate", "sync"):
        assert len(lives) == 1, "an embed that worked no longer works"
        embed = InboxEmbed.objects.get()
        assert embed.name == name_without_reference(lives[0]["name"]), "the mirror differs"
        assert embed.current_link is not None
        assert embed.current_link.kapso_id == lives[0]["id"], "the live link is not the current one"


def _check_achieved(world: World, action: str) -> None:
    """Check that the action has achieved its purpose."""
    _check_consistent(world, action)
    assert _is_achieved(world, action), "the action did not achieve its purpose"


def _is_achieved(world: World, action: str) -> bool:
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
    """Yield each action with each name of what can go wrong in it: the rows of the table."""
    for action in ACTIONS:
        for name in troubles(action):
            yield action, name


def render(outcomes: dict[tuple[str, str], Outcome]) -> str:
    """Return the text of the document."""
    parts = [_INTRODUCTION]
    for action in ACTIONS:
        parts.append(f"## {_TITLES[action]}\n")
        here, kapso = _COLUMNS[action == "update"]
        parts.append(
            f"| what goes wrong | the caller gets | {here} afterwards | {kapso} afterwards "
            "| after `kapso_sync` | after repeating it |\n|---|---|---|---|---|---|"
        )
        for (of, name), outcome in outcomes.items():
            if of == action:
                raised = outcome.raised if outcome.raised[0] in "-(" else f"`{outcome.raised}`"
                row = (name, raised, outcome.then, outcome.kapso, outcome.synced, outcome.again)
                parts.append(f"| {' | '.join(row)} |")
        parts.append("")
    parts.append(_MUTATIONS)
    return "\n".join(parts)


#: The titles of the columns about the app and about Kapso, and the same for an update.
_COLUMNS = (("its links", "live at Kapso"), ("settings here", "settings at Kapso"))

_TITLES = {
    "create": "Creating an embed",
    "update": "Changing its settings",
    "rotate": "Rotating its link",
    "revoke": "Revoking it",
    "sync": "Comparing with Kapso's list (`kapso_sync`)",
}

_INTRODUCTION = """\
<!-- Generated by the tests. Update with: python -m tests.faults.table > docs/faults.md -->
# What can go wrong, and what happens then

Kapso returns the secret address of a link only once, and accepts no idempotency key. So every step
of an action can fail in a way that leaves a live link at Kapso. This document lists those steps and
failures. Each row was run against the [sandbox](testing.md), and a test compares the document with
the results.

**How to read it.** Each row is one thing that goes wrong, once. "Its links afterwards" are the
states of the embed's links just after the failure, the oldest first; [embeds and their
links](links.md) explains the states, and "none" means that there is no embed: a creation that
surely failed leaves only its records in the audit trail. "Live at Kapso afterwards" is the number
of links that work at that moment. For a change of settings, these two columns say whether the old
or the new settings are stored, here and at Kapso. The last two columns show how it ends. First
`kapso_sync` runs, as from cron, until no link is unsettled: at most two runs, some minutes apart.
Then the same action is repeated, or `ensure_embed` is called if the action was to create an embed
that now exists.

**What holds in every row.** For each live link at Kapso, exactly one row here says that it lives.
If the database no longer says whether a new link was stored, nothing is revoked, and a `CRITICAL`
log line has its ID and reference: the link is `active`, or `creating`, and then the sync revokes
it. No log line holds a secret. After the sync no embed has two live links, and an
embed that worked before a change or a rotation works after it. Repeating the action before the sync
has run leads to the same result.

**What you must do.** Run `kapso_sync` from cron, and repeat what failed. The exception says what
was wrong. `UncertainError` means that Kapso may have done it; the sync finds out.
"""

_MUTATIONS = """\
## How far you can trust this

In addition to these rows, a test runs hundreds of random sequences of actions, faults, crashes,
wrong keys, wrong answers, wrong clocks and changes made at Kapso itself. After each sequence it
lets the sync finish and checks that everything is consistent
(`tests/faults/test_state_machine.py`). Another test checks that this one finds mistakes
(`tests/faults/test_mutations.py`). It must fail if the intent is not committed before the POST, if
the POST is retried, if a link that is unusable is not revoked at Kapso, if one is revoked although
the database may hold it as active, if a rotation revokes the old link before the new one works, and
if a list that lacks most links is believed.
"""


def main() -> None:
    """Write the document to standard output."""
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
