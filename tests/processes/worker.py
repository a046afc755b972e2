"""One process of several: says "ready", is told to go on, takes its steps, says how they ended.

Where it is to die it kills itself at that moment, such as `before POST` or `after POST commit`:
before or after the last of these events, the others having come before it in that order. Where it
is to pause it says "paused" at that moment, and goes on when it is told to.
"""

from __future__ import annotations

import io
import os
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import requests


def run(
    parent: Connection,
    steps: Sequence[Sequence[Any]],
    kapso_inbox: dict[str, Any],
    moment: str | None,
    then: str,
) -> None:
    """Take some steps.

    Args:
        parent: who listens.
        steps: the name of an action each, and its arguments.
        kapso_inbox: the setting.
        moment: at which something happens; None = nothing does.
        then: what that is, "die" or "pause".
    """
    try:
        from .prepared import prepare

        prepare(kapso_inbox)
        from tests.hosts.database import connection

        connection.ensure_connection()
        parent.send("ready")
        parent.recv()

        def pause() -> None:
            """Stand still, as a process does that the system leaves without time."""
            parent.send("paused")
            parent.recv()

        if moment:
            act_at(moment, die if then == "die" else pause)
        parent.send([outcome_of(*step) for step in steps])
    except BaseException:
        parent.send(traceback.format_exc())
        raise


def outcome_of(action: str, *args: Any) -> dict[str, Any]:
    """Take one step, and say how it ended."""
    started = time.monotonic()
    outcome: dict[str, Any] = {"action": action, "args": args, "error": None, "text": ""}
    try:
        outcome["result"] = ACTIONS[action](*args)
    except Exception as error:  # noqa: BLE001 (all of them are outcomes; the test says which may be)
        outcome |= {"error": type(error).__name__, "text": str(error)}
    return {**outcome, "seconds": time.monotonic() - started}


def die() -> None:
    """End as by `kill -9`: nothing is closed, rolled back or told to anyone."""
    os.kill(os.getpid(), signal.SIGKILL)


def act_at(moment: str, act: Callable[[], None]) -> None:
    """Do something at a moment that is seen at the edges: in HTTP, in SQL or in a commit.

    Args:
        moment: `before` or `after`, then events: `POST`, `DELETE` and so on of HTTP; `insert`,
            `update`, `select` of SQL; `commit`.
        act: what to do then, once.
    """
    from tests.hosts.database import connection

    when, *events = moment.split()

    def passing(event: str, go_on: Callable[[], Any]) -> Any:
        awaited = bool(events) and events[0] == event
        if awaited:
            if when == "before" and len(events) == 1:
                act()
            del events[0]
        result = go_on()
        if awaited and when == "after" and not events:
            act()
        return result

    send, commit = requests.Session.request, connection.commit
    requests.Session.request = (  # type: ignore[method-assign]
        lambda session, method, *args, **kwargs: passing(
            method, lambda: send(session, method, *args, **kwargs)
        )
    )
    connection.commit = lambda: passing("commit", commit)  # type: ignore[method-assign]
    connection.execute_wrappers.append(
        lambda execute, sql, *args: passing(
            sql.split(maxsplit=1)[0].lower(), lambda: execute(sql, *args)
        )
    )


def create_embed(slug: str) -> None:
    from kapso_inbox import lifecycle

    lifecycle.create_embed(slug=slug, name=slug)


def ensure_embed(slug: str) -> str:
    from kapso_inbox import lifecycle

    embed = lifecycle.ensure_embed(slug)
    return str(embed.current_link.state if embed.current_link else None)


def rotate_embed(slug: str) -> None:
    from kapso_inbox import lifecycle
    from kapso_inbox.models import InboxEmbed

    lifecycle.rotate_embed(InboxEmbed.objects.get(slug=slug))


def revoke_embed(slug: str) -> None:
    from kapso_inbox import lifecycle
    from kapso_inbox.models import InboxEmbed

    lifecycle.revoke_embed(InboxEmbed.objects.get(slug=slug))


def update_embed(slug: str, mode: str) -> None:
    from kapso_inbox import lifecycle
    from kapso_inbox.models import InboxEmbed

    lifecycle.update_embed(InboxEmbed.objects.get(slug=slug), default_mode=mode)


def resolve_links(slug: str) -> None:
    from kapso_inbox import lifecycle
    from kapso_inbox.models import AccessLink

    for link in AccessLink.objects.filter(embed__slug=slug, state__in=AccessLink.LIVE):
        lifecycle.resolve_embed(link.embed)


def launches(slugs: list[str], rounds: int) -> dict[str, int]:
    """Open each inbox so many times, as the user who comes first; count how it ended."""
    from django.test import RequestFactory

    from kapso_inbox.inbox import launch
    from tests.hosts.people import User

    request = RequestFactory().get("/")
    request.user = User.objects.get()
    outcomes: dict[str, int] = {}
    for _ in range(rounds):
        for slug in slugs:
            try:
                launch.open_inbox(request, slug, {})
                outcome = "opened"
            except launch.LaunchRefusedError as refusal:
                outcome = refusal.outcome
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
    return outcomes


def present(slug: str, ticket: str) -> int:
    """Begin a launch by ticket, as a browser that is signed in to nothing; return the status."""
    from django.contrib.auth.models import AnonymousUser
    from django.test import RequestFactory

    from kapso_inbox.inbox import views

    request = RequestFactory().get("/", {"ticket": ticket}, HTTP_SEC_FETCH_DEST="iframe")
    request.user = AnonymousUser()
    return int(views.launch_view(request, slug).status_code)


def command(name: str, *options: str) -> str:
    """Run a management command; return what it says."""
    from django.core.management import call_command

    out = io.StringIO()
    call_command(name, *options, stdout=out)
    return out.getvalue()


ACTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        create_embed,
        ensure_embed,
        rotate_embed,
        revoke_embed,
        update_embed,
        resolve_links,
        launches,
        present,
        command,
    )
}
