"""The context of every page of the CRM."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import get_language

from crm.models import Team, User


def navigation(request: HttpRequest) -> dict[str, Any]:
    """Return the theme and, for a signed-in user, the content of the side bar."""
    user = getattr(request, "user", None)
    if not isinstance(user, User):
        return {"theme": User.Theme.SYSTEM, "sandbox": settings.SANDBOX}
    return {
        "theme": user.theme,
        "themes": User.Theme.choices,
        "languages": settings.LANGUAGES,
        "language": get_language(),
        "nav_teams": Team.objects.all(),
        "sandbox": settings.SANDBOX,
    }
