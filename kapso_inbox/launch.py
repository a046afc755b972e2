"""The moment an authorised browser is sent from the CRM into the inbox, or told why not."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from . import audit, conf, presentation, signals, sync
from .encryption import EncryptionError
from .models import AccessLink, InboxChange, InboxEmbed, InboxPreference, Outcome

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
    signals.inbox_opened.send_robust(InboxEmbed, embed=embed, user=request.user, request=request)
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
    if obstacle == Outcome.SECRET_LOST and link is not None and link.recover_secret():
        obstacle = embed.obstacle()
    if obstacle is not None or link is None:
        raise RefusedError(obstacle or Outcome.NOT_READY)
    try:
        return link.reveal_url()
    except (EncryptionError, ImproperlyConfigured) as error:
        logger.error("The secret of access link %s cannot be revealed: %s", link, error)
        if link.move(State.SECRET_LOST, expected=[State.ACTIVE], reason=str(error)):
            audit.record_change(InboxChange.Action.LOST, embed, link=link, details=str(error))
            signals.secret_lost.send_robust(InboxEmbed, embed=embed, link=link)
        raise RefusedError(Outcome.SECRET_LOST) from None


def _user_params(request: HttpRequest, embed: InboxEmbed) -> dict[str, str]:
    try:
        function = conf.user_params()
        return _trusted("USER_PARAMS", function(request, embed)) if function else {}
    except Exception:
        logger.exception("USER_PARAMS failed; the inbox opens without them.")
        return {}


def _trusted(source: str, params: Any) -> dict[str, str]:
    """Clean what no person typed just now; what is wrong in it is left out, and logged."""
    cleaned: dict[str, str] = {}
    if not isinstance(params, Mapping):
        if params is not None:
            logger.warning("Left out: %s is no dictionary.", source)
        return cleaned
    for name, value in params.items():
        try:
            cleaned |= presentation.clean({name: value})
        except presentation.ParameterError as error:
            logger.warning("Left out of %s: %s", source, error)
    return cleaned


def _try_to_record(
    request: HttpRequest, slug: str, outcome: Outcome, embed: InboxEmbed | None
) -> bool:
    try:
        audit.record_opening(request, slug, outcome, embed)
    except DatabaseError:
        logger.exception("An opening of the inbox %r could not be recorded.", slug)
        return False
    return True
