"""What Kapso says of one link now: at a launch, and when somebody asks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, transaction
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from kapso_inbox import audit, clock, conf, signals
from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.kapso import Embed, KapsoError
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed, ReasonCode, reason
from kapso_inbox.transactions import database

from . import links
from .values import NARROWING, RECORDED, differences, mirror

logger = logging.getLogger(__name__)

State = AccessLink.State

#: How long a launch waits for Kapso: seconds for the connection and for the answer, and for both
#: with all of their retries.
_LAUNCH_TIMEOUTS = {"timeout": (0.4, 0.6), "deadline": 1.0}

#: The shortest time between two questions about one link, even if a launch asks for it at once:
#: anyone who may open an embed can cause such launches, as often as they like.
AT_ONCE_AFTER = timedelta(seconds=10)


@sensitive_variables()
def verify(embed: InboxEmbed, *, at_once: bool = False) -> bool:
    """Ask Kapso whether the embed's current link still works, unless somebody did so lately.

    Of many launches at once, one asks. If Kapso does not answer within a second, the link is taken
    to work: Kapso's own page says otherwise soon enough.

    Args:
        embed: an embed with an active current link. Both get what Kapso answered, here and in the
            database.
        at_once: ask even within `VERIFY_AFTER`, but not within `AT_ONCE_AFTER`, and never if
            `VERIFY_AFTER` says never.

    Returns:
        Whether the embed holds Kapso's own word: that of now; or, if `at_once` is set and Kapso was
        asked within `AT_ONCE_AFTER`, its answer then.
    """
    link = embed.current_link
    interval = conf.duration("VERIFY_AFTER")
    if link is None or not interval:
        return False
    if at_once:
        interval = min(interval, AT_ONCE_AFTER)
    if clock.is_within(link.checked_at, clock.lately(interval)):
        return at_once and link.answered_at == link.checked_at
    now = timezone.now()
    unchecked = AccessLink.objects.for_write().filter(pk=link.pk, checked_at=link.checked_at)
    try:
        if unchecked.update(checked_at=now):
            return _ask_about(embed, link, asked_at=now)
    except DatabaseError:
        logger.exception("What Kapso says of access link %s could not be stored.", link)
    return False


@sensitive_variables()
def refresh_embed(embed: InboxEmbed, *, actor: Any = None) -> InboxEmbed:
    """Mirror what Kapso says of one embed now, by its current link, in one request.

    Args:
        embed: the embed, which is read again from the database.
        actor: the user who asks for it, for the audit trail.

    Returns:
        The embed as it is at Kapso. Its link is `revoked` if Kapso says so. An embed without a link
        that Kapso knows is returned unchanged, without a request.

    Raises:
        InsideTransactionError: the call is inside a transaction; nothing was done.
        KapsoError: Kapso could not be asked, or does not know the link under this API key. Nothing
            was changed here: a 404 proves nothing, since Kapso keeps what it revoked.
    """
    links.refuse_inside_transaction()
    embed = links.embeds().get(pk=embed.pk)
    link = embed.current_link
    if link is None or link.state not in AccessLink.KNOWN_BY_ID:
        return embed
    answer = conf.project(embed.project).client().inbox_embeds.get(link.kapso_id)
    if answer.status == "revoked":
        end_link(link, ReasonCode.FOUND_REVOKED, actor=actor)
    elif link.state != State.REVOKING:
        _save_mirrored(embed, take_over(embed, link, answer, actor=actor), actor)
    return links.embeds().get(pk=embed.pk)


def take_over(
    embed: InboxEmbed, link: AccessLink, answer: Embed, *, actor: Any = None
) -> dict[str, Any]:
    """Copy what Kapso answered about a link that works to its embed, which is not saved.

    If the link shows other conversations than it was created for, it says so from now on, and
    nobody can open it.

    Args:
        embed: the embed.
        link: its current link.
        answer: what Kapso says of that link.
        actor: who asked, for the audit trail.

    Returns:
        The name of each field of the embed that has changed -> its old value.
    """
    if link.state == State.UNMANAGED:
        return mirror(embed, answer, created_here=False)
    found = differences(embed, answer)
    if found != link.differences and (found or answer.present.issuperset(NARROWING)):
        _note_differences(embed, link, found, actor)
    return mirror(embed, answer)


def save_mirrored(changed: Mapping[InboxEmbed, Mapping[str, Any]], *, actor: Any = None) -> None:
    """Store what Kapso's answers changed in embeds, and record each change of their settings.

    A setting that somebody else has changed since is left to them, and not recorded again. The
    number of queries does not depend on how many embeds there are.

    Args:
        changed: each embed, with Kapso's values -> the old values of the fields that have changed.
        actor: who asked, for the audit trail.
    """
    recorded = {embed.pk for embed, old in changed.items() if not RECORDED.isdisjoint(old)}
    if not recorded:
        _save_alike(changed)
        return
    with transaction.atomic(using=database()):
        embeds = InboxEmbed.objects.for_write().filter(pk__in=recorded)
        embeds.order_by("pk").update(updated_at=timezone.now())  # see lock()
        stored = embeds.in_bulk()
        fresh = dict(changed)
        for embed in changed:
            if embed.pk in recorded:
                fresh[embed] = _still_old(embed, changed[embed], stored.get(embed.pk))
        _save_alike(fresh)
        InboxChange.objects.for_write().bulk_create(
            entry for embed, old in fresh.items() for entry in _entry(embed, old, actor)
        )


def _still_old(
    embed: InboxEmbed, old: Mapping[str, Any], stored: InboxEmbed | None
) -> dict[str, Any]:
    """Return those of the old values that an embed still has; none if its link was replaced."""
    if stored is None or stored.current_link_id != embed.current_link_id:
        return {}
    return {name: was for name, was in old.items() if getattr(stored, name) == was}


def _entry(embed: InboxEmbed, old: Mapping[str, Any], actor: Any) -> list[InboxChange]:
    """Return the row that records what Kapso changed in an embed, if it is recorded."""
    changes = {name: [was, getattr(embed, name)] for name, was in old.items() if name in RECORDED}
    if not changes:
        return []
    details = reason(ReasonCode.CHANGED, changes=changes)
    action, link_id = InboxChange.Action.FOUND, embed.current_link_id
    return [audit.change_of(action, embed, link_id=link_id, actor=actor, details=details)]


def _save_alike(changed: Mapping[InboxEmbed, Iterable[str]]) -> None:
    """Save of each embed only the fields that changed: the others may hold something newer."""
    alike: dict[tuple[str, ...], list[InboxEmbed]] = {}
    for embed, names in changed.items():
        alike.setdefault(tuple(names), []).append(embed)
    for fields, embeds in alike.items():
        if fields:
            InboxEmbed.objects.for_write().bulk_update(embeds, fields)


def end_link(link: AccessLink, why: ReasonCode, *, actor: Any = None) -> bool:
    """Mark a link as revoked because Kapso says that it is over, and wipe its secret.

    Args:
        link: the link, with its embed.
        why: `FOUND_REVOKED` or `NOT_FOUND`. Its value is also the signal's `reason`.
        actor: who found it, for the audit trail.

    Returns:
        Whether the link was in a live state until now.
    """
    stored = reason(why)
    moved = links.move_on_record(
        link,
        State.REVOKED,
        (InboxChange.Action.FOUND, stored),
        actor=actor,
        expected=AccessLink.KNOWN_BY_ID,
        reason=stored,
        sealed_url="",
    )
    if not moved:
        return False
    logger.warning("Access link %s is over: %s.", link, why.value)
    embed = links.embeds().get(pk=link.embed_id)
    if embed.current_link_id == link.pk:
        signals.send_after_commit(signals.embed_revoked, embed=embed, actor=actor, reason=why.value)
    return True


@sensitive_variables()
def _ask_about(embed: InboxEmbed, link: AccessLink, *, asked_at: datetime) -> bool:
    try:
        client = conf.project(embed.project).client(**_LAUNCH_TIMEOUTS)
        answer = client.inbox_embeds.get(link.kapso_id)
    except (KapsoError, ConfigurationError) as error:
        # A 404 as well: Kapso keeps what it revoked, so a 404 proves nothing, and a secret that is
        # wiped for it is lost for good. A sync sees the whole list.
        logger.warning("Access link %s could not be verified: %s", link, error)
        return False
    if answer.status == "revoked":
        end_link(link, ReasonCode.FOUND_REVOKED)
        return True
    _save_mirrored(embed, take_over(embed, link, answer), None)
    AccessLink.objects.for_write().filter(pk=link.pk).update(answered_at=asked_at)
    return True


def _note_differences(embed: InboxEmbed, link: AccessLink, found: str, actor: Any) -> None:
    if found:
        what = reason(ReasonCode.SHOWS_OTHERS, differences=found)
    else:
        what = reason(ReasonCode.SHOWS_RIGHT)
    with transaction.atomic(using=database()):
        links.lock(embed)
        links.links_of(embed).filter(pk=link.pk).update(differences=found)
        action = InboxChange.Action.FOUND
        audit.record_change(action, embed, link=link, actor=actor, details=what)
    link.differences = found
    logger.warning(
        "At Kapso, access link %s of the embed %r shows %s.",
        link,
        embed.slug,
        f"other conversations than it was created for: {found}"
        if found
        else "the right ones again",
    )


def _save_mirrored(embed: InboxEmbed, old: Mapping[str, Any], actor: Any) -> None:
    """Store what an answer changed, unless the link it is about was replaced meanwhile."""
    if not RECORDED.isdisjoint(old):
        save_mirrored({embed: old}, actor=actor)
    elif old:
        same = InboxEmbed.objects.for_write().filter(
            pk=embed.pk, current_link=embed.current_link_id
        )
        same.update(**{name: getattr(embed, name) for name in old})
