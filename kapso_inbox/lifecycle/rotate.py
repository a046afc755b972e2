"""A new link in the place of the current one."""

from __future__ import annotations

import logging
from types import EllipsisType
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from kapso_inbox.models import InboxEmbed

from . import links

logger = logging.getLogger(__name__)


@sensitive_variables()
def rotate_link(
    embed: InboxEmbed,
    *,
    actor: Any = None,
    newest: UUID | EllipsisType | None = ...,
    revive: bool = True,
) -> InboxEmbed:
    """Give the embed a new link, then revoke the one it had. At every instant one of them works.

    Also brings back an embed that was revoked, and gives one to an embed whose making failed.

    Args:
        embed: it is read again from the database.
        actor: the user who asks for it, for the record.
        newest: `newest_link` as the user saw it, None where there was none yet. Where another one
            was begun since, nothing is done: a form that is sent twice makes one link. Left out
            (`...`), there is no such look back.
        revive: whether to bring it back if it was revoked. False for who saw it work: somebody
            who revoked it since is not overruled.

    Returns:
        The embed, with its new link.

    Raises:
        ValidationError: its expiry has passed; change that first.
        BusyError: another process is making its link right now.
        ReplacedError: a link was begun after `newest`.
        RevokedError: it was revoked, and `revive` is false.
        InsideTransactionError: there is a transaction around the call; nothing was done.
        KapsoError: Kapso refused, or its answer is uncertain. The old link stays the current one;
            or the new one works, and the old one waits as `revoking`: the next rotation or
            revocation of the embed goes on with it.
    """
    links.refuse_inside_transaction()
    embed = links.embeds().get(pk=embed.pk)
    if embed.expires_at and embed.expires_at <= timezone.now():
        raise ValidationError(
            {"expires_at": _("The expiry has passed. Change it, then rotate the link.")}
        )
    logger.info("The link of %r is rotated by %r.", embed.slug, getattr(actor, "pk", actor))
    links.replace(embed, actor=actor, newest=newest, revive=revive)
    return links.embeds().get(pk=embed.pk)
