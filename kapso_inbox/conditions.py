"""How an embed is doing, in one word: for lists, filters and programs alike, and in one query."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import (
    Case,
    CharField,
    Exists,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextChoices,
    Value,
    When,
)
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from .models import AccessLink, InboxEmbed

State = AccessLink.State

#: An expiry that is nearer than this is worth a word.
SOON = timedelta(days=7)


class Condition(TextChoices):
    """What an administrator wants to know of an embed at a glance."""

    WORKS = "works", _("Works")
    EXPIRES_SOON = "expires_soon", _("Expires soon")
    EXPIRED = "expired", pgettext_lazy("inbox", "Expired")
    REVOKED = "revoked", pgettext_lazy("inbox", "Revoked")
    WAITING = "waiting", _("Waiting for Kapso")
    SECRET_LOST = "secret_lost", _("Secret lost")
    UNMANAGED = "unmanaged", pgettext_lazy("inbox", "Unmanaged")
    UNASSIGNED = "unassigned", _("Assigned to nobody any more")
    NO_LINK = "no_link", _("No link")


def with_condition(embeds: QuerySet[InboxEmbed]) -> QuerySet[InboxEmbed]:
    """Return the embeds with `condition` (of `Condition`) and `has_loose_ends` on each.

    `has_loose_ends` says that a link of it beside the current one is not settled: Kapso's answer to
    its making or its revocation is not known.
    """
    now = timezone.now()
    links = AccessLink.objects.filter(embed=OuterRef("pk"))
    in_the_making = Exists(links.filter(state__in=AccessLink.UNCERTAIN))
    unsettled = links.filter(state__in=AccessLink.UNSETTLED)
    active = Q(current_link__state=State.ACTIVE)
    return embeds.annotate(
        condition=Case(
            When(active & Q(expires_at__lte=now), then=Value(Condition.EXPIRED)),
            # What was one user's own would show everybody's conversations: see `obstacle()`.
            When(
                active & ~Q(personal_to="") & Q(assigned_user_id=""),
                then=Value(Condition.UNASSIGNED),
            ),
            When(active & Q(expires_at__lte=now + SOON), then=Value(Condition.EXPIRES_SOON)),
            When(active, then=Value(Condition.WORKS)),
            When(current_link__state=State.SECRET_LOST, then=Value(Condition.SECRET_LOST)),
            When(current_link__state=State.UNMANAGED, then=Value(Condition.UNMANAGED)),
            When(current_link__state=State.REVOKING, then=Value(Condition.WAITING)),
            When(in_the_making, then=Value(Condition.WAITING)),
            When(current_link__state=State.REVOKED, then=Value(Condition.REVOKED)),
            default=Value(Condition.NO_LINK),
            output_field=CharField(),
        ),
        has_loose_ends=Exists(
            # Beside no link at all is every one: NULL alone would compare as unknown.
            unsettled.filter(Q(embed__current_link=None) | ~Q(pk=OuterRef("current_link")))
        ),
    )


def with_newest_link(embeds: QuerySet[InboxEmbed]) -> QuerySet[InboxEmbed]:
    """Return the embeds with `newest_link` on each, as `lifecycle.newest_link` has it for one."""
    newest = AccessLink.objects.filter(embed=OuterRef("pk")).order_by("-created_at", "-pk")
    return embeds.annotate(newest_link=Subquery(newest.values("pk")[:1]))
