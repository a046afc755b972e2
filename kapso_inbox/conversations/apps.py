"""The app's configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from django.apps import AppConfig
from django.core import checks
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from kapso_inbox.diagnosis import Finding
    from kapso_inbox.sync.run import Run


class KapsoConversationsConfig(AppConfig):
    name = "kapso_inbox.conversations"
    # A CRM often has an app "conversations" of its own.
    label = "kapso_conversations"
    verbose_name = _("Kapso conversations")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from .checks import check_secrets

        checks.register(check_secrets, "kapso_conversations")

    def sync_kapso_project(self, run: Run) -> None:
        """Take part in the sync of a project that has a secret for its webhooks."""
        # Here and below: only commands need these, and they load the client for Kapso.
        from .sync import sync_conversations

        sync_conversations(run)

    def diagnose_kapso_project(
        self, project: str, *, network: bool, remembered_for: int
    ) -> Iterator[Finding]:
        """Take part in the diagnosis of a project that has a secret for its webhooks."""
        from .diagnosis import webhook_findings

        yield from webhook_findings(project, network=network, remembered_for=remembered_for)
