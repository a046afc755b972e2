"""Who may open and manage what: one policy class, replaceable by the setting `ACCESS_POLICY`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from django.contrib.auth import get_user_model
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.module_loading import import_string

from kapso_inbox.models import InboxEmbedQuerySet

from . import conf
from .models import InboxEmbed, Record

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser, AnonymousUser

    User = AbstractUser | AnonymousUser

OPEN = "kapso_inbox.open_inboxembed"

R = TypeVar("R", bound=Record)


class AccessPolicy:
    """The default: permissions say what one may do, an embed's groups say who may open it.

    - To open an embed takes the permission `kapso_inbox.open_inboxembed` and, where the embed has
      groups, membership in one of them; where all of its groups were deleted, nobody may. One that
      is `personal_to` a user opens for them alone.
    - To manage one takes Django's add, change, delete and view permissions. They give no right to
      read conversations.
    - A superuser has every permission, but is bound by an embed's groups like anyone else, and
      opens nobody else's own. Where superusers shall open everything, set
      `superusers_open_everything` in a subclass.

    Every answer is a queryset, so that lists and single objects cannot disagree. A host with
    organisations overrides `within_reach`. A user model must have Django's `PermissionsMixin`, or
    the host's own policy.
    """

    superusers_open_everything = False

    def within_reach(self, user: User, embeds: InboxEmbedQuerySet) -> InboxEmbedQuerySet:
        """Return those of `embeds` that this user may know of at all; both other answers use it.

        Args:
            user: the signed-in user.
            embeds: what to choose from.
        """
        return embeds

    def openable(self, user: User, embeds: InboxEmbedQuerySet) -> InboxEmbedQuerySet:
        """Return those of `embeds` whose conversations this user may read."""
        if not user.is_active or not user.has_perm(OPEN):
            return embeds.none()
        reachable = self.within_reach(user, embeds)
        if self.superusers_open_everything and user.is_superuser:
            return reachable
        own = Exists(_GROUPS.filter(**{_members(): user.pk}))
        return reachable.filter(_FOR_ALL | own, personal_to__in=("", str(user.pk)))

    def may_have_own(self, user: User) -> bool:
        """Say whether this user may set up an inbox of their own (`{% kapso_my_inbox %}`)."""
        return user.is_active and user.has_perm(OPEN)

    def manageable(self, user: User, embeds: InboxEmbedQuerySet, action: str) -> InboxEmbedQuerySet:
        """Return those of `embeds` that this user may manage.

        Args:
            action: `add`, `change`, `delete` or `view`.
        """
        if not user.is_active or not user.has_perm(f"kapso_inbox.{action}_inboxembed"):
            return embeds.none()
        return self.within_reach(user, embeds)

    def visible(self, user: User, embeds: InboxEmbedQuerySet) -> InboxEmbedQuerySet:
        """Return those of `embeds` that this user may look at; to change one is to see it, too."""
        may_view = user.has_perm("kapso_inbox.view_inboxembed")
        return self.manageable(user, embeds, "view" if may_view else "change")

    def reaches_all(self, user: User) -> bool:
        """Say whether `within_reach` holds nothing back from this user: it returned all as it came.

        For what is about a whole Kapso project, such as a sync. It takes a permission besides.
        """
        everything = InboxEmbed.objects.all()
        return self.within_reach(user, everything) is everything

    def auditable(self, user: User, records: QuerySet[R]) -> QuerySet[R]:
        """Return those openings or changes that this user may read.

        That takes Django's view permission for them. Where `within_reach` holds some embeds back,
        their records are held back, too, and so are those that name no embed (any more): nobody
        knows whose they are.

        Args:
            records: `LaunchAttempt` or `InboxChange` rows to choose from.
        """
        name = records.model._meta.model_name
        if not user.is_active or not user.has_perm(f"kapso_inbox.view_{name}"):
            return records.none()
        if self.reaches_all(user):
            return records
        reachable = self.within_reach(user, InboxEmbed.objects.all())
        return records.filter(embed__in=reachable)


#: The groups of an embed of the query around it, and that it is for none in particular. Made once:
#: to put together such a query takes longer than the database takes to answer it.
_GROUPS = InboxEmbed.groups.through.objects.filter(inboxembed=OuterRef("pk"))
_FOR_ALL = Q(restricted=False) & ~Exists(_GROUPS)


def get_policy() -> AccessPolicy:
    """Return an instance of the class that the setting `ACCESS_POLICY` names.

    Raises:
        ImportError: the setting does not name a class that can be imported.
    """
    return cast("AccessPolicy", import_string(conf.value("ACCESS_POLICY"))())


def _members() -> str:
    """Return the lookup that leads from an embed's group to its members, as the host has it."""
    groups: Any = get_user_model()._meta.get_field("groups")
    return f"group__{groups.related_query_name()}"


def may_take(user: User, slug: str) -> bool:
    """Say whether a user may make an embed of a slug, as far as the policy is concerned.

    A creation takes over an embed of that slug whose making failed, so it has to be one that the
    user may add; otherwise the slug is taken.
    """
    embeds = InboxEmbed.objects.for_write().filter(slug=slug)
    theirs = get_policy().manageable(user, embeds, "add")
    return not embeds.exclude(pk__in=theirs.values("pk")).exists()
