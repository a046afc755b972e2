"""A change of an embed's settings."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from kapso_inbox import conf
from kapso_inbox.kapso import Embed, KapsoError, UncertainError
from kapso_inbox.models import AccessLink, InboxEmbed

from . import links, values

logger = logging.getLogger(__name__)


@sensitive_variables()
def update_embed(embed: InboxEmbed, *, actor: Any = None, **changes: Any) -> InboxEmbed:
    """Change settings of an embed: at Kapso first, in one PATCH of what differs, then here.

    The slug and the groups are ours alone. Where the embed has no link that lives at Kapso, all is
    kept here, for the next link.

    Args:
        embed: it is read again from the database.
        actor: the user who asks for it, for the log.
        changes: new values, as for `create_embed`.

    Returns:
        The embed as Kapso answered it.

    Raises:
        ValidationError: something is not in order, named by field; or is another value for what
            cannot be changed (the scope, the project, the assignment).
        InsideTransactionError: there is a transaction around the call; nothing was done.
        KapsoError: Kapso refused, or it is uncertain whether it took the change. Nothing changed
            here.
    """
    links.refuse_inside_transaction()
    embed = InboxEmbed.objects.select_related("current_link").get(pk=embed.pk)
    different = _different(embed, changes)
    groups = different.pop("groups", None)
    for_kapso = {name: value for name, value in different.items() if name in values.MUTABLE}
    link = embed.current_link
    answer = None
    if for_kapso and link and link.state in (AccessLink.State.ACTIVE, AccessLink.State.SECRET_LOST):
        for name, value in for_kapso.items():
            setattr(embed, name, value)
        answer = _patch(link, embed, for_kapso)
    try:
        with transaction.atomic(using=links.database(), durable=True):
            links.lock(embed)
            for name, value in different.items():
                setattr(embed, name, value)
            fields = [*different, *(values.mirror(embed, answer) if answer else [])]
            if fields:
                embed.save(update_fields={*fields, "updated_at"})
            if groups is not None:
                embed.groups.set(groups)
    except IntegrityError:
        raise ValidationError(
            {"slug": _("There is an embed with this slug already.")}, code="taken"
        ) from None
    if fields or groups is not None:
        logger.info("The embed %r is changed by %r.", embed.slug, getattr(actor, "pk", actor))
    return embed


def _different(embed: InboxEmbed, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checked values that differ from the embed's.

    Raises:
        ValidationError: a value is not in order, or cannot be changed.
    """
    scope = {"scope_type": embed.scope_type, "scope_id": embed.scope_id}
    if scope.keys() & changes.keys():
        changes = {**scope, **changes}
    # A value that stays as it is needs no checking: an expiry may have passed since.
    given = {
        name: value
        for name, value in changes.items()
        if name in scope or name == "groups" or getattr(embed, name, None) != value
    }
    cleaned = values.clean(
        {k: ("" if k == "assigned_user_id" and v is None else v) for k, v in given.items()}
    )
    groups = cleaned.pop("groups", None)
    different = {name: value for name, value in cleaned.items() if getattr(embed, name) != value}
    fixed = [name for name in different if name in values.FIXED]
    if fixed:
        text = _("This cannot be changed at Kapso. Create another embed for it.")
        raise ValidationError(dict.fromkeys(fixed, text))
    if groups is not None and set(groups) != set(embed.groups.all()):
        different["groups"] = groups
    return different


@sensitive_variables()
def _patch(link: AccessLink, embed: InboxEmbed, changes: Mapping[str, Any]) -> Embed:
    """Send the changes once; after an uncertain answer, ask Kapso whether it took them."""
    client = conf.project(embed.project).client()
    link.embed = embed
    wire = {name: values.for_kapso(value) for name, value in changes.items()}
    if "name" in wire:
        wire["name"] = link.name_at_kapso
    try:
        return client.inbox_embeds.update(link.kapso_id, wire)
    except UncertainError as uncertain:
        try:
            answer = client.inbox_embeds.get(link.kapso_id)
        except KapsoError:
            raise uncertain from None
        if not values.agree(changes, answer):
            raise
        return answer
