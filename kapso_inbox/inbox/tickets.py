"""Tickets: a way in for a browser without a session of ours, where the front end has a token.

A ticket is a row's id, signed. The row makes it work once, and never after it is deleted. The
signature makes it one that only this site can have issued: who reads the database, or a backup of
it, has no ticket without the SECRET_KEY. And the id is random, so that the SECRET_KEY alone makes
none either.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from django.core.signing import BadSignature, Signer
from django.db.models import QuerySet
from django.utils import timezone

from kapso_inbox.models import InboxEmbed, LaunchTicket

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

#: How long a ticket is good for, in seconds.
LIFETIME = 60

#: How long a ticket is remembered, so that the record can tell who one that comes late was for.
_REMEMBERED = timedelta(hours=1)
_BATCH = 100


def issue_ticket(user: AbstractBaseUser, embed: InboxEmbed, params: Mapping[str, str]) -> str:
    """Return a ticket: the value of `ticket` in the query of the embed's launch.

    Whoever presents it within `LIFETIME` seconds, for the first time, is taken for the user. Old
    tickets are deleted, a bounded number of them, so that no command has to be run for it.

    Args:
        user: who is to open the embed. The caller has checked that they may, now; the launch checks
            it again.
        embed: which one.
        params: cleaned theme and filters.
    """
    tickets = _tickets()
    old = tickets.filter(created_at__lt=timezone.now() - _REMEMBERED).order_by("created_at")
    # By their ids, in one order: two that delete at once wait for each other, and never for ever.
    tickets.filter(pk__in=sorted(old.values_list("pk", flat=True)[:_BATCH])).delete()
    ticket = tickets.create(user_id=user.pk, embed_id=embed.pk, params=dict(params))
    return _signer().sign(ticket.pk.hex)


def find_ticket(text: str) -> LaunchTicket | None:
    """Return the ticket, with its user and embed, whether it is still good or not.

    Args:
        text: what somebody presents.

    Returns:
        None where this site never issued it, or does not remember it, or user or embed are gone.
    """
    try:
        pk = uuid.UUID(_signer().unsign(text))
    except BadSignature:
        return None
    return _tickets().select_related("user", "embed").filter(pk=pk).first()


def use_ticket(ticket: LaunchTicket) -> bool:
    """Use a ticket; one UPDATE decides, so that of many at once one succeeds.

    Not to be called inside a transaction: a rollback would make the ticket good again.

    Returns:
        Whether it was good until now.

    Raises:
        DatabaseError: it could not be written down.
    """
    now = timezone.now()
    good = _tickets().filter(
        pk=ticket.pk, used_at=None, created_at__gt=now - timedelta(seconds=LIFETIME)
    )
    return bool(good.update(used_at=now))


def _signer() -> Signer:
    return Signer(salt="kapso_inbox.tickets")


def _tickets() -> QuerySet[LaunchTicket]:
    # Never from a replica, which may not have heard of the ticket or of its use.
    return LaunchTicket.objects.for_write()
