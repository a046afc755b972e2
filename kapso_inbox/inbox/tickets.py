"""Launch tickets: for a browser without a session here, whose front end signs in by token.

A ticket is the signed ID of a row. The row lets it work once, and not at all after the row is
deleted. Because of the signature, a copy of the database is not enough to forge a ticket. Because
the ID is random, the SECRET_KEY is not enough either.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from django.core.signing import BadSignature, Signer
from django.db.models import QuerySet
from django.utils import timezone

from kapso_inbox.clock import lately
from kapso_inbox.models import InboxEmbed, LaunchTicket

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

#: Seconds for which a ticket is valid.
LIFETIME = 60

#: How long a ticket's row is kept, so that the record can name the user of a late one.
_REMEMBERED = timedelta(hours=1)
#: How many old rows are deleted whenever a ticket is issued.
_BATCH = 100


def issue_ticket(user: AbstractBaseUser, embed: InboxEmbed, params: Mapping[str, str]) -> str:
    """Return a ticket: the value of `ticket` in the query of the embed's launch.

    The first to present it within `LIFETIME` seconds is taken for the user. This also deletes some
    old tickets, so that no command has to be run for that.

    Args:
        user: the user who opens the embed. The caller must have checked that they may. The launch
            checks it again.
        embed: the embed.
        params: the theme and filters, cleaned.
    """
    tickets = _tickets()
    old = tickets.exclude(created_at__range=lately(_REMEMBERED)).order_by("created_at")
    # By ID and sorted: two processes that delete at once wait for each other, and cannot deadlock.
    tickets.filter(pk__in=sorted(old.values_list("pk", flat=True)[:_BATCH])).delete()
    ticket = tickets.create(user_id=user.pk, embed_id=embed.pk, params=dict(params))
    return _signer().sign(ticket.pk.hex)


def find_ticket(text: str) -> LaunchTicket | None:
    """Return the ticket with its user and embed, whether it is still valid or not.

    Args:
        text: what somebody presents as a ticket.

    Returns:
        None if this site did not issue it, if its row was deleted, or if its user or embed was.
    """
    try:
        pk = uuid.UUID(_signer().unsign(text))
    except BadSignature:
        return None
    return _tickets().select_related("user", "embed").filter(pk=pk).first()


def use_ticket(ticket: LaunchTicket) -> bool:
    """Use a ticket up. One UPDATE decides, so that only one of many callers succeeds.

    Do not call this inside a transaction: a rollback would make the ticket valid again.

    Returns:
        Whether the ticket was valid until now.

    Raises:
        DatabaseError: the use could not be stored.
    """
    valid = _tickets().filter(
        pk=ticket.pk, used_at=None, created_at__range=lately(timedelta(seconds=LIFETIME))
    )
    return bool(valid.update(used_at=timezone.now()))


def _signer() -> Signer:
    return Signer(salt="kapso_inbox.tickets")


def _tickets() -> QuerySet[LaunchTicket]:
    # Never from a replica, which may lack the ticket or its use.
    return LaunchTicket.objects.for_write()
