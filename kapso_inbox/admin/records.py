"""The record in the admin: who opened and who changed what. To be read, filtered and exported."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from datetime import timezone as zone
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.auth import get_permission_codename
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, QuerySet, Value
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from kapso_inbox.access import get_policy
from kapso_inbox.models import InboxChange, InboxEmbed, LaunchAttempt, Record

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Record]
else:
    ModelAdmin = admin.ModelAdmin

#: How many rows of an export are in memory at a time.
CHUNK = 2000
#: What makes a spreadsheet take a cell for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
#: So many months can be picked besides the current one: `AUDIT_RETENTION` is a year unless set.
PAST_MONTHS = 11


class TimeFilter(admin.DateFieldListFilter):
    """By time: Django's choices, and the past months by name.

    In place of `date_hierarchy`. That truncates in the database, which answers with an error where
    it has no time zone tables (MariaDB as installed), and reads every row to do so. This compares.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        until = _now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        for _month in range(PAST_MONTHS):
            since = (until - timedelta(days=1)).replace(day=1)
            span: dict[str, bool | date | datetime] = {
                self.lookup_kwarg_since: since,
                self.lookup_kwarg_until: until,
            }
            self.links = (*self.links, (date_format(since, "YEAR_MONTH_FORMAT"), span))
            until = since


class UserFilter(admin.SimpleListFilter):
    """By the user name that was clicked. It lists no others: a CRM may have ten thousand."""

    title = _("user name")
    parameter_name = "username"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        """The one in the address; Django leaves out a filter with none."""
        name = self.value()
        return [(name, name)] if name else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Record]) -> QuerySet[Record]:
        """What that user did."""
        name = self.value()
        if name and "\0" in name:
            return queryset.none()  # PostgreSQL takes no NUL, and an address may hold one
        return queryset.filter(username=name) if name else queryset


class RecordAdmin(ModelAdmin):
    """What both records have in common. Nobody writes here, whatever their permissions."""

    actions = ["export_selected"]
    ordering = ["-created_at"]
    # Counting them all takes as long as there are many.
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    class Media:
        css = {"all": ["kapso_inbox/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Record]:
        """Return what this user may read, with `embed_is_visible` on each."""
        records = super().get_queryset(request)
        return (
            get_policy()
            .auditable(request.user, records)
            .annotate(embed_is_visible=self._embed_is_visible(request))
        )

    def _embed_is_visible(self, request: HttpRequest) -> Exists | Value:
        """Whether a row's embed has a page here that this user may see, for one query of all."""
        if not self.admin_site.is_registered(InboxEmbed):
            return Value(False)
        embed = InboxEmbed.objects.filter(pk=OuterRef("embed"))
        return Exists(get_policy().visible(request.user, embed))

    @admin.display(description=_("user"), ordering="username")
    def who(self, record: Record) -> str:
        """The user name as recorded, which leads to all that this user did."""
        if not record.username:
            return self.get_empty_value_display()
        query = urlencode({UserFilter.parameter_name: record.username})
        return format_html('<a href="?{}">{}</a>', query, record.username)

    @admin.display(description=_("inbox"), ordering="slug")
    def inbox(self, record: Record) -> str:
        """The slug as recorded, which leads to the embed where there is one to be seen."""
        if not record.embed_is_visible:  # type: ignore[attr-defined]
            return record.slug
        url = reverse(
            "admin:kapso_inbox_inboxembed_change",
            args=[record.embed_id],
            current_app=self.admin_site.name,
        )
        return format_html('<a href="{}">{}</a>', url, record.slug)

    def has_view_permission(self, request: HttpRequest, obj: Record | None = None) -> bool:
        """Only by the view permission: here the change permission is no greater one."""
        codename = get_permission_codename("view", self.opts)
        return request.user.has_perm(f"{self.opts.app_label}.{codename}")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody writes."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Record | None = None) -> bool:
        """Nobody writes."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Record | None = None) -> bool:
        """Nobody deletes; `kapso_sync` prunes after `AUDIT_RETENTION`."""
        return False

    def get_urls(self) -> list[URLPattern]:
        """Return Django's addresses and that of the export."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        view = self.admin_site.admin_view(self.export)
        return [path("export/", view, name=name), *super().get_urls()]

    def export(self, request: HttpRequest) -> HttpResponseBase:
        """Return as CSV what the list would show with the same query, on all its pages."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            records = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            # Never more than was asked for. Django's own list answers so, too.
            return HttpResponseRedirect("../?e=1")
        return self._as_csv(records)

    @admin.action(
        description=_("Export selected %(verbose_name_plural)s as CSV"), permissions=["view"]
    )
    def export_selected(self, request: HttpRequest, queryset: QuerySet[Record]) -> HttpResponseBase:
        """Return the selected rows as CSV."""
        return self._as_csv(queryset)

    def _as_csv(self, records: QuerySet[Record]) -> StreamingHttpResponse:
        """Every field of these rows, under its name in the database, with its value there.

        In no language: it is read by programs, which shall find the same columns every time. One
        query, sent while it is read: a part of the rows is in memory at a time (on MariaDB all, as
        its driver gives them: some 40 MB for a hundred thousand).
        """
        names = [field.attname for field in self.opts.concrete_fields]
        rows = records.values_list(*names).iterator(chunk_size=CHUNK)
        filename = f"{self.opts.model_name}-{_now():%Y-%m-%d}.csv"
        return StreamingHttpResponse(
            _csv(names, rows),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{filename}"'},
        )


def _now() -> datetime:
    """The time on the reader's clock; on the server's where USE_TZ is off."""
    now = timezone.now()
    return timezone.localtime(now) if timezone.is_aware(now) else now


def _csv(names: list[str], rows: Iterable[tuple[Any, ...]]) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield "\ufeff"  # Without this mark, Excel takes UTF-8 for the code page of its country.
    yield writer.writerow(names)
    for row in rows:
        yield writer.writerow(map(_cell, row))


def _cell(value: Any) -> str:
    """A value as text that a spreadsheet shows and does not run: a slug may be `=HYPERLINK(…)`."""
    if isinstance(value, datetime):
        return value.astimezone(zone.utc).isoformat(timespec="milliseconds")
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


class _Line:
    """A file that hands out each line in place of keeping it."""

    def write(self, line: str) -> str:
        return line


@admin.register(LaunchAttempt)
class LaunchAttemptAdmin(RecordAdmin):
    """Who opened, or tried to open, which inbox."""

    list_display = ("created_at", "who", "inbox", "outcome", "address")
    list_filter = ("outcome", ("created_at", TimeFilter), UserFilter)
    search_fields = ("username", "slug", "address")


@admin.register(InboxChange)
class InboxChangeAdmin(RecordAdmin):
    """Who did what to which embed."""

    list_display = ("created_at", "who", "inbox", "action", "details")
    list_filter = ("action", ("created_at", TimeFilter), UserFilter)
    search_fields = ("username", "slug", "details")
