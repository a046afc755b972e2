"""The end of an embed's own row, once nothing of it exists at Kapso."""

from __future__ import annotations

import logging
from typing import Any

from django.db import transaction

from kapso_inbox import audit, signals
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed
from kapso_inbox.transactions import database

from . import links
from .errors import LiveError

logger = logging.getLogger(__name__)


def delete_embed(embed: InboxEmbed, *, actor: Any = None) -> None:
    """Delete an embed whose links are all over. Its rows in the audit trail stay.

    Args:
        embed: the embed, which is read again from the database.
        actor: the user who asks for it, for the audit trail.

    Raises:
        LiveError: a link of the embed may still work at Kapso; nothing was done.
        InsideTransactionError: the call is inside a transaction; nothing was done.
        ReadOnlyError: the setting `READ_ONLY` is on; nothing was done.
        InboxEmbed.DoesNotExist: somebody else deleted it first.
    """
    links.refuse_inside_transaction()
    links.refuse_if_read_only()
    with transaction.atomic(using=database(), durable=True):
        links.lock(embed)
        embed = links.embeds().get(pk=embed.pk)
        if links.links_of(embed).filter(state__in=AccessLink.LIVE).exists():
            raise LiveError(f"A link of the embed {embed.slug!r} may still work. Revoke it first.")
        audit.record_change(InboxChange.Action.DELETED, embed, actor=actor)
        embed.delete()
    signals.send_after_commit(signals.embed_deleted, embed=embed, actor=actor)
    logger.info("%r deleted the embed %r.", getattr(actor, "pk", actor), embed.slug)
