"""What every page of the CRM shows."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from crm.models import Team, User


def navigation(request: HttpRequest) -> dict[str, Any]:
    """The theme, and for a signed-in user the teams of the side bar."""
    user = getattr(request, "user", None)
    if not isinstance(user, User):
        return {"theme": User.Theme.SYSTEM, "sandbox": settings.SANDBOX}
    return {
        "theme": user.theme,
        "themes": User.Theme.choices,
        "nav_teams": Team.objects.all(),
        "sandbox": settings.SANDBOX,
    }
