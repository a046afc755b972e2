"""Inbox embeds: what the CRM shows, and a mirror of Kapso's settings for it."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Case, Exists, OuterRef, Q, Subquery, Value, When
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from kapso_inbox import conf

from .choices import Condition, Mode, Outcome, ScopeType
from .links import AccessLink
from .querysets import InboxQuerySet

#: Stands in addresses and tags for the slug of the user's own embed, which begins with it.
MINE = "mine"
RESERVED_SLUGS = frozenset({MINE, "sync", "waiting", "webhooks"})

#: An expiry nearer than this is worth a word.
SOON = timedelta(days=7)

_State = AccessLink.State


_IN_A_SLUG = re.compile(r"[-a-zA-Z0-9_]{1,40}")


def own_slug(key: str) -> str:
    """Return the slug of a user's own embed: `mine-` and their primary key or its digest.

    Args:
        key: the user's primary key, as text.
    """
    if not _IN_A_SLUG.fullmatch(key):
        key = hashlib.sha256(key.encode()).hexdigest()[:40]
    return f"{MINE}-{key}"


def validate_slug_is_free(slug: str) -> None:
    """Refuse a slug that the app's own addresses use (`mine/`, or `embeds/sync/` of the API).

    Raises:
        ValidationError: the slug is one of `RESERVED_SLUGS`.
    """
    if slug in RESERVED_SLUGS:
        raise ValidationError(
            _("“%(slug)s” is reserved for the addresses of this app."), params={"slug": slug}
        )


class InboxEmbedQuerySet(InboxQuerySet["InboxEmbed"]):
    """Embeds, with what lists and programs want to know of each, in one query."""

    def with_condition(self) -> InboxEmbedQuerySet:
        """Annotate each embed with `condition` (of `Condition`) and `has_unsettled_links`.

        `has_unsettled_links` is true where Kapso's answer is missing for a link other than the
        current one: to its creation, or to its revocation.
        """
        now = timezone.now()
        links = AccessLink.objects.filter(embed=OuterRef("pk"))
        in_the_making = Exists(links.filter(state__in=AccessLink.UNCERTAIN))
        active = Q(current_link__state=_State.ACTIVE)
        return self.annotate(
            condition=Case(
                When(active & Q(expires_at__lte=now), then=Value(Condition.EXPIRED)),
                When(active & ~Q(current_link__differences=""), then=Value(Condition.DIFFERENT)),
                # A user's own embed would show everybody's conversations: see `obstacle()`.
                When(
                    active & ~Q(personal_to="") & Q(assigned_user_id=""),
                    then=Value(Condition.UNASSIGNED),
                ),
                When(active & Q(expires_at__lte=now + SOON), then=Value(Condition.EXPIRES_SOON)),
                When(active, then=Value(Condition.WORKS)),
                When(current_link__state=_State.SECRET_LOST, then=Value(Condition.SECRET_LOST)),
                When(current_link__state=_State.UNMANAGED, then=Value(Condition.UNMANAGED)),
                When(current_link__state=_State.REVOKING, then=Value(Condition.WAITING)),
                When(in_the_making, then=Value(Condition.WAITING)),
                When(current_link__state=_State.REVOKED, then=Value(Condition.REVOKED)),
                default=Value(Condition.NO_LINK),
                output_field=models.CharField(),
            ),
            has_unsettled_links=Exists(
                # Without a current link, every link counts: NULL alone would compare as unknown.
                links.unsettled().filter(
                    Q(embed__current_link=None) | ~Q(pk=OuterRef("current_link"))
                )
            ),
        )

    def with_newest_link(self) -> InboxEmbedQuerySet:
        """Annotate each embed with `newest_link_id`, as `lifecycle.newest_link` returns it."""
        newest = AccessLink.objects.filter(embed=OuterRef("pk")).order_by("-created_at", "-pk")
        return self.annotate(newest_link_id=Subquery(newest.values("pk")[:1]))


class InboxEmbed(models.Model):
    """What the CRM shows: a slug, who may open it, and a mirror of Kapso's settings for it.

    An embed is stable: pages, permissions, preferences and the audit trail point at it, while its
    access links come and go. Change it through `kapso_inbox.lifecycle`, which keeps Kapso in step.
    """

    slug = models.SlugField(
        _("slug"),
        unique=True,
        validators=[validate_slug_is_free],
        help_text=_("The name that templates use."),
    )
    name = models.CharField(_("name"), max_length=120)
    project = models.CharField(
        _("Kapso project"), max_length=50, default=conf.DEFAULT_PROJECT, editable=False
    )
    scope_type = models.CharField(
        _("what it shows"), max_length=20, choices=ScopeType.choices, default=ScopeType.PROJECT
    )
    scope_id = models.CharField(_("scope id"), max_length=64, blank=True)
    scope_name = models.CharField(_("scope name"), max_length=255, blank=True, editable=False)
    assigned_user_id = models.CharField(_("only assigned to"), max_length=64, blank=True)
    assigned_user_name = models.CharField(
        _("name of the team member"), max_length=255, blank=True, editable=False
    )
    allowed_origins = models.JSONField(_("allowed origins"), default=list, blank=True)
    # No choices on these two: Kapso may answer with values that no document names yet.
    default_mode = models.CharField(_("theme"), max_length=20, default=Mode.SYSTEM)
    language = models.CharField(_("language"), max_length=20, blank=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)
    groups = models.ManyToManyField(
        Group,
        verbose_name=_("groups"),
        blank=True,
        related_name="+",
        help_text=_(
            "The groups whose members may open it, if they have the permission. Choose none "
            "to let everyone with the permission open it."
        ),
    )
    # Deleting a group takes it from its embeds without a word, and an embed without groups is open
    # to everybody with the permission. This remembers that it had groups: then nobody opens it.
    restricted = models.BooleanField(_("for some groups only"), default=False, editable=False)
    # Not a foreign key: once the user is gone nobody may open the embed, and the deletion of a user
    # must not cascade to a link that lives at Kapso.
    personal_to = models.CharField(
        _("only for the user"),
        max_length=255,
        blank=True,
        editable=False,
        db_index=True,
        help_text=_(
            "The primary key of the only user who may open it. Blank if there is no such user."
        ),
    )
    current_link = models.ForeignKey(
        AccessLink,
        verbose_name=_("current link"),
        null=True,
        blank=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    objects = InboxEmbedQuerySet.as_manager()

    class Meta:
        verbose_name = _("inbox embed")
        verbose_name_plural = _("inbox embeds")
        ordering = ["name", "pk"]
        permissions = [("open_inboxembed", _("Can open inboxes and read their conversations"))]
        # Lists are in this order, and a page of one must not sort a hundred thousand rows.
        indexes = [models.Index(fields=["name", "id"], name="kapso_inbox_embed_by_name")]

    def __str__(self) -> str:
        return self.name

    def open_to_groups_only(self, restricted: bool) -> None:
        """Set, here and in the database, whether only members of the embed's groups may open it.

        Args:
            restricted: false opens the embed to everybody with the permission.
        """
        if self.restricted != restricted:
            self.restricted = restricted
            InboxEmbed.objects.for_write().filter(pk=self.pk).update(restricted=restricted)

    @property
    def is_own_inbox(self) -> bool:
        """Whether its user finds it as their own: by its slug, and because it is for them alone."""
        return bool(self.personal_to) and self.slug == own_slug(self.personal_to)

    def obstacle(self) -> Outcome | None:
        """Return what keeps this inbox from opening for anyone, or None."""
        link = self.current_link
        if link is None:
            return Outcome.NOT_READY
        if link.state in AccessLink.OVER:
            return Outcome.REVOKED
        if link.state == _State.UNMANAGED:
            return Outcome.NOT_READY
        if link.state != _State.ACTIVE:
            return Outcome.SECRET_LOST
        if self.expires_at and self.expires_at <= timezone.now():
            return Outcome.EXPIRED
        if link.differences:
            return Outcome.DIFFERENT
        if self.personal_to and not self.assigned_user_id:
            # Kapso no longer narrows it: it would show everybody's conversations.
            return Outcome.NOT_READY
        return None


def note_restriction(sender: Any, instance: InboxEmbed, action: str, **kwargs: Any) -> None:
    """Remember whether an embed has groups (`m2m_changed`: a deleted group sends no signal)."""
    if action.startswith("post_"):
        instance.open_to_groups_only(instance.groups.exists())
