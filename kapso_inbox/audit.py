"""The record: who opened which inbox, who changed what. It outlives what it speaks of."""

from __future__ import annotations

import ipaddress
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.db import router, transaction
from django.http import HttpRequest

from .models import AccessLink, InboxChange, InboxEmbed, LaunchAttempt, Outcome

Action = InboxChange.Action

_BATCH = 1000


def record_change(
    action: InboxChange.Action,
    embed: InboxEmbed,
    *,
    link: AccessLink | None = None,
    actor: Any = None,
    details: str = "",
) -> None:
    """Write down that something was done to an embed; the caller's transaction holds both.

    Args:
        action: what.
        embed: to which one.
        link: which of its links it is about.
        actor: who: a user, or the name of what did it by itself.
        details: in words, without anything secret.
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
    """Write down how an attempt to open an inbox ended.

    Args:
        request: of a signed-in user. Its address is `REMOTE_ADDR`: behind a proxy, what the host's
            own middleware for that proxy puts there.
        slug: what was asked for.
        outcome: how it ended.
        embed: what was found by that slug.
        user: whose attempt it was; None = the request's own.

    Raises:
        DatabaseError: it could not be written down.
    """
    using = router.db_for_write(LaunchAttempt)
    opening = LaunchAttempt(
        **_who(user or request.user),
        embed_id=embed.pk if embed else None,
        slug=slug[:50],
        link_id=embed.current_link_id if embed else None,
        outcome=outcome,
        address=_address(request),
    )
    # A savepoint where there is a transaction, which a failure would otherwise spoil.
    if transaction.get_connection(using).in_atomic_block:
        with transaction.atomic(using=using):
            opening.save(using=using)
    else:
        opening.save(using=using)


def prune(before: datetime) -> int:
    """Delete the record of what was before that time, in batches; return how much that was."""
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
    """Where the request comes from; None where a proxy or a socket left no address."""
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return None
    # Without the zone of a link-local address, which no database takes.
    return str(address).partition("%")[0]
