"""What every change of an embed's links shares: reading, locking, and moving them on record.

The order of the commits is the point. The intent is committed before Kapso is called, the call is
made once, and what is uncertain stays on record until it is settled.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from enum import Enum
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from kapso_inbox import audit, clock, conf, signals
from kapso_inbox.encryption import UnreadableSecretError
from kapso_inbox.kapso import InboxOriginError, KapsoClient, KapsoError
from kapso_inbox.models import (
    AccessLink,
    AccessLinkQuerySet,
    InboxChange,
    InboxEmbed,
    InboxEmbedQuerySet,
    ReasonCode,
    reason,
)
from kapso_inbox.transactions import database, is_inside_transaction

from .errors import BusyError, ForeignError, InsideTransactionError, ReadOnlyError

logger = logging.getLogger(__name__)

State = AccessLink.State
Action = InboxChange.Action

#: Longer than a request to Kapso can take: a link that is `creating` for longer was abandoned.
STALE_AFTER = timedelta(minutes=2)


class Unset(Enum):
    """The type of `UNSET`, which stands for an argument that was left out."""

    UNSET = "unset"


UNSET = Unset.UNSET


def embeds() -> InboxEmbedQuerySet:
    """Return the embeds with their current links, as the writing database has them."""
    return InboxEmbed.objects.for_write().select_related("current_link")


def links_of(embed: InboxEmbed) -> AccessLinkQuerySet:
    """Return the links of an embed, as the writing database has them."""
    return AccessLink.objects.for_write().filter(embed=embed).select_related("embed")


def is_of_another(link: AccessLink, kapso_id: str) -> bool:
    """Return whether another link of the project bears this ID at Kapso."""
    bearers = AccessLink.objects.for_write().filter(
        kapso_id=kapso_id, embed__project=link.embed.project
    )
    return bearers.exclude(pk=link.pk).exists()


def newest_link(embed: InboxEmbed) -> UUID | None:
    """Return the primary key of the embed's latest link, whatever became of it, or None."""
    return links_of(embed).order_by("-created_at", "-pk").values_list("pk", flat=True).first()


def refuse_inside_transaction() -> None:
    """Check that what is committed next is really committed.

    Raises:
        InsideTransactionError: the call is inside a transaction.
    """
    if is_inside_transaction():
        raise InsideTransactionError(
            "This call must commit before it talks to Kapso. Call it outside of "
            "transaction.atomic(); in a project with ATOMIC_REQUESTS, mark the view with "
            "@transaction.non_atomic_requests."
        )


def refuse_if_read_only() -> None:
    """Check that this deployment may change something at Kapso.

    Raises:
        ReadOnlyError: it may not.
    """
    if conf.is_read_only():
        raise ReadOnlyError('KAPSO_INBOX["READ_ONLY"] is set: nothing is changed at Kapso.')


def refuse_if_foreign(embed: InboxEmbed) -> None:
    """Check that an embed's link is not one that others of a shared project have created.

    Raises:
        ForeignError: it is.
    """
    link = embed.current_link
    if link is not None and link.state == State.UNMANAGED and conf.shares_projects():
        raise ForeignError(
            f"{embed.slug!r} was created elsewhere. The setting SHARED_PROJECTS leaves it to those "
            "who created it."
        )


def client_for(embed: InboxEmbed) -> KapsoClient:
    """Return a client for the embed's project, after checking that a secret could be stored.

    Raises:
        ConfigurationError: the project's key or address, or the encryption keys, cannot be used.
    """
    conf.keyring()
    return conf.project(embed.project).client()


def lock(embed: InboxEmbed) -> None:
    """Keep other processes from changing the links of this embed until the transaction ends.

    This is a write and not `SELECT FOR UPDATE`: SQLite has no such thing, and a transaction there
    that reads first cannot always write later.
    """
    embeds().filter(pk=embed.pk).update(updated_at=timezone.now())


def refuse_if_being_made(embed: InboxEmbed) -> list[AccessLink]:
    """Check that no other process is creating a link for the embed; return the abandoned ones.

    Raises:
        BusyError: one is.
    """
    creating = list(links_of(embed).filter(state=State.CREATING))
    lately = clock.lately(STALE_AFTER)
    if any(clock.is_within(link.state_changed_at, lately) for link in creating):
        raise BusyError(
            f"A link for the embed {embed.slug!r} is being created right now. Try again in a "
            "moment."
        )
    return creating


def begin(embed: InboxEmbed) -> AccessLink:
    """Record the intent to create a link. The caller's transaction holds the embed's lock.

    Raises:
        BusyError: another process is creating one right now.
    """
    for link in refuse_if_being_made(embed):
        give_up(link)
    fingerprint = conf.project(embed.project).key_fingerprint
    created_at = timezone.now()
    before = links_of(embed).order_by("-created_at").values_list("created_at", flat=True).first()
    if before is not None:
        # Later than those before it, whatever the clock says: the order tells which is the newest.
        created_at = max(created_at, before + timedelta(microseconds=1))
    return AccessLink.objects.for_write().create(
        embed=embed, key_fingerprint=fingerprint, created_at=created_at
    )


def give_up(link: AccessLink) -> None:
    """Mark a link whose creation was abandoned as uncertain."""
    link.move(State.UNKNOWN, expected=[State.CREATING], reason=reason(ReasonCode.ABANDONED))


def reason_of(error: KapsoError) -> str:
    """Return an error of Kapso's client as a stored reason, with Kapso's own text."""
    facts = {
        "error": type(error).__name__,
        "text": error.args[0],
        "status": error.status,
        "request_id": error.request_id,
        "detail": error.detail,
    }
    if isinstance(error, InboxOriginError):
        facts |= {
            "origin": error.origin,
            "setting": error.setting,
            "inbox_origins": list(error.inbox_origins),
        }
    return reason(ReasonCode.KAPSO_ERROR, **{name: fact for name, fact in facts.items() if fact})


def move_on_record(
    link: AccessLink,
    state: AccessLink.State,
    entry: tuple[InboxChange.Action, str],
    *,
    actor: Any = None,
    **fields: Any,
) -> bool:
    """Change a link's state as `AccessLink.move` does, and record it: both or neither.

    Args:
        link: the link.
        state: its new state.
        entry: what the audit trail says: the action, and a stored reason as its details.
        actor: the user who asks for it, or the name of the process.
        fields: as for `AccessLink.move`.

    Returns:
        Whether the state was changed.
    """
    action, details = entry
    embed = link.embed  # read before the transaction, which must begin with a write: see lock()
    with transaction.atomic(using=database()):
        # Every change locks the embed first. One that locked the link first would deadlock with
        # the others.
        lock(embed)
        moved = link.move(state, **fields)
        if moved:
            audit.record_change(action, embed, link=link, actor=actor, details=details)
            if action == Action.SETTLED:  # no link that was uncertain comes into use
                audit.mark_refused(link, details)
    return moved


def lose_secret(link: AccessLink, error: UnreadableSecretError) -> None:
    """Mark an active link's secret as lost, since no process can decrypt it, and tell everybody.

    Args:
        link: the link, with its embed.
        error: why it cannot be decrypted. A key that this process lacks is no such reason: during
            a rolling restart, others have it.
    """
    logger.error("The secret of access link %s cannot be decrypted: %s", link, error)
    why = reason(ReasonCode.SECRET_UNREADABLE if link.sealed_url else ReasonCode.SECRET_MISSING)
    lost = Action.LOST, why
    if move_on_record(link, State.SECRET_LOST, lost, expected=[State.ACTIVE], reason=why):
        signals.send_after_commit(signals.secret_lost, embed=link.embed, link=link)
