"""Bringing the CRM and Kapso into agreement."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from . import conf
from .models import AccessLink, InboxEmbed

logger = logging.getLogger(__name__)

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
    unchecked = AccessLink.objects.filter(pk=link.pk, checked_at=link.checked_at)
    if not unchecked.update(checked_at=now):
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
        link.state, link.reason = AccessLink.State.REVOKED, _("Found revoked at Kapso.")
        AccessLink.objects.filter(pk=link.pk, state=AccessLink.State.ACTIVE).update(
            state=link.state, state_changed_at=now, reason=link.reason, sealed_url=""
        )
        logger.warning("Access link %s was revoked at Kapso.", link)
        return
    changed = mirror(embed, answer)
    if changed:
        InboxEmbed.objects.filter(pk=embed.pk).update(
            **{name: getattr(embed, name) for name in changed}
        )
