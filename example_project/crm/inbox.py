"""The parameters that the CRM gives the inbox for each user."""

from __future__ import annotations

from django.http import HttpRequest

from crm.models import User
from kapso_inbox.models import InboxEmbed


def user_params(request: HttpRequest, embed: InboxEmbed) -> dict[str, str]:
    """Return the signed-in user's theme. `KAPSO_INBOX["USER_PARAMS"]` names this function."""
    return {"mode": request.user.theme} if isinstance(request.user, User) else {}
