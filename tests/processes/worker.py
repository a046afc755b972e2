"""What a started process runs.

It says "ready", waits until it is told to go on, takes its steps, and says how each of them ended.
At a given moment it can kill itself, or say "paused" and wait until it is told to go on.
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
        parent: the connection to the test.
        steps: the name and the arguments of an action each.
        kapso_inbox: the KAPSO_INBOX setting.
        moment: the moment at which to do what `then` says (see `act_at`); None for never.
        then: "die" or "pause".
    """
    try:
        from .prepared import prepare

        prepare(kapso_inbox)
        from tests.hosts.database import connection

        connection.ensure_connection()
        parent.send("ready")
        parent.recv()

        def pause() -> None:
            """Stop for a while, like a process that the system does not schedule."""
            parent.send("paused")
            parent.recv()

        if moment:
            act_at(moment, die if then == "die" else pause)
        parent.send([outcome_of(*step) for step in steps])
    except BaseException:
        parent.send(traceback.format_exc())
        raise


def outcome_of(action: str, *args: Any) -> dict[str, Any]:
    """Take one step; return its result or its error."""
    started = time.monotonic()
    outcome: dict[str, Any] = {"action": action, "args": args, "error": None, "text": ""}
    try:
        outcome["result"] = ACTIONS[action](*args)
    except Exception as error:  # noqa: BLE001 (the test decides which errors are expected)
        outcome |= {"error": type(error).__name__, "text": str(error)}
    return {**outcome, "seconds": time.monotonic() - started}


def die() -> None:
    """Kill this process as by `kill -9`: it closes, rolls back and reports nothing."""
    os.kill(os.getpid(), signal.SIGKILL)


def act_at(moment: str, act: Callable[[], None]) -> None:
    """Call a function once, at a moment such as `before POST` or `after POST commit`.

    Args:
        moment: `before` or `after`, then one or more events that happen in that order. The moment
            is before or after the last of them. An event is an HTTP method (`POST`, `DELETE`), an
            SQL statement (`insert`, `update`, `select`) or `commit`.
        act: the function to call.
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
    """Launch each inbox `rounds` times, as the only user; return the number of each outcome."""
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
    """Launch an inbox with a ticket, as an anonymous browser; return the HTTP status."""
    from django.contrib.auth.models import AnonymousUser
    from django.test import RequestFactory

    from kapso_inbox.inbox import views

    request = RequestFactory().get("/", {"ticket": ticket}, HTTP_SEC_FETCH_DEST="iframe")
    request.user = AnonymousUser()
    return int(views.launch_view(request, slug).status_code)


def deliver(deliveries: list[tuple[str, str, bytes]]) -> tuple[list[int], list[str]]:
    """Take in webhooks, each with its event and key; return the statuses, and what was told."""
    import hashlib
    import hmac

    from django.conf import settings
    from django.test import RequestFactory

    from kapso_inbox.conversations import signals, views

    told: list[str] = []

    def receive(sender: Any, event: Any, **kwargs: Any) -> None:
        told.append(event.message_id)

    signals.message_received.connect(receive)
    statuses = []
    secret = settings.KAPSO_INBOX["WEBHOOK_SECRETS"]["default"].encode()
    for event, key, body in deliveries:
        headers = {
            "X-Webhook-Event": event,
            "X-Idempotency-Key": key,
            "X-Webhook-Signature": hmac.new(secret, body, hashlib.sha256).hexdigest(),
        }
        request = RequestFactory().post("/", body, content_type="application/json", headers=headers)
        response = views.webhook_view(request, "default")
        response.close()
        statuses.append(response.status_code)
    return statuses, told


def command(name: str, *options: str) -> str:
    """Run a management command; return its output."""
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
        deliver,
        command,
    )
}
