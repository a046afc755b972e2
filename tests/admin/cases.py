"""Embeds in every condition, what can go wrong at Kapso, and what must hold after it."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from requests import exceptions

from kapso_inbox.admin import results as results_in_session
from kapso_inbox.admin.verb_views import LEVELS
from kapso_inbox.kapso import KapsoError
from kapso_inbox.lifecycle import create_embed, revoke_embed, rotate_embed
from kapso_inbox.lifecycle.links import move_on_record
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed, ReasonCode, reason, reference_in
from kapso_inbox.sandbox.engine import Answer, Sandbox
from kapso_inbox.sync import sync_project
from tests.hosts.clock import as_stored

from .conftest import url

State = AccessLink.State

#: The conditions in which an embed can be; `make` makes one.
CONDITIONS = (
    # First, because it requires a sync, which settles the links that others wait for.
    "unmanaged",
    "works",
    "expires soon",
    "expired",
    "revoked",
    "waits to be made",
    "waits to be revoked",
    "works, an older one waits",
    "secret lost",
    "no link",
)


def make(condition: str, sandbox: Sandbox, slug: str = "sales", **given: Any) -> InboxEmbed:
    """Return an embed that came into a condition as embeds really do."""
    given = {"slug": slug, "name": f"The {slug} inbox", **given}
    if condition == "unmanaged":
        known = set(InboxEmbed.objects.values_list("pk", flat=True))
        sandbox.project().create({"name": given["name"], "scope_type": "project"})
        sync_project()
        return InboxEmbed.objects.exclude(pk__in=known).get()
    if condition in ("expires soon", "expired"):
        given["expires_at"] = timezone.now() + timedelta(days=3)
    faults: dict[str, dict[str, Any]] = {
        "waits to be made": {"method": "POST", "drop": "after"},
        "no link": {"method": "POST", "drop": "before"},
        "waits to be revoked": {"method": "DELETE", "answer": Answer(500, {})},
        "works, an older one waits": {"method": "DELETE", "answer": Answer(500, {})},
    }
    if condition in faults:
        sandbox.fail_next(**faults[condition])
    with suppress(KapsoError):
        create_embed(**given)
    embed = InboxEmbed.objects.select_related("current_link").get(slug=slug)
    link = embed.current_link
    if condition == "no link":
        # It was uncertain, and a sync has found out: what Kapso refuses leaves no embed behind.
        never = reason(ReasonCode.NEVER_CREATED)
        settled = InboxChange.Action.SETTLED, never
        expected = [State.UNKNOWN]
        move_on_record(embed.links.get(), State.FAILED, settled, expected=expected, reason=never)
    with suppress(KapsoError):
        if condition == "expired":
            assert link is not None
            ended = parse_datetime(sandbox.project().expire(link.kapso_id)["expires_at"])
            assert ended is not None
            InboxEmbed.objects.filter(pk=embed.pk).update(expires_at=as_stored(ended))
        if condition in ("revoked", "waits to be revoked"):
            revoke_embed(embed)
        if condition == "works, an older one waits":
            rotate_embed(embed)
        if condition == "secret lost":
            assert link is not None
            link.move(State.SECRET_LOST, expected=[State.ACTIVE])
    return InboxEmbed.objects.select_related("current_link").get(slug=slug)


#: What goes wrong with a request, by name.
FAULTS: dict[str, dict[str, Any]] = {
    "401": {"answer": Answer(401, {"error": "Invalid API key"})},
    "403": {"answer": Answer(403, {"error": "Forbidden"})},
    "403 of a proxy": {"answer": Answer(403, "<title>Access denied</title>error code: 1010")},
    "404": {"answer": Answer(404, {"error": "Inbox embed not found"})},
    "409": {"answer": Answer(409, {"error": "Conflict"})},
    "422": {"answer": Answer(422, {"errors": {"scope_id": ["is odd"], "colour": ["is odd"]}})},
    "429": {"answer": Answer(429, {}, {"Retry-After": "60"})},
    "500": {"answer": Answer(500, {"error": "Oops"})},
    "502": {"answer": Answer(502, "<html>Bad gateway</html>")},
    "502 after the work": {"answer": Answer(502, "<html>Bad gateway</html>"), "process": True},
    "redirect": {"answer": Answer(302, "", {"Location": "https://kapso.example/"})},
    "drop before the work": {"drop": "before"},
    "drop after the work": {"drop": "after"},
    "delay over the timeout": {"delay": 60},
    "no connection": {"error": exceptions.ConnectTimeout()},
    "HTML": {"answer": Answer(200, "<html>Welcome to the hotel's network</html>")},
    "HTML after the work": {"answer": Answer(200, "<html>Welcome</html>"), "process": True},
    "no JSON": {"answer": Answer(200, b'{"data": [}')},
    "JSON of another shape": {"answer": Answer(200, {"data": [3, None]}), "process": True},
    "JSON of other types": {
        "process": True,
        "answer": Answer(
            200,
            {
                "data": {
                    "id": 5,
                    "name": [],
                    "status": 7,
                    "scope_type": {},
                    "allowed_origins": "x",
                    "expires_at": "yesterday",
                    "embed_url": 3,
                }
            },
        ),
    },
}


def live(sandbox: Sandbox) -> list[str]:
    """Return the IDs of the embeds that are active at Kapso."""
    return [record["id"] for record in sandbox.project().active_embeds()]


def assert_all_is_accounted_for(sandbox: Sandbox) -> None:
    """Check that each live link at Kapso has a row in a live state."""
    rows = AccessLink.objects.filter(state__in=AccessLink.LIVE)
    known = {row.kapso_id for row in rows if row.kapso_id}
    references = {row.reference for row in rows}
    for record in sandbox.project().active_embeds():
        assert record["id"] in known or reference_in(record["name"]) in references


def targets(page: Any) -> list[str]:
    """Return the targets in the form of a confirmation."""
    return [str(row["target"]) for row in page.context["rows"] if not row["obstacle"]]


def left_out(page: Any) -> list[str]:
    """Return the primary keys in the form of a confirmation of what the verb leaves out."""
    return [str(row["embed"].pk) for row in page.context["rows"] if row["obstacle"]]


def confirmed(
    client: Client, verb: str, *embeds: InboxEmbed, **data: Any
) -> tuple[dict[str, Any], Any]:
    """Ask for a verb as the button does, and press the button of the confirmation.

    Returns:
        What the form sent, and the answer.
    """
    asked = client.get(url("verb", verb), {"id": [embed.pk for embed in embeds]})
    assert asked.status_code == 200
    sent = {
        "confirmed": "yes",
        "target": targets(asked),
        "left_out": left_out(asked),
        "expiry": "30",
        **data,
    }
    for name in ("target", "left_out"):
        assert asked.text.count(f'name="{name}"') == len(sent[name])
    return sent, client.post(url("verb", verb), sent)


def results(response: Any) -> list[tuple[str, str]]:
    """Return the outcome and text for each embed: of kept results, or of the message about one."""
    assert response.status_code == 302
    if "/results/" in response["Location"]:
        return [(row["outcome"], row["text"]) for row in rows(response)]
    message = list(get_messages(response.wsgi_request))[-1]
    [outcome] = [name for name, level in LEVELS.items() if level == message.level]
    return [(outcome, str(message).partition("”: ")[2] or str(message))]


def rows(response: Any) -> list[dict[str, Any]]:
    """Return the results that a response leads to, one for each embed."""
    key = response["Location"].split("/results/")[1].partition("/")[0]
    kept = results_in_session.find(response.wsgi_request, key)
    assert kept is not None
    return list(kept["rows"])


def counted(sandbox: Sandbox, method: str) -> int:
    """Return how many requests of a method Kapso got."""
    return [request.method for request in sandbox.requests].count(method)
