"""What the CRM tells the inbox about its people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpRequest

from crm.models import User

if TYPE_CHECKING:
    from kapso_inbox.models import InboxEmbed


def user_params(request: HttpRequest, embed: InboxEmbed) -> dict[str, str]:
    """The signed-in user's theme: ``KAPSO_INBOX["USER_PARAMS"]`` names this function."""
    return {"mode": request.user.theme} if isinstance(request.user, User) else {}
