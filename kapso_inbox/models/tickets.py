"""Launch tickets: a launch without a session."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .embeds import InboxEmbed
from .querysets import InboxQuerySet


class LaunchTicket(models.Model):
    """One launch of one embed by one user, once and within a minute, without a session.

    The ID alone opens nothing: what a browser presents is signed, see `kapso_inbox.inbox.tickets`.
    User and embed have no database constraint, since a row that lives for a minute need not lock
    what it points to.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.CASCADE,
        db_constraint=False,
        related_name="+",
    )
    embed = models.ForeignKey(
        InboxEmbed,
        verbose_name=_("embed"),
        on_delete=models.CASCADE,
        db_constraint=False,
        related_name="+",
    )
    params = models.JSONField(_("theme and filters"), default=dict, blank=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now, db_index=True)
    used_at = models.DateTimeField(_("used"), null=True, blank=True)

    objects = InboxQuerySet.as_manager()

    class Meta:
        verbose_name = _("launch ticket")
        verbose_name_plural = _("launch tickets")
        # Nobody manages tickets.
        default_permissions = ()

    def __str__(self) -> str:
        # Django's page that deletes a user lists these rows, also to administrators who may not see
        # the embed. And a page that lists many would need a query for each name.
        return f"#{self.pk}"
