"""The end of an embed's links."""

from __future__ import annotations

import logging
from typing import Any

from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from kapso_inbox import audit, conf, signals
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed

from . import links

logger = logging.getLogger(__name__)

State = AccessLink.State


@sensitive_variables()
def revoke_embed(embed: InboxEmbed, *, actor: Any = None) -> InboxEmbed:
    """Revoke every link of the embed. Launches stop at once, whatever Kapso answers.

    Args:
        embed: it is read again from the database.
        actor: the user who asks for it, for the record.

    Returns:
        The embed, all of its links revoked but for one whose making is uncertain (`unknown`).

    Raises:
        InsideTransactionError: there is a transaction around the call; nothing was done.
        KapsoError, ImproperlyConfigured: Kapso did not revoke a link, or perhaps, or could not be
            asked; it stays `revoking`, with the reason. Calling this again goes on with it.
    """
    links.refuse_inside_transaction()
    embed = links.embeds().get(pk=embed.pk)
    with transaction.atomic(using=links.database(), durable=True):
        links.lock(embed)
        for link in links.links_of(embed).filter(state__in=AccessLink.LIVE):
            # Its maker finds that it is not `creating` any more, and revokes what it made.
            reason = "The embed was revoked while this link was being made."
            link.move(State.UNKNOWN, expected=[State.CREATING], reason=reason)
            links.mark_revoking(link)
        audit.record_change(InboxChange.Action.REVOKED, embed, link=embed.current_link, actor=actor)
    signals.embed_revoked.send_robust(InboxEmbed, embed=embed, actor=actor)
    logger.info("The embed %r is revoked by %r.", embed.slug, getattr(actor, "pk", actor))
    links.finish_revoking(embed, conf.project(embed.project).client())
    return links.embeds().get(pk=embed.pk)
