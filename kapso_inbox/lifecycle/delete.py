"""The end of an embed's own row, once nothing of it lives at Kapso."""

from __future__ import annotations

import logging
from typing import Any

from django.db import transaction

from kapso_inbox import audit
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed

from . import links
from .errors import LiveError

logger = logging.getLogger(__name__)


def delete_embed(embed: InboxEmbed, *, actor: Any = None) -> None:
    """Delete an embed whose links are all over. The record of what was done with it stays.

    Args:
        embed: it is read again from the database.
        actor: the user who asks for it, for the record.

    Raises:
        LiveError: a link of it may still work at Kapso; nothing was done.
        InboxEmbed.DoesNotExist: somebody deleted it before.
    """
    with transaction.atomic(using=links.database()):
        links.lock(embed)
        embed = links.embeds().get(pk=embed.pk)
        if links.links_of(embed).filter(state__in=AccessLink.LIVE).exists():
            raise LiveError(f"A link of the embed {embed.slug!r} may still work. Revoke it first.")
        audit.record_change(InboxChange.Action.DELETED, embed, actor=actor)
        embed.delete()
    logger.info("The embed %r is deleted by %r.", embed.slug, getattr(actor, "pk", actor))
