"""Each user's own theme and filters."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from .embeds import InboxEmbed
from .querysets import InboxQuerySet


class InboxPreference(models.Model):
    """A user's own theme and filters for one embed."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("user"), on_delete=models.CASCADE, related_name="+"
    )
    embed = models.ForeignKey(
        InboxEmbed, verbose_name=_("embed"), on_delete=models.CASCADE, related_name="preferences"
    )
    params = models.JSONField(_("theme and filters"), default=dict, blank=True)

    objects = InboxQuerySet.as_manager()

    class Meta:
        verbose_name = _("inbox preference")
        verbose_name_plural = _("inbox preferences")
        # Users change their own; nobody manages those of others.
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["user", "embed"], name="kapso_inbox_one_preference_for_user_and_embed"
            )
        ]

    def __str__(self) -> str:
        # Django's page that deletes a user lists these rows, also to administrators who may not see
        # the embed. And a page that lists many would need a query for each name.
        return f"#{self.pk}"
