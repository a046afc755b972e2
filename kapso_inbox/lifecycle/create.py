"""Making an embed, and making sure that there is one."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from kapso_inbox import audit, conf, signals
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed, Outcome

from . import links, values
from .errors import RevokedError
from .update import update_embed

logger = logging.getLogger(__name__)


@sensitive_variables()
def create_embed(
    *,
    slug: str,
    name: str,
    scope_type: str = "project",
    scope_id: str = "",
    project: str = conf.DEFAULT_PROJECT,
    allowed_origins: Iterable[str] = (),
    default_mode: str = "system",
    language: str = "",
    expires_at: datetime | None = None,
    assigned_user_id: str | None = None,
    groups: Iterable[Group] = (),
    personal_to: str = "",
    actor: Any = None,
) -> InboxEmbed:
    """Create an embed here and its access link at Kapso, in one POST.

    An embed of that slug for which every attempt surely failed is taken over, so that a creation
    that was refused can simply be repeated with what was wrong put right.

    Args:
        slug: what templates call it.
        name: what people call it; Kapso lists it with a reference at its end.
        scope_type: `project`, `customer` or `phone_number`.
        scope_id: blank for a project, a customer's UUID, or a WhatsApp phone_number_id.
        project: the alias of the Kapso project.
        allowed_origins: pages that may frame it; empty = any.
        default_mode: `system`, `light` or `dark`.
        language: `en` or `es`; blank leaves it to Kapso.
        expires_at: when its link stops to work; None = never.
        assigned_user_id: narrows it to conversations assigned to that team member (a UUID).
        groups: who of those with the permission may open it; none = all of them.
        personal_to: the primary key, as text, of the only user who may open it; blank = no such
            one. It takes an `assigned_user_id`.
        actor: the user who asks for it, for the record.

    Returns:
        The embed, with a link that works.

    Raises:
        ValidationError: something is not in order, named by field; nothing was done.
        InsideTransactionError: there is a transaction around the call; nothing was done.
        KapsoError: Kapso refused, or its answer is uncertain; the embed's link says which.
    """
    links.refuse_inside_transaction()
    cleaned = values.clean(
        {
            "slug": slug,
            "name": name,
            "scope_type": scope_type,
            "scope_id": scope_id,
            "project": project,
            "allowed_origins": allowed_origins,
            "default_mode": default_mode,
            "language": language,
            "expires_at": expires_at,
            "assigned_user_id": assigned_user_id,
            "groups": groups,
            "personal_to": personal_to,
        }
    )
    values.refuse_own_for_nobody(cleaned)
    chosen = cleaned.pop("groups")
    client = links.client_for(InboxEmbed(**cleaned))
    try:
        with transaction.atomic(using=links.database(), durable=True):
            embed = _never_made(cleaned["slug"]) or InboxEmbed()
            for field, value in cleaned.items():
                setattr(embed, field, value)
            embed.save(using=links.database())
            embed.groups.set(chosen)
            # By what is asked for: MariaDB leaves a group out that was deleted meanwhile.
            embed.open_to_groups_only(bool(chosen))
            link = links.begin(embed)
            audit.record_change(InboxChange.Action.CREATED, embed, link=link, actor=actor)
    except _TakenError:
        raise values.taken() from None
    except IntegrityError:
        # Not of another constraint: a group, or who asked for it, can be deleted meanwhile.
        if links.embeds().filter(slug=cleaned["slug"]).exists():
            raise values.taken() from None
        raise
    logger.info("The embed %r is created by %r.", embed.slug, getattr(actor, "pk", actor))
    links.issue(link, client)
    embed = links.embeds().get(pk=embed.pk)
    signals.embed_created.send_robust(InboxEmbed, embed=embed, actor=actor)
    return embed


@sensitive_variables()
def ensure_embed(slug: str, *, actor: Any = None, **wanted: Any) -> InboxEmbed:
    """Make sure that there is an embed with these settings and a link that works.

    For provisioning, say one embed for each customer: calling it again changes nothing and sends
    nothing. Settings that are not given keep what they are.

    Args:
        slug: what templates call it.
        actor: the user who asks for it, for the record.
        wanted: as for `create_embed`; the `name` of a new one is its slug if not given.

    Raises:
        ValidationError: something is not in order, or differs from what cannot be changed.
        RevokedError: somebody revoked it; only `rotate_link` brings it back.
        BusyError: another process is making or changing its link right now.
        InsideTransactionError, KapsoError: as for `create_embed`.
    """
    links.refuse_inside_transaction()
    embed = links.embeds().filter(slug=slug).first()
    if embed is None:
        try:
            return create_embed(slug=slug, actor=actor, **{"name": slug, **wanted})
        except ValidationError as error:
            embed = links.embeds().filter(slug=slug).first()
            if embed is None:
                raise error from None
            # Another process came first; what is wanted may still differ from what it made.
    if embed.obstacle() == Outcome.REVOKED:
        raise RevokedError(f"The embed {slug!r} was revoked. rotate_link() brings it back.")
    embed = update_embed(embed, actor=actor, **wanted)
    if embed.obstacle() == Outcome.EXPIRED:
        raise ValidationError({"expires_at": _("The expiry has passed. Give another one.")})
    if embed.obstacle() is not None:
        links.replace(embed, actor=actor, only_if_missing=True, revive=False)
    return links.embeds().get(pk=embed.pk)


class _TakenError(Exception):
    """The slug belongs to an embed that Kapso knows of, or may know of."""


def _never_made(slug: str) -> InboxEmbed | None:
    """Return the embed of that slug if all attempts to make its link failed, under its lock.

    Raises:
        _TakenError: there is one, and not so.
    """
    if not links.embeds().filter(slug=slug).update(updated_at=timezone.now()):
        return None
    embed = links.embeds().get(slug=slug)
    states = set(links.links_of(embed).values_list("state", flat=True))
    if states != {AccessLink.State.FAILED}:
        raise _TakenError
    return embed
