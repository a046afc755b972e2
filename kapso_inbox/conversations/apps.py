"""The app's configuration."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks
from django.utils.translation import gettext_lazy as _


class KapsoConversationsConfig(AppConfig):
    name = "kapso_inbox.conversations"
    # A CRM often has an app "conversations" of its own.
    label = "kapso_conversations"
    verbose_name = _("Kapso conversations")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from .checks import check_secrets

        checks.register(check_secrets, "kapso_inbox")
