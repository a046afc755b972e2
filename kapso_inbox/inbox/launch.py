"""The moment an authorised browser is sent from the CRM into the inbox, or told why not."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.db import DatabaseError
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from kapso_inbox import audit, conf, signals
from kapso_inbox.access import get_policy
from kapso_inbox.encryption import EncryptionError
from kapso_inbox.exceptions import ConfigurationError, KapsoInboxError
from kapso_inbox.lifecycle import refresh
from kapso_inbox.lifecycle.links import lose_secret
from kapso_inbox.models import InboxEmbed, InboxEmbedQuerySet, InboxPreference, Language, Outcome
from kapso_inbox.origins import Origin, covers

from . import tickets
from .params import merge_params, trusted_params, with_params

logger = logging.getLogger(__name__)


class RefusedError(KapsoInboxError):
    """The inbox does not open.

    Attributes:
        outcome: why not.
        embed: which one, where the user may open it but for that.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.label)
        self.outcome = outcome
        self.embed: InboxEmbed | None = None


def openable(request: HttpRequest) -> InboxEmbedQuerySet:
    """Return the embeds that the request's user may open, with their links, in one query."""
    embeds = InboxEmbed.objects.select_related("current_link")
    return get_policy().openable(request.user, embeds)


def admit(request: HttpRequest, slug: str) -> dict[str, str]:
    """Let the user of the request's ticket in, for the rest of this request.

    The ticket is used up whatever comes of it, also where a script asks and not a frame: one that
    was shown to us may have been seen by others. From here on `request.user` is its user, as after
    a login, but no session is begun. Where somebody is signed in as another user, they remain who
    they are, and are refused.

    Args:
        request: with `ticket` in its query.
        slug: which embed is to be opened.

    Returns:
        The ticket's theme and filters, cleaned.

    Raises:
        RefusedError: the ticket lets nobody in here and now.
    """
    ticket = tickets.find_ticket(request.GET["ticket"])
    if ticket is None:
        record_refusal(request, slug, Outcome.BAD_TICKET)
        raise RefusedError(Outcome.BAD_TICKET)
    try:
        good = tickets.use_ticket(ticket)
    except DatabaseError:
        logger.exception("A ticket for the inbox %r could not be used up.", slug)
        raise RefusedError(Outcome.NOT_RECORDED) from None
    # A site that knows its people by token alone has no AuthenticationMiddleware, and no user here.
    own = getattr(getattr(request, "user", None), "pk", None) in (None, ticket.user_id)
    alone = len(request.GET) == len(request.GET.getlist("ticket")) == 1
    # Not every policy asks whether the user is active: of those with a session, Django does.
    if not (good and own and alone and ticket.user.is_active and ticket.embed.slug == slug):
        # As whoever is signed in, or else as the ticket's user: but nobody is let in.
        record_refusal(request, slug, Outcome.BAD_TICKET, user=ticket.user if own else None)
        raise RefusedError(Outcome.BAD_TICKET)
    _act_as(request, ticket.user)
    return trusted_params("a ticket", ticket.params)


@sensitive_variables()
def open_inbox(
    request: HttpRequest,
    slug: str,
    params: Mapping[str, str],
    *,
    verify: bool = True,
    page: Origin | None = None,
) -> str:
    """Decide whether an inbox opens for the request's user, and record the decision.

    Args:
        request: with a signed-in user.
        slug: which embed.
        params: cleaned theme and filters that were asked for.
        verify: whether Kapso may be asked if the link still lives.
        page: where the page is that shows it, if that is known. Only on Kapso's own word of this
            moment is it refused for that: otherwise the browser decides.

    Returns:
        The secret address with the user's theme and filters. Whoever holds it reads conversations.

    Raises:
        RefusedError: it does not open.
    """
    preferences = InboxPreference.objects.filter(embed=OuterRef("pk"), user=request.user.pk)
    found = (
        openable(request)
        .annotate(preference=Subquery(preferences.values("params")[:1]))
        .filter(slug=slug)
        .order_by()  # there is one at most
    )
    embed = next(iter(found[:1]), None)
    try:
        if embed is None:
            raise RefusedError(Outcome.NOT_AVAILABLE)
        try:
            url = _reveal(embed, verify=verify, page=page)
        except DatabaseError:
            logger.exception("What became of the secret of the inbox %r was not recorded.", slug)
            raise RefusedError(Outcome.NOT_RECORDED) from None
    except RefusedError as refusal:
        refusal.embed = embed
        _try_to_record(request, slug, refusal.outcome, embed)
        raise
    preference = trusted_params("a saved preference", getattr(embed, "preference", None))
    own = _user_params(request, embed)
    if not _try_to_record(request, slug, Outcome.OPENED, embed):
        raise RefusedError(Outcome.NOT_RECORDED)
    signals.send_after_commit(signals.inbox_opened, embed=embed, user=request.user, request=request)
    merged = merge_params(params, preference, own, _spoken(request))
    return with_params(url, merged)


def record_refusal(
    request: HttpRequest,
    slug: str,
    outcome: Outcome,
    *,
    embed: InboxEmbed | None = None,
    user: Any = None,
) -> None:
    """Record that an attempt was refused; of somebody who is not known there is no record.

    Args:
        request: of the attempt.
        slug: what was asked for.
        outcome: why not.
        embed: what was found by that slug, as far as it was looked for.
        user: whose attempt it was, if not that of who is signed in.
    """
    user = user or getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        _try_to_record(request, slug, outcome, embed, user)


@sensitive_variables()
def _reveal(embed: InboxEmbed, *, verify: bool, page: Origin | None) -> str:
    obstacle = embed.obstacle()
    if obstacle is None and verify:
        # It may have been mended at Kapso a moment ago.
        answered = refresh.verify(embed, at_once=_is_foreign(embed, page))
        obstacle = embed.obstacle()
        if obstacle is None and answered and _is_foreign(embed, page):
            obstacle = Outcome.WRONG_ORIGIN
    link = embed.current_link
    if obstacle == Outcome.SECRET_LOST and link is not None and link.recover_secret():
        obstacle = embed.obstacle()
    if obstacle is not None or link is None:
        raise RefusedError(obstacle or Outcome.NOT_READY)
    try:
        return link.reveal_url()
    except (EncryptionError, ConfigurationError) as error:
        lose_secret(link, str(error))
        raise RefusedError(Outcome.SECRET_LOST) from None


def _is_foreign(embed: InboxEmbed, page: Origin | None) -> bool:
    """Say whether a page is none of those that may show the embed; no list means any page."""
    allowed = embed.allowed_origins
    if page is None or not allowed:
        return False
    return not any(covers(entry, page) for entry in allowed)


def _spoken(request: HttpRequest) -> dict[str, str]:
    """Return the reader's language, where Kapso has it.

    Only LocaleMiddleware sets `LANGUAGE_CODE`. Without it every request is in the site's own, which
    says nothing of the reader, and nothing against the language that the embed was given.
    """
    language = str(getattr(request, "LANGUAGE_CODE", "")).partition("-")[0].lower()
    return {"language": language} if language in Language.values else {}


def _act_as(request: HttpRequest, user: Any) -> None:
    async def auser() -> Any:
        return user

    # Both, as AuthenticationMiddleware sets both: a receiver of our signal may be asynchronous.
    request.user, request.auser = user, auser


def _user_params(request: HttpRequest, embed: InboxEmbed) -> dict[str, str]:
    try:
        function = conf.user_params()
        return trusted_params("USER_PARAMS", function(request, embed)) if function else {}
    except Exception:
        logger.exception("USER_PARAMS failed; the inbox opens without them.")
        return {}


def _try_to_record(
    request: HttpRequest,
    slug: str,
    outcome: Outcome,
    embed: InboxEmbed | None,
    user: Any = None,
) -> bool:
    try:
        audit.record_attempt(request, slug, outcome, embed, user=user)
    except DatabaseError:
        logger.exception("An opening of the inbox %r could not be recorded.", slug)
        return False
    return True
