"""What must hold, while everything fails and after it: the invariants of the soak."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kapso_inbox.models import (
    AccessLink,
    InboxChange,
    InboxEmbed,
    ReasonCode,
    reason,
    reference_in,
)

from .kapso import FaultyKapso
from .worker import Event, is_narrow

State = AccessLink.State
Action = InboxChange.Action

#: The actions after which an embed works, if they succeed.
GIVES_A_LINK = {"create", "ensure", "rotate"}
#: The actions after which nothing of an embed may live at Kapso, if they succeed.
ENDS = {"revoke", "delete"}
#: What the audit trail says of each action.
RECORDED = {
    "create": Action.CREATED,
    "update": Action.CHANGED,
    "rotate": Action.ROTATED,
    "revoke": Action.REVOKED,
    "delete": Action.DELETED,
}


class BrokenError(Exception):
    """An invariant does not hold.

    Attributes:
        slug: the embed that it is about, or "".
    """

    def __init__(self, invariant: str, text: str, slug: str = "") -> None:
        super().__init__(f"{invariant}: {text}")
        self.slug = slug


def demand(holds: bool, invariant: str, text: str, slug: str = "") -> None:
    """Raise a `BrokenError` unless it holds."""
    if not holds:
        raise BrokenError(invariant, text, slug)


# At every moment


def check_now(kapso: FaultyKapso) -> None:
    """Check what must hold at every moment.

    Raises:
        BrokenError: it does not hold.
    """
    ended = set(kapso.ended)  # Before the database is read: it commits before each DELETE.
    active = AccessLink.objects.filter(state=State.ACTIVE).select_related("embed")
    found = list(active)
    for link in found:
        demand(
            link.kapso_id not in ended,
            "I3",
            f"{link} is active here, and we have ended it at Kapso",
            link.embed.slug,
        )
    for pk, number in Counter(link.embed_id for link in found).items():
        slug = next(link.embed.slug for link in found if link.embed_id == pk)
        demand(number == 1, "I2", "an embed has two active links", slug)
    made: dict[str, str] = {}
    for key, embed in kapso.lives().items():
        reference, slug = reference_in(embed["name"]), embed["name"].split()[0]
        other = made.setdefault(reference, key)
        demand(other == key, "I1", f"{other} and {key} both bear #ki-{reference}", slug)


# When a caller was told something


def check_told(event: Event, kapso: FaultyKapso, *, alone: bool) -> None:
    """Check that what the caller of an action was told is true.

    Args:
        event: an action that has ended. Its process waits.
        kapso: Kapso.
        alone: whether no other process changes that embed, so that it must still be true.

    Raises:
        BrokenError: it is not.
    """
    slug, told = event.slug, event.told
    demand(
        event.documented, "I5", f"{event.action} raised {event.error}, which is undocumented", slug
    )
    if event.error:
        return
    if event.action in RECORDED:
        recorded = InboxChange.objects.filter(username=event.actor, slug=slug)
        actions = list(recorded.values_list("action", flat=True))
        demand(
            RECORDED[event.action] in actions,
            "I7",
            f"the audit trail has {actions or 'nothing'} of the {event.action}",
            slug,
        )
    if not alone:
        return
    lives = kapso.lives()
    rows = AccessLink.objects.filter(embed__slug=slug)
    if event.action in GIVES_A_LINK:
        demand(told["state"] == State.ACTIVE, "I5", f"{event.action} gave no link", slug)
        demand(told["link"] in lives, "I5", f"{event.action} gave a link that does not live", slug)
    elif event.action in ENDS:
        # One that was uncertain then is not promised, and a sync may have found it since.
        found_since = rows.filter(state=State.REVOKING, reason=reason(ReasonCode.CREATED_AFTER_ALL))
        known = set(rows.exclude(kapso_id="").values_list("kapso_id", flat=True))
        known -= set(found_since.values_list("kapso_id", flat=True))
        demand(not known & lives.keys(), "I5", f"after {event.action}, a link lives", slug)
    elif event.action == "update" and told["state"] == State.ACTIVE:
        name = lives[told["link"]]["name"] if told["link"] in lives else "nothing"
        demand(name.startswith(told["name"]), "I5", f"Kapso has {name!r} after update", slug)
    elif event.action == "launch":
        page = kapso.open_inbox(told["url"].rpartition("/")[2], {})
        demand(page.status == 200, "I5", f"a launch led to a page with status {page.status}", slug)


# Once all is quiet


def check_quiet(kapso: FaultyKapso, events: Iterable[Event], by_hand: set[str]) -> None:
    """Check what must hold when nothing fails any more and the syncs have run.

    Args:
        kapso: Kapso.
        events: all actions.
        by_hand: the IDs of the embeds that were revoked at Kapso itself.

    Raises:
        BrokenError: it does not hold.
    """
    check_now(kapso)
    lives = kapso.lives()
    rows = list(AccessLink.objects.select_related("embed"))
    for key, embed in lives.items():
        said = [row for row in rows if row.kapso_id == key and row.state in AccessLink.LIVE]
        demand(len(said) == 1, "I1", f"{embed['name']!r} lives, and {len(said)} rows say so")
    for row in rows:
        settled = row.state not in AccessLink.UNSETTLED
        demand(settled, "I1", f"{row} is still {row.state}", row.embed.slug)
    of_slug: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row.kapso_id in lives:
            of_slug.setdefault(row.embed.slug, []).append(lives[row.kapso_id])
    embeds = {embed.slug: embed for embed in InboxEmbed.objects.select_related("current_link")}
    for slug, embed in embeds.items():
        _check_embed(embed, of_slug.get(slug, []), kapso)
    history: dict[str, list[Event]] = {}
    for event in events:
        history.setdefault(event.slug, []).append(event)
    for slug, of_it in history.items():
        if slug:
            _check_history(slug, of_it, embeds.get(slug), of_slug.get(slug, []), by_hand)


def _check_embed(embed: InboxEmbed, lives: list[dict[str, Any]], kapso: FaultyKapso) -> None:
    """Check that an embed works, or says truly that it does not."""
    slug, link, obstacle = embed.slug, embed.current_link, embed.obstacle()
    if obstacle is not None:
        made = [one for one in lives if link is None or one["id"] != link.kapso_id]
        is_unmanaged = link is not None and link.state == State.UNMANAGED
        demand(
            is_unmanaged or not lives, "I2", f"it says {obstacle}, and {lives and made} live", slug
        )
        return
    assert link is not None
    demand(len(lives) == 1, "I2", f"it can be opened, and {len(lives)} of its links live", slug)
    demand(lives[0]["id"] == link.kapso_id, "I2", "another link than the current one lives", slug)
    url = link.reveal_url()
    demand(url == lives[0]["embed_url"], "I2", "the stored address is another one", slug)
    status = kapso.open_inbox(url.rpartition("/")[2], {}).status
    demand(status == 200, "I2", f"its stored address answers {status}", slug)
    scope_type = "customer" if is_narrow(slug) else "project"
    demand(lives[0]["scope_type"] == scope_type, "I2", "it shows more than was asked for", slug)


def _check_history(
    slug: str,
    events: list[Event],
    embed: InboxEmbed | None,
    lives: list[dict[str, Any]],
    by_hand: set[str],
) -> None:
    """Check that an embed is as its operators have left it."""
    last = _last(events, GIVES_A_LINK, unless=ENDS)
    link = embed.current_link if embed is not None else None
    if last is not None and (link is None or link.kapso_id not in by_hand):
        works = embed is not None and embed.obstacle() is None
        state = link.state if link else "without a link"
        demand(works, "I2", f"{last.actor} made it work, nobody ended it, and it is {state}", slug)
    last = _last(events, ENDS, unless=GIVES_A_LINK)
    if last is not None:
        demand(not lives, "I4", f"{last.actor} ended it, and it lives", slug)


def _last(events: list[Event], wanted: set[str], *, unless: set[str]) -> Event | None:
    """Return the last success of some actions, if no other one came after it or at once with it.

    An action that a process never told of may have gone on for as long as that one lived.
    """
    successes = [one for one in events if one.action in wanted and one.ended and not one.error]
    if not successes:
        return None
    last = max(successes, key=lambda one: one.began)
    others = [one for one in events if one.action in unless and one is not last]
    return None if any((one.ended or 1e12) > last.began for one in others) else last


def check_logs(folder: Path, kapso: FaultyKapso, secrets: Iterable[str]) -> None:
    """Check that no line that a process logged or printed holds a secret.

    Raises:
        BrokenError: one does.
    """
    for path in sorted(folder.glob("*.log")):
        text = path.read_text(errors="replace")
        for secret in secrets:
            demand(secret not in text, "I6", f"{path.name} holds a key")
        told = kapso.tokens & set(re.findall(r"[A-Za-z0-9_-]{43}", text))
        demand(not told, "I6", f"{path.name} holds {len(told)} tokens")
        demand("/embed/" not in text, "I6", f"{path.name} holds the address of an inbox")
