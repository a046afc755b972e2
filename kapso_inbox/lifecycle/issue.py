"""A new link: created at Kapso, stored here, and put in the place of the one before."""

from __future__ import annotations

import logging
from datetime import datetime
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.db import Error as DatabaseTrouble
from django.db import connections, transaction
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from kapso_inbox import audit, conf, signals
from kapso_inbox.kapso import (
    CreatedEmbed,
    Embed,
    InboxOriginError,
    KapsoClient,
    KapsoError,
    UncertainError,
)
from kapso_inbox.models import (
    AccessLink,
    InboxChange,
    InboxEmbed,
    ReasonCode,
    reason,
    reference_in,
)
from kapso_inbox.origins import origin_of
from kapso_inbox.transactions import database

from . import links, values
from .errors import BusyError, ReplacedError, RevokedError
from .links import UNSET, Unset
from .revoke import finish_revoking, mark_revoking, revoke_at_kapso, revoke_link

logger = logging.getLogger(__name__)

State = AccessLink.State

#: Django redirects to no address of more than 2048 characters; this leaves room for parameters.
MAX_URL = 1500


@sensitive_variables()
def replace_link(
    embed: InboxEmbed,
    *,
    actor: Any = None,
    only_if_missing: bool = False,
    expires_at: datetime | None = None,
    expected_link: UUID | Unset | None = UNSET,
    revive: bool = True,
) -> None:
    """Give an embed a new link, and revoke the one before.

    Args:
        embed: the embed, which is read again from the database.
        actor: the user who asks for it, for the audit trail.
        only_if_missing: do nothing if the embed has a link that works.
        expires_at: when the new link expires, in place of the embed's own expiry.
        expected_link: the primary key of the embed's latest link, as the caller saw it.
        revive: whether to bring the embed back if it was revoked.

    Raises:
        ReplacedError: another link was created after `expected_link`.
        RevokedError: the embed was revoked, and `revive` is false.
        BusyError: another process is creating its link right now.
        ReadOnlyError: the setting `READ_ONLY` is on, and a link would have to be created.
        KapsoError, DatabaseError: as for `issue_link`; or the link before could not be revoked yet.
    """
    client = links.client_for(embed)
    with transaction.atomic(using=database(), durable=True):
        links.lock(embed)
        embed = links.embeds().get(pk=embed.pk)
        current = embed.current_link
        if not revive and current is not None and current.state in AccessLink.OVER:
            raise RevokedError(f"The embed {embed.slug!r} was revoked. rotate_embed() revives it.")
        if only_if_missing and current is not None and _works(current):
            return
        links.refuse_if_read_only()
        if expected_link is not UNSET and expected_link != links.newest_link(embed):
            raise ReplacedError(f"The embed {embed.slug!r} has a newer link than the expected one.")
        link = links.begin(embed)
        is_adopted = current is not None and current.state == State.UNMANAGED
        action = InboxChange.Action.ADOPTED if is_adopted else InboxChange.Action.ROTATED
        audit.record_change(action, embed, link=link, actor=actor)
    issue_link(link, client, expires_at=expires_at)
    rotated = links.embeds().get(pk=embed.pk)
    signals.send_after_commit(signals.link_rotated, embed=rotated, actor=actor)
    finish_revoking(embed, client)


def _works(link: AccessLink) -> bool:
    return (link.state == State.ACTIVE or link.recover_secret()) and not link.differences


@sensitive_variables()
def issue_link(
    link: AccessLink, client: KapsoClient, *, expires_at: datetime | None = None
) -> None:
    """Create the link at Kapso and make it the embed's current one. The one before is `revoking`.

    Args:
        link: a committed link in the state `creating`.
        client: a client for the embed's project.
        expires_at: when the link expires, in place of the embed's own expiry.

    Raises:
        InboxOriginError: what Kapso created is at an origin that the settings lack; it was revoked
            again, or waits for that.
        KapsoError: Kapso refused (the link is `failed`), or its answer is uncertain (`unknown`), or
            what it created is not what was asked for (revoked again).
        BusyError: the embed was revoked meanwhile; what Kapso created was revoked, too.
        DatabaseError: what Kapso created could not be stored, or the database did not say whether
            it was. It was revoked, or the link is `active`, or a sync revokes it; the log says so.
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
        why = links.reason_of(error)
        if state == State.FAILED:
            audit.mark_refused(link, why)
        link.move(state, expected=[State.CREATING], reason=why)
        logger.warning("Access link %s of the embed %r: %s", link, embed.slug, error)
        raise
    if _is_another(link, created.embed):
        # Revoking it would end the other one. A sync finds what was created by its reference.
        another = reason(ReasonCode.ANSWER_ANOTHER)
        link.move(State.UNKNOWN, expected=[State.CREATING], reason=another)
        raise _unusable("Kapso answered with another embed than the one that was asked for")
    link.kapso_id = created.embed.id
    if foreign := _foreign_origin_in(created, conf.project(embed.project)):
        foreign.is_revoked = _take_back(link, client, links.reason_of(foreign))
        logger.warning("Access link %s of the embed %r: %s.", link, embed.slug, foreign)
        raise foreign
    if fault := _fault_in(created, embed, expires_at or embed.expires_at):
        text, why = fault
        _take_back(link, client, why)
        raise _unusable(text)
    _store(link, created, client, expires_at)
    logger.info("Access link %s of the embed %r is active.", link, embed.slug)


def _is_another(link: AccessLink, answer: Embed) -> bool:
    """Return whether Kapso answered a creation with an embed that it created for something else."""
    if reference_in(answer.name) not in ("", link.reference):
        return True
    return links.is_of_another(link, answer.id)


def _foreign_origin_in(created: CreatedEmbed, project: conf.Project) -> InboxOriginError | None:
    """Return the error that says at which origin Kapso created the link, if it is not configured.

    An address that no inbox may have is another fault.
    """
    origin = origin_of(created.embed_url)
    if not origin or origin in project.inbox_origins:
        return None
    return InboxOriginError(
        f"The address that Kapso answered with is at {origin}, but {project.inbox_origins_setting} "
        f"has only {', '.join(project.inbox_origins)}. Add it there if Kapso shows your inboxes at "
        "that origin",
        origin=origin,
        inbox_origins=project.inbox_origins,
        setting=project.inbox_origins_setting,
        status=HTTPStatus.CREATED,
    )


def _fault_in(
    created: CreatedEmbed, embed: InboxEmbed, expires_at: datetime | None
) -> tuple[str, str] | None:
    """Return why what Kapso created cannot be used, or None. A value it left out is not compared.

    Returns:
        The text of the error, and the reason to be stored.
    """
    if not origin_of(created.embed_url):
        return (
            "Kapso answered with an address that an inbox must not have: it is not https",
            reason(ReasonCode.ANSWER_UNSAFE),
        )
    if len(created.embed_url) > MAX_URL:
        return (
            "Kapso answered with an address that is too long for a redirect",
            reason(ReasonCode.ANSWER_LONG),
        )
    if differences := values.differences(embed, created.embed):
        return (
            f"Kapso created something else than was asked for: {differences}",
            reason(ReasonCode.ANSWER_DIFFERENT, differences=differences),
        )
    if values.widens_origins(embed.allowed_origins, created.embed):
        return (
            "Kapso created a link for more sites than was asked for",
            reason(ReasonCode.ANSWER_MORE_SITES),
        )
    if values.outlives(expires_at, created.embed):
        return (
            "Kapso created a link that lasts longer than was asked for",
            reason(ReasonCode.ANSWER_OUTLIVES),
        )
    return None


def _unusable(text: str) -> UncertainError:
    return UncertainError(text, status=HTTPStatus.CREATED)


@sensitive_variables()
def _store(
    link: AccessLink, created: CreatedEmbed, client: KapsoClient, expires_at: datetime | None
) -> None:
    """Store what Kapso created, or have it revoked."""
    try:
        link.store_url(created.embed_url)
        try:
            wanted = _make_current(link, created.embed, expires_at)
        except DatabaseTrouble:
            connections[database()].close()
            wanted = _make_current(link, created.embed, expires_at)
    except Exception:
        _take_back(link, client, reason(ReasonCode.NOT_STORED))
        raise
    if not wanted:
        _take_back(link, client, reason(ReasonCode.NOT_WANTED))
        raise BusyError(
            f"The embed {link.embed.slug!r} was revoked while its link was being created."
        )


def _make_current(link: AccessLink, answer: Embed, expires_at: datetime | None) -> bool:
    """In one transaction, make the link active and current, and the one before `revoking`.

    Args:
        link: what Kapso created.
        answer: what Kapso says of it.
        expires_at: the expiry that was asked for in place of the embed's own, since not every
            answer repeats it.

    Returns:
        Whether the link was still wanted.
    """
    sealed = {"kapso_id": link.kapso_id, "sealed_url": link.sealed_url}
    now = timezone.now()
    with transaction.atomic(using=database(), durable=True):
        links.lock(link.embed)
        if not link.move(
            State.ACTIVE, expected=[State.CREATING], checked_at=now, answered_at=now, **sealed
        ):
            # The first commit may have happened although its answer was lost. Then the link is
            # active, and all is well.
            return links.links_of(link.embed).filter(pk=link.pk, state=State.ACTIVE).exists()
        embed = links.embeds().get(pk=link.embed.pk)
        if embed.current_link is not None:
            mark_revoking(embed.current_link)
        embed.expires_at = expires_at or embed.expires_at
        values.mirror(embed, answer)
        embed.current_link = link
        embed.save(using=database())
    return True


def _state_on_record(link: AccessLink) -> str | None:
    """Return the link's state, once a commit that may still be under way has been done."""
    with transaction.atomic(using=database(), durable=True):
        links.lock(link.embed)
        return links.links_of(link.embed).filter(pk=link.pk).values_list("state", flat=True).first()


def _take_back(link: AccessLink, client: KapsoClient, why: str) -> bool:
    """Revoke at Kapso what has no place here, unless the link is the embed's own after all.

    Returns:
        Whether Kapso has revoked it.
    """
    try:
        with transaction.atomic(using=database()):
            on_record = link.move(
                State.REVOKING,
                expected=[State.CREATING, State.UNKNOWN],
                kapso_id=link.kapso_id,
                sealed_url="",
                reason=why,
            )
            if on_record:
                audit.mark_refused(link, why)
    except DatabaseTrouble:
        connections[database()].close()
        on_record = False
    try:
        if not on_record and _state_on_record(link) == State.ACTIVE:
            return False  # a commit had been done, and only its answer was lost
    except DatabaseTrouble:
        # What the database may hold as active must not be revoked. If it is `creating`, a sync
        # finds and revokes it.
        logger.critical(
            "The database did not say what became of the inbox embed %s at Kapso (reference %s). "
            "It was not revoked: unless its access link is active, kapso_sync revokes it.",
            link.kapso_id,
            link,
        )
        return False
    try:
        if on_record:
            revoke_link(link, client, keeps=why)
        else:
            revoke_at_kapso(link, client)
    except KapsoError as error:
        if on_record:
            return False  # the row says so
        logger.critical(
            "The inbox embed %s at Kapso (reference %s) works, and could neither be stored here "
            "nor revoked there: %s. Revoke it in Kapso.",
            link.kapso_id,
            link,
            error,
        )
        return False
    return True
