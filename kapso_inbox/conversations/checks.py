"""System checks of this app. No query, no request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage

from kapso_inbox import conf
from kapso_inbox.checks.wording import make_error, make_warning

from .secrets import webhook_secrets


def check_secrets(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Return a warning for each project without a secret, and an error for a shared one."""
    found: list[CheckMessage] = []
    owner: dict[str, str] = {}
    for alias in conf.project_aliases():
        secrets = webhook_secrets(alias)
        if not secrets:
            found.append(
                make_warning(
                    "W018",
                    f'KAPSO_INBOX["WEBHOOK_SECRETS"] has no secret for the project {alias!r}, so '
                    "its webhooks are refused.",
                    'Make one up, such as with python -c "import secrets; '
                    'print(secrets.token_urlsafe(32))", read it from the environment here, and '
                    "run: manage.py kapso_webhooks --set https://crm.example.com",
                )
            )
        for secret in secrets:
            if owner.setdefault(secret, alias) != alias:
                found.append(
                    make_error(
                        "E035",
                        f'KAPSO_INBOX["WEBHOOK_SECRETS"] has the same secret for the projects '
                        f"{owner[secret]!r} and {alias!r}.",
                        "Give each project a secret of its own: otherwise what one project sends "
                        "is taken for the other's.",
                    )
                )
    return found
