"""What became of a link whose making is uncertain."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from kapso_inbox import conf
from kapso_inbox.models import AccessLink, InboxChange, reference_in

from . import links

if TYPE_CHECKING:
    from kapso_inbox.kapso import Embed

logger = logging.getLogger(__name__)

State = AccessLink.State

#: How long after the first complete list without it an uncertain link has to be absent again.
ABSENT_AFTER = timedelta(minutes=5)


@sensitive_variables()
def resolve_link(link: AccessLink, *, actor: Any = None) -> AccessLink:
    """Find out what became of an uncertain link: by its reference, in Kapso's whole list.

    Found, it is revoked: its address is lost, whatever it is. Absent from two whole lists some
    minutes apart, it is `failed`. A link that is not uncertain is left as it is, but for one that
    is `revoking`, which is gone on with.

    Args:
        link: it is read again from the database.
        actor: the user who asks for it, for the record.

    Returns:
        The link; still `unknown` where Kapso has to be asked again in some minutes, or where only
        the key that made it could say.

    Raises:
        BusyError: it is being made right now.
        InsideTransactionError: there is a transaction around the call; nothing was done.
        KapsoError: Kapso could not be asked, or did not revoke what was found.
    """
    links.refuse_inside_transaction()
    link = AccessLink.objects.using(links.database()).select_related("embed").get(pk=link.pk)
    client = conf.project(link.embed.project).client()
    if is_uncertain(link):
        listed = client.inbox_embeds.list()
        found = next((e for e in listed if reference_in(e.name) == link.reference), None)
        settle(link, found, proven=links.known_to_current_key(link), actor=actor)
    if link.state == State.REVOKING:
        links.revoke(link, client, reason=link.reason)
    return link


def is_uncertain(link: AccessLink) -> bool:
    """Say whether it takes Kapso's list to know what became of the link.

    Raises:
        BusyError: it is being made right now.
    """
    if link.state == State.CREATING:
        links.refuse_if_being_made(link.embed)
        links.give_up(link)
    return link.state == State.UNKNOWN


def settle(link: AccessLink, found: Embed | None, *, proven: bool, actor: Any = None) -> None:
    """Draw the conclusion from a whole list of Kapso's.

    Args:
        link: `unknown`.
        found: what bears its reference.
        proven: whether that list is the one of the project that the link was asked of.
        actor: who asks for it, for the record.
    """
    now = timezone.now()
    known = {"kapso_id": found.id} if found is not None else {}
    if found is not None and found.status == "revoked":
        state, reason = State.REVOKED, ""
    elif found is not None:
        state, reason = State.REVOKING, "It was made after all; its address is lost."
    elif not proven:
        reason = "Only the API key that was in use when it was asked for can say what became of it."
        AccessLink.objects.using(links.database()).filter(pk=link.pk).update(reason=reason)
        return
    elif link.absent_at is None:
        link.absent_at = now
        unmarked = AccessLink.objects.using(links.database()).filter(pk=link.pk, absent_at=None)
        unmarked.update(absent_at=now)
        return
    elif now - link.absent_at < ABSENT_AFTER:
        return
    else:
        state, reason = State.FAILED, "Kapso's whole list lacked it twice: it was never made."
    entry = InboxChange.Action.SETTLED, reason or "It was revoked already."
    if links.move_on_record(
        link, state, entry, actor=actor, expected=[State.UNKNOWN], reason=reason, **known
    ):
        logger.info("Access link %s is settled: %s.", link, link.state)
