"""How an embed and its links are described in words.

Functions that need an embed's condition take one that `InboxEmbedQuerySet.with_condition` read.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from django.db.models import TextChoices
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.timesince import timeuntil
from django.utils.translation import gettext as _

from kapso_inbox.models import AccessLink, Condition, InboxEmbed, ScopeType
from kapso_inbox.reasons import describe_reason

from .owners import describe_owner

#: How many links of an embed are shown in detail.
DETAILED = 10


def condition_of(embed: InboxEmbed) -> Condition:
    """Return the condition of the embed."""
    return Condition(embed.condition)  # type: ignore[attr-defined]


def has_unsettled_links(embed: InboxEmbed) -> bool:
    """Return whether a link of the embed other than its current one is unsettled."""
    return bool(embed.has_unsettled_links)  # type: ignore[attr-defined]


def format_second(when: datetime) -> str:
    """Return a time in the reader's time zone and language, to the second and with its zone."""
    local = timezone.localtime(when) if timezone.is_aware(when) else when
    zone = local.tzname() or ""
    if zone[:1] in ("+", "-"):  # some zones have no name but their distance from UTC
        zone = f"UTC{zone}"
    return f"{date_format(local, 'DATE_FORMAT')}, {local:%H:%M:%S} {zone}".rstrip()


def describe_scope(embed: InboxEmbed) -> str:
    """Return whose conversations the embed shows: a number or a customer by name."""
    scope = ScopeType(embed.scope_type).label if embed.scope_type in ScopeType.values else ""
    name = embed.scope_name or embed.scope_id
    shown = f"{scope or embed.scope_type}: {name}" if name else str(scope)
    if embed.assigned_user_id:
        assigned = embed.assigned_user_name or embed.assigned_user_id
        shown = _("%(shown)s, only what is assigned to %(name)s") % {
            "shown": shown,
            "name": assigned,
        }
    return shown


def is_open_to_any_site(embed: InboxEmbed) -> bool:
    """Return whether any site may show the embed."""
    return not embed.allowed_origins or "*" in embed.allowed_origins


def label_in(choices: type[TextChoices], value: str) -> str:
    """Return the label of a value, or the value itself if no document of Kapso's names it."""
    return str(choices(value).label) if value in choices.values else value


def describe_state(embed: InboxEmbed) -> str:
    """Return the embed's condition, with what else there is to know about its links."""
    condition = condition_of(embed)
    text = str(condition.label)
    if condition == Condition.EXPIRES_SOON and embed.expires_at:
        text = _("Expires in %(time)s") % {"time": timeuntil(embed.expires_at, depth=1)}
    if has_unsettled_links(embed) and condition != Condition.WAITING:
        text = _("%(state)s; another link waits for Kapso") % {"state": text}
    return text


def describe_readers(embed: InboxEmbed) -> str:
    """Return who may open the embed."""
    if embed.personal_to:
        return describe_owner(embed)
    names = [group.name for group in embed.groups.all()]
    if embed.restricted and not names:
        return _("nobody: its groups were deleted")
    return ", ".join(names) or _("everyone with the permission")


class LinkDetails(NamedTuple):
    """What people who look for a link at Kapso, or in a log, need to know of it.

    Attributes:
        reference: what its name at Kapso ends in.
        is_current: whether it is the embed's current link.
        state: its state.
        since: when it came into this state.
        kapso_id: its ID at Kapso, if it is known.
        reason: why it is in this state, if there is a reason.
    """

    reference: str
    is_current: bool
    state: str
    since: str
    kapso_id: str
    reason: str


def details_of_links(embed: InboxEmbed) -> list[LinkDetails]:
    """Return the details of the embed's newest links, the newest first."""
    links = AccessLink.objects.using(embed._state.db).filter(embed=embed).defer("sealed_url")
    return [
        LinkDetails(
            reference=str(link),
            is_current=link.pk == embed.current_link_id,
            state=link.get_state_display(),
            since=format_second(link.state_changed_at),
            kapso_id=link.kapso_id,
            reason=describe_reason(link.reason),
        )
        for link in links.order_by("-created_at", "-pk")[:DETAILED]
    ]
