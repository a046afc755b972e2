"""Bringing the CRM and Kapso into agreement."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, router
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from . import conf
from .models import AccessLink, InboxEmbed

logger = logging.getLogger(__name__)

State = AccessLink.State

#: A launch waits no longer than this for Kapso's word: seconds for the connection and for the
#: answer, and for both with their repetitions.
_PATIENCE = {"timeout": (0.4, 0.6), "deadline": 1.0}


@sensitive_variables()
def verify(embed: InboxEmbed) -> None:
    """Ask Kapso whether the embed's current link still lives, if nobody did lately.

    Of many launches at once one asks. Without an answer within a second the link is taken to live:
    Kapso's own page says otherwise soon enough.

    Args:
        embed: with an active current link; both get what Kapso answered, here and in the database.
    """
    link = embed.current_link
    interval = conf.value("VERIFY_AFTER")
    now = timezone.now()
    if link is None or not interval:
        return
    if link.checked_at and link.checked_at > now - timedelta(seconds=interval):
        return
    try:
        using = router.db_for_write(AccessLink, instance=link)
        unchecked = AccessLink.objects.using(using).filter(pk=link.pk, checked_at=link.checked_at)
        if not unchecked.update(checked_at=now):
            return
    except DatabaseError:
        logger.warning("Access link %s could not be marked as verified.", link)
        return
    # Not at import: requests is only loaded in a process that really talks to Kapso.
    from .kapso import ConfigurationError, KapsoError
    from .lifecycle.values import mirror

    try:
        client = conf.project(embed.project).client(**_PATIENCE)
        answer = client.inbox_embeds.get(link.kapso_id)
    except (KapsoError, ConfigurationError, ImproperlyConfigured) as error:
        logger.warning("Access link %s could not be verified: %s", link, error)
        return
    if answer.status == "revoked":
        reason = "Found revoked at Kapso."
        link.move(State.REVOKED, expected=[State.ACTIVE], reason=reason, sealed_url="")
        logger.warning("Access link %s was revoked at Kapso.", link)
        return
    changed = mirror(embed, answer)
    if changed:
        InboxEmbed.objects.using(using).filter(pk=embed.pk).update(
            **{name: getattr(embed, name) for name in changed}
        )
