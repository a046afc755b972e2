"""The audit trail: who tried to open which inbox, and who changed what."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Case, Q, Value, When
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from .choices import Outcome
from .embeds import InboxEmbed
from .links import AccessLink
from .querysets import InboxQuerySet


class Record(models.Model):
    """Who did something to an embed, and when.

    A row outlives the user, the embed and the link that it names: their names and ids stay. So none
    of them has a database constraint. Besides, checking one locks the row it points to, and on
    MariaDB a revocation locks the same two rows in the opposite order (a deadlock, seen in 10.11).
    """

    created_at = models.DateTimeField(_("time"), default=timezone.now, db_index=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
    )
    username = models.CharField(_("user name"), max_length=254, blank=True)
    acting_as = models.CharField(
        _("acting as"),
        max_length=254,
        blank=True,
        help_text=_("The user that this user acted as, if any."),
    )
    embed = models.ForeignKey(
        InboxEmbed,
        verbose_name=_("embed"),
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,  # see the index below
        related_name="+",
    )
    slug = models.CharField(_("slug"), max_length=50)
    link = models.ForeignKey(
        AccessLink,
        verbose_name=_("access link"),
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
    )

    class Meta:
        abstract = True
        ordering = ["-created_at"]
        # An embed's rows by time, and the time of its last opening.
        indexes = [models.Index(fields=["embed", "created_at"], name="kapso_%(class)s_by_embed")]
        # The record is read, and written by the app alone.
        default_permissions = ("view",)


class InboxChangeQuerySet(InboxQuerySet["InboxChange"]):
    """Rows of the record of changes."""

    def with_confirmation(self) -> InboxChangeQuerySet:
        """Annotate each row with `is_unconfirmed`: whether Kapso has yet to say that it did this.

        A row is written before Kapso is asked. The state of its link says what Kapso answered, even
        if the process ended before it could write anything else.
        """
        action, link = InboxChange.Action, AccessLink
        creations = Q(action__in=[action.CREATED, action.ROTATED, action.ADOPTED])
        unconfirmed = creations & Q(link__state__in=link.UNCERTAIN)
        unconfirmed |= Q(action=action.REVOKED, link__state__in=link.UNSETTLED)
        return self.annotate(
            is_unconfirmed=Case(When(unconfirmed, then=Value(True)), default=Value(False))
        )


class InboxChange(Record):
    """One change of an embed."""

    class Action(models.TextChoices):
        """What was done."""

        CREATED = "created", pgettext_lazy("inbox", "Created")
        CREATION_REFUSED = "creation_refused", _("Not created")
        CHANGED = "changed", pgettext_lazy("inbox", "Changed")
        ROTATED = "rotated", _("Link rotated")
        ROTATION_REFUSED = "rotation_refused", _("Link not rotated")
        ADOPTED = "adopted", pgettext_lazy("inbox", "Adopted")
        ADOPTION_REFUSED = "adoption_refused", _("Not adopted")
        REVOKED = "revoked", pgettext_lazy("inbox", "Revoked")
        LOST = "lost", _("Secret lost")
        SETTLED = "settled", _("Uncertain link settled")
        FOUND = "found", _("Found at Kapso")
        DELETED = "deleted", pgettext_lazy("inbox", "Deleted")

    action = models.CharField(_("action"), max_length=20, choices=Action.choices)
    #: A stored reason: see `reasons`.
    details = models.TextField(_("details"), blank=True)

    objects = InboxChangeQuerySet.as_manager()

    class Meta(Record.Meta):
        verbose_name = _("inbox change")
        verbose_name_plural = _("inbox changes")

    def __str__(self) -> str:
        return f"{self.username or '-'} · {self.slug} · {self.get_action_display()}"


class LaunchAttempt(Record):
    """One attempt of a signed-in user to open an inbox, or several like it that were refused."""

    outcome = models.CharField(_("outcome"), max_length=20, choices=Outcome.choices)
    address = models.GenericIPAddressField(_("address"), null=True, blank=True)
    times = models.PositiveIntegerField(
        _("times"),
        default=1,
        help_text=_("How many refusals like this one there were within a minute."),
    )

    objects = InboxQuerySet.as_manager()

    class Meta(Record.Meta):
        verbose_name = _("launch attempt")
        verbose_name_plural = _("launch attempts")

    def __str__(self) -> str:
        return f"{self.username} · {self.slug} · {self.get_outcome_display()}"
