"""A new link in the place of the current one."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from kapso_inbox.models import InboxEmbed

from . import links
from .issue import replace_link
from .links import UNSET, Unset

logger = logging.getLogger(__name__)


@sensitive_variables()
def rotate_embed(
    embed: InboxEmbed,
    *,
    expected_link: UUID | Unset | None = UNSET,
    revive: bool = True,
    actor: Any = None,
) -> InboxEmbed:
    """Give the embed a new link, then revoke the one it had. At every instant one of them works.

    This also brings back an embed that was revoked, and gives a link to one whose creation failed.

    Args:
        embed: the embed, which is read again from the database.
        expected_link: the primary key of the embed's latest link as the user saw it
            (`newest_link()`), or None if there was none. If another link was created since, nothing
            is done, so that a form that is sent twice creates one link. Leave it out to rotate in
            any case.
        revive: whether to bring the embed back if it was revoked. Pass False if the user saw it
            work: then somebody else's revocation is not undone.
        actor: the user who asks for it, for the audit trail.

    Returns:
        The embed, with its new link.

    Raises:
        ValidationError: the embed's expiry has passed; change that first.
        BusyError: another process is creating its link right now.
        ReplacedError: a link was created after `expected_link`.
        RevokedError: the embed was revoked, and `revive` is false.
        InsideTransactionError: the call is inside a transaction; nothing was done.
        ReadOnlyError: the setting `READ_ONLY` is on; nothing was done.
        ForeignError: the embed was created elsewhere, and the setting `SHARED_PROJECTS` is on.
        KapsoError: Kapso refused, or its answer is uncertain. Either the old link stays the current
            one; or the new one works, and the old one waits as `revoking`: the next rotation,
            revocation or sync continues with it.
    """
    links.refuse_inside_transaction()
    links.refuse_if_read_only()
    embed = links.embeds().get(pk=embed.pk)
    links.refuse_if_foreign(embed)
    if embed.expires_at and embed.expires_at <= timezone.now():
        raise ValidationError(
            {"expires_at": _("The expiry has passed. Change it, then rotate the link.")}
        )
    logger.info("%r rotates the link of %r.", getattr(actor, "pk", actor), embed.slug)
    replace_link(embed, actor=actor, expected_link=expected_link, revive=revive)
    return links.embeds().get(pk=embed.pk)
