"""Who may open and manage what: one policy class, replaceable by the setting `ACCESS_POLICY`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Exists, OuterRef, QuerySet

from .models import InboxEmbed

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser, AnonymousUser

    User = AbstractUser | AnonymousUser

OPEN = "kapso_inbox.open_inboxembed"


class AccessPolicy:
    """The default: permissions say what one may do, an embed's groups say who may open it.

    - To open an embed takes the permission `kapso_inbox.open_inboxembed` and, where the embed has
      groups, membership in one of them.
    - To manage one takes Django's add, change, delete and view permissions. They give no right to
      read conversations.
    - A superuser has every permission, but is bound by an embed's groups like anyone else. Where
      superusers shall open everything, set `superusers_open_everything` in a subclass.

    Every answer is a queryset, so that lists and single objects cannot disagree. A host with
    organisations overrides `within_reach`. A user model must have Django's `PermissionsMixin`, or
    the host's own policy.
    """

    superusers_open_everything = False

    def within_reach(self, user: User, embeds: QuerySet[InboxEmbed]) -> QuerySet[InboxEmbed]:
        """Return those of `embeds` that this user may know of at all; both other answers use it.

        Args:
            user: the signed-in user.
            embeds: what to choose from.
        """
        return embeds

    def openable(self, user: User, embeds: QuerySet[InboxEmbed]) -> QuerySet[InboxEmbed]:
        """Return those of `embeds` whose conversations this user may read."""
        if not user.is_active or not user.has_perm(OPEN):
            return embeds.none()
        reachable = self.within_reach(user, embeds)
        if self.superusers_open_everything and user.is_superuser:
            return reachable
        allowed = InboxEmbed.groups.through.objects.filter(inboxembed=OuterRef("pk"))
        own = allowed.filter(group__in=user.groups.order_by())
        return reachable.filter(~Exists(allowed) | Exists(own))

    def manageable(
        self, user: User, embeds: QuerySet[InboxEmbed], action: str
    ) -> QuerySet[InboxEmbed]:
        """Return those of `embeds` that this user may manage.

        Args:
            action: `add`, `change`, `delete` or `view`.
        """
        if not user.is_active or not user.has_perm(f"kapso_inbox.{action}_inboxembed"):
            return embeds.none()
        return self.within_reach(user, embeds)
