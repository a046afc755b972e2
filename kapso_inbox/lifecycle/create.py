"""Creating an embed, and making sure that there is one."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from kapso_inbox import audit, conf, signals
from kapso_inbox.kapso import KapsoError
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed, Outcome
from kapso_inbox.transactions import database

from . import issue, links, values
from .errors import BusyError, RevokedError
from .update import update_embed

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger(__name__)


@sensitive_variables()
def create_embed(
    *,
    slug: str,
    name: str,
    scope_type: str = "project",
    scope_id: str = "",
    project: str = conf.DEFAULT_PROJECT,
    allowed_origins: Iterable[str] | None = None,
    default_mode: str = "system",
    language: str = "",
    expires_at: datetime | None = None,
    assigned_user_id: str | None = None,
    groups: Iterable[Group] = (),
    personal_to: str = "",
    actor: Any = None,
) -> InboxEmbed:
    """Create an embed here and its access link at Kapso, in one POST.

    A creation that surely failed leaves nothing behind but its records in the audit trail. So it
    can simply be repeated once its cause is fixed. If there is an embed of that slug for which
    every attempt surely failed, for instance because a process ended, it is used again.

    Args:
        slug: the name that templates use.
        name: the name that people see; Kapso lists it with a reference at its end.
        scope_type: `project`, `customer` or `phone_number`.
        scope_id: blank for a project, a customer's UUID, or a WhatsApp phone_number_id.
        project: the alias of the Kapso project.
        allowed_origins: the sites that may frame it; empty means any. None takes those of the
            setting `ALLOWED_ORIGINS`, and is an error if there is no such setting.
        default_mode: `system`, `light` or `dark`.
        language: `en` or `es`; blank leaves it to Kapso.
        expires_at: when its link stops working; None means never.
        assigned_user_id: a team member's UUID, which limits the embed to the conversations that are
            assigned to them.
        groups: the groups whose members may open it, of those with the permission; none means all
            of those.
        personal_to: the primary key, as text, of the only user who may open it, or blank. This
            requires an `assigned_user_id`.
        actor: the user who asks for it, for the audit trail.

    Returns:
        The embed, with a link that works.

    Raises:
        ValidationError: a value is not valid, named by field; nothing was done.
        InsideTransactionError: the call is inside a transaction; nothing was done.
        ReadOnlyError: the setting `READ_ONLY` is on; nothing was done.
        UncertainError: Kapso's answer is uncertain. The embed stays, and its link says why.
        InboxOriginError: Kapso's inboxes are at an origin that `INBOX_ORIGINS` lacks, so the link
            was revoked again. The embed stays: add the origin, then call `ensure_embed`.
        KapsoError: Kapso refused, or could not be reached; nothing was created.
    """
    links.refuse_inside_transaction()
    links.refuse_if_read_only()
    cleaned = values.clean_settings(
        {
            "slug": slug,
            "name": name,
            "scope_type": scope_type,
            "scope_id": scope_id,
            "project": project,
            "allowed_origins": (
                conf.value("ALLOWED_ORIGINS") if allowed_origins is None else allowed_origins
            ),
            "default_mode": default_mode,
            "language": language,
            "expires_at": expires_at,
            "assigned_user_id": assigned_user_id,
            "groups": groups,
            "personal_to": personal_to,
        }
    )
    values.refuse_own_for_nobody(cleaned)
    values.refuse_slug_of_own(cleaned)
    chosen = cleaned.pop("groups")
    client = links.client_for(InboxEmbed(**cleaned))
    link = _begin(cleaned, chosen, actor)
    embed = link.embed
    logger.info("%r creates the embed %r.", getattr(actor, "pk", actor), embed.slug)
    try:
        issue.issue_link(link, client)
    except KapsoError:
        _forget_if_refused(embed)
        raise
    embed = links.embeds().get(pk=embed.pk)
    signals.send_after_commit(signals.embed_created, embed=embed, actor=actor)
    return embed


@sensitive_variables()
def ensure_embed(
    slug: str, *, actor: Any = None, **settings: Unpack[values.EmbedSettings]
) -> InboxEmbed:
    """Make sure that there is an embed with these settings and a link that works.

    Use this for provisioning, for instance of one embed for each customer. Calling it again changes
    nothing and sends nothing. Settings that are left out keep their values.

    Args:
        slug: the name that templates use.
        actor: the user who asks for it, for the audit trail.
        settings: as for `create_embed`. A new embed without a `name` is called by its slug.

    Returns:
        The embed, with a link that works.

    Raises:
        TypeError: there is no such setting.
        ValidationError: a value is not valid, or differs from what cannot be changed.
        RevokedError: somebody revoked the embed; only `rotate_embed` brings it back.
        BusyError: another process is creating or changing its link, or has deleted the embed.
        ConfigurationError: this process lacks the encryption key of the embed's link, which other
            processes may have; nothing was done.
        ReadOnlyError: the setting `READ_ONLY` is on, and something would have to change at Kapso.
        InsideTransactionError, KapsoError: as for `create_embed`.
    """
    values.refuse_unknown("ensure_embed", settings, values.EmbedSettings)
    links.refuse_inside_transaction()
    embed = links.embeds().filter(slug=slug).first()
    if embed is None:
        try:
            named: values.EmbedSettings = {"name": slug, **settings}
            return create_embed(slug=slug, actor=actor, **named)
        except ValidationError as error:
            embed = links.embeds().filter(slug=slug).first()
            if embed is None:
                raise error from None
            # Another process came first; its settings may still differ from the wanted ones.
    try:
        return _make_sure(embed, settings, actor=actor)
    except InboxEmbed.DoesNotExist:
        raise BusyError(f"The embed {slug!r} was deleted meanwhile. Try again.") from None


def _make_sure(embed: InboxEmbed, settings: values.EmbedSettings, *, actor: Any) -> InboxEmbed:
    """Do what `ensure_embed` promises for an embed that exists.

    Raises:
        InboxEmbed.DoesNotExist: somebody else deleted it meanwhile.
    """
    if embed.obstacle() == Outcome.REVOKED:
        raise RevokedError(f"The embed {embed.slug!r} was revoked. rotate_embed() revives it.")
    if embed.current_link is not None:
        embed.current_link.require_key()
    if settings.get("allowed_origins", ()) is None:
        del settings["allowed_origins"]  # as for create_embed, None leaves it out
    embed = update_embed(embed, actor=actor, **settings)
    if embed.obstacle() == Outcome.EXPIRED:
        raise ValidationError({"expires_at": _("The expiry has passed. Choose a later one.")})
    if embed.obstacle() is not None:
        try:
            issue.replace_link(embed, actor=actor, only_if_missing=True, revive=False)
        except KapsoError:
            _forget_if_refused(embed)
            raise
    return links.embeds().get(pk=embed.pk)


def _begin(
    cleaned: dict[str, Any], groups: Sequence[Group], actor: Any, *, tries: int = 2
) -> AccessLink:
    """Commit the intent to create an embed: its row, its link and its record in the audit trail.

    Args:
        cleaned: the settings of the embed, without its groups.
        groups: the groups whose members may open it.
        actor: the user who asks for it.
        tries: how often to try, since a refused creation can delete the row that stands in the way.

    Returns:
        The link.

    Raises:
        ValidationError: the slug is taken.
    """
    try:
        with transaction.atomic(using=database(), durable=True):
            embed = _failed_before(cleaned["slug"]) or InboxEmbed()
            for field, value in cleaned.items():
                setattr(embed, field, value)
            embed.save(using=database())
            embed.groups.set(groups)
            # By what was asked for: MariaDB leaves out a group that was deleted meanwhile.
            embed.open_to_groups_only(bool(groups))
            link = links.begin(embed)
            audit.record_change(InboxChange.Action.CREATED, embed, link=link, actor=actor)
    except IntegrityError:
        # Another constraint can have failed: a group, or the actor, can be deleted meanwhile.
        if links.embeds().filter(slug=cleaned["slug"]).exists():
            raise values.slug_taken() from None
        if tries == 1:
            raise
        return _begin(cleaned, groups, actor, tries=tries - 1)
    return link


def _failed_before(slug: str) -> InboxEmbed | None:
    """Return the embed of that slug, locked, if all attempts to create its link surely failed.

    Raises:
        ValidationError: there is an embed of that slug that Kapso knows, or may know.
    """
    if not links.embeds().filter(slug=slug).update(updated_at=timezone.now()):
        return None
    embed = links.embeds().get(slug=slug)
    states = set(links.links_of(embed).values_list("state", flat=True))
    if states != {AccessLink.State.FAILED}:
        raise values.slug_taken()
    return embed


def _forget_if_refused(embed: InboxEmbed) -> None:
    """Delete the row of an embed if each of its creations surely failed, and nobody has changed it.

    That includes creations by other processes: the last one that is refused deletes the row. The
    audit trail keeps the slug, the actor and the reason of each attempt, and has no deletion of
    what never was. No signal is sent, since nobody was told of the embed.

    Args:
        embed: the embed whose new link Kapso has refused.
    """
    action = InboxChange.Action
    try:
        with transaction.atomic(using=database(), durable=True):
            # By its slug, as a creation locks it: by its key, the two deadlock on MariaDB.
            links.embeds().filter(slug=embed.slug).update(updated_at=timezone.now())
            known = list(links.links_of(embed).order_by("-created_at", "-pk"))
            changes = InboxChange.objects.for_write().filter(embed_id=embed.pk)
            actions = set(changes.values_list("action", flat=True))
            if {link.state for link in known} != {AccessLink.State.FAILED}:
                return
            created, rotated = action.CREATION_REFUSED, action.ROTATION_REFUSED
            of_creation = {created, action.CREATED}
            if not actions & of_creation or actions - of_creation - {rotated}:
                return  # the host made it, or somebody changed it: it is theirs
            known[0].embed.delete()
    except DatabaseError as error:
        # The caller learns what Kapso said. The next creation of this slug uses the row again.
        logger.warning("The refused embed %r could not be deleted: %s", embed.slug, error)
