"""Who may open and manage what: one policy class, which the setting `ACCESS_POLICY` replaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from django.contrib.auth import get_backends, get_user_model
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.contrib.auth.models import Group, Permission, PermissionsMixin
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.module_loading import import_string

from . import conf
from .models import InboxEmbed, InboxEmbedQuerySet, Record

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser, AnonymousUser
    from django.http import HttpRequest

    User = AbstractUser | AnonymousUser

OPEN = "kapso_inbox.open_inboxembed"

R = TypeVar("R", bound=Record)


class AccessPolicy:
    """The default policy: permissions say what a user may do, groups say which embeds they open.

    - Opening an embed requires the permission `kapso_inbox.open_inboxembed` and, if the embed has
      groups, membership in one of them. If all of its groups were deleted, nobody may open it. An
      embed that is `personal_to` a user opens for that user alone.
    - Managing an embed requires Django's add, change, delete and view permissions. They give no
      right to read conversations.
    - A superuser has every permission, but is bound by an embed's groups like anyone else, and
      cannot open other users' own embeds. Set `superusers_open_everything` in a subclass to change
      that.

    Every answer is a queryset, so that lists and single objects cannot disagree. A host with
    organisations overrides `within_reach`. A policy that overrides any method of `NARROWING` must
    also say who `sees_everything`; until it does, nobody. Users who are not in Django's groups,
    because the user model has none or others, open only embeds without groups.
    """

    superusers_open_everything = False

    def within_reach(self, user: User, embeds: InboxEmbedQuerySet) -> InboxEmbedQuerySet:
        """Return those of `embeds` that this user may know of at all. All other answers use it.

        Args:
            user: the signed-in user.
            embeds: the embeds to choose from.
        """
        return embeds

    def openable(self, user: User, embeds: InboxEmbedQuerySet) -> InboxEmbedQuerySet:
        """Return those of `embeds` whose conversations this user may read.

        Args:
            user: the signed-in user.
            embeds: the embeds to choose from.
        """
        if not has_permission(user, OPEN):
            return embeds.none()
        reachable = self.within_reach(user, embeds)
        if self.superusers_open_everything and getattr(user, "is_superuser", False):
            return reachable
        allowed: Any = _FOR_ALL
        if members := members_lookup():
            allowed |= Exists(_GROUPS.filter(**{members: user.pk}))
        return reachable.filter(allowed, personal_to__in=("", str(user.pk)))

    def admits(self, request: HttpRequest) -> bool:
        """Return whether this request may open inboxes at all, whichever they are.

        Override it for what only the request knows, such as whether the user has shown a second
        factor. It is asked before a frame or a page gets an inbox, and before a ticket is issued.
        The launch by that ticket is not asked again: it has no session.

        Args:
            request: a request of a signed-in user; for the API, one of Django REST framework.
        """
        return True

    def may_have_own(self, user: User) -> bool:
        """Return whether this user may set up an inbox of their own (`{% kapso_my_inbox %}`)."""
        return has_permission(user, OPEN)

    def manageable(self, user: User, embeds: InboxEmbedQuerySet, action: str) -> InboxEmbedQuerySet:
        """Return those of `embeds` that this user may manage.

        Args:
            user: the signed-in user.
            embeds: the embeds to choose from.
            action: `add`, `change`, `delete` or `view`.
        """
        if not has_permission(user, f"kapso_inbox.{action}_inboxembed"):
            return embeds.none()
        return self.within_reach(user, embeds)

    def visible(self, user: User, embeds: InboxEmbedQuerySet) -> InboxEmbedQuerySet:
        """Return those of `embeds` that this user may look at. Whoever may change one may see it.

        Args:
            user: the signed-in user.
            embeds: the embeds to choose from.
        """
        may_view = has_permission(user, "kapso_inbox.view_inboxembed")
        return self.manageable(user, embeds, "view" if may_view else "change")

    def sees_everything(self, user: User) -> bool:
        """Return whether this policy holds nothing back from this user.

        This is for what concerns a whole Kapso project: a sync, the findings about a project, the
        lists of numbers, customers and team members, and records without an embed. Permissions are
        required as well.

        By default, it is true as long as the policy overrides no method of `NARROWING`. Whether an
        override narrows its answer for this user cannot be seen from outside: an equal queryset can
        differ tomorrow. So such a policy sees nothing as a whole unless it overrides this method,
        too. A policy that only sets `superusers_open_everything`, or overrides `may_have_own`,
        holds nothing back.

        Args:
            user: the signed-in user.
        """
        return all(
            getattr(getattr(self, name), "__func__", None) is getattr(AccessPolicy, name)
            for name in NARROWING
        )

    def auditable(self, user: User, records: QuerySet[R]) -> QuerySet[R]:
        """Return those rows of the audit trail that this user may read.

        This requires Django's view permission for them. Users who do not see everything read the
        rows of `visible` embeds alone. They read no rows without an embed: nobody knows whose those
        are.

        Args:
            user: the signed-in user.
            records: rows of `LaunchAttempt` or `InboxChange` to choose from.
        """
        name = records.model._meta.model_name
        if not has_permission(user, f"kapso_inbox.view_{name}"):
            return records.none()
        if self.sees_everything(user):
            return records
        visible = self.visible(user, InboxEmbed.objects.all())
        return records.filter(embed__in=visible.values("pk"))


#: The methods that decide which embeds and records a user meets: see `sees_everything`.
NARROWING = ("within_reach", "openable", "manageable", "visible", "auditable")

#: The groups of an embed in the query around it, and the condition that it has none. Both are built
#: once: building such a query takes longer than the database takes to answer it.
_GROUPS = InboxEmbed.groups.through.objects.filter(inboxembed=OuterRef("pk"))
_FOR_ALL = Q(restricted=False) & ~Exists(_GROUPS)


#: What Django's own backends say of permissions, by the name of the method.
_DJANGOS = {
    name: (getattr(ModelBackend, name), getattr(BaseBackend, name, None), None)
    for name in dir(ModelBackend)
    if name.endswith(("_perm", "_permissions"))
}


def get_policy() -> AccessPolicy:
    """Return an instance of the class that the setting `ACCESS_POLICY` names.

    Raises:
        ImportError: the setting does not name a class that can be imported.
    """
    return cast("AccessPolicy", import_string(conf.value("ACCESS_POLICY"))())


def may_manage(user: User, embeds: InboxEmbedQuerySet, action: str) -> InboxEmbedQuerySet:
    """Return those of `embeds` that a user may manage, without any that is hidden from them.

    The answer to a change shows the embed. So a policy that narrows `visible` alone narrows this.

    Args:
        user: the signed-in user.
        embeds: the embeds to choose from.
        action: `add`, `change`, `delete` or `view`.
    """
    policy = get_policy()
    if not policy.sees_everything(user):
        embeds = policy.visible(user, embeds)
    return policy.manageable(user, embeds, action)


def may_take(user: User, slug: str) -> bool:
    """Return whether the policy lets a user create an embed of this slug.

    A creation uses an embed of that slug again if its own creation failed. So it must be one that
    the user may add; otherwise the slug is taken.

    Args:
        user: the signed-in user.
        slug: the slug of the new embed.
    """
    embeds = InboxEmbed.objects.for_write().filter(slug=slug)
    theirs = may_manage(user, embeds, "add")
    return not embeds.exclude(pk__in=theirs.values("pk")).exists()


def has_permission(user: User, permission: str) -> bool:
    """Return whether a user is active and has a permission of Django's.

    A user model without `PermissionsMixin` may know no permissions. Then nobody has any.

    Args:
        user: the user.
        permission: the permission, with the label of its app.
    """
    knows = getattr(user, "has_perm", None)
    if not user.is_active or knows is None:
        return False
    _read_permissions_at_once(user)
    return bool(knows(permission))


def _read_permissions_at_once(user: Any) -> None:
    """Read a user's permissions in one query, where Django's `ModelBackend` would take two.

    They are kept where that backend keeps them: on the user, so for this request alone. Users and
    backends that decide otherwise than Django's own read them by themselves.
    """
    members = members_lookup()
    is_djangos = isinstance(user, PermissionsMixin) and members is not None
    if not is_djangos or user.is_superuser or hasattr(user, "_perm_cache"):
        return
    if not _has_only_djangos_backends():
        return
    names = ("content_type__app_label", "codename")
    own = user.user_permissions.order_by().values_list(*names)
    of_groups = Permission.objects.filter(**{str(members): user.pk}).order_by().values_list(*names)
    user._perm_cache = {f"{app}.{codename}" for app, codename in own.union(of_groups)}


def _has_only_djangos_backends() -> bool:
    """Return whether every backend leaves permissions to Django's own classes."""
    return all(
        getattr(type(backend), name, None) in own
        for backend in get_backends()
        for name, own in _DJANGOS.items()
    )


def members_lookup() -> str | None:
    """Return the lookup that leads from an embed's group to its members in this host.

    Returns:
        None if users are in no groups of Django's: the user model has no field `groups`, or it is
        a relation to another model.
    """
    try:
        groups: Any = get_user_model()._meta.get_field("groups")
    except FieldDoesNotExist:
        return None
    related = groups.related_model
    if related is None or related._meta.concrete_model is not Group:
        return None
    return f"group__{groups.related_query_name()}"
