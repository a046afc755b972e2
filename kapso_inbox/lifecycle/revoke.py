"""The end of an embed's links."""

from __future__ import annotations

import logging
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from kapso_inbox import conf
from kapso_inbox.kapso import KapsoError
from kapso_inbox.models import AccessLink, InboxEmbed

from . import links

logger = logging.getLogger(__name__)

State = AccessLink.State


@sensitive_variables()
def revoke_embed(embed: InboxEmbed, *, actor: Any = None) -> InboxEmbed:
    """Revoke every link of the embed. Launches stop at once, whatever Kapso answers.

    Args:
        embed: it is read again from the database.
        actor: the user who asks for it, for the log.

    Returns:
        The embed, all of its links revoked but for one whose making is uncertain (`unknown`).

    Raises:
        InsideTransactionError: there is a transaction around the call; nothing was done.
        KapsoError: Kapso did not revoke a link, or perhaps; it stays `revoking`, with the reason.
            Calling this again goes on with it.
    """
    links.refuse_inside_transaction()
    embed = InboxEmbed.objects.get(pk=embed.pk)
    client = conf.project(embed.project).client()
    with transaction.atomic(using=links.database(), durable=True):
        links.lock(embed)
        # Its maker finds that it is not `creating` any more and revokes what it made.
        embed.links.filter(state=State.CREATING).update(
            state=State.UNKNOWN,
            state_changed_at=timezone.now(),
            reason=_("The embed was revoked while this link was being made."),
        )
        revoking = [link for link in embed.links.all() if links.mark_revoking(link)]
    logger.info("The embed %r is revoked by %r.", embed.slug, getattr(actor, "pk", actor))
    failure = None
    for link in revoking:
        try:
            links.revoke(link, client)
        except KapsoError as error:
            failure = failure or error
    embed.refresh_from_db()
    if failure is not None:
        raise failure from None
    return embed
