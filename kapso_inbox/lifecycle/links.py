"""The life of one access link: begun, issued by Kapso, current, revoked.

The order of the commits is the point. The intent is committed before Kapso is called, the call is
made once, and what is uncertain stays on record until it is settled.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime, timedelta
from http import HTTPStatus
from types import EllipsisType
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import DatabaseError, connections, router, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from kapso_inbox import audit, conf, signals
from kapso_inbox.kapso import KapsoError, NotFoundError, UncertainError
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed
from kapso_inbox.origins import origin_of

from . import values
from .errors import BusyError, InsideTransactionError, ReplacedError, RevokedError

if TYPE_CHECKING:
    from kapso_inbox.kapso import CreatedEmbed, Embed, KapsoClient

logger = logging.getLogger(__name__)

State = AccessLink.State
Action = InboxChange.Action

#: Longer than a request to Kapso can take: a link that is `creating` since then was abandoned.
STALE_AFTER = timedelta(minutes=2)

#: Django redirects to no address of more than 2048 characters; this leaves room for parameters.
MAX_URL = 1500


def database() -> str:
    """Return the alias of the database that the embeds are written to."""
    return router.db_for_write(InboxEmbed)


def embeds() -> QuerySet[InboxEmbed]:
    """Return the embeds, from where they are written: a replica may not know what was just done."""
    return InboxEmbed.objects.using(database()).select_related("current_link")


def links_of(embed: InboxEmbed) -> QuerySet[AccessLink]:
    """Return the links of an embed, from where they are written."""
    return AccessLink.objects.using(database()).filter(embed=embed).select_related("embed")


def newest_link(embed: InboxEmbed) -> UUID | None:
    """Return the primary key of the link that was begun last, whatever became of it."""
    return links_of(embed).order_by("-created_at", "-pk").values_list("pk", flat=True).first()


def refuse_inside_transaction() -> None:
    """Make sure that what is committed next is really committed.

    Raises:
        InsideTransactionError: there is a transaction around the call.
    """
    using = database()
    connection = transaction.get_connection(using)
    refusal = InsideTransactionError(
        "This talks to Kapso and has to commit before it does. Call it outside of "
        "transaction.atomic(); in a project with ATOMIC_REQUESTS, mark the view with "
        "@transaction.non_atomic_requests."
    )
    if not connection.in_atomic_block and not connection.get_autocommit():
        raise refusal
    try:
        with transaction.atomic(using=using, durable=True):
            pass
    except RuntimeError:
        raise refusal from None


def client_for(embed: InboxEmbed) -> KapsoClient:
    """Return the client of the embed's project, once it is sure that a secret could be stored.

    Raises:
        ImproperlyConfigured: the project or the encryption keys are not in order.
        ConfigurationError: the project's key or address cannot be used.
    """
    conf.keyring()
    return conf.project(embed.project).client()


def lock(embed: InboxEmbed) -> None:
    """Keep other processes from changing the links of this embed until the transaction ends.

    A write and not `SELECT FOR UPDATE`, because SQLite has no such thing, and a transaction there
    that reads first cannot always write later.
    """
    embeds().filter(pk=embed.pk).update(updated_at=timezone.now())


def refuse_if_being_made(embed: InboxEmbed) -> None:
    """Leave an embed alone whose link another process is making.

    Raises:
        BusyError: that is so.
    """
    since = timezone.now() - STALE_AFTER
    if links_of(embed).filter(state=State.CREATING, state_changed_at__gt=since).exists():
        raise BusyError(
            f"A link for the embed {embed.slug!r} is being made right now. Try again in a moment."
        )


def begin(embed: InboxEmbed) -> AccessLink:
    """Record the intent to make a link; the caller's transaction holds the embed's lock.

    Raises:
        BusyError: another process is making one right now.
    """
    refuse_if_being_made(embed)
    for link in links_of(embed).filter(state=State.CREATING):
        give_up(link)
    fingerprint = conf.project(embed.project).key_fingerprint
    return AccessLink.objects.using(database()).create(embed=embed, key_fingerprint=fingerprint)


def give_up(link: AccessLink) -> None:
    """Take a link whose making was abandoned for uncertain."""
    reason = "It was begun and never finished."
    link.move(State.UNKNOWN, expected=[State.CREATING], reason=reason)


@sensitive_variables()
def replace(
    embed: InboxEmbed,
    *,
    actor: Any = None,
    only_if_missing: bool = False,
    expires_at: datetime | None = None,
    newest: UUID | EllipsisType | None = ...,
    revive: bool = True,
) -> None:
    """Give the embed a new link in the place of its current one.

    Args:
        embed: which one; what it holds may be out of date.
        actor: who asks for it, for the record.
        only_if_missing: leave a link that works as it is.
        expires_at: of the new link, in place of the embed's own.
        newest: the link that was begun last when the caller looked, None where there was none yet;
            `...` = whichever.
        revive: also where the embed was revoked.

    Raises:
        ReplacedError: another one was begun since.
        RevokedError: it was revoked, and not to be revived.
        BusyError: another process is making its link right now.
        KapsoError, DatabaseError: as `issue`; or the link before could not be revoked yet.
    """
    client = client_for(embed)
    with transaction.atomic(using=database(), durable=True):
        lock(embed)
        embed = embeds().get(pk=embed.pk)
        current = embed.current_link
        if not revive and current is not None and current.state in (State.REVOKING, State.REVOKED):
            raise RevokedError(
                f"The embed {embed.slug!r} was revoked. rotate_link() brings it back."
            )
        if only_if_missing and current is not None and _works(current):
            return
        if newest is not ... and newest != newest_link(embed):
            raise ReplacedError(f"Another link was begun for the embed {embed.slug!r} meanwhile.")
        link = begin(embed)
        audit.record_change(Action.ROTATED, embed, link=link, actor=actor)
    issue(link, client, expires_at=expires_at)
    signals.link_rotated.send_robust(InboxEmbed, embed=embeds().get(pk=embed.pk), actor=actor)
    finish_revoking(embed, client)


def _works(link: AccessLink) -> bool:
    return link.state == State.ACTIVE or link.recover_secret()


@sensitive_variables()
def issue(link: AccessLink, client: KapsoClient, *, expires_at: datetime | None = None) -> None:
    """Have Kapso make the link, and make it the embed's current one; the one before is `revoking`.

    Args:
        link: committed, `creating`.
        client: of the embed's project.
        expires_at: of this link, in place of the embed's own.

    Raises:
        KapsoError: Kapso refused (the link is `failed`), its answer is uncertain (`unknown`) or
            unusable (revoked again).
        BusyError: the embed was revoked meanwhile; what Kapso made was revoked, too.
        DatabaseError: what Kapso made could not be stored; it was revoked, or the log says so.
    """
    embed = link.embed
    try:
        created = client.inbox_embeds.create(
            name=link.name_for_kapso(embed.name),
            scope_type=embed.scope_type,
            scope_id=embed.scope_id,
            allowed_origins=embed.allowed_origins,
            default_mode=embed.default_mode,
            language=embed.language,
            expires_at=values.for_kapso(expires_at or embed.expires_at),
            assigned_user_id=embed.assigned_user_id,
        )
    except KapsoError as error:
        state = State.UNKNOWN if isinstance(error, UncertainError) else State.FAILED
        link.move(state, expected=[State.CREATING], reason=reason_of(error))
        logger.warning("Access link %s of the embed %r: %s", link, embed.slug, error)
        raise
    link.kapso_id = created.embed.id
    if (
        origin_of(created.embed_url) not in conf.project(embed.project).inbox_origins
        or len(created.embed_url) > MAX_URL
    ):
        unusable = UncertainError(
            "Kapso answered an address that INBOX_ORIGINS does not name", status=HTTPStatus.CREATED
        )
        _take_back(link, client, str(unusable))
        raise unusable
    _store(link, created, client, expires_at)
    logger.info("Access link %s of the embed %r is active.", link, embed.slug)


@sensitive_variables()
def _store(
    link: AccessLink, created: CreatedEmbed, client: KapsoClient, expires_at: datetime | None
) -> None:
    """Write down what Kapso made, or have it revoked."""
    try:
        link.store_url(created.embed_url)
        try:
            wanted = _make_current(link, created.embed, expires_at)
        except DatabaseError:
            connections[database()].close()
            wanted = _make_current(link, created.embed, expires_at)
    except Exception:
        _take_back(link, client, "It was made at Kapso and could not be stored here.")
        raise
    if not wanted:
        _take_back(link, client, "It was not wanted any more when Kapso had made it.")
        raise BusyError(f"The embed {link.embed.slug!r} was revoked while its link was being made.")


def _make_current(link: AccessLink, answer: Embed, expires_at: datetime | None) -> bool:
    """In one transaction: the link becomes active and current, the one before is to be revoked.

    Args:
        link: what Kapso made.
        answer: what it says of it.
        expires_at: what it was asked for in place of the embed's own; not every answer repeats it.

    Returns:
        Whether that was still wanted.
    """
    sealed = {"kapso_id": link.kapso_id, "sealed_url": link.sealed_url}
    now = timezone.now()
    with transaction.atomic(using=database(), durable=True):
        lock(link.embed)
        if not link.move(State.ACTIVE, expected=[State.CREATING], checked_at=now, **sealed):
            # A commit whose answer was lost did happen: then it is active, and all is well.
            return links_of(link.embed).filter(pk=link.pk, state=State.ACTIVE).exists()
        embed = embeds().get(pk=link.embed.pk)
        if embed.current_link is not None:
            mark_revoking(embed.current_link)
        embed.expires_at = expires_at or embed.expires_at
        values.mirror(embed, answer)
        embed.current_link = link
        embed.save(using=database())
    return True


def _take_back(link: AccessLink, client: KapsoClient, reason: str) -> None:
    """Revoke at Kapso what has no place here; where that fails, what is on record says so."""
    try:
        on_record = link.move(
            State.REVOKING,
            expected=[State.CREATING, State.UNKNOWN],
            kapso_id=link.kapso_id,
            sealed_url="",
            reason=reason,
        )
    except DatabaseError:
        on_record = False
    if on_record:
        with suppress(KapsoError):
            revoke(link, client, reason=reason)
        return
    try:
        _revoke_at_kapso(link, client)
    except KapsoError as error:
        logger.critical(
            "The inbox embed %s at Kapso (reference %s) works, and could neither be stored here "
            "nor revoked there: %s. Revoke it in Kapso.",
            link.kapso_id,
            link,
            error,
        )


def reason_of(error: KapsoError) -> str:
    """Return an error in words for an administrator: our sentence and Kapso's own text."""
    return f"{error}: {error.detail}" if error.detail else str(error)


def mark_revoking(link: AccessLink) -> bool:
    """Stop launches of a link and wipe its secret; say whether there is something to revoke.

    It is not when Kapso's id of the link is not known: then it stays what it is, `unknown`.
    """
    expected = [State.ACTIVE, State.SECRET_LOST, State.UNMANAGED, State.REVOKING]
    if link.kapso_id:
        expected.append(State.UNKNOWN)
    return link.move(State.REVOKING, expected=expected, sealed_url="")


def lose_secret(link: AccessLink, reason: str) -> None:
    """Take an active link's secret for lost: it does not open. Operators and hosts are told.

    Args:
        link: with its embed.
        reason: why not, without anything secret.
    """
    logger.error("The secret of access link %s cannot be revealed: %s", link, reason)
    lost = Action.LOST, reason
    if move_on_record(link, State.SECRET_LOST, lost, expected=[State.ACTIVE], reason=reason):
        signals.secret_lost.send_robust(InboxEmbed, embed=link.embed, link=link)


def move_on_record(
    link: AccessLink,
    state: AccessLink.State,
    entry: tuple[InboxChange.Action, str],
    *,
    actor: Any = None,
    **fields: Any,
) -> bool:
    """Change a link's state as `AccessLink.move` does, and record it, both or neither.

    Args:
        link: which.
        state: the new one.
        entry: what the record says: the action, and its details without anything secret.
        actor: who asks for it, for the record.
        fields: as for `AccessLink.move`.

    Returns:
        Whether it was changed.
    """
    action, details = entry
    embed = link.embed  # not within the transaction, which has to begin with a write: see lock()
    with transaction.atomic(using=database()):
        # As every change does: one that locked the link first and its embed after would be a
        # deadlock with them.
        lock(embed)
        moved = link.move(state, **fields)
        if moved:
            audit.record_change(action, embed, link=link, actor=actor, details=details)
    return moved


def finish_revoking(embed: InboxEmbed, client: KapsoClient) -> None:
    """Have Kapso end each link of the embed that is `revoking`.

    Raises:
        KapsoError: the first that was met; the others were tried all the same.
    """
    failure = None
    for link in links_of(embed).filter(state=State.REVOKING):
        try:
            revoke(link, client)
        except KapsoError as error:
            failure = failure or error
    if failure is not None:
        raise failure from None


def revoke(link: AccessLink, client: KapsoClient, *, reason: str = "") -> None:
    """Have Kapso end a link that is `revoking`. It stays so until Kapso is known to have done it.

    Args:
        reason: why it ended, to be kept with it.

    Raises:
        KapsoError: Kapso did not do it, or perhaps; the row says why.
    """
    try:
        _revoke_at_kapso(link, client)
    except KapsoError as error:
        link.move(State.REVOKING, expected=[State.REVOKING], reason=reason_of(error))
        logger.warning("Access link %s could not be revoked yet: %s", link, error)
        raise
    link.move(State.REVOKED, expected=[State.REVOKING], reason=reason)
    logger.info("Access link %s is revoked.", link)


def _revoke_at_kapso(link: AccessLink, client: KapsoClient) -> None:
    try:
        client.inbox_embeds.revoke(link.kapso_id)
    except NotFoundError:
        # Kapso keeps revoked embeds, so a 404 speaks of the key rather than of the link. It counts
        # where Kapso itself says that the link is revoked, or twice knows nothing of it under the
        # very key that made it.
        try:
            if client.inbox_embeds.get(link.kapso_id).status == "revoked":
                return
        except NotFoundError:
            if known_to_current_key(link):
                return
        raise


def known_to_current_key(link: AccessLink) -> bool:
    """Say whether Kapso knew the link under the API key of today: then a 404 speaks of the link."""
    return link.key_fingerprint == conf.project(link.embed.project).key_fingerprint
