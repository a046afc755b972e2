"""For Wagtail, which imports this module: it shows our permissions when somebody edits a group."""

from __future__ import annotations

from django.contrib.auth.models import Permission
from django.db.models import QuerySet
from wagtail import hooks


def permissions_for_groups() -> QuerySet[Permission]:
    """Return this app's permissions. Wagtail's group editor lists registered ones only."""
    return Permission.objects.filter(content_type__app_label="kapso_inbox")


hooks.register("register_permissions", permissions_for_groups)
