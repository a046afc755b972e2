"""The list of embeds: what it shows of each, at a constant cost, and without Kapso."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin import AdminSite
from django.contrib.auth.models import Group
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from django.utils import timezone

from kapso_inbox import lookups
from kapso_inbox.admin import InboxEmbedAdmin
from kapso_inbox.models import AccessLink, InboxEmbed, LaunchAttempt, Outcome
from kapso_inbox.sandbox.engine import Answer, Sandbox
from tests.hosts.clock import here_and_now
from tests.hosts.database import connection

from .cases import CONDITIONS, make
from .conftest import url

pytestmark = pytest.mark.django_db


def many(count: int, *groups: Group) -> None:
    """Create embeds in all conditions, each with two links and these groups."""
    states = list(AccessLink.State)
    numbers = range(count)
    embeds = InboxEmbed.objects.bulk_create(
        InboxEmbed(
            slug=f"inbox-{n}",
            name=f"Inbox {n}",
            expires_at=timezone.now() + timedelta(days=n % 20 - 5) if n % 3 else None,
            last_used_at=timezone.now() - timedelta(days=n % 100),
        )
        for n in numbers
    )
    embeds = list(InboxEmbed.objects.order_by("pk"))
    for _round in range(2):
        links = [
            AccessLink(embed=one, state=states[n % len(states)], kapso_id=f"{_round}-{n}")
            for n, one in enumerate(embeds)
        ]
        AccessLink.objects.bulk_create(links)
    for one, link in zip(embeds, links, strict=True):
        one.current_link = link
    InboxEmbed.objects.bulk_update(embeds, ["current_link"])
    through = InboxEmbed.groups.through
    through.objects.bulk_create(
        through(inboxembed_id=one.pk, group_id=group.pk) for one in embeds for group in groups
    )


def queries(client: Client, **query: Any) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url("changelist"), query).status_code == 200
    return len(captured)


def test_ten_embeds_and_a_thousand_cost_the_same(
    admin: Client, kapso_sandbox: Sandbox, sales: Group
) -> None:
    support = Group.objects.create(name="Support")
    many(10, sales, support)
    asked: list[dict[str, Any]] = [
        {},
        {"q": "Inbox 7"},
        {"state": "works"},
        {"groups__id__exact": sales.pk},
        {"o": "2"},
    ]
    queries(admin)  # Some queries run once for a connection or a process.
    few = [queries(admin, **query) for query in asked]
    InboxEmbed.objects.update(current_link=None)
    AccessLink.objects.update(state="revoked")
    InboxEmbed.objects.all().delete()
    many(1000, sales, support)
    assert [queries(admin, **query) for query in asked] == few
    assert max(few) < 20
    assert kapso_sandbox.requests == []


def test_it_shows_the_state_of_each_in_words_and_colour(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embeds = {
        condition: make(condition, kapso_sandbox, f"s{number}", name=f"Inbox {number}")
        for number, condition in enumerate(CONDITIONS)
    }
    kapso_sandbox.requests.clear()
    page = admin.get(url("changelist"))
    said = {
        row.pk: page.context["cl"].model_admin.state(row) for row in page.context["cl"].result_list
    }
    expected = {
        "unmanaged": ("unmanaged", "Unmanaged"),
        "works": ("works", "Works"),
        "expires soon": ("expires_soon", "Expires in 2\xa0days"),
        "expired": ("expired", "Expired"),
        "revoked": ("revoked", "Revoked"),
        "waits to be made": ("waiting", "Waiting for Kapso"),
        "waits to be revoked": ("waiting", "Waiting for Kapso"),
        "works, an older one waits": ("works", "Works; another link waits for Kapso"),
        "secret lost": ("secret_lost", "Secret lost"),
        "no link": ("no_link", "No link"),
    }
    for condition, (value, text) in expected.items():
        state = f'<span class="kapso-state kapso-state--{value}">{text}</span>'
        assert said[embeds[condition].pk].startswith(state)
        assert state in page.text
    assert kapso_sandbox.requests == []


@pytest.mark.parametrize("condition", CONDITIONS)
def test_it_is_filtered_by_state(admin: Client, kapso_sandbox: Sandbox, condition: str) -> None:
    embed = make(condition, kapso_sandbox)
    (found,) = admin.get(url("changelist")).context["cl"].result_list
    for value in ("works", "expires_soon", "expired", "revoked", "waiting", "unmanaged", "no_link"):
        rows = admin.get(url("changelist"), {"state": value}).context["cl"].queryset
        assert list(rows) == ([embed] if found.condition == value else [])


def test_an_unknown_state_and_odd_filters_are_answered(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    make("works", kapso_sandbox)
    for query in (
        {"state": "odd"},
        {"state": "\x00"},
        {"project": "odd"},
        {"scope_type__exact": "odd"},
        {"groups__id__exact": "odd"},
        {"q": "\x00 ' \" % _ \\"},
        {"p": "99999"},
        {"o": "9.9.-9"},
        {"current_link__sealed_url__startswith": "v1"},
        {"current_link__kapso_id": "x"},
    ):
        response = admin.get(url("changelist"), query, follow=True)
        assert response.status_code in (200, 400)


def test_the_sealed_address_cannot_be_guessed_by_filters(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    make("works", kapso_sandbox)
    for name in ("current_link__sealed_url__startswith", "links__sealed_url__startswith"):
        assert admin.get(url("changelist"), {name: "v1"}).status_code == 400


def test_it_says_what_each_shows_and_who_may_open_it(
    admin: Client, kapso_sandbox: Sandbox, sales: Group
) -> None:
    project = kapso_sandbox.project()
    number, customer, user = project.phone_numbers[0], project.customers[0], project.users[0]
    make(
        "works",
        kapso_sandbox,
        "number",
        scope_type="phone_number",
        scope_id=number["phone_number_id"],
        groups=[sales],
    )
    make(
        "works",
        kapso_sandbox,
        "customer",
        scope_type="customer",
        scope_id=customer["id"],
        assigned_user_id=user["user_id"],
    )
    text = admin.get(url("changelist")).text
    assert f"Phone number: {number['name']}" in text
    assert f"Customer: {customer['name']}, only what is assigned to {user['name']}" in text
    assert "Sales" in text
    assert "everyone with the permission" in text
    Group.objects.all().delete()
    assert "nobody: its groups were deleted" in admin.get(url("changelist")).text
    for query in (number["name"], customer["name"], user["name"], "The customer", "number"):
        assert admin.get(url("changelist"), {"q": query}).context["cl"].result_count >= 1


def test_an_inbox_is_found_by_its_phone_number_as_it_is_shown(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    number = kapso_sandbox.project().phone_numbers[0]
    scope = {"scope_type": "phone_number", "scope_id": number["phone_number_id"]}
    embed = make("works", kapso_sandbox, "number", **scope)
    make("works", kapso_sandbox, "other")
    shown = number["display_phone_number"]
    digits = "".join(filter(str.isdigit, shown))
    for text in (shown, digits, f"+{digits}", shown.replace(" ", "-")):
        assert list(admin.get(url("changelist"), {"q": text}).context["cl"].queryset) == [embed]
    # With the state in the order, too, and where Kapso is away.
    query = {"q": digits, "o": "2"}
    assert list(admin.get(url("changelist"), query).context["cl"].queryset) == [embed]
    lookups.forget()
    kapso_sandbox.fail_next(answer=Answer(500, {}), times=99)
    assert admin.get(url("changelist"), {"q": digits}).status_code == 200


def test_an_inbox_that_any_site_may_show_is_marked(admin: Client, kapso_sandbox: Sandbox) -> None:
    make("works", kapso_sandbox, "closed", allowed_origins=["https://crm.example.com"])
    assert "On any site" not in admin.get(url("changelist")).text
    embeds: list[list[str]] = [[], ["*"]]
    for number, origins in enumerate(embeds, start=1):
        embed = make("works", kapso_sandbox, f"open-{number}", allowed_origins=[])
        InboxEmbed.objects.filter(pk=embed.pk).update(allowed_origins=origins)
        assert admin.get(url("changelist")).text.count("On any site") == number


def test_it_is_found_by_the_reference_that_kapso_lists_it_under(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("works", kapso_sandbox)
    make("works", kapso_sandbox, "other")
    assert embed.current_link is not None
    found = admin.get(url("changelist"), {"q": embed.current_link.reference}).context["cl"]
    assert list(found.queryset) == [embed]


def test_it_works_with_kapso_down_and_without_an_encryption_key(
    admin: Client, kapso_sandbox: Sandbox, settings: Any
) -> None:
    for number, condition in enumerate(CONDITIONS):
        make(condition, kapso_sandbox, f"s{number}")
    kapso_sandbox.fail_next(answer=Answer(500, {}), times=99)
    kapso_sandbox.requests.clear()
    for broken in ({"API_KEY": "k"}, {}, {"API_KEY": "k", "ENCRYPTION_KEYS": {"x": "short"}}):
        settings.KAPSO_INBOX = broken
        page = admin.get(url("changelist"))
        assert page.status_code == 200
        assert page.context["cl"].result_count == len(CONDITIONS)
        for embed in InboxEmbed.objects.all():
            assert admin.get(url("change", embed.pk)).status_code == 200
            assert admin.get(url("preview", embed.pk)).status_code == 200
            assert admin.get(url("history", embed.pk)).status_code == 200
    assert kapso_sandbox.requests == []


def test_an_undocumented_scope_is_shown_unchanged(admin: Client, kapso_sandbox: Sandbox) -> None:
    embed = make("works", kapso_sandbox)
    InboxEmbed.objects.update(scope_type="galaxy", scope_id="milky-way", scope_name="")
    assert "galaxy: milky-way" in admin.get(url("changelist")).text
    assert "galaxy: milky-way" in admin.get(url("change", embed.pk)).text


def test_it_can_be_filtered_by_time(admin: Client, kapso_sandbox: Sandbox) -> None:
    embed = make("works", kapso_sandbox)
    make("works", kapso_sandbox, "old")
    InboxEmbed.objects.filter(slug="old").update(created_at=timezone.now() - timedelta(days=800))
    hierarchy = admin.get(url("changelist")).context["cl"].date_hierarchy
    # MariaDB as installed has no time zone tables.
    assert hierarchy == ("created_at" if connection.features.has_zoneinfo_database else None)
    if hierarchy:
        year = {"created_at__year": here_and_now().year}
        assert list(admin.get(url("changelist"), year).context["cl"].queryset) == [embed]


@pytest.mark.parametrize(("query", "is_there"), [({}, False), ({"q": "second"}, True)])
def test_the_date_hierarchy_is_left_out_of_a_very_long_list(
    admin: Client,
    kapso_sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    query: dict[str, str],
    is_there: bool,
) -> None:
    make("works", kapso_sandbox)
    make("works", kapso_sandbox, "second")
    monkeypatch.setattr("kapso_inbox.admin.embeds.DATE_HIERARCHY_LIMIT", 1)
    with CaptureQueriesContext(connection) as asked:
        admin.get(url("changelist"), query)
    can_be_had = connection.features.has_zoneinfo_database
    assert any("MIN(" in one["sql"] for one in asked) == (is_there and can_be_had)


def test_embeds_are_counted_once_and_in_one_table(admin: Client, kapso_sandbox: Sandbox) -> None:
    make("works", kapso_sandbox)
    with CaptureQueriesContext(connection) as asked:
        admin.get(url("changelist"))
    (count,) = (one["sql"] for one in asked if "COUNT" in one["sql"])
    assert "JOIN" not in count


def test_it_can_be_ordered_by_state(admin: Client, kapso_sandbox: Sandbox) -> None:
    make("works", kapso_sandbox, "works")
    make("revoked", kapso_sandbox, "revoked")
    for order, expected in (("2", ["revoked", "works"]), ("-2", ["works", "revoked"])):
        rows = admin.get(url("changelist"), {"o": order}).context["cl"].result_list
        assert [row.slug for row in rows] == expected


def test_a_model_admin_of_the_host_needs_none_of_our_pages(
    admin: Client,
) -> None:
    """Check our list's template, which Django finds by the model under any ModelAdmin."""
    site = AdminSite()
    site.register(InboxEmbed)

    class Plain:
        urlpatterns = [
            path("admin/", site.urls),
            path("kapso-inbox/", include("kapso_inbox.urls")),
        ]

    with override_settings(ROOT_URLCONF=Plain):
        page = admin.get("/admin/kapso_inbox/inboxembed/")
    assert page.status_code == 200
    assert "Health" not in page.text


def test_the_list_says_when_an_inbox_was_last_used_here_or_elsewhere(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    now = timezone.now()
    for slug, opened, used in (
        ("opened", [2, 5], None),
        ("used", [3], 1),
        ("both", [4], 6),
        ("never", [], None),
    ):
        at_kapso = now - timedelta(days=used) if used else None
        embed = InboxEmbed.objects.create(slug=slug, name=slug, last_used_at=at_kapso)
        for days in opened:
            LaunchAttempt.objects.create(
                embed=embed,
                slug=slug,
                outcome=Outcome.OPENED,
                created_at=now - timedelta(days=days),
            )
        LaunchAttempt.objects.create(embed=embed, slug=slug, outcome=Outcome.EXPIRED)
    expected = {"opened": 2, "used": 1, "both": 4, "never": None}
    by_last_use = 1 + [*InboxEmbedAdmin.list_display].index("last_used")
    for query in ({}, {"o": by_last_use}):
        found = admin.get(url("changelist"), query).context["cl"].result_list
        told = {one.slug: one.last_use and (now - one.last_use).days for one in found}
        assert told == expected
    assert [one.slug for one in found if one.last_use] == ["both", "opened", "used"]
