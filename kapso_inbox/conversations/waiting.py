"""How many conversations wait, for those who may open the inboxes that show them."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from django.core.cache import cache
from django.db.models import Count, Max, Q
from django.utils import timezone

from kapso_inbox.access import get_policy
from kapso_inbox.models import MINE, InboxEmbed, ScopeType, own_slug

from .models import Conversation, WhatsAppNumber

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser

#: The most inboxes that are counted in one request.
MAX_SLUGS = 200
#: The seconds for which counts are kept if no conversation changes: so long can it take until a
#: permission that was taken away, or a hand-off that is a day old, is noticed.
KEPT_FOR = 60
#: The seconds for which the time of the last change is kept.
CHANGE_KEPT_FOR = 2
_LAST_CHANGE = "kapso_inbox:waiting-change"
#: Transactions are not committed in the order of the times that they write. So counts are not kept
#: while the newest change is younger than this.
_SETTLED_AFTER = timedelta(seconds=5)


class Waiting(NamedTuple):
    """How many conversations of an inbox wait.

    Attributes:
        unanswered: those whose last message came from the customer.
        handoff: those for which a workflow has asked for a human, and nobody has written since.
        both: those that are one of these, or both; each counts once.
    """

    unanswered: int = 0
    handoff: int = 0
    both: int = 0


class _Group(NamedTuple):
    """The conversations of one number that are assigned to one team member."""

    project: str
    phone_number_id: str
    assigned_user_id: str


def count_waiting(
    user: AbstractUser, slugs: Iterable[str], *, with_own: bool = True
) -> dict[str, Waiting]:
    """Return how many conversations wait in each inbox.

    Inboxes that do not exist, that the user may not open, or that nobody can open now, are left
    out. While nothing changes, this takes at most one query.

    Args:
        user: a signed-in user.
        slugs: the slugs of the inboxes; `mine` is the user's own. At most `MAX_SLUGS` are counted.
        with_own: whether the user's own inbox counts: not for somebody who acts as that user.

    Returns:
        slug -> how many wait, in the order of `slugs`.
    """
    wanted = list(dict.fromkeys(slugs))[:MAX_SLUGS]
    changed_at = last_change()
    name = f"{user.pk} {with_own} {changed_at} {' '.join(wanted)}"
    key = f"kapso_inbox:waiting:{hashlib.sha256(name.encode()).hexdigest()}"
    if (kept := cache.get(key)) is not None:
        return {slug: Waiting(*counts) for slug, counts in kept}
    found = _count(user, wanted, with_own)
    if changed_at is None or changed_at < timezone.now() - _SETTLED_AFTER:
        cache.set(key, [(slug, tuple(counts)) for slug, counts in found.items()], KEPT_FOR)
    cache.set_many(
        {_last_key(user.pk, slug): tuple(counts) for slug, counts in found.items()}, KEPT_FOR
    )
    return found


def last_change() -> datetime | None:
    """Return when a conversation last changed, as of `CHANGE_KEPT_FOR` seconds ago or later."""
    missing = object()
    kept = cache.get(_LAST_CHANGE, missing)
    if kept is not missing:
        return cast("datetime | None", kept)
    changed_at: datetime | None = Conversation.objects.aggregate(last=Max("updated_at"))["last"]
    cache.set(_LAST_CHANGE, changed_at, CHANGE_KEPT_FOR)
    return changed_at


def note_change() -> None:
    """Let the next badges be counted anew. To be called after a commit.

    With a cache that processes do not share, the others learn of it after `CHANGE_KEPT_FOR`.
    """
    try:
        cache.delete(_LAST_CHANGE)
    except Exception as failure:  # noqa: BLE001 (a cache may raise anything)
        # What was stored is stored, and must be told: badges are late by a moment at most.
        logger.warning("The cache failed after a webhook: %s", type(failure).__name__)


def last_counted(user: Any, slugs: Iterable[str]) -> Waiting | None:
    """Return what was last counted in inboxes together, from the cache alone, or None.

    Args:
        user: a user.
        slugs: the slugs of the inboxes.
    """
    keys = [_last_key(user.pk, slug) for slug in slugs]
    kept = cache.get_many(keys)
    return _total(kept.values()) if len(kept) == len(keys) else None


def _total(counts: Iterable[Iterable[int]]) -> Waiting:
    return Waiting(*map(sum, zip(Waiting(), *counts, strict=True)))


def _last_key(user_id: Any, slug: str) -> str:
    digest = hashlib.sha256(f"{user_id} {slug}".encode()).hexdigest()
    return f"kapso_inbox:waiting-last:{digest}"


def etag_of(found: dict[str, Any]) -> str:
    """Return an ETag for what is answered: the same counts have the same one."""
    return f'"{hashlib.sha256(json.dumps(found).encode()).hexdigest()[:32]}"'


def _count(user: AbstractUser, slugs: list[str], with_own: bool) -> dict[str, Waiting]:
    names = {slug: own_slug(str(user.pk)) if slug == MINE else slug for slug in slugs}
    embeds = InboxEmbed.objects.filter(slug__in=names.values()).select_related("current_link")
    if not with_own:
        embeds = embeds.filter(personal_to="")
    openable = get_policy().openable(user, embeds)
    # MariaDB compares slugs without case, and finds more than was asked for.
    by_slug = {embed.slug: embed for embed in openable if embed.obstacle() is None}
    shown = {slug: by_slug[name] for slug, name in names.items() if name in by_slug}
    groups = _count_groups({embed.project for embed in shown.values()})
    numbers = _numbers_of_customers(shown.values())
    found = {}
    for slug in slugs:
        if embed := shown.get(slug):
            own = [counts for group, counts in groups.items() if _shows(embed, group, numbers)]
            found[slug] = _total(own)
    return found


def _count_groups(projects: set[str]) -> dict[_Group, Waiting]:
    """Return the counts of each group. They are the same for every user.

    Hand-offs are few, and counted by a query of their own: with one for both, MariaDB would read
    all conversations.
    """
    if not projects:
        return {}
    fields = _Group._fields
    conversations = Conversation.objects.filter(project__in=projects).order_by()
    unanswered = conversations.unanswered().values_list(*fields).annotate(all=Count("*"))
    found = {_Group(*row[:3]): Waiting(row[3], 0, row[3]) for row in unanswered}
    handoffs = (
        conversations.waiting_for_human()
        .values_list(*fields)
        .annotate(all=Count("*"), only=Count("pk", filter=Q(unanswered=False)))
    )
    for row in handoffs:
        group, handoff, only_handoff = _Group(*row[:3]), row[3], row[4]
        before = found.get(group, Waiting())
        found[group] = Waiting(before.unanswered, handoff, before.both + only_handoff)
    return found


def _numbers_of_customers(embeds: Iterable[InboxEmbed]) -> set[tuple[str, str, str]]:
    customers = {embed.scope_id for embed in embeds if embed.scope_type == ScopeType.CUSTOMER}
    if not customers:
        return set()
    numbers = WhatsAppNumber.objects.filter(customer_id__in=customers)
    return set(numbers.values_list("project", "customer_id", "phone_number_id"))


def _shows(embed: InboxEmbed, group: _Group, numbers: set[tuple[str, str, str]]) -> bool:
    """Return whether an embed shows the conversations of a group, as `models.scope_of` says it."""
    if embed.project != group.project:
        return False
    if embed.assigned_user_id and embed.assigned_user_id != group.assigned_user_id:
        return False
    if embed.scope_type == ScopeType.PHONE_NUMBER:
        return embed.scope_id == group.phone_number_id
    if embed.scope_type == ScopeType.CUSTOMER:
        return (embed.project, embed.scope_id, group.phone_number_id) in numbers
    return True
