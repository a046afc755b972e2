"""The audit trail in the admin: who opened and changed what, to read, filter and export."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from datetime import timezone as zone
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.auth import get_permission_codename, get_user_model
from django.core.exceptions import PermissionDenied
from django.db.models import CharField, OuterRef, QuerySet, Subquery, Value
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import get_language, override
from django.utils.translation import gettext_lazy as _

from kapso_inbox.access import get_policy
from kapso_inbox.models import InboxChange, InboxEmbed, LaunchAttempt, Record, read_reason
from kapso_inbox.reasons import describe_reason

from .descriptions import format_second

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Record]
else:
    ModelAdmin = admin.ModelAdmin

#: How many rows of an export are in memory at a time.
CHUNK = 2000
#: The places in a value at which a cell may begin that a spreadsheet reads as a formula. They may
#: be inside of it: in much of Europe a spreadsheet divides lines at semicolons, whatever is quoted.
_FORMULA = re.compile(r'(^|[;,|\t\r\n])(?=[ "]*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20])')
#: A primary key of an embed. Longer ones fit into no database.
_DIGITS = re.compile(r"[0-9]{1,18}")
#: How many past months can be picked: `AUDIT_RETENTION` is a year by default.
PAST_MONTHS = 11


class TimeFilter(admin.DateFieldListFilter):
    """Filters by time: Django's choices, and the past months by name.

    This replaces `date_hierarchy`, which truncates dates in the database: it reads every row, and
    fails where the database has no time zone tables (MariaDB as installed). This only compares.
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
    """Filters by a user name that was clicked. It does not list all: there may be ten thousand."""

    title = _("user name")
    parameter_name = "username"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        """Return the name in the address; Django leaves out a filter without choices."""
        name = self.value()
        return [(name, name)] if name else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Record]) -> QuerySet[Record]:
        """Return the rows of that user."""
        name = self.value()
        if name and "\0" in name:
            # PostgreSQL refuses a NUL character, which an address may contain.
            return queryset.none()
        return queryset.filter(username=name) if name else queryset


class EmbedOfRecordFilter(admin.SimpleListFilter):
    """Filters by the embed whose history leads here. It does not list all of them."""

    title = _("inbox")
    parameter_name = "embed"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        """Return the embed in the address, by the slug of its newest row."""
        key = self.value() or ""
        rows = self.queryset(request, model_admin.get_queryset(request)).order_by("-created_at")
        slug = rows.values_list("slug", flat=True).first() if key else None
        return [(key, slug or key)] if key else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Record]) -> QuerySet[Record]:
        """Return the rows of that embed."""
        key = self.value()
        if not key:
            return queryset
        return queryset.filter(embed=int(key)) if _DIGITS.fullmatch(key) else queryset.none()


class RecordAdmin(ModelAdmin):
    """The base of both lists. Nobody can write, whatever their permissions."""

    actions = ["export_selected"]
    ordering = ["-created_at"]
    # Counting all rows takes longer the more there are.
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    class Media:
        css = {"all": ["kapso_inbox/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Record]:
        """Return the rows that the user may read, each with `visible_name`."""
        records = super().get_queryset(request)
        return (
            get_policy()
            .auditable(request.user, records)
            .annotate(visible_name=self._visible_name(request))
        )

    def _visible_name(self, request: HttpRequest) -> Subquery | Value:
        """Return an annotation with the name of a row's embed if the user may see its page."""
        if not self.admin_site.is_registered(InboxEmbed):
            return Value(None, output_field=CharField())
        embed = InboxEmbed.objects.filter(pk=OuterRef("embed")).order_by()
        return Subquery(get_policy().visible(request.user, embed).values("name")[:1])

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """Return what a search looks at: also a person's name, where the user model has one."""
        names = {field.name for field in get_user_model()._meta.get_fields()}
        own = [f"user__{name}" for name in ("first_name", "last_name") if name in names]
        return [*super().get_search_fields(request), *own]

    def get_fields(self, request: HttpRequest, obj: Record | None = None) -> list[Any]:
        """Return the fields of a row's page; the time and the details are told in words."""
        told = {"created_at": "when", "details": "what"}
        fields = super().get_fields(request, obj)
        return [told.get(name, name) for name in fields if isinstance(name, str)]

    def get_readonly_fields(self, request: HttpRequest, obj: Record | None = None) -> list[str]:
        """Return what is shown that is not a field of the model."""
        return ["when", "what"] if hasattr(self.model, "details") else ["when"]

    @admin.display(description=_("time"), ordering="created_at")
    def when(self, record: Record) -> str:
        """Return the time to the second, with its time zone."""
        return format_second(record.created_at)

    @admin.display(description=_("details"))
    def what(self, record: Record) -> str:
        """Return the details in the reader's language."""
        told = _describe(getattr(record, "details", ""), record.is_unconfirmed)  # type: ignore[attr-defined]
        # Django shows nothing at all on a row's page for a method that returns "".
        return told or self.get_empty_value_display()

    @admin.display(description=_("user"), ordering="username")
    def who(self, record: Record) -> str:
        """Return the recorded user name, as a link to all rows of that user."""
        if not record.username:
            return self.get_empty_value_display()
        query = urlencode({UserFilter.parameter_name: record.username})
        link = format_html('<a href="?{}">{}</a>', query, record.username)
        if not record.acting_as:
            return link
        return format_html(str(_("{user}, acting as {other}")), user=link, other=record.acting_as)

    @admin.display(description=_("inbox"), ordering="slug")
    def inbox(self, record: Record) -> str:
        """Return the recorded slug, and before it the embed's name if the user may see its page."""
        name = record.visible_name  # type: ignore[attr-defined]
        if name is None:
            return record.slug
        url = reverse(
            "admin:kapso_inbox_inboxembed_change",
            args=[record.embed_id],
            current_app=self.admin_site.name,
        )
        return format_html(
            '<a href="{}">{}</a> <span class="kapso-results__slug">{}</span>',
            url,
            name,
            record.slug,
        )

    def has_view_permission(self, request: HttpRequest, obj: Record | None = None) -> bool:
        """Return whether the user has the view permission; no other permission includes it here."""
        codename = get_permission_codename("view", self.opts)
        return request.user.has_perm(f"{self.opts.app_label}.{codename}")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: nobody can add rows."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Record | None = None) -> bool:
        """Return False: nobody can change rows."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Record | None = None) -> bool:
        """Return False: only `kapso_sync` deletes rows, after `AUDIT_RETENTION`."""
        return False

    def get_urls(self) -> list[URLPattern]:
        """Add the address of the export."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        view = self.admin_site.admin_view(self.export)
        return [path("export/", view, name=name), *super().get_urls()]

    def export(self, request: HttpRequest) -> HttpResponseBase:
        """Return as CSV all rows that the list shows for the same query, on all of its pages."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            records = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            # Export nothing rather than too much. Django's own list answers like this, too.
            return HttpResponseRedirect("../?e=1")
        return self._as_csv(records)

    @admin.action(
        description=_("Export selected %(verbose_name_plural)s as CSV"), permissions=["view"]
    )
    def export_selected(self, request: HttpRequest, queryset: QuerySet[Record]) -> HttpResponseBase:
        """Return the selected rows as CSV."""
        return self._as_csv(queryset)

    def _as_csv(self, records: QuerySet[Record]) -> StreamingHttpResponse:
        """Return every field of the rows, named and written as in the database.

        Names and codes are not translated, because programs read them and need the same columns
        every time. Only the details are told as on the pages, in one line. The rows are sent while
        one query reads them, so only some are in memory at a time. On MariaDB it is all of them,
        because its driver reads a whole result first: about 40 MB for 100,000.
        """
        names = [field.attname for field in self.opts.concrete_fields]
        read = [*names, "is_unconfirmed"] if "details" in names else names
        rows = records.values_list(*read).iterator(chunk_size=CHUNK)
        filename = f"{self.opts.model_name}-{_now():%Y-%m-%d}.csv"
        return StreamingHttpResponse(
            _csv(names, map(_telling(names, get_language()), rows)),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{filename}"'},
        )


def _now() -> datetime:
    """Return the time in the reader's time zone, or in the server's if USE_TZ is off."""
    now = timezone.now()
    return timezone.localtime(now) if timezone.is_aware(now) else now


def _telling(
    names: list[str], language: str | None
) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Return a function that tells the details of a row in a language, in one line.

    Args:
        names: the names of the columns. If there are details, `is_unconfirmed` follows in a row.
        language: the reader's. It may not be active any more while the rows are sent.
    """
    place = names.index("details") if "details" in names else None

    def tell(row: tuple[Any, ...]) -> tuple[Any, ...]:
        if place is None:
            return row
        *row_itself, is_unconfirmed = row
        if is_unconfirmed or read_reason(row[place]):
            with override(language):
                row_itself[place] = " ".join(_describe(row[place], is_unconfirmed).split())
        return tuple(row_itself)

    return tell


def _describe(details: str, is_unconfirmed: bool) -> str:
    """Return the details of a row in the active language, and whether Kapso has yet to answer."""
    unconfirmed = str(_("Kapso has not confirmed it yet.")) if is_unconfirmed else ""
    return " ".join(filter(None, [describe_reason(details), unconfirmed]))


def _csv(names: list[str], rows: Iterable[tuple[Any, ...]]) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield "\ufeff"  # Without this mark, Excel reads UTF-8 as its local code page.
    yield writer.writerow(names)
    for row in rows:
        yield writer.writerow(map(_cell, row))


def _cell(value: Any) -> str:
    """Return a value as text that a spreadsheet does not run; a name may be `=HYPERLINK(…)`.

    An apostrophe stands before what could begin a formula.
    """
    if isinstance(value, datetime):
        return value.astimezone(zone.utc).isoformat(timespec="milliseconds")
    return _FORMULA.sub(r"\1'", "" if value is None else str(value))


class _Line:
    """A file for `csv.writer` that returns each line instead of storing it."""

    def write(self, line: str) -> str:
        return line


def links_to_records(
    site: admin.AdminSite, request: HttpRequest, embed_id: str
) -> Iterator[dict[str, str]]:
    """Yield a label and an address for each list of an embed's records that the user may read.

    Args:
        site: the admin site that shows the embed.
        request: the current request.
        embed_id: the primary key of the embed.
    """
    for model, label in (
        (InboxChange, _("Who changed this inbox")),
        (LaunchAttempt, _("Who opened this inbox")),
    ):
        if not site.is_registered(model) or not site.get_model_admin(model).has_view_permission(
            request
        ):
            continue
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
        address = reverse(name, current_app=site.name)
        query = urlencode({EmbedOfRecordFilter.parameter_name: embed_id})
        yield {"label": str(label), "url": f"{address}?{query}"}


@admin.register(LaunchAttempt)
class LaunchAttemptAdmin(RecordAdmin):
    """The list of who opened, or tried to open, which inbox."""

    list_display = ("when", "who", "inbox", "outcome", "address", "times")
    list_filter = ("outcome", ("created_at", TimeFilter), UserFilter, EmbedOfRecordFilter)
    search_fields = ("username", "acting_as", "slug", "address")


@admin.register(InboxChange)
class InboxChangeAdmin(RecordAdmin):
    """The list of who did what to which embed."""

    list_display = ("when", "who", "inbox", "action", "what")
    list_filter = ("action", ("created_at", TimeFilter), UserFilter, EmbedOfRecordFilter)
    search_fields = ("username", "acting_as", "slug", "details")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Record]:
        """Return the rows that the user may read, each with `is_unconfirmed`, too."""
        changes: Any = super().get_queryset(request)
        return changes.with_confirmation()  # type: ignore[no-any-return]
