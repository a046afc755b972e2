"""The CRM's own tables in the admin. The inbox registers its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import apps
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from crm.models import Contact, Team, User
from kapso_inbox.admin import InboxEmbedAdmin
from kapso_inbox.models import InboxEmbed

if TYPE_CHECKING:
    ContactModelAdmin = admin.ModelAdmin[Contact]
    TeamModelAdmin = admin.ModelAdmin[Team]
    UserModelAdmin = UserAdmin[User]
else:
    ContactModelAdmin = TeamModelAdmin = admin.ModelAdmin
    UserModelAdmin = UserAdmin

admin.site.site_header = "Alameda CRM"
admin.site.site_title = "Alameda CRM"


@admin.register(User)
class CrmUserAdmin(UserModelAdmin):
    """Django's user admin, with the theme."""

    fieldsets = (*(UserAdmin.fieldsets or ()), ("Appearance", {"fields": ("theme",)}))


@admin.register(Team)
class TeamAdmin(TeamModelAdmin):
    """Teams, and the inbox that each works in."""

    list_display = ["name", "group", "inbox"]
    prepopulated_fields = {"slug": ["name"]}


@admin.register(Contact)
class ContactAdmin(ContactModelAdmin):
    """Contacts."""

    list_display = ["name", "phone", "company", "team", "owner", "stage"]
    list_filter = ["stage", "team"]
    list_select_related = ["team", "owner"]
    search_fields = ["name", "phone", "company"]


if apps.is_installed("unfold"):
    # django-unfold requires its own class as a base of every ModelAdmin.
    from unfold.admin import ModelAdmin as UnfoldModelAdmin  # type: ignore[import-untyped]

    admin.site.unregister(InboxEmbed)

    @admin.register(InboxEmbed)
    class UnfoldInboxEmbedAdmin(InboxEmbedAdmin, UnfoldModelAdmin):  # type: ignore[misc]
        """The inbox's admin with unfold's styles."""
