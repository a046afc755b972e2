"""The filters of the list of embeds."""

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
    """Filters embeds by their condition."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, Any]]:
        """Return all conditions."""
        return list(Condition.choices)

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the embeds in the chosen condition."""
        # PostgreSQL refuses a NUL character, which an address may contain.
        if self.value() not in Condition.values:
            return queryset
        return queryset.with_condition().filter(Q(condition=self.value()))


class ProjectFilter(admin.SimpleListFilter):
    """Filters embeds by their Kapso project, if there are several."""

    title = _("Kapso project")
    parameter_name = "project"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, Any]]:
        """Return the configured projects; Django leaves out a filter without choices."""
        aliases = conf.project_aliases()
        return [(alias, alias) for alias in aliases] if len(aliases) > 1 else []

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the embeds of the chosen project."""
        if self.value() not in conf.project_aliases():
            return queryset
        return queryset.filter(project=self.value())
