"""The CRM's own tables in the admin; the inbox brings its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from crm.models import Contact, Team, User

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
    """Django's own, with the theme."""

    fieldsets = (*(UserAdmin.fieldsets or ()), ("Appearance", {"fields": ("theme",)}))


@admin.register(Team)
class TeamAdmin(TeamModelAdmin):
    """Teams and the inbox each works in."""

    list_display = ["name", "group", "inbox"]
    prepopulated_fields = {"slug": ["name"]}


@admin.register(Contact)
class ContactAdmin(ContactModelAdmin):
    """Contacts."""

    list_display = ["name", "phone", "company", "team", "owner", "stage"]
    list_filter = ["stage", "team"]
    list_select_related = ["team", "owner"]
    search_fields = ["name", "phone", "company"]
