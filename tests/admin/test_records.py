"""The audit trail in the admin: who may read it, that nobody can write it, and its export."""

from __future__ import annotations

import csv
import io
import re
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from django.utils import translation

from kapso_inbox.access import AccessPolicy
from kapso_inbox.admin.records import CHUNK, InboxChangeAdmin, LaunchAttemptAdmin
from kapso_inbox.kapso import UncertainError
from kapso_inbox.lifecycle import (
    create_embed,
    delete_embed,
    resolve_embed,
    revoke_embed,
    rotate_embed,
)
from kapso_inbox.models import (
    AccessLink,
    InboxChange,
    InboxEmbed,
    LaunchAttempt,
    Outcome,
    ReasonCode,
    Record,
    reason,
)
from kapso_inbox.sandbox.engine import Sandbox
from tests.hosts.clock import as_stored, here_and_now
from tests.hosts.database import connection
from tests.hosts.people import User

from ..conftest import FRAME

pytestmark = pytest.mark.django_db

OPENINGS = "/admin/kapso_inbox/launchattempt/"
CHANGES = "/admin/kapso_inbox/inboxchange/"
BOTH = pytest.mark.parametrize(
    ("address", "model"), [(OPENINGS, LaunchAttempt), (CHANGES, InboxChange)]
)
NOON = as_stored(datetime(2026, 3, 14, 15, 9, 26, 535000, tzinfo=timezone.utc))

#: The same moment in the list, to the second and with its time zone.
TOLD_NOON = "March 14, 2026, 12:09:26" + (" UTC-03" if settings.USE_TZ else "")

# A host's own admin site, which has the audit trail but no embeds.
site = admin.AdminSite()
site.register(LaunchAttempt, LaunchAttemptAdmin)
site.register(InboxChange, InboxChangeAdmin)
urlpatterns = [path("admin/", site.urls), path("kapso-inbox/", include("kapso_inbox.urls"))]


class Tenants(AccessPolicy):
    """Shows users only the embeds of their organisation, whose slugs begin with its name."""

    def within_reach(self, user: Any, embeds: QuerySet[InboxEmbed]) -> QuerySet[InboxEmbed]:
        return embeds.filter(slug__startswith=user.last_name)


@pytest.fixture
def staff(db: None) -> Callable[..., Client]:
    """Return a maker of browsers of staff users with these permissions of the app."""

    def make(*codenames: str, **fields: Any) -> Client:
        user = User.objects.create_user(f"staff {User.objects.count()}", is_staff=True, **fields)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        assert user.user_permissions.count() == len(codenames)
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def auditor(staff: Callable[..., Client]) -> Client:
    """Return the browser of a user who may read both records and nothing else."""
    return staff("view_launchattempt", "view_inboxchange")


def codenames() -> set[str]:
    """Return all permissions of the app."""
    ours = Permission.objects.filter(content_type__app_label="kapso_inbox")
    return set(ours.values_list("codename", flat=True))


def opening(**fields: Any) -> LaunchAttempt:
    return LaunchAttempt.objects.create(
        **{"username": "ana", "slug": "sales", "outcome": Outcome.OPENED, **fields}
    )


def change(**fields: Any) -> InboxChange:
    return InboxChange.objects.create(
        **{"username": "ana", "slug": "sales", "action": InboxChange.Action.CREATED, **fields}
    )


def record(model: type[Record], **fields: Any) -> Record:
    return opening(**fields) if model is LaunchAttempt else change(**fields)


def page(client: Client, address: str, **query: Any) -> str:
    response = client.get(address, query)
    assert response.status_code == 200, response
    return response.content.decode()


def body(response: Any) -> str:
    assert isinstance(response, StreamingHttpResponse)
    return response.getvalue().decode()


def rows(response: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body(response).removeprefix("\ufeff"), newline="")))


def exported(client: Client, address: str, **query: Any) -> list[dict[str, str]]:
    return rows(client.get(f"{address}export/", query))


def shown(client: Client, address: str, **query: Any) -> list[Any]:
    """Return the rows on the list's page, in its order."""
    return list(client.get(address, query).context["cl"].result_list)


def link_in(html: str, text: str) -> str:
    """Return the address of the link with this text, as a browser reads it."""
    found = re.search(rf'<a (?:class="[^"]*" )?href="([^"]*)">\s*{re.escape(text)}\s*</a>', html)
    assert found, text
    return found[1].replace("&amp;", "&")


# Who may read


@BOTH
def test_reading_it_requires_signing_in(client: Client, address: str, model: type[Record]) -> None:
    one = record(model)
    for place in ("", "export/", f"{one.pk}/change/", f"{one.pk}/history/"):
        response = client.get(address + place)
        assert response.status_code == 302
        assert response["Location"].startswith("/admin/login/")


@BOTH
def test_reading_it_requires_its_view_permission(
    staff: Callable[..., Client], address: str, model: type[Record]
) -> None:
    one = record(model)
    client = staff(*codenames() - {f"view_{model._meta.model_name}"})
    for place in ("", "export/", f"{one.pk}/change/"):
        assert client.get(address + place).status_code == 403
    # Django looks for the object first, and finds none for this user.
    assert client.get(f"{address}{one.pk}/history/").status_code == 302
    select = {"action": "export_selected", "_selected_action": one.pk}
    assert client.post(address, select).status_code == 403


def test_each_record_requires_its_own_permission(staff: Callable[..., Client]) -> None:
    client = staff("view_inboxchange")
    assert client.get(CHANGES).status_code == 200
    assert client.get(OPENINGS).status_code == client.get(f"{OPENINGS}export/").status_code == 403


@BOTH
def test_what_the_policy_holds_back_is_in_no_list_page_or_export(
    staff: Callable[..., Client], address: str, model: type[Record]
) -> None:
    ours, theirs = (
        InboxEmbed.objects.create(slug=slug, name=slug) for slug in ("acme-a", "globex-a")
    )
    own = record(model, slug="acme-a", embed=ours)
    others = [record(model, slug="globex-a", embed=theirs), record(model, slug="nobody-s")]
    client = staff(f"view_{model._meta.model_name}", "view_inboxembed", last_name="acme")
    blind = staff(f"view_{model._meta.model_name}", last_name="acme")
    assert len(shown(client, address)) == len(shown(blind, address)) == 3
    with override_settings(
        KAPSO_INBOX={**settings.KAPSO_INBOX, "ACCESS_POLICY": f"{__name__}.Tenants"}
    ):
        assert shown(client, address) == [own]
        assert shown(blind, address) == []  # They may see no embed.
        assert [row["id"] for row in exported(client, address)] == [str(own.pk)]
        assert client.get(f"{address}{own.pk}/change/").status_code == 200
        for other in others:
            # The same answer as for a row that does not exist.
            assert client.get(f"{address}{other.pk}/change/").status_code == 302
        select = {
            "action": "export_selected",
            "_selected_action": [one.pk for one in (own, *others)],
        }
        assert [row["id"] for row in rows(client.post(address, select))] == [str(own.pk)]


# Nobody writes


@BOTH
@pytest.mark.parametrize("superuser", [False, True], ids=["all permissions", "superuser"])
def test_nobody_can_write_it_whatever_their_permissions(
    staff: Callable[..., Client], address: str, model: type[Record], superuser: bool
) -> None:
    client = staff(*codenames(), is_superuser=superuser)
    one = record(model)
    before = list(model._default_manager.values())
    posted = {"slug": "other", "username": "eve", "outcome": "opened", "action": "created"}
    assert client.get(f"{address}{one.pk}/change/").status_code == 200
    assert client.post(f"{address}add/", posted).status_code == 403
    assert client.post(f"{address}{one.pk}/change/", posted).status_code == 403
    assert client.post(f"{address}{one.pk}/delete/", {"post": "yes"}).status_code == 403
    select = {"action": "delete_selected", "_selected_action": one.pk, "post": "yes"}
    client.post(address, select)
    edit = {"form-TOTAL_FORMS": 1, "form-INITIAL_FORMS": 1, "form-0-id": one.pk, "_save": "Save"}
    client.post(address, {**edit, "form-0-slug": "other", "form-0-outcome": "revoked"})
    assert list(model._default_manager.values()) == before


def test_there_is_no_permission_to_write_it() -> None:
    assert codenames() == {
        "add_inboxembed",
        "change_inboxembed",
        "delete_inboxembed",
        "view_inboxembed",
        "open_inboxembed",
        "view_launchattempt",
        "view_inboxchange",
    }


@BOTH
def test_no_page_offers_to_write(admin_client: Client, address: str, model: type[Record]) -> None:
    one = record(model)
    listed, detail = page(admin_client, address), page(admin_client, f"{address}{one.pk}/change/")
    for html in (listed, detail):
        content = html.partition('id="content"')[2]
        assert content
        assert not [word for word in ("/add/", "/delete/", "delete_selected") if word in content]
    assert 'name="_save"' not in detail
    assert 'name="slug"' not in detail


@BOTH
def test_a_record_shows_every_field(auditor: Client, address: str, model: type[Record]) -> None:
    one = record(model)
    html = page(auditor, f"{address}{one.pk}/change/")
    for field in model._meta.fields:
        name = {"created_at": "when", "details": "what"}.get(field.name, field.name)
        assert field.primary_key or f"field-{name}" in html, field.name
    assert "ana" in html
    assert "sales" in html


# The list


@BOTH
def test_the_newest_is_first(auditor: Client, address: str, model: type[Record]) -> None:
    times = [NOON - timedelta(hours=hours) for hours in (5, 1, 3)]
    old, new, middle = (record(model, created_at=time) for time in times)
    assert shown(auditor, address) == [new, middle, old]
    assert [row["id"] for row in exported(auditor, address)] == [
        str(one.pk) for one in (new, middle, old)
    ]


def test_the_list_says_when_who_where_and_what(auditor: Client) -> None:
    opening(created_at=NOON, outcome=Outcome.SECRET_LOST, address="192.0.2.7")
    change(created_at=NOON, action=InboxChange.Action.ROTATED, details="by hand")
    for address, expected in (
        (OPENINGS, [TOLD_NOON, "ana", "sales", "Secret lost", "192.0.2.7", "1"]),
        (CHANGES, [TOLD_NOON, "ana", "sales", "Link rotated", "by hand"]),
    ):
        table = page(auditor, address).partition('id="result_list"')[2]
        row = table.partition("<tbody>")[2].partition("</tbody>")[0]
        words = [re.sub("<[^>]*>", "", cell) for cell in re.findall("<t[dh].*?</t[dh]>", row)]
        assert [word for word in words if word] == expected


def test_a_change_is_told_in_the_readers_language(auditor: Client) -> None:
    changes = {"name": ["Sales", "Support"], "allowed_origins": [[], ["https://a.example"]]}
    change(action=InboxChange.Action.CHANGED, details=reason(ReasonCode.CHANGED, changes=changes))
    assert "Name: Sales → Support; Allowed origins: — → https://a.example" in page(auditor, CHANGES)
    with override_settings(LANGUAGE_CODE="es"):
        assert "Nombre: Sales → Support; " in page(auditor, CHANGES)


@BOTH
def test_the_ids_survive_in_the_export_when_user_and_embed_are_deleted(
    auditor: Client, address: str, model: type[Record], ana: User
) -> None:
    embed = InboxEmbed.objects.create(slug="sales", name="Sales")
    link = AccessLink.objects.create(embed=embed, state=AccessLink.State.REVOKED)
    record(model, user=ana, embed=embed, link=link)
    ids = [str(one.pk) for one in (ana, embed, link)]
    embed.delete()
    ana.delete()
    [row] = exported(auditor, address)
    assert [row["user_id"], row["embed_id"], row["link_id"]] == ids
    html = page(auditor, address)  # the rows of what is gone are still shown
    assert "sales" in html


@BOTH
def test_a_search_finds_people_by_their_names(
    auditor: Client, address: str, model: type[Record], ana: User
) -> None:
    if not hasattr(ana, "first_name"):
        pytest.skip("This user model has no first name.")
    User.objects.filter(pk=ana.pk).update(first_name="Anaís", last_name="Reyes")
    own, _other = record(model, user=ana), record(model, username="bo")
    assert shown(auditor, address, q="Anaís Reyes") == [own]


def test_the_history_of_an_embed_leads_to_its_changes_and_openings(
    staff: Callable[..., Client],
) -> None:
    embed = InboxEmbed.objects.create(slug="sales", name="Sales")
    manager = staff("view_inboxembed", "view_inboxchange", "view_launchattempt")
    own = [change(embed=embed), opening(embed=embed)]
    change(slug="support")
    opening(slug="support")
    html = page(manager, f"/admin/kapso_inbox/inboxembed/{embed.pk}/history/")
    for row, address, label in zip(
        own, (CHANGES, OPENINGS), ("Who changed this inbox", "Who opened this inbox"), strict=True
    ):
        link = link_in(html, label)
        assert link.startswith(address)
        assert shown(manager, link) == [row]
        assert exported(manager, address, embed=embed.pk)
        assert shown(manager, f"{address}?embed=x") == []
    reader = staff("view_inboxembed", "view_launchattempt")
    html = page(reader, f"/admin/kapso_inbox/inboxembed/{embed.pk}/history/")
    assert "Who opened this inbox" in html
    assert "Who changed this inbox" not in html


def test_a_user_who_is_gone_is_still_named(auditor: Client, ana: User) -> None:
    opening(user=ana, username="ana")
    ana.delete()
    assert ">ana</a>" in page(auditor, OPENINGS)


@BOTH
def test_a_user_name_leads_to_all_that_user_did_and_back(
    auditor: Client, address: str, model: type[Record]
) -> None:
    hostile = "o'hara&username=bo <b>+"
    own, other = record(model, username=hostile), record(model, username="bo")
    html = page(auditor, address)
    assert "By user name" not in html  # No filter lists everybody.
    link = link_in(html, "o&#x27;hara&amp;username=bo &lt;b&gt;+")
    assert shown(auditor, address + link) == [own]
    filtered = auditor.get(address + link).content.decode()
    assert "By user name" in filtered
    back = re.search(r'<a href="(\?[^"]*)">[^<]*Clear all filters', filtered)
    assert back
    assert set(shown(auditor, address + back[1])) == {own, other}


def test_a_row_without_a_user_name_has_no_link(auditor: Client) -> None:
    change(username="")
    assert '<td class="field-who">-</td>' in page(auditor, CHANGES)


def test_an_embed_is_linked_by_its_name_for_users_who_may_see_it(
    auditor: Client, staff: Callable[..., Client]
) -> None:
    embed = InboxEmbed.objects.create(slug="sales", name="Sales")
    opening(embed=embed)
    place = f"/admin/kapso_inbox/inboxembed/{embed.pk}/change/"
    for verb in ("view", "change"):
        manager = staff("view_launchattempt", f"{verb}_inboxembed")
        assert link_in(page(manager, OPENINGS), "Sales") == place
    assert place not in page(auditor, OPENINGS)
    embed.delete()
    html = page(manager, OPENINGS)
    assert '<td class="field-inbox">sales</td>' in html


@pytest.mark.urls(__name__)
def test_an_admin_site_without_embeds_still_shows_the_record(admin_client: Client) -> None:
    opening(embed=InboxEmbed.objects.create(slug="sales", name="Sales"))
    assert '<td class="field-inbox">sales</td>' in page(admin_client, OPENINGS)
    assert len(exported(admin_client, OPENINGS)) == 1


@BOTH
def test_hostile_names_are_shown_and_not_run(
    auditor: Client, address: str, model: type[Record]
) -> None:
    evil = "<script>alert(1)</script>"
    fields = {"details": evil} if model is InboxChange else {}
    one = record(model, username=evil, slug=evil, **fields)
    for place in (address, f"{address}?username={evil}", f"{address}{one.pk}/change/"):
        html = page(auditor, place)
        assert evil not in html
        assert "&lt;script&gt;alert(1)" in html


# Filters and search


def test_openings_are_filtered_by_their_outcome(auditor: Client) -> None:
    refused = opening(outcome=Outcome.NOT_AVAILABLE)
    opening()
    link = link_in(page(auditor, OPENINGS), "Not allowed, or no such inbox")
    assert shown(auditor, OPENINGS + link) == [refused]


def test_changes_are_filtered_by_their_action(auditor: Client) -> None:
    revoked = change(action=InboxChange.Action.REVOKED)
    change()
    assert shown(auditor, CHANGES + link_in(page(auditor, CHANGES), "Revoked")) == [revoked]


@BOTH
def test_they_are_filtered_by_time(auditor: Client, address: str, model: type[Record]) -> None:
    now = record(model)
    old = record(model, created_at=now.created_at - timedelta(days=20 * 365))
    html = page(auditor, address)
    for choice in ("Today", "Past 7 days", "This month", "This year"):
        assert shown(auditor, address + link_in(html, choice)) == [now], choice
    assert shown(auditor, address + link_in(html, "Any date")) == [now, old]


@BOTH
def test_every_past_month_of_a_year_can_be_picked_and_none_overlap(
    auditor: Client, address: str, model: type[Record]
) -> None:
    """Check months in the reader's time zone, here three hours behind UTC."""
    today = here_and_now()
    start = today.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    html = page(auditor, address)
    for _ in range(11):
        last = record(model, created_at=start - timedelta(milliseconds=1))
        start = (start - timedelta(days=1)).replace(day=1)
        first = record(model, created_at=start)
        link = link_in(html, f"{start:%B %Y}")
        assert shown(auditor, address + link) == [last, first]
        chosen = re.search(
            r'<li class="selected">\s*<a[^>]*>(.*?)</a>',
            page(auditor, address + link).partition("By time")[2],
        )
        assert chosen
        assert chosen[1] == f"{start:%B %Y}"


@pytest.mark.parametrize(
    ("text", "found"),
    [("ANA", 1), ("sal", 1), ("192.0.2", 1), ("by hand", 1), ("2001:db8::7", 1), ("nothing", 0)],
)
def test_a_search_looks_for_users_inboxes_and_the_details(
    auditor: Client, text: str, found: int
) -> None:
    is_change = text == "by hand"
    address = CHANGES if is_change else OPENINGS
    if is_change:
        change(details="done by hand")
        change(username="bo", slug="support")
    else:
        opening(address="2001:db8::7" if ":" in text else "192.0.2.7")
        opening(username="bo", slug="support", address="198.51.100.1")
    assert len(shown(auditor, address, q=text)) == found
    assert len(exported(auditor, address, q=text)) == found


@BOTH
@pytest.mark.parametrize(
    "lookup", ["link__sealed_url__startswith", "user__password__startswith", "embed__name"]
)
def test_no_filter_reaches_beyond_the_record(
    auditor: Client, address: str, model: type[Record], lookup: str
) -> None:
    for place in (address, f"{address}export/"):
        assert auditor.get(place, {lookup: "v"}).status_code == 400


@BOTH
@pytest.mark.parametrize("query", ["created_at__gte=yesterday", "nonsense=1", "id=x"])
def test_a_filter_that_makes_no_sense_exports_nothing(
    auditor: Client, address: str, model: type[Record], query: str
) -> None:
    record(model)
    response = auditor.get(f"{address}export/?{query}")
    assert response.status_code == 302
    response = auditor.get(response["Location"].replace("../", address))
    assert response.status_code == 200


# The export


@BOTH
def test_the_link_exports_what_filters_and_search_show_from_every_page(
    auditor: Client, address: str, model: type[Record]
) -> None:
    for number in range(150):
        record(model, username="ana" if number % 2 else "bo", slug=f"s{number % 3}")
    html = page(auditor, address, username="ana", q="s1", p=1)
    link = link_in(html, "Export as CSV")
    told = rows(auditor.get(address + "export/" + link.partition("export/")[2]))
    assert len(told) == 25
    assert {(row["username"], row["slug"]) for row in told} == {("ana", "s1")}
    # The whole list has two pages.
    link = link_in(page(auditor, address, p=2), "Export as CSV")
    assert link == f"{address}export/?"
    assert len(rows(auditor.get(link))) == 150


@BOTH
def test_the_action_exports_the_selected_rows_alone(
    auditor: Client, address: str, model: type[Record]
) -> None:
    chosen, _, other = (record(model) for _ in range(3))
    assert f"Export selected {model._meta.verbose_name_plural} as CSV" in page(auditor, address)
    select = {"action": "export_selected", "_selected_action": [chosen.pk, other.pk]}
    assert {row["id"] for row in rows(auditor.post(address, select))} == {
        str(chosen.pk),
        str(other.pk),
    }


@BOTH
def test_the_action_on_all_exports_all_that_the_filter_shows(
    auditor: Client, address: str, model: type[Record]
) -> None:
    for number in range(120):
        last = record(model, username="bo" if number else "ana")
    select = {"action": "export_selected", "_selected_action": last.pk, "select_across": 1}
    assert len(rows(auditor.post(f"{address}?username=bo", select))) == 119


def test_an_export_has_every_field_under_the_same_name_in_every_language(auditor: Client) -> None:
    embed = InboxEmbed.objects.create(slug="sales", name="Sales")
    one = opening(created_at=NOON, embed=embed, address="192.0.2.7", outcome=Outcome.SECRET_LOST)
    with translation.override("pt-br"):
        response = auditor.get(f"{OPENINGS}export/", headers={"accept-language": "pt-br"})
    assert rows(response) == [
        {
            "id": str(one.pk),
            "created_at": "2026-03-14T15:09:26.535+00:00",
            "user_id": "",
            "username": "ana",
            "acting_as": "",
            "embed_id": str(embed.pk),
            "slug": "sales",
            "link_id": "",
            "outcome": "secret_lost",
            "address": "192.0.2.7",
            "times": "1",
        }
    ]


def test_an_export_is_a_file_that_a_spreadsheet_reads_as_utf_8(auditor: Client) -> None:
    change(username="Åsa 😀", details='a "b", c\nd')
    response = auditor.get(f"{CHANGES}export/")
    today = here_and_now().date()
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"] == (
        f'attachment; filename="inboxchange-{today.isoformat()}.csv"'
    )
    assert "no-store" in response["Cache-Control"]
    (row,) = csv.DictReader(io.StringIO(response.getvalue().decode("utf-8-sig"), newline=""))
    assert (row["username"], row["details"]) == ("Åsa 😀", 'a "b", c\nd')


def test_an_export_begins_with_the_mark_that_excel_needs(auditor: Client) -> None:
    assert body(auditor.get(f"{CHANGES}export/")).startswith("\ufeffid,created_at,")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_an_export_is_a_formula(auditor: Client, start: str) -> None:
    evil = f'{start}HYPERLINK("https://evil.example","x")'
    opening(username=evil, slug=evil)
    change(username=evil, slug=evil, details=evil)
    for address in (OPENINGS, CHANGES):
        (row,) = exported(auditor, address)
        assert row["username"] == row["slug"] == row.get("details", f"'{evil}") == f"'{evil}"


@pytest.mark.parametrize(
    "value",
    [
        "a;=cmd()",
        "a; =cmd()",
        'a;"=cmd()"',
        "a;;+1",
        "a,=cmd()",
        "a\t=cmd()",
        "a\n@SUM(1)",
        "a\r\n-1",
        "a|=cmd()",
        'a";"=cmd()',
        "\t=cmd()",
        " =cmd()",
        "\uff1dcmd()",
        "a;\uff0b1",
    ],
)
def test_no_cell_is_a_formula_wherever_a_spreadsheet_divides_the_line(
    auditor: Client, value: str
) -> None:
    change(username=value[:150], slug="sales", details=value)
    text = body(auditor.get(f"{CHANGES}export/")).removeprefix("\ufeff")
    formula = tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20")
    for delimiter in (",", ";", "\t", "|"):
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
            lines = io.StringIO(text, newline="")
            for row in csv.reader(lines, delimiter=delimiter, quoting=quoting):
                for cell in row:
                    assert not cell.lstrip(' "').startswith(formula), (delimiter, cell)


def test_a_cell_that_only_contains_such_a_character_is_unchanged(auditor: Client) -> None:
    change(username="ana+crm@example.com", slug="a-b", details="1=1")
    (row,) = exported(auditor, CHANGES)
    assert (row["username"], row["slug"], row["details"]) == ("ana+crm@example.com", "a-b", "1=1")


# Costs


def fill(model: type[Record], number: int) -> None:
    embeds = [
        InboxEmbed.objects.create(slug=f"e{InboxEmbed.objects.count()}", name="E")
        for _ in range(min(number, 20))
    ]
    users = [User.objects.create_user(f"u{User.objects.count()}") for _ in range(min(number, 20))]
    what = {"outcome": "opened"} if model is LaunchAttempt else {"action": "created"}
    model._default_manager.bulk_create(
        model(
            user=users[index % 20],
            username=users[index % 20].get_username(),
            embed=embeds[index % 20],
            slug=f"e{index}",
            created_at=NOON - timedelta(hours=index),
            **what,
        )
        for index in range(number)
    )


def queries(work: Callable[[], Any]) -> int:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        work()
    return len(captured)


@BOTH
def test_a_thousand_rows_take_as_many_queries_as_ten(
    staff: Callable[..., Client], address: str, model: type[Record]
) -> None:
    client = staff(f"view_{model._meta.model_name}", "view_inboxembed")

    def counts() -> list[int]:
        return [
            queries(lambda: page(client, address)),
            queries(lambda: page(client, address, q="e", username="u5")),
            queries(lambda: exported(client, address)),
        ]

    fill(model, 10)
    few = counts()
    fill(model, 990)
    assert counts() == few
    assert len(exported(client, address)) == 1000


def test_an_export_reads_its_rows_in_one_query_while_it_is_sent(auditor: Client) -> None:
    fill(LaunchAttempt, CHUNK + 10)
    response = auditor.get(f"{OPENINGS}export/")
    with CaptureQueriesContext(connection) as captured:
        assert len(rows(response)) == CHUNK + 10
    assert len(captured) == 1


@pytest.mark.skipif(
    connection.vendor == "mysql", reason="Its driver reads the whole result before the first row."
)
def test_an_export_holds_only_some_of_its_rows_in_memory(auditor: Client) -> None:
    fill(LaunchAttempt, 10 * CHUNK)
    lines = iter(auditor.get(f"{OPENINGS}export/"))
    next(lines)
    tracemalloc.start()
    try:
        assert sum(1 for _ in lines) == 10 * CHUNK + 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # All rows at once take more than 7 MB.
    assert peak < 4_000_000


@pytest.fixture
def atomic_requests() -> Iterator[None]:
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    yield
    connection.settings_dict["ATOMIC_REQUESTS"] = False


@pytest.mark.django_db(transaction=True)
def test_an_export_goes_on_after_the_transaction_of_its_request(
    atomic_requests: None, auditor: Client
) -> None:
    fill(LaunchAttempt, CHUNK + 10)
    response = auditor.get(f"{OPENINGS}export/")
    assert not connection.in_atomic_block
    assert len(rows(response)) == CHUNK + 10


# The secret


def test_the_secret_is_nowhere(
    admin_client: Client, ana: User, embed: InboxEmbed, kapso_sandbox: Sandbox
) -> None:
    agent = Client()
    agent.force_login(ana)
    assert agent.get("/kapso-inbox/sales/launch/", **FRAME).status_code == 302  # type: ignore[arg-type]
    rotate_embed(embed, actor=ana)
    revoke_embed(embed, actor=ana)
    secrets = [
        *(link["token"] for link in kapso_sandbox.project().links()),
        settings.KAPSO_INBOX["API_KEY"],
        *settings.KAPSO_INBOX["ENCRYPTION_KEYS"].values(),
        "v1.test.",  # The start of a sealed address.
    ]
    assert len(secrets) == 5
    for address, model in ((OPENINGS, LaunchAttempt), (CHANGES, InboxChange)):
        pages = [page(admin_client, address), body(admin_client.get(f"{address}export/"))]
        for one in model._default_manager.all():
            pages.append(page(admin_client, f"{address}{one.pk}/change/"))
            pages.append(page(admin_client, f"{address}{one.pk}/history/"))
        assert len(pages) > 3
        assert all("sales" in text or "history" in text for text in pages)
        leaks = [text for text in pages if any(secret in text for secret in secrets)]
        assert not [len(text) for text in leaks], "a secret leaked"


@BOTH
def test_a_user_name_with_a_nul_character_matches_nobody(
    auditor: Client, address: str, model: type[Record]
) -> None:
    record(model)
    assert shown(auditor, address, username="a\0b") == []


def test_the_details_in_an_export_are_words_in_one_line_in_the_readers_language(
    auditor: Client, settings: Any
) -> None:
    details = [
        reason(ReasonCode.CHANGED, changes={"name": ["Sales", "Support"]}),
        reason(ReasonCode.KAPSO_ERROR, error="CredentialsError", status=401, detail="No\nkey; =1"),
        "",
    ]
    for one in details:
        change(details=one)
    assert [row["details"] for row in exported(auditor, CHANGES)] == [
        "",
        "Kapso refused the API key (HTTP 401). Kapso says: “No key;' =1”",
        "Name: Sales → Support",
    ]
    settings.LANGUAGE_CODE = "es"
    response = auditor.get(f"{CHANGES}export/")
    with translation.override("en"):  # The rows are sent when the request is over.
        told = [row["details"] for row in rows(response)]
    assert told[1].startswith("Kapso rechazó la clave de API (HTTP 401).")
    assert told[2] == "Nombre: Sales → Support"


def test_a_change_that_kapso_has_not_confirmed_says_so_in_list_page_and_export(
    auditor: Client, kapso_sandbox: Sandbox
) -> None:
    embed = create_embed(slug="sales", name="Sales")
    kapso_sandbox.fail_next(method="POST", drop="after")
    with pytest.raises(UncertainError):
        rotate_embed(embed)
    rotation = InboxChange.objects.get(action=InboxChange.Action.ROTATED)
    told = "Kapso has not confirmed it yet."
    assert page(auditor, CHANGES).count(told) == 1
    assert told in page(auditor, f"{CHANGES}{rotation.pk}/change/")
    assert [row["details"] for row in exported(auditor, CHANGES)] == [told, ""]
    resolve_embed(embed)
    assert told not in page(auditor, CHANGES)


@BOTH
def test_a_record_of_what_is_deleted_shows_a_dash_where_there_is_nothing(
    auditor: Client, address: str, model: type[Record], kapso_sandbox: Sandbox
) -> None:
    embed = create_embed(slug="gone", name="Gone")
    user = User.objects.create_user("gone", password="secret")
    one = record(model, embed=embed, link=embed.current_link, user=user, username="")
    user.delete()
    revoke_embed(embed)
    delete_embed(InboxEmbed.objects.get())
    told = {
        name: " ".join(re.sub("<[^>]*>", " ", value).split())
        for name, value in re.findall(
            r'field-(\w+)">.*?<div class="readonly">(.*?)</div>',
            page(auditor, f"{address}{one.pk}/change/"),
            re.DOTALL,
        )
    }
    empty = {"user", "username", "acting_as", "embed", "link"}
    empty |= {"address"} if model is LaunchAttempt else {"what"}
    assert {name: told[name] for name in empty} == dict.fromkeys(empty, "-")
    assert told["slug"] == "sales"
    assert not [name for name, value in told.items() if value in ("", "None")]
