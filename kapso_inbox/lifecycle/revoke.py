"""The end of an embed's links: marked first, so that launches stop, then revoked at Kapso."""

from __future__ import annotations

import logging
from collections.abc import Collection
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from kapso_inbox import audit, conf, signals
from kapso_inbox.kapso import KapsoClient, KapsoError, NotFoundError
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed, ReasonCode, reason
from kapso_inbox.transactions import database

from . import links

logger = logging.getLogger(__name__)

State = AccessLink.State

#: How many other links are asked about before a 404 to a revocation is believed.
_ASKED = 3


@sensitive_variables()
def revoke_embed(embed: InboxEmbed, *, actor: Any = None) -> InboxEmbed:
    """Revoke every link of the embed. Launches stop at once, whatever Kapso answers.

    Args:
        embed: the embed, which is read again from the database.
        actor: the user who asks for it, for the audit trail.

    Returns:
        The embed. All of its links are revoked, except one whose creation is uncertain (`unknown`).

    Raises:
        InsideTransactionError: the call is inside a transaction; nothing was done.
        ReadOnlyError: the setting `READ_ONLY` is on; nothing was done.
        ForeignError: the embed was created elsewhere, and the setting `SHARED_PROJECTS` is on.
        KapsoError, ConfigurationError: Kapso did not revoke a link, or may not have, or could not
            be asked. The link stays `revoking`, with the reason. Call this again to continue.
    """
    links.refuse_inside_transaction()
    links.refuse_if_read_only()
    embed = links.embeds().get(pk=embed.pk)
    links.refuse_if_foreign(embed)
    with transaction.atomic(using=database(), durable=True):
        links.lock(embed)
        for link in links.links_of(embed).filter(state__in=AccessLink.LIVE):
            # The process that creates it finds that it is no longer `creating`, and revokes it.
            meanwhile = reason(ReasonCode.REVOKED_MEANWHILE)
            link.move(State.UNKNOWN, expected=[State.CREATING], reason=meanwhile)
            mark_revoking(link)
        waiting = embed.current_link or links.links_of(embed).unsettled().first()
        audit.record_change(InboxChange.Action.REVOKED, embed, link=waiting, actor=actor)
    signals.send_after_commit(signals.embed_revoked, embed=embed, actor=actor, reason="requested")
    logger.info("%r revoked the embed %r.", getattr(actor, "pk", actor), embed.slug)
    finish_revoking(embed, conf.project(embed.project).client())
    return links.embeds().get(pk=embed.pk)


def mark_revoking(link: AccessLink) -> bool:
    """Stop launches of a link and wipe its secret.

    Returns:
        Whether there is something to revoke. There is not if Kapso's ID of the link is unknown:
        such a link stays `unknown`.
    """
    expected = [*AccessLink.KNOWN_BY_ID]
    if link.kapso_id:
        expected.append(State.UNKNOWN)
    return link.move(State.REVOKING, expected=expected, sealed_url="")


def finish_revoking(
    embed: InboxEmbed,
    client: KapsoClient,
    *,
    keep_reasons: bool = False,
    settles: Collection[UUID] = (),
    actor: Any = None,
) -> None:
    """Have Kapso end each link of the embed that is `revoking`.

    Args:
        embed: the embed.
        client: a client for its project.
        keep_reasons: whether each link keeps the reason that it has.
        settles: the primary keys of links whose revocation is recorded once Kapso confirms it.
        actor: the user who asks for that.

    Raises:
        KapsoError: the first error. The other links were tried all the same.
    """
    failure = None
    for link in links.links_of(embed).filter(state=State.REVOKING):
        try:
            revoke_link(link, client, keeps=link.reason if keep_reasons else "")
            if link.pk in settles:
                done = reason(ReasonCode.REVOCATION_DONE)
                action = InboxChange.Action.SETTLED
                audit.record_change(action, embed, link=link, actor=actor, details=done)
        except KapsoError as error:
            failure = failure or error
    if failure is not None:
        raise failure from None


def revoke_link(link: AccessLink, client: KapsoClient, *, keeps: str = "") -> None:
    """Have Kapso end a link that is `revoking`. It stays so until Kapso is known to have done it.

    Args:
        link: the link.
        client: a client for its project.
        keeps: the reason to be kept with it.

    Raises:
        KapsoError: Kapso did not do it, or may not have. The row says why.
    """
    try:
        revoke_at_kapso(link, client)
    except KapsoError as error:
        link.move(State.REVOKING, expected=[State.REVOKING], reason=links.reason_of(error))
        logger.warning("Access link %s could not be revoked yet: %s", link, error)
        raise
    link.move(State.REVOKED, expected=[State.REVOKING], reason=keeps)
    logger.info("Access link %s is revoked.", link)


def revoke_at_kapso(link: AccessLink, client: KapsoClient) -> None:
    """Have Kapso end a link, whatever its row says. Nothing is written here.

    Raises:
        KapsoError: Kapso did not do it, or may not have.
    """
    try:
        client.inbox_embeds.revoke(link.kapso_id)
    except NotFoundError:
        # Kapso keeps revoked embeds, so a 404 says more about the key, or about a bad minute of
        # Kapso's, than about the link. It counts if Kapso itself says that the link is revoked, or
        # if it twice does not know the link under the very key that created it, and knows others
        # in between.
        is_credible = is_known_to_current_key(link) and _knows_others(client, link)
        try:
            if client.inbox_embeds.get(link.kapso_id).status == "revoked":
                return
        except NotFoundError:
            if is_credible:
                return
        raise


def _knows_others(client: KapsoClient, link: AccessLink) -> bool:
    """Return whether Kapso knows another link of the project now, or there is none to ask about."""
    others = AccessLink.objects.for_write().filter(
        embed__project=link.embed.project, state__in=AccessLink.AT_KAPSO
    )
    ids = others.exclude(kapso_id__in=["", link.kapso_id]).order_by("-created_at")
    asked = list(ids.values_list("kapso_id", flat=True)[:_ASKED])
    for kapso_id in asked:
        with suppress(KapsoError):
            client.inbox_embeds.get(kapso_id)
            return True
    return not asked


def is_known_to_current_key(link: AccessLink) -> bool:
    """Return whether Kapso knew the link under the current key: then a 404 is about the link."""
    return link.key_fingerprint == conf.project(link.embed.project).key_fingerprint
