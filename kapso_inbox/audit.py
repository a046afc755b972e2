"""Writing the audit trail: who tried to open which inbox, and who changed what."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest

from .models import AccessLink, InboxChange, InboxEmbed, LaunchAttempt, Outcome
from .transactions import database

_BATCH = 1000

#: How long refusals that are alike are counted in one row.
ALIKE_WITHIN = timedelta(minutes=1)
#: How many different refusals of one person within that time have a row each.
MOST_REFUSALS = 20
#: Stands in a row for the slugs of all refusals beyond that. It cannot be a slug.
SEVERAL = "*"


def record_change(
    action: InboxChange.Action,
    embed: InboxEmbed,
    *,
    link: AccessLink | None = None,
    actor: Any = None,
    details: str = "",
) -> None:
    """Record a change of an embed. The caller's transaction holds both.

    Args:
        action: what was done.
        embed: the embed.
        link: the access link that it is about, if any.
        actor: who did it: a user, or the name of a process.
        details: more in words, without anything secret.
    """
    InboxChange.objects.for_write().create(
        **_who(actor),
        embed_id=embed.pk,
        slug=embed.slug,
        link_id=link.pk if link else None,
        action=action,
        details=details[:255],
    )


def record_attempt(
    request: HttpRequest,
    slug: str,
    outcome: Outcome,
    embed: InboxEmbed | None,
    *,
    user: Any = None,
) -> None:
    """Record how an attempt to open an inbox ended.

    Each opening has a row of its own. A refusal that is like another one of the same minute is
    counted in that one's row: anyone who is signed in can be refused as often as they like.

    Args:
        request: the request of a signed-in user. Its address is `REMOTE_ADDR`: behind a proxy, that
            is what the host's own middleware for the proxy sets.
        slug: the slug that was asked for.
        outcome: how the attempt ended.
        embed: the embed of that slug, if there is one.
        user: whose attempt it was; None means the request's user.

    Raises:
        DatabaseError: it could not be recorded.
    """
    who = _who(user or request.user)
    attempt = LaunchAttempt(
        **who,
        embed_id=embed.pk if embed else None,
        slug=slug[:50],
        link_id=embed.current_link_id if embed else None,
        outcome=outcome,
        address=_address(request),
    )
    # Inside a transaction, a savepoint: otherwise a failure would spoil the transaction.
    is_inside = transaction.get_connection(database()).in_atomic_block
    with transaction.atomic(using=database()) if is_inside else nullcontext():
        if outcome == Outcome.OPENED or not _count_in_a_like_refusal(attempt, who):
            attempt.save(using=database())


def _count_in_a_like_refusal(attempt: LaunchAttempt, who: Mapping[str, Any]) -> bool:
    """Count a refusal in a row of the same person's last minute, if there is one for it.

    Refusals are alike in slug, outcome and address. After `MOST_REFUSALS` different ones within the
    minute, those that are like none of them are alike in the outcome alone, whatever their slugs.

    Args:
        attempt: the refusal. Its slug and address are left out if the minute is that full.
        who: the fields that name the person.

    Returns:
        Whether it was counted. If not, it needs a row of its own.
    """
    rows = LaunchAttempt.objects.for_write().filter(
        **who,
        created_at__gt=attempt.created_at - ALIKE_WITHIN,
        created_at__lte=attempt.created_at,
    )
    known = {
        (slug, outcome, address): pk
        for slug, outcome, address, pk in rows.exclude(outcome=Outcome.OPENED).values_list(
            "slug", "outcome", "address", "pk"
        )
    }
    if _likeness(attempt) not in known and len(known) >= MOST_REFUSALS:
        attempt.slug, attempt.address, attempt.embed_id, attempt.link_id = SEVERAL, None, None, None
    pk = known.get(_likeness(attempt))
    # By its primary key: on MariaDB, an UPDATE that looks for rows locks the gaps between them, and
    # two that then insert would deadlock.
    return pk is not None and bool(rows.filter(pk=pk).update(times=F("times") + 1))


def _likeness(attempt: LaunchAttempt) -> tuple[str, str, str | None]:
    return attempt.slug, attempt.outcome, attempt.address


def prune(before: datetime) -> int:
    """Delete the rows of the audit trail from before a time, in batches.

    Returns:
        How many rows were deleted.
    """
    deleted = 0
    for model in (LaunchAttempt, InboxChange):
        rows = model.objects.for_write().filter(created_at__lt=before)
        while batch := list(rows.order_by("pk").values_list("pk", flat=True)[:_BATCH]):
            deleted += rows.filter(pk__in=batch).delete()[0]
    return deleted


def _who(actor: Any) -> dict[str, Any]:
    if isinstance(actor, get_user_model()):
        return {"user_id": actor.pk, "username": str(actor.get_username() or actor.pk)[:254]}
    return {"username": str(actor or "")[:254]}


def _address(request: HttpRequest) -> str | None:
    """Return the address that the request comes from; None if a proxy or socket left none."""
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return None
    # Without the zone of a link-local address, which no database accepts.
    return str(address).partition("%")[0]
