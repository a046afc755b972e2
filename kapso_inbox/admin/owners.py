"""Whose a user's own inbox is, by name, and the tag that shows it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from kapso_inbox.models import InboxEmbed


def name_owners(embeds: Iterable[InboxEmbed]) -> None:
    """Read the names of the owners of all these embeds, in one query: see `describe_owner`."""
    own = [embed for embed in embeds if embed.personal_to]
    names = _names({embed.personal_to for embed in own})
    for embed in own:
        embed.owner_name = names.get(embed.personal_to, "")  # type: ignore[attr-defined]


def describe_owner(embed: InboxEmbed) -> str:
    """Return who may open a user's own embed: that user, by name."""
    name = _owner_name(embed)
    return _("Only %(name)s") % {"name": name} if name else _("nobody: its user was deleted")


def why_only_the_owner(embed: InboxEmbed) -> str:
    """Return why nobody else can open a user's own embed."""
    name = _owner_name(embed)
    if not name:
        return _("Nobody can open it, because its user was deleted.")
    return _("Only %(name)s can open it: it is their own inbox.") % {"name": name}


def tag_for(embed: InboxEmbed) -> str:
    """Return the tag that shows the embed on a page, to be copied into a template."""
    tag = "kapso_my_inbox" if embed.is_own_inbox else f'kapso_inbox "{embed.slug}"'
    return f"{{% load kapso_inbox %}}{{% {tag} %}}"


def _owner_name(embed: InboxEmbed) -> str:
    if not hasattr(embed, "owner_name"):
        name_owners([embed])
    return str(embed.owner_name)  # type: ignore[attr-defined]


def _names(keys: set[str]) -> dict[str, str]:
    """Return the names of users by their primary keys, as text; "" is nobody's name."""
    model = get_user_model()
    found: list[Any] = []
    for key in keys:
        try:
            found.append(model._meta.pk.clean(key, None))
        except ValidationError:
            continue  # It is not a primary key of this user model.
    users = model._default_manager.filter(pk__in=found) if found else ()
    return {str(user.pk): _name(user) for user in users}


def _name(user: Any) -> str:
    names = (getattr(user, "get_full_name", str)(), user.get_username(), str(user.pk))
    lines = (" ".join(str(name).split()) for name in names)
    return next(line for line in lines if line)
