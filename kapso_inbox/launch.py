"""The moment an authorised browser is sent from the CRM into the inbox, or told why not."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, router, transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from . import conf, presentation, sync
from .encryption import EncryptionError
from .models import AccessLink, InboxEmbed, InboxOpening, InboxPreference, Outcome

logger = logging.getLogger(__name__)

State = AccessLink.State


class RefusedError(Exception):
    """The inbox does not open.

    Attributes:
        outcome: why not.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.label)
        self.outcome = outcome


def openable(request: HttpRequest) -> QuerySet[InboxEmbed]:
    """Return the embeds that the request's user may open, with their links, in one query."""
    embeds = InboxEmbed.objects.select_related("current_link")
    return conf.access_policy().openable(request.user, embeds)


@sensitive_variables()
def open_inbox(
    request: HttpRequest, slug: str, params: Mapping[str, str], *, verify: bool = True
) -> str:
    """Decide whether an inbox opens for the request's user, and record the decision.

    Args:
        request: with a signed-in user.
        slug: which embed.
        params: cleaned theme and filters that were asked for.
        verify: whether Kapso may be asked if the link still lives.

    Returns:
        The secret address with the user's theme and filters. Whoever holds it reads conversations.

    Raises:
        RefusedError: it does not open.
    """
    preferences = InboxPreference.objects.filter(embed=OuterRef("pk"), user=request.user.pk)
    embed = (
        openable(request)
        .annotate(preference=Subquery(preferences.values("params")[:1]))
        .filter(slug=slug)
        .first()
    )
    try:
        if embed is None:
            raise RefusedError(Outcome.NOT_AVAILABLE)
        url = _reveal(embed, verify=verify)
    except RefusedError as refusal:
        _try_to_record(request, slug, refusal.outcome, embed)
        raise
    preference = _trusted("a saved preference", getattr(embed, "preference", None))
    own = _user_params(request, embed)
    if not _try_to_record(request, slug, Outcome.OPENED, embed):
        raise RefusedError(Outcome.NOT_RECORDED)
    return presentation.with_params(url, presentation.merge(params, preference, own))


def record_refusal(request: HttpRequest, slug: str, outcome: Outcome) -> None:
    """Record that a signed-in user's attempt ended before an embed was looked for."""
    if request.user.is_authenticated:
        _try_to_record(request, slug, outcome, None)


@sensitive_variables()
def _reveal(embed: InboxEmbed, *, verify: bool) -> str:
    obstacle = embed.obstacle()
    if obstacle is None and verify:
        sync.verify(embed)
        obstacle = embed.obstacle()
    link = embed.current_link
    # A secret that was lost with its key is found again when the key is put back.
    if link is None or (obstacle and not (obstacle == Outcome.SECRET_LOST and link.sealed_url)):
        raise RefusedError(obstacle or Outcome.NOT_READY)
    try:
        url = link.reveal_url()
    except (EncryptionError, ImproperlyConfigured) as error:
        if _move(link, State.ACTIVE, State.SECRET_LOST, str(error)):
            logger.error("The secret of access link %s cannot be revealed: %s", link, error)
        raise RefusedError(Outcome.SECRET_LOST) from None
    if obstacle == Outcome.SECRET_LOST:
        _move(link, State.SECRET_LOST, State.ACTIVE, _("Its encryption key is back."))
        return _reveal(embed, verify=False)
    return url


def _move(link: AccessLink, old: AccessLink.State, new: AccessLink.State, reason: str) -> bool:
    if link.state != old:
        return False
    link.state = new
    return bool(
        AccessLink.objects.filter(pk=link.pk, state=old).update(
            state=new, state_changed_at=timezone.now(), reason=reason[:255]
        )
    )


def _user_params(request: HttpRequest, embed: InboxEmbed) -> dict[str, str]:
    function = conf.user_params()
    if function is None:
        return {}
    try:
        return _trusted("USER_PARAMS", function(request, embed))
    except Exception:
        logger.exception("USER_PARAMS failed; the inbox opens without them.")
        return {}


def _trusted(source: str, params: Any) -> dict[str, str]:
    """Clean what no person typed just now; what is wrong in it is left out, and logged."""
    cleaned: dict[str, str] = {}
    for name, value in (params or {}).items():
        try:
            cleaned |= presentation.clean({name: value})
        except presentation.ParameterError as error:
            logger.warning("Left out of %s: %s", source, error)
    return cleaned


def _try_to_record(
    request: HttpRequest, slug: str, outcome: Outcome, embed: InboxEmbed | None
) -> bool:
    user = request.user
    opening = InboxOpening(
        user_id=user.pk,
        username=user.get_username()[:254],
        embed=embed,
        slug=slug[:50],
        link=embed.current_link if embed else None,
        outcome=outcome,
        address=request.META.get("REMOTE_ADDR") or None,
    )
    using = router.db_for_write(InboxOpening)
    try:
        # A savepoint where there is a transaction, which a failure would otherwise spoil.
        if transaction.get_connection(using).in_atomic_block:
            with transaction.atomic(using=using):
                opening.save()
        else:
            opening.save()
    except DatabaseError:
        logger.exception("An opening of the inbox %r could not be recorded.", slug)
        return False
    return True
