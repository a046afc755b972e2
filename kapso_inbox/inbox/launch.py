"""The launch: the decision whether an inbox opens for a user, and the record of that decision."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.db import DatabaseError
from django.db.models import F, FilteredRelation, Q
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from kapso_inbox import audit, conf, refusals, signals
from kapso_inbox.access import get_policy
from kapso_inbox.encryption import UnreadableSecretError
from kapso_inbox.exceptions import ConfigurationError, KapsoInboxError
from kapso_inbox.lifecycle import refresh
from kapso_inbox.lifecycle.links import lose_secret
from kapso_inbox.models import InboxEmbed, InboxEmbedQuerySet, Language, Outcome
from kapso_inbox.origins import Origin, covers
from kapso_inbox.secret import Hidden

from . import tickets
from .params import merge_params, valid_params, with_params

logger = logging.getLogger(__name__)


class LaunchRefusedError(KapsoInboxError):
    """The inbox does not open.

    Attributes:
        outcome: the reason.
        detail: what the outcome alone does not say, for those who manage the embed; or "".
        embed: the embed that was asked for, if the user may open it; None otherwise.
    """

    def __init__(self, outcome: Outcome, detail: str = "") -> None:
        super().__init__(outcome.label)
        self.outcome = outcome
        self.detail = detail
        self.embed: InboxEmbed | None = None


def openable(request: HttpRequest) -> InboxEmbedQuerySet:
    """Return the embeds that the request's user may open, each with its current link."""
    embeds = InboxEmbed.objects.select_related("current_link")
    return get_policy().openable(request.user, embeds)


def require_admission(request: HttpRequest, slug: str) -> None:
    """Check that the access policy admits the request of a signed-in user.

    Raises:
        LaunchRefusedError: it does not.
    """
    if not get_policy().admits(request):
        record_refusal(request, slug, Outcome.NOT_ADMITTED)
        raise LaunchRefusedError(Outcome.NOT_ADMITTED)


def admit(request: HttpRequest, slug: str) -> dict[str, str]:
    """Use the request's ticket, and make the ticket's user the user of this request.

    The ticket is used up whatever the result, even if a script asks instead of a frame: others may
    have seen a ticket that was presented once. From here on `request.user` is the ticket's user, as
    after a login, but no session is started. Somebody who is signed in as another user stays that
    user and is refused.

    Args:
        request: a request with `ticket` in its query.
        slug: the slug of the embed to open.

    Returns:
        The ticket's theme and filters, cleaned.

    Raises:
        LaunchRefusedError: the ticket is not valid for this request.
    """
    ticket = tickets.find_ticket(request.GET["ticket"])
    if ticket is None:
        record_refusal(request, slug, Outcome.BAD_TICKET)
        raise LaunchRefusedError(Outcome.BAD_TICKET)
    try:
        was_unused = tickets.use_ticket(ticket)
    except DatabaseError:
        logger.exception("A ticket for the inbox %r could not be used up.", slug)
        raise LaunchRefusedError(Outcome.NOT_RECORDED) from None
    # A site that authenticates by token alone has no AuthenticationMiddleware, so no user here.
    signed_in = getattr(getattr(request, "user", None), "pk", None)
    is_theirs = signed_in in (None, ticket.user_id)
    is_whole_query = len(request.GET) == len(request.GET.getlist("ticket")) == 1
    is_for_embed = ticket.embed.slug == slug
    # Not every policy checks `is_active`. For a session, Django does.
    is_valid = was_unused and is_whole_query and is_for_embed and ticket.user.is_active
    if not (is_valid and is_theirs):
        outcome = Outcome.OTHER_USER if is_valid else Outcome.BAD_TICKET
        # Recorded for the signed-in user, or else for the ticket's, who is not let in by that.
        record_refusal(request, slug, outcome, user=ticket.user if is_theirs else None)
        raise LaunchRefusedError(outcome)
    _act_as(request, ticket.user)
    return valid_params("a ticket", ticket.params)


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
        request: a request of a signed-in user.
        slug: the slug of the embed.
        params: the theme and filters that were asked for, cleaned.
        verify: whether Kapso may be asked if the link still works.
        page: the origin of the page around the frame, if it is known. A page that the embed does
            not allow is refused only if Kapso has just confirmed that. Otherwise the browser
            decides.

    Returns:
        The secret address with theme and filters. Whoever holds it reads conversations.

    Raises:
        LaunchRefusedError: the inbox does not open.
    """
    own = FilteredRelation("preferences", condition=Q(preferences__user=request.user.pk))
    found = (
        openable(request)
        .annotate(saved=own, preference=F("saved__params"))  # at most one: they are unique
        .filter(slug=slug)
        .order_by()  # slugs are unique, so there is nothing to sort
    )
    embed = next(iter(found[:1]), None)
    try:
        if embed is None:
            raise LaunchRefusedError(Outcome.NOT_AVAILABLE)
        if embed.personal_to and audit.is_impersonated(request):
            raise LaunchRefusedError(Outcome.IMPERSONATED)
        if verify and embed.obstacle() is None:
            _verify_at_kapso(embed, page)
        secret_url = _secret_url(embed)
    except LaunchRefusedError as refusal:
        refusal.embed = embed
        _try_to_record(request, slug, refusal.outcome, embed)
        raise
    merged = merge_params(
        params,
        valid_params("a saved preference", getattr(embed, "preference", None)),
        params_of_host(request, embed),
        _reader_language(request),
    )
    if not _try_to_record(request, slug, Outcome.OPENED, embed):
        raise LaunchRefusedError(Outcome.NOT_RECORDED)
    signals.send_after_commit(signals.inbox_opened, embed=embed, user=request.user, request=request)
    return with_params(secret_url(), merged)


def record_refusal(
    request: HttpRequest,
    slug: str,
    outcome: Outcome,
    *,
    embed: InboxEmbed | None = None,
    user: Any = None,
) -> None:
    """Record that an attempt was refused. An attempt of an unknown visitor is not recorded.

    Args:
        request: the request that was refused.
        slug: the slug that was asked for.
        outcome: the reason.
        embed: the embed with that slug, if the caller has looked for it.
        user: whose attempt it was, if not that of whoever makes the request.
    """
    whose = user or getattr(request, "user", None)
    if whose is not None and whose.is_authenticated:
        _try_to_record(request, slug, outcome, embed, user)


def _verify_at_kapso(embed: InboxEmbed, page: Origin | None) -> None:
    """Ask Kapso about the embed if that is due, and update it with the answer.

    A page that the embed does not allow makes it due at once: an administrator may have allowed
    the page at Kapso a moment ago.

    Raises:
        LaunchRefusedError: Kapso has just confirmed that this page may not show the embed.
    """
    has_answered = refresh.verify(embed, at_once=not _is_allowed_on(embed, page))
    if has_answered and embed.obstacle() is None and not _is_allowed_on(embed, page):
        raise LaunchRefusedError(Outcome.WRONG_ORIGIN)


def _secret_url(embed: InboxEmbed) -> Hidden:
    """Return the secret address of an embed's current link; recover a lost one if possible.

    Raises:
        LaunchRefusedError: the embed opens for nobody, or its secret cannot be decrypted.
    """
    link = embed.current_link
    try:
        if link is not None and embed.obstacle() == Outcome.SECRET_LOST:
            link.recover_secret()
        obstacle = embed.obstacle()
        if link is None or obstacle is not None:
            raise LaunchRefusedError(obstacle or Outcome.NOT_READY)
        try:
            # Hidden, since the host's own code runs before it is used, and may fail.
            return Hidden(link.reveal_url())
        except UnreadableSecretError as error:
            lose_secret(link, error)
            raise LaunchRefusedError(Outcome.SECRET_LOST) from None
    except ConfigurationError as error:
        # Nothing is recorded of the link: other processes may have the key that this one lacks.
        logger.error("This process cannot decrypt the secret of access link %s: %s", link, error)
        raise LaunchRefusedError(Outcome.SECRET_LOST, refusals.cause(error)) from None
    except DatabaseError:
        logger.exception(
            "The loss or return of the secret of the inbox %r was not recorded.", embed.slug
        )
        raise LaunchRefusedError(Outcome.NOT_RECORDED) from None


def _is_allowed_on(embed: InboxEmbed, page: Origin | None) -> bool:
    """Return whether a page may show the embed. An unknown page, or an empty list, is allowed."""
    allowed = embed.allowed_origins
    return page is None or not allowed or any(covers(entry, page) for entry in allowed)


def params_of_host(request: HttpRequest, embed: InboxEmbed) -> dict[str, str]:
    """Return what the host's `USER_PARAMS` says. If it fails, log that and return nothing.

    Args:
        request: the current request, which has a user.
        embed: the embed that the user opens.
    """
    try:
        function = conf.user_params()
        return valid_params("USER_PARAMS", function(request, embed)) if function else {}
    except Exception:
        logger.exception("USER_PARAMS failed; the inbox opens without them.")
        return {}


def _reader_language(request: HttpRequest) -> dict[str, str]:
    """Return the reader's language as a parameter, if Kapso supports it.

    Only LocaleMiddleware sets `LANGUAGE_CODE`. Without it every request has the site's language,
    which says nothing about the reader and must not override the embed's own language.
    """
    language = str(getattr(request, "LANGUAGE_CODE", "")).partition("-")[0].lower()
    return {"language": language} if language in Language.values else {}


def _act_as(request: HttpRequest, user: Any) -> None:
    """Make a user the user of this request, as AuthenticationMiddleware does."""

    async def auser() -> Any:
        return user

    # `auser` as well: a receiver of our signal may be asynchronous.
    request.user, request.auser = user, auser


def _try_to_record(
    request: HttpRequest,
    slug: str,
    outcome: Outcome,
    embed: InboxEmbed | None,
    user: Any = None,
) -> bool:
    """Record how an attempt ended, and return whether that was possible."""
    try:
        audit.record_attempt(request, slug, outcome, embed, user=user)
    except DatabaseError:
        logger.exception("An attempt to open the inbox %r could not be recorded.", slug)
        return False
    return True
