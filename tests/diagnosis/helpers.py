"""What the tests of the diagnosis share: a site, rows in the database, and `diagnose`."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from shutil import copytree
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.utils import timezone

from kapso_inbox import diagnosis
from kapso_inbox.diagnosis import Finding
from kapso_inbox.models import AccessLink, InboxEmbed

SITE = "https://crm.example.com"
INBOX = "https://inbox.kapso.ai"
TOKEN = "token-that-nobody-may-see"
OTHER_KEY = "kapso-key-of-a-clinic-0123456789"
State = AccessLink.State

#: Changes keys of KAPSO_INBOX.
ChangeSettings = Callable[..., None]


def put_into_production(settings: Any, static_root: Path) -> None:
    """Give the site settings as in production.

    Args:
        settings: pytest-django's fixture, which restores them.
        static_root: a folder for static files, which are copied there as `collectstatic` does.
    """
    settings.ALLOWED_HOSTS = ["crm.example.com", "localhost"]
    settings.SECURE_SSL_REDIRECT = True
    settings.STATIC_ROOT = static_root
    for app in ("kapso_inbox", "kapso_conversations"):
        static = Path(apps.get_app_config(app).path) / "static"
        copytree(static, static_root, dirs_exist_ok=True)


def settings_changer(settings: Any) -> ChangeSettings:
    """Return a function that changes keys of KAPSO_INBOX.

    Args:
        settings: pytest-django's fixture, which restores them.
    """

    def change_settings(**values: Any) -> None:
        settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, **values}

    return change_settings


def secrets() -> list[str]:
    """Return the secrets that no finding may hold."""
    configured = django_settings.KAPSO_INBOX or {}
    projects = configured.get("PROJECTS") or {}
    keys = configured.get("ENCRYPTION_KEYS") or {}
    found = [
        TOKEN,
        OTHER_KEY,
        configured.get("API_KEY"),
        *(own.get("API_KEY") for own in projects.values()),
        *keys.values(),
    ]
    return [secret for secret in found if isinstance(secret, str) and len(secret) > 7]


def diagnose(*projects: str, network: bool = True, sends_launch: bool = False) -> list[Finding]:
    """Call `diagnosis.diagnose`, and check that no finding holds a secret."""
    found = diagnosis.diagnose(projects or None, network=network, sends_launch=sends_launch)
    for secret in [*secrets(), "/embed/"]:
        assert not any(secret in repr(finding) for finding in found), "a secret leaked"
    for finding in found:
        assert finding.what
        assert finding.hint or finding.level == "info"
    return found


def codes(*projects: str, network: bool = True) -> list[str]:
    """Return the codes of all findings."""
    return [finding.code for finding in diagnose(*projects, network=network)]


def the(code: str, *projects: str, network: bool = True) -> Finding:
    """Return the one finding with that code."""
    [finding] = [one for one in diagnose(*projects, network=network) if one.code == code]
    return finding


def store(
    slug: str = "sales",
    *,
    state: AccessLink.State = State.ACTIVE,
    current: bool = True,
    project: str = "default",
    embed: dict[str, Any] | None = None,
    **fields: Any,
) -> AccessLink:
    """Store an embed with a link in the database, without Kapso."""
    values = {"name": slug, "project": project, "allowed_origins": [SITE], **(embed or {})}
    row, _ = InboxEmbed.objects.get_or_create(slug=slug, defaults=values)
    link = AccessLink(embed=row, state=state, **{"kapso_id": str(uuid.uuid4()), **fields})
    if state in (State.ACTIVE, State.SECRET_LOST):
        link.store_url(f"{INBOX}/embed/{TOKEN}")
    link.save()
    if current:
        InboxEmbed.objects.filter(pk=row.pk).update(current_link=link)
    return link


def ago(**time: float) -> Any:
    """Return the time that is as long ago as the arguments of a timedelta say."""
    return timezone.now() - timedelta(**time)
