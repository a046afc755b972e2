"""Writing the audit trail: who tried to open which inbox, and who changed what."""

from __future__ import annotations

import ipaddress
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest

from . import conf
from .models import AccessLink, InboxChange, InboxEmbed, LaunchAttempt, Outcome
from .transactions import database

_BATCH = 1000

#: How long refusals that are alike are counted in one row.
ALIKE_WITHIN = timedelta(minutes=1)
#: How many different refusals of one person within that time have a row each.
MOST_REFUSALS = 20
#: Stands in a row for the slugs of all refusals beyond that. It cannot be a slug.
SEVERAL = "*"


#: What a record says in place of each action if no link that works came of it.
_REFUSED = {
    InboxChange.Action.CREATED: InboxChange.Action.CREATION_REFUSED,
    InboxChange.Action.ROTATED: InboxChange.Action.ROTATION_REFUSED,
    InboxChange.Action.ADOPTED: InboxChange.Action.ADOPTION_REFUSED,
}


@dataclass(frozen=True)
class Impersonator:
    """Somebody who acts as another user.

    Attributes:
        user: who really sits there: a user, or a name if the user is not known any more.
        acting_as: the user whose rights they use.
    """

    user: Any
    acting_as: Any


def actor_of(request: HttpRequest) -> Any:
    """Return who makes a request: its user, or an `Impersonator`.

    Args:
        request: a request of a signed-in user.

    Raises:
        Exception: what the function in the setting `REAL_USER` raises.
    """
    function = conf.real_user()
    user = function(request) or request.user
    return request.user if user == request.user else Impersonator(user, request.user)


def is_impersonated(request: HttpRequest) -> bool:
    """Return whether somebody else acts as the user of a request."""
    return isinstance(actor_of(request), Impersonator)


def user_behind(request: HttpRequest) -> Any:
    """Return who really sits there. This is the default of the setting `REAL_USER`.

    It knows django-hijack, which keeps the primary keys of those who act as others in the session
    (version 3.7), and django-impersonate, which sets `request.impersonator` (version 1.9).

    Args:
        request: a request of a signed-in user.

    Returns:
        A user, or a name if the user is not known any more.
    """
    impersonator = getattr(request, "impersonator", None)
    if impersonator is not None:
        return impersonator
    session = getattr(request, "session", None)
    history = session.get("hijack_history") if session is not None else None
    if not history:
        return request.user
    first = history[0]
    return get_user_model()._default_manager.filter(pk=first).first() or f"user {first}"


def who(actor: Any) -> dict[str, Any]:
    """Return the fields of a record that say who did something.

    Args:
        actor: a user, an `Impersonator`, or the name of a process.
    """
    if isinstance(actor, Impersonator):
        return {**who(actor.user), "acting_as": who(actor.acting_as)["username"]}
    if isinstance(actor, get_user_model()):
        return {"user_id": actor.pk, "username": str(actor.get_username() or actor.pk)[:254]}
    return {"username": str(actor or "")[:254]}


def change_of(
    action: InboxChange.Action,
    embed: InboxEmbed,
    *,
    link_id: UUID | None = None,
    actor: Any = None,
    details: str = "",
) -> InboxChange:
    """Return the row that records a change of an embed. It is not saved.

    Args:
        action: what was done.
        embed: the embed.
        link_id: the primary key of the access link that it is about, if any.
        actor: who did it: a user, an `Impersonator`, or the name of a process.
        details: more about it, made by `reason()`, without anything secret.
    """
    return InboxChange(
        **who(actor),
        embed_id=embed.pk,
        slug=embed.slug,
        link_id=link_id,
        action=action,
        details=details,
    )


def record_change(
    action: InboxChange.Action, embed: InboxEmbed, *, link: AccessLink | None = None, **more: Any
) -> None:
    """Record a change of an embed, as `change_of` says. The caller's transaction holds both.

    Args:
        action: what was done.
        embed: the embed.
        link: the access link that it is about, if any.
        more: `actor` and `details`.
    """
    change_of(action, embed, link_id=link.pk if link else None, **more).save(using=database())


def mark_refused(link: AccessLink, details: str) -> None:
    """Say in the record of a creation, rotation or adoption that nothing came of its link.

    Args:
        link: the link that was asked for.
        details: why there is none that works, made by `reason()`.
    """
    rows = InboxChange.objects.for_write().filter(link_id=link.pk, action__in=_REFUSED)
    for pk, action in list(rows.values_list("pk", "action")):
        # By its primary key: see _count_in_a_like_refusal().
        own = InboxChange.objects.for_write().filter(pk=pk)
        own.update(action=_REFUSED[InboxChange.Action(action)], details=details)


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
        user: whose attempt it was; None means whoever makes the request.

    Raises:
        DatabaseError: it could not be recorded.
    """
    attempt = LaunchAttempt(
        **who(user or actor_of(request)),
        embed_id=embed.pk if embed else None,
        slug=slug[:50],
        link_id=embed.current_link_id if embed else None,
        outcome=outcome,
        address=_address(request),
    )
    # Inside a transaction, a savepoint: otherwise a failure would spoil the transaction.
    is_inside = transaction.get_connection(database()).in_atomic_block
    with transaction.atomic(using=database()) if is_inside else nullcontext():
        if outcome == Outcome.OPENED or not _count_in_a_like_refusal(attempt):
            attempt.save(using=database())


def _count_in_a_like_refusal(attempt: LaunchAttempt) -> bool:
    """Count a refusal in a row of the same person's last minute, if there is one for it.

    Refusals are alike in slug, outcome and address. After `MOST_REFUSALS` different ones within the
    minute, those that are like none of them are alike in the outcome alone, whatever their slugs.

    Args:
        attempt: the refusal. Its slug and address are left out if the minute is that full.

    Returns:
        Whether it was counted. If not, it needs a row of its own.
    """
    # An impersonator's refusals are not those of the same person's own.
    person = {name: getattr(attempt, name) for name in ("user_id", "username", "acting_as")}
    rows = LaunchAttempt.objects.for_write().filter(
        **person,
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


def _address(request: HttpRequest) -> str | None:
    """Return the address that the request comes from; None if a proxy or socket left none."""
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return None
    # Without the zone of a link-local address, which no database accepts.
    return str(address).partition("%")[0]
