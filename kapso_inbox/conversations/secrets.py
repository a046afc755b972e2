"""The secrets of webhooks, and the signature that proves that Kapso sent a body."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from django.views.decorators.debug import sensitive_variables

from kapso_inbox import conf
from kapso_inbox.secret import Secret


def webhook_secrets(project: str) -> list[str]:
    """Return the secrets of a project's webhooks: one, or several while one is being replaced.

    Args:
        project: the alias of the project.
    """
    configured = conf.value("WEBHOOK_SECRETS")
    own: Any = configured.get(project) if isinstance(configured, Mapping) else None
    own = [own] if isinstance(own, str) else own
    # An empty secret would let anybody sign.
    return [Secret(one) for one in own or () if isinstance(one, str) and one]


@sensitive_variables()
def is_signed(body: bytes, signature: str, secrets: list[str]) -> bool:
    """Return whether a body was signed with one of the secrets. It compares in constant time.

    Kapso signs the raw body with HMAC-SHA256 and sends the hexadecimal digits in
    `X-Webhook-Signature`. Some of its own adapters also take “sha256=” before them.

    Args:
        body: the raw body.
        signature: the header's value.
        secrets: the project's secrets.
    """
    given = signature.strip().removeprefix("sha256=").lower().encode(errors="replace")
    matches = [
        hmac.compare_digest(
            hmac.new(one.encode(), body, hashlib.sha256).hexdigest().encode(), given
        )
        for one in secrets
    ]
    return any(matches)
