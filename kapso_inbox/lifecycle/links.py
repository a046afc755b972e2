"""The life of one access link: begun, issued by Kapso, current, revoked.

The order of the commits is the point. The intent is committed before Kapso is called, the call is
made once, and what is uncertain stays on record until it is settled.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db import DatabaseError, connections, router, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from kapso_inbox import conf
from kapso_inbox.kapso import (
    CreatedEmbed,
    Embed,
    KapsoClient,
    KapsoError,
    NotFoundError,
    UncertainError,
)
from kapso_inbox.models import AccessLink, InboxEmbed
from kapso_inbox.origins import origin_of

from . import values
from .errors import BusyError, InsideTransactionError

logger = logging.getLogger(__name__)

State = AccessLink.State

#: Longer than a request to Kapso can take: a link that is `creating` since then was abandoned.
STALE_AFTER = timedelta(minutes=2)


def database() -> str:
    """Return the alias of the database that the embeds are written to."""
    return router.db_for_write(InboxEmbed)


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
    """
    conf.keyring()
    return conf.project(embed.project).client()


def lock(embed: InboxEmbed) -> None:
    """Keep other processes from changing the links of this embed until the transaction ends.

    A write and not `SELECT FOR UPDATE`, because SQLite has no such thing, and a transaction there
    that reads first cannot always write later.
    """
    InboxEmbed.objects.using(database()).filter(pk=embed.pk).update(updated_at=timezone.now())


def begin(embed: InboxEmbed) -> AccessLink:
    """Record the intent to make a link; the caller's transaction holds the embed's lock.

    Raises:
        BusyError: another process is making one right now.
    """
    now = timezone.now()
    creating = embed.links.filter(state=State.CREATING)
    creating.filter(state_changed_at__lte=now - STALE_AFTER).update(
        state=State.UNKNOWN, state_changed_at=now, reason=_("It was begun and never finished.")
    )
    if creating.exists():
        raise BusyError(f"A link for the embed {embed.slug!r} is being made right now.")
    return AccessLink.objects.create(embed=embed)


@sensitive_variables()
def issue(link: AccessLink, client: KapsoClient) -> None:
    """Have Kapso make the link, and make it the embed's current one; the one before is revoked.

    Args:
        link: committed, `creating`.
        client: of the embed's project.

    Raises:
        KapsoError: Kapso refused (the link is `failed`) or its answer is uncertain (`unknown`).
        BusyError: the embed was revoked meanwhile; what Kapso made was revoked, too.
        DatabaseError: what Kapso made could not be stored; it was revoked, or the log says so.
    """
    embed = link.embed
    try:
        created = client.inbox_embeds.create(
            name=link.name_at_kapso,
            scope_type=embed.scope_type,
            scope_id=embed.scope_id,
            allowed_origins=embed.allowed_origins,
            default_mode=embed.default_mode,
            language=embed.language,
            expires_at=values.for_kapso(embed.expires_at),
            assigned_user_id=embed.assigned_user_id,
        )
        if origin_of(created.embed_url) not in conf.project(embed.project).inbox_origins:
            raise UncertainError("Kapso answered an address that INBOX_ORIGINS does not name")
    except UncertainError as error:
        settle(link, State.UNKNOWN, error)
        raise
    except KapsoError as error:
        settle(link, State.FAILED, error)
        raise
    previous = _store(link, created, client)
    logger.info("Access link %s of the embed %r is active.", link, embed.slug)
    if previous is not None:
        revoke(previous, client)


@sensitive_variables()
def _store(link: AccessLink, created: CreatedEmbed, client: KapsoClient) -> AccessLink | None:
    """Write down what Kapso made, whatever it takes, and return the link it takes the place of."""
    link.kapso_id = created.embed.id
    link.store_url(created.embed_url)
    try:
        try:
            current, previous = _make_current(link, created.embed)
        except DatabaseError:
            connections[database()].close()
            current, previous = _make_current(link, created.embed)
    except DatabaseError:
        _take_back(link, client)
        raise
    if not current:
        _take_back(link, client)
        raise BusyError(f"The embed {link.embed.slug!r} was revoked while its link was being made.")
    return previous


def _make_current(link: AccessLink, answer: Embed) -> tuple[bool, AccessLink | None]:
    """In one transaction: the link becomes active and current, the one before is to be revoked.

    Returns:
        Whether that was still wanted, and the link it takes the place of.
    """
    now = timezone.now()
    with transaction.atomic(using=database(), durable=True):
        embed = link.embed
        lock(embed)
        activated = AccessLink.objects.filter(pk=link.pk, state=State.CREATING).update(
            state=State.ACTIVE,
            state_changed_at=now,
            checked_at=now,
            kapso_id=link.kapso_id,
            sealed_url=link.sealed_url,
        )
        if not activated:
            # A commit whose answer was lost did happen: then it is active, and all is well.
            stored = AccessLink.objects.filter(pk=link.pk, state=State.ACTIVE).exists()
            return stored, None
        embed.refresh_from_db()
        previous = embed.current_link
        values.mirror(embed, answer)
        embed.current_link = link
        embed.save()
        if previous is not None and not mark_revoking(previous):
            previous = None
    link.state = State.ACTIVE
    return True, previous


def _take_back(link: AccessLink, client: KapsoClient) -> None:
    """Revoke at Kapso what has no place here; what remains on record says the rest."""
    try:
        client.inbox_embeds.revoke(link.kapso_id)
    except KapsoError as error:
        logger.critical(
            "The inbox embed %s at Kapso (reference %s) works, and could neither be stored here "
            "nor revoked there: %s. Revoke it in Kapso.",
            link.kapso_id,
            link,
            error,
        )
        return
    AccessLink.objects.filter(pk=link.pk, state=State.UNKNOWN).update(
        state=State.REVOKED, state_changed_at=timezone.now(), kapso_id=link.kapso_id
    )


def settle(link: AccessLink, state: AccessLink.State, error: KapsoError) -> None:
    """Write down how the making of a link ended, with the reason in words."""
    link.state, link.reason = state, reason_of(error)
    AccessLink.objects.filter(pk=link.pk, state=State.CREATING).update(
        state=state, state_changed_at=timezone.now(), reason=link.reason
    )
    logger.warning("Access link %s of the embed %r: %s", link, link.embed.slug, error)


def reason_of(error: KapsoError) -> str:
    """Return an error in words for an administrator: our sentence and Kapso's own text."""
    text = f"{error}: {error.detail}" if error.detail else str(error)
    return text[: AccessLink._meta.get_field("reason").max_length]


def mark_revoking(link: AccessLink) -> bool:
    """Stop launches of a link and wipe its secret; say whether there is something to revoke."""
    return bool(
        AccessLink.objects.filter(
            pk=link.pk, state__in=(State.ACTIVE, State.SECRET_LOST, State.REVOKING)
        ).update(state=State.REVOKING, state_changed_at=timezone.now(), sealed_url="")
    )


def revoke(link: AccessLink, client: KapsoClient) -> None:
    """Have Kapso end a link that is `revoking`. It stays so until Kapso is known to have done it.

    Raises:
        KapsoError: Kapso did not do it, or perhaps; the row says why.
    """
    try:
        _revoke_at_kapso(link, client)
    except KapsoError as error:
        AccessLink.objects.filter(pk=link.pk).update(reason=reason_of(error))
        logger.warning("Access link %s could not be revoked yet: %s", link, error)
        raise
    AccessLink.objects.filter(pk=link.pk, state=State.REVOKING).update(
        state=State.REVOKED, state_changed_at=timezone.now(), reason=""
    )
    logger.info("Access link %s is revoked.", link)


def _revoke_at_kapso(link: AccessLink, client: KapsoClient) -> None:
    try:
        client.inbox_embeds.revoke(link.kapso_id)
    except NotFoundError:
        # Kapso keeps revoked embeds, so a 404 speaks of the key rather than of the link: only its
        # own word that the link is revoked counts.
        if client.inbox_embeds.get(link.kapso_id).status != "revoked":
            raise
