"""What the list of embeds can be narrowed to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from kapso_inbox import conf
from kapso_inbox.models import Condition, InboxEmbed

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[InboxEmbed]
else:
    ModelAdmin = admin.ModelAdmin


class ConditionFilter(admin.SimpleListFilter):
    """By how they are doing."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, Any]]:
        """All conditions."""
        return list(Condition.choices)

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Those in the one that was chosen."""
        # PostgreSQL takes no NUL, and an address may hold one.
        if self.value() not in Condition.values:
            return queryset
        return queryset.with_condition().filter(Q(condition=self.value()))


class ProjectFilter(admin.SimpleListFilter):
    """By Kapso project, where there are several."""

    title = _("Kapso project")
    parameter_name = "project"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, Any]]:
        """The configured projects; Django leaves out a filter with none."""
        aliases = conf.project_aliases()
        return [(alias, alias) for alias in aliases] if len(aliases) > 1 else []

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Those of the one that was chosen."""
        if self.value() not in conf.project_aliases():
            return queryset
        return queryset.filter(project=self.value())
