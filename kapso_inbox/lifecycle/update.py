"""A change of an embed's settings."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from kapso_inbox import audit, conf, signals
from kapso_inbox.kapso import Embed, KapsoError, UncertainError
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed, ReasonCode, reason
from kapso_inbox.transactions import database

from . import links, values
from .errors import BusyError

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger(__name__)


@sensitive_variables()
def update_embed(
    embed: InboxEmbed, *, actor: Any = None, **changes: Unpack[values.EmbedChanges]
) -> InboxEmbed:
    """Change settings of an embed: at Kapso first, in one PATCH of what differs, then here.

    The slug, the groups and `personal_to` are stored here alone. If the embed has no link at Kapso,
    everything is stored here, for its next link.

    Args:
        embed: the embed, which is read again from the database.
        actor: the user who asks for it, for the audit trail.
        changes: new values, as for `create_embed`.

    Returns:
        The embed as Kapso answered it.

    Raises:
        TypeError: there is no such setting.
        ValidationError: a value is not valid, named by field; or it differs from what cannot be
            changed (the scope, the project, the assignment).
        BusyError: a link of the embed is being created, or was replaced meanwhile. Nothing was
            changed here; try again.
        InsideTransactionError: the call is inside a transaction; nothing was done.
        ReadOnlyError: the setting `READ_ONLY` is on, and Kapso would have to be told; nothing was
            done.
        KapsoError: Kapso refused, or it is uncertain whether it took the change. Nothing was
            changed here. The next sync mirrors what Kapso has.
    """
    values.refuse_unknown("update_embed", changes, values.EmbedChanges)
    links.refuse_inside_transaction()
    embed = links.embeds().get(pk=embed.pk)
    different = _different(embed, changes)
    groups = different.pop("groups", None)
    if not different and groups is None:
        return embed
    if "slug" in different and links.embeds().filter(slug=different["slug"]).exists():
        raise values.slug_taken()  # before Kapso is told of the rest
    for_kapso = {name: value for name, value in different.items() if name not in values.LOCAL}
    link = embed.current_link
    answer = None
    if for_kapso:
        # A link that is being created has the old settings, and would miss the change.
        links.refuse_if_being_made(embed)
        if link and link.state in AccessLink.AT_KAPSO:
            answer = _patch(link, embed, for_kapso)
    try:
        with transaction.atomic(using=database(), durable=True):
            links.lock(embed)
            current = links.embeds().get(pk=embed.pk)
            if for_kapso:
                links.refuse_if_being_made(embed)
                if current.current_link_id != embed.current_link_id:
                    raise BusyError(
                        f"The link of {embed.slug!r} was replaced meanwhile. Try again."
                    )
            stored = copy(current)
            for name, value in different.items():
                setattr(current, name, value)
            mirrored = values.mirror(current, answer) if answer else {}
            for name in mirrored:
                # If another change came in between, Kapso's answer to this one may be older.
                if name not in different and getattr(stored, name) != getattr(embed, name):
                    setattr(current, name, getattr(stored, name))
            current.save(using=database(), update_fields={*different, *mirrored, "updated_at"})
            changed = _old_and_new(stored, different, groups)
            if groups is not None:
                current.groups.set(groups)
                # Also if there were no groups left to remove.
                current.open_to_groups_only(bool(groups))
            what = reason(ReasonCode.CHANGED, changes=changed)
            link, action = current.current_link, InboxChange.Action.CHANGED
            audit.record_change(action, current, link=link, actor=actor, details=what)
    except IntegrityError:
        # Another constraint can have failed: a group, or the actor, can be deleted meanwhile.
        slug = different.get("slug", embed.slug)
        if links.embeds().filter(slug=slug).exclude(pk=embed.pk).exists():
            raise values.slug_taken() from None
        raise
    signals.send_after_commit(
        signals.embed_updated, embed=current, actor=actor, changes=tuple(changed)
    )
    logger.info("%r changed the embed %r.", getattr(actor, "pk", actor), embed.slug)
    return current


def _different(embed: InboxEmbed, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checked values that differ from the embed's.

    Raises:
        ValidationError: a value is not valid, or cannot be changed.
    """
    changes = dict(changes)
    if not changes.get("language", True):
        del changes["language"]  # it was left to Kapso, and Kapso has chosen
    scope = {"scope_type": embed.scope_type, "scope_id": embed.scope_id}
    if scope.keys() & changes.keys():
        changes = {**scope, **changes}
    # A value that stays as it is is not checked: an expiry may have passed since.
    given = {
        name: value
        for name, value in changes.items()
        if name in scope or name == "groups" or getattr(embed, name, None) != value
    }
    cleaned = values.clean_settings(given)
    groups = cleaned.pop("groups", None)
    different = {name: value for name, value in cleaned.items() if getattr(embed, name) != value}
    fixed = [name for name in different if name in values.FIXED]
    if fixed and _kapso_may_know(embed):
        text = _("This cannot be changed at Kapso. Create another embed for it.")
        raise ValidationError(dict.fromkeys(fixed, text))
    if groups is not None and (
        embed.restricted != bool(groups) or set(groups) != set(embed.groups.using(database()))
    ):
        different["groups"] = groups
    if {"personal_to", "assigned_user_id"} & different.keys():
        values.refuse_own_for_nobody({**vars(embed), **different})
    if "slug" in different and "personal_to" not in different and embed.is_own_inbox:
        text = _("This user's own inbox is found by its slug, which cannot be changed.")
        raise ValidationError({"slug": text})
    if {"slug", "personal_to"} & different.keys():
        values.refuse_slug_of_own({**vars(embed), **different})
    return different


def _old_and_new(
    stored: InboxEmbed, different: Mapping[str, Any], groups: Iterable[Group] | None
) -> dict[str, list[Any]]:
    """Return the name of each setting that is changed -> its old and its new value."""
    changed = {name: [getattr(stored, name), value] for name, value in different.items()}
    if groups is not None:
        changed["groups"] = [_names(stored.groups.using(database())), _names(groups)]
    return changed


def _names(groups: Iterable[Group]) -> list[str]:
    return sorted(group.name for group in groups)


def _kapso_may_know(embed: InboxEmbed) -> bool:
    """Return whether a link of the embed exists, existed or may exist at Kapso."""
    return links.links_of(embed).exclude(state=AccessLink.State.FAILED).exists()


@sensitive_variables()
def _patch(link: AccessLink, embed: InboxEmbed, changes: Mapping[str, Any]) -> Embed:
    """Send the changes once; after an uncertain answer, ask Kapso whether it took them."""
    links.refuse_if_read_only()
    links.refuse_if_foreign(embed)
    client = conf.project(embed.project).client()
    wire = {name: values.for_kapso(value) for name, value in changes.items()}
    if "name" in wire:
        wire["name"] = link.name_for_kapso(changes["name"])
    try:
        answer = client.inbox_embeds.update(link.kapso_id, wire)
        if values.widens_origins(changes.get("allowed_origins", ()), answer):
            raise UncertainError("Kapso lets more sites show the inbox than it was asked to")
        return answer
    except UncertainError as uncertain:
        try:
            answer = client.inbox_embeds.get(link.kapso_id)
        except KapsoError:
            raise uncertain from None
        if not values.agree(changes, answer):
            raise
        return answer
