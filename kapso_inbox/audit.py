"""Writing the audit trail: who tried to open which inbox, and who changed what."""

from __future__ import annotations

import ipaddress
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.http import HttpRequest

from .models import AccessLink, InboxChange, InboxEmbed, LaunchAttempt, Outcome
from .transactions import database

_BATCH = 1000


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
    attempt = LaunchAttempt(
        **_who(user or request.user),
        embed_id=embed.pk if embed else None,
        slug=slug[:50],
        link_id=embed.current_link_id if embed else None,
        outcome=outcome,
        address=_address(request),
    )
    # Inside a transaction, a savepoint: otherwise a failure would spoil the transaction.
    if transaction.get_connection(database()).in_atomic_block:
        with transaction.atomic(using=database()):
            attempt.save(using=database())
    else:
        attempt.save(using=database())


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
