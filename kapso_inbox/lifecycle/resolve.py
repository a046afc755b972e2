"""What became of links whose creation is uncertain."""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from kapso_inbox import conf
from kapso_inbox.kapso import Embed, KapsoClient, UncertainError
from kapso_inbox.models import (
    AccessLink,
    InboxChange,
    InboxEmbed,
    ReasonCode,
    reason,
    reference_in,
)

from . import links
from .revoke import finish_revoking, is_known_to_current_key

logger = logging.getLogger(__name__)

State = AccessLink.State

#: How long after the first complete list without it a link must be absent again.
ABSENT_AFTER = timedelta(minutes=5)
#: How many links that exist at Kapso are looked for in its list, to see whether it can be believed.
_SAMPLE = 20


@sensitive_variables()
def resolve_embed(embed: InboxEmbed, *, actor: Any = None) -> InboxEmbed:
    """Find out what became of the embed's uncertain links, and resume its revocations.

    An uncertain link is looked for by its reference in Kapso's whole list. If it is there, it is
    revoked, since its address is lost. If two whole lists some minutes apart lack it, it is
    `failed`. Links that are `revoking` are revoked. Other links are left alone, and without any of
    these Kapso is not asked.

    Args:
        embed: the embed, which is read again from the database.
        actor: the user who asks for it, for the audit trail.

    Returns:
        The embed. A link of it is still `unknown` if Kapso must be asked again in some minutes, or
        if only the API key that created the link could say.

    Raises:
        BusyError: a link of the embed is being created right now.
        InsideTransactionError: the call is inside a transaction; nothing was done.
        ReadOnlyError: the setting `READ_ONLY` is on; nothing was done.
        KapsoError: Kapso could not be asked, its list cannot be believed, or it did not revoke
            what was found.
    """
    links.refuse_inside_transaction()
    links.refuse_if_read_only()
    embed = links.embeds().get(pk=embed.pk)
    unsettled = list(links.links_of(embed).unsettled())
    if not unsettled:
        return embed
    client = conf.project(embed.project).client()
    waiting = {link.pk for link in unsettled if link.state == State.REVOKING}
    uncertain = [link for link in unsettled if is_uncertain(link)]
    found = _find_by_reference(client, embed.project, {link.reference for link in uncertain})
    for link in uncertain:
        proven = is_known_to_current_key(link)
        settle(link, found.get(link.reference), proven=proven, actor=actor)
    finish_revoking(embed, client, keep_reasons=True, settles=waiting, actor=actor)
    return links.embeds().get(pk=embed.pk)


def is_uncertain(link: AccessLink) -> bool:
    """Return whether only Kapso's list can say what became of the link.

    Raises:
        BusyError: the link is being created right now.
    """
    if link.state == State.CREATING:
        links.refuse_if_being_made(link.embed)
        links.give_up(link)
    return link.state == State.UNKNOWN


def settle(link: AccessLink, found: Embed | None, *, proven: bool, actor: Any = None) -> None:
    """Conclude from Kapso's whole list what became of a link.

    Args:
        link: a link in the state `unknown`.
        found: the embed at Kapso that bears its reference.
        proven: whether the list is that of the project in which the link was asked for.
        actor: the user who asks for it, for the audit trail.
    """
    if found is not None and links.is_of_another(link, found.id):
        found = None
    known = {"kapso_id": found.id, "absent_at": None} if found is not None else {}
    if found is not None and found.status == "revoked":
        state, why = State.REVOKED, ""
    elif found is not None:
        state, why = State.REVOKING, reason(ReasonCode.CREATED_AFTER_ALL)
    elif not proven:
        unproven = reason(ReasonCode.KEY_UNPROVEN)
        AccessLink.objects.for_write().filter(pk=link.pk).update(reason=unproven)
        return
    elif not is_absent_again(link):
        return
    else:
        state, why = State.FAILED, reason(ReasonCode.NEVER_CREATED)
    entry = InboxChange.Action.SETTLED, why or reason(ReasonCode.REVOKED_ALREADY)
    if links.move_on_record(
        link, state, entry, actor=actor, expected=[State.UNKNOWN], reason=why, **known
    ):
        logger.info("Access link %s is settled: %s.", link, link.state)


def is_absent_again(link: AccessLink) -> bool:
    """Note that Kapso's whole list lacks a link; return whether one did so some minutes ago, too.

    One list proves nothing: Kapso's answers can be wrong for a minute, and what is concluded from
    them cannot be taken back.

    Args:
        link: a link that has not been in a list of Kapso's since it was first absent.
    """
    now = timezone.now()
    if link.absent_at is None or link.absent_at > now:
        # One in the future was stored by a wrong clock, and says nothing of how long ago it was.
        link.absent_at = now
        unmarked = AccessLink.objects.for_write().filter(Q(absent_at=None) | Q(absent_at__gt=now))
        unmarked.filter(pk=link.pk).update(absent_at=now)
        return False
    return now - link.absent_at >= ABSENT_AFTER


def _find_by_reference(
    client: KapsoClient, project: str, wanted: Collection[str]
) -> dict[str, Embed]:
    """Return the embeds at Kapso that bear these references. Reads no further than it must.

    Raises:
        UncertainError: the list lacks most of the links that it should hold, so it proves nothing.
        KapsoError: the list could not be read.
    """
    found: dict[str, Embed] = {}
    if not wanted:
        return found
    at_kapso = AccessLink.objects.for_write().filter(
        embed__project=project, state__in=AccessLink.AT_KAPSO, absent_at=None
    )
    newest = (
        at_kapso.exclude(kapso_id="").order_by("-created_at").values_list("kapso_id", flat=True)
    )
    sample = set(newest[:_SAMPLE])
    missing = set(sample)
    for remote in client.inbox_embeds.list():
        missing.discard(remote.id)
        reference = reference_in(remote.name)
        if reference in wanted:
            # The most recent comes first, and an older one of that reference is not it.
            found.setdefault(reference, remote)
            if len(found) == len(wanted):
                return found
    if 2 * len(missing) > len(sample):
        raise UncertainError("Kapso's list lacks most of the links that it should hold")
    return found
