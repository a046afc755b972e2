"""The admin's preview, search and deletion; and that no page shows the secret."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import settings as django_settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone

from kapso_inbox import lifecycle
from kapso_inbox.admin.verbs import VERBS
from kapso_inbox.lifecycle import delete_embed, rotate_embed
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed, InboxPreference, LaunchAttempt
from kapso_inbox.reasons import describe_reason
from kapso_inbox.sandbox.engine import Sandbox
from tests.hosts.database import connection
from tests.hosts.people import User

from ..conftest import FRAME
from .cases import CONDITIONS, FAULTS, assert_all_is_accounted_for, confirmed, make
from .conftest import url

pytestmark = pytest.mark.django_db


# The panel


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("works", ""),
        ("no link", "Failed: Kapso created nothing. Two complete lists of Kapso's lacked it"),
        ("waits to be made", "Unknown: Kapso may have created it. "),
        ("works, an older one waits", "Being revoked. "),
    ],
)
def test_the_panel_says_what_became_of_a_link_other_than_the_current(
    admin: Client, kapso_sandbox: Sandbox, condition: str, told: str
) -> None:
    embed = make(condition, kapso_sandbox)
    for page in ("change", "preview"):
        reasons = admin.get(url(page, embed.pk)).context["panel"]["reasons"]
        assert bool(reasons) is bool(told)
        if told:
            [reason] = reasons
            link = embed.links.get(state__in=["failed", "unknown", "revoking"])
            assert reason.startswith(f"{link}: {told}")
            assert reason.endswith(describe_reason(link.reason))


# Preview


def test_a_preview_is_a_launch_like_any_other(
    admin: Client, administrator: User, kapso_sandbox: Sandbox
) -> None:
    embed = make("works", kapso_sandbox)
    page = admin.get(url("preview", embed.pk))
    assert "<iframe" not in page.text
    assert "not read its conversations" in page.text
    administrator.user_permissions.add(Permission.objects.get(codename="open_inboxembed"))
    page = admin.get(url("preview", embed.pk))
    assert "<iframe" in page.text
    assert "/kapso-inbox/sales/launch/" in page.text
    assert not LaunchAttempt.objects.exists()  # The page only shows a frame, which opens it.
    launched = admin.get("/kapso-inbox/sales/launch/", **FRAME)  # type: ignore[arg-type]
    assert launched.status_code == 302
    assert LaunchAttempt.objects.get().user == administrator


def test_an_embeds_groups_restrict_its_preview_even_for_a_superuser(
    client: Client,
    make_administrator: Callable[..., User],
    kapso_sandbox: Sandbox,
    sales: Group,
) -> None:
    embed = make("works", kapso_sandbox, groups=[sales])
    chief = make_administrator("chief", is_superuser=True)
    client.force_login(chief)
    assert "<iframe" not in client.get(url("preview", embed.pk)).text
    chief.groups.add(sales)
    assert "<iframe" in client.get(url("preview", embed.pk)).text


@pytest.mark.table
@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_condition_has_a_preview_with_its_verbs(
    client: Client,
    make_administrator: Callable[..., User],
    kapso_sandbox: Sandbox,
    condition: str,
) -> None:
    client.force_login(make_administrator("all", "add", "change", "delete", "view", "open"))
    embed = make(condition, kapso_sandbox)
    for name in ("preview", "change"):
        page = client.get(url(name, embed.pk))
        assert page.status_code == 200
        for verb in page.context["panel"]["verbs"]:
            assert client.get(verb["url"]).context["possible"] == 1


@pytest.mark.parametrize("odd", ["0", "x", "9" * 30, "a/b", "_5F"])
def test_the_preview_of_an_embed_that_does_not_exist_is_not_found(admin: Client, odd: str) -> None:
    assert admin.get(url("preview", odd)).status_code == 404


# Search


def search(client: Client, **query: Any) -> tuple[int, dict[str, Any]]:
    response = client.get(url("lookup"), query)
    return response.status_code, json.loads(response.content)


def test_numbers_customers_and_people_are_found_by_name(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    cache.clear()
    project = kapso_sandbox.project()
    for kind, row, key in (
        ("phone_number", project.phone_numbers[0], "phone_number_id"),
        ("customer", project.customers[0], "id"),
        ("user", project.users[0], "user_id"),
    ):
        status, found = search(admin, kind=kind, q=row["name"])
        assert status == 200
        assert row[key] in [choice["id"] for choice in found["choices"]]
        assert search(admin, kind=kind, q="no such name")[1] == {"choices": [], "next_page": None}


@pytest.mark.parametrize(
    "odd",
    [
        {"kind": ""},
        {"kind": "embeds"},
        {"kind": "user", "page": "0"},
        {"kind": "user", "page": "-1"},
        {"kind": "user", "page": "x"},
        {"kind": "user", "page": "9" * 5000},
        {"kind": "user", "project": "other"},
    ],
)
def test_a_search_in_an_unknown_list_is_refused(
    admin: Client, kapso_sandbox: Sandbox, odd: dict[str, Any]
) -> None:
    status, found = search(admin, **odd)
    assert (status, list(found)) == (400, ["error"])
    assert kapso_sandbox.requests == []


@pytest.mark.table
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_kapso_does_a_search_answers(
    admin: Client, kapso_sandbox: Sandbox, fault: str
) -> None:
    cache.clear()
    kapso_sandbox.fail_next(**FAULTS[fault], times=99)
    status, found = search(admin, kind="customer")
    assert status in (200, 503)
    assert found.get("choices") is not None or found["error"]
    cache.clear()


def test_a_search_reports_settings_that_are_not_valid(
    admin: Client, kapso_sandbox: Sandbox, settings: Any
) -> None:
    cache.clear()
    for broken in ({}, {"API_KEY": "k\nk"}, {"API_KEY": "kkkkkkkkk", "BASE_URL": "ftp://x"}):
        settings.KAPSO_INBOX = broken
        status, found = search(admin, kind="customer")
        assert status in (400, 503)
        assert found["error"]


# Deletion


def test_djangos_page_deletes_a_revoked_embed_and_records_it(
    admin: Client, administrator: User, kapso_sandbox: Sandbox
) -> None:
    embed = make("revoked", kapso_sandbox)
    InboxPreference.objects.create(user=administrator, embed=embed, params={})
    assert admin.get(url("delete", embed.pk)).status_code == 200
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    try:
        response = admin.post(url("delete", embed.pk), {"post": "yes"})
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False
    assert response.status_code == 302
    assert not InboxEmbed.objects.exists()
    assert LogEntry.objects.get().is_deletion()
    assert InboxChange.objects.filter(action="deleted").get().username == "admin"


@pytest.mark.table
@pytest.mark.parametrize("condition", CONDITIONS)
def test_an_embed_that_may_work_at_kapso_is_not_deleted(
    admin: Client, kapso_sandbox: Sandbox, condition: str
) -> None:
    embed = make(condition, kapso_sandbox)
    goes = condition in ("revoked", "no link")
    page = admin.get(url("delete", embed.pk))
    assert ("may still work at Kapso" in page.text) is not goes
    admin.post(url("delete", embed.pk), {"post": "yes"})
    by_hand = {"confirmed": "yes", "target": f"{embed.pk}:"}
    admin.post(url("verb", "delete"), by_hand)
    chosen = {"action": "delete_selected", "_selected_action": embed.pk, "post": "yes"}
    admin.post(url("changelist"), chosen)
    assert InboxEmbed.objects.exists() is not goes
    assert LogEntry.objects.exists() is goes
    assert_all_is_accounted_for(kapso_sandbox)


def test_a_link_begun_since_the_page_was_shown_prevents_the_deletion(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("revoked", kapso_sandbox)
    assert "Are you sure" in admin.get(url("delete", embed.pk)).text
    rotate_embed(embed)
    response = admin.post(url("delete", embed.pk), {"post": "yes"})
    assert "may still work at Kapso" in response.text
    assert InboxEmbed.objects.get().obstacle() is None


def test_a_link_begun_during_the_deletion_prevents_it(
    admin: Client, kapso_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = make("revoked", kapso_sandbox)

    def begin_and_delete(embed: InboxEmbed, *, actor: Any) -> None:
        AccessLink.objects.update(state="creating")
        delete_embed(embed, actor=actor)

    monkeypatch.setattr(lifecycle, "delete_embed", begin_and_delete)
    response = admin.post(url("delete", embed.pk), {"post": "yes"}, follow=True)
    assert response.redirect_chain[0][0] == url("change", embed.pk)
    assert "may still work at Kapso" in response.text
    assert InboxEmbed.objects.exists()
    assert not LogEntry.objects.exists()


def test_deleting_an_embed_that_somebody_else_deleted_first_says_so(
    admin: Client, kapso_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = make("revoked", kapso_sandbox)

    def delete_second(embed: InboxEmbed, *, actor: Any) -> None:
        delete_embed(embed)
        delete_embed(embed, actor=actor)

    monkeypatch.setattr(lifecycle, "delete_embed", delete_second)
    response = admin.post(url("delete", embed.pk), {"post": "yes"}, follow=True)
    assert response.redirect_chain[0][0] == url("changelist")
    assert "It no longer exists." in response.text
    assert not LogEntry.objects.exists()


def test_a_deletion_is_answered_as_django_answers_it(admin: Client, kapso_sandbox: Sandbox) -> None:
    embed = make("revoked", kapso_sandbox)
    filters = {"_changelist_filters": "state=revoked"}
    address = f"{url('delete', embed.pk)}?{urlencode(filters)}"
    response = admin.post(address, {"post": "yes"}, follow=True)
    assert response.redirect_chain == [(f"{url('changelist')}?state=revoked", 302)]
    assert f"The inbox embed “{embed}” was deleted successfully." in response.text
    other = make("revoked", kapso_sandbox, "other")
    response = admin.post(url("delete", other.pk), {"_popup": "1", "_to_field": "id"})
    assert response.templates[0].name == "admin/popup_response.html"
    assert str(other.pk) in response.text
    assert not InboxEmbed.objects.exists()


def test_a_deletion_requires_a_confirmation_and_a_field_that_may_be_named(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("revoked", kapso_sandbox)
    assert admin.post(url("delete", embed.pk)).status_code == 200
    assert admin.post(url("delete", embed.pk), {"_to_field": "name"}).status_code == 400
    assert InboxEmbed.objects.exists()


# The secret


@pytest.fixture
def secrets(kapso_sandbox: Sandbox) -> Callable[[], list[str]]:
    """Return a collector of all secrets: of Kapso's links, of the rows and of the settings."""

    def collect() -> list[str]:
        links = kapso_sandbox.project().links()
        assert links
        return [
            *(link["token"] for link in links),
            *filter(None, AccessLink.objects.values_list("sealed_url", flat=True)),
            django_settings.KAPSO_INBOX["API_KEY"],
            *django_settings.KAPSO_INBOX["ENCRYPTION_KEYS"].values(),
        ]

    return collect


def test_the_secret_is_on_no_page_and_in_no_history(
    client: Client,
    make_administrator: Callable[..., User],
    kapso_sandbox: Sandbox,
    filled_in: dict[str, Any],
    secrets: Callable[[], list[str]],
) -> None:
    client.force_login(make_administrator("all", "add", "change", "delete", "view", "open"))
    texts = [client.post(url("add"), filled_in, follow=True).text]
    embeds = [
        make(condition, kapso_sandbox, f"s{number}") for number, condition in enumerate(CONDITIONS)
    ]
    for embed in InboxEmbed.objects.all():
        for name in ("change", "history", "preview", "delete"):
            texts.append(client.get(url(name, embed.pk)).text)
    for verb in VERBS:
        texts.append(client.get(url("verb", verb), {"id": [one.pk for one in embeds]}).text)
        texts.append(confirmed(client, verb, *embeds)[1].text)
    for name in ("changelist", "health", "add"):
        texts.append(client.get(url(name)).text)
    texts += LogEntry.objects.values_list("change_message", flat=True)
    texts += [str(session.get_decoded()) for session in Session.objects.all()]
    texts += InboxChange.objects.values_list("details", flat=True)
    everything = "\n".join(texts)
    assert len(everything) > 100_000
    found = [number for number, secret in enumerate(secrets()) if secret in everything]
    assert not found, "a secret leaked"
    assert "inbox.kapso.ai/embed" not in everything


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("failing", ["django_admin_log", "sealed_url", "kapso_inbox_inboxchange"])
@pytest.mark.parametrize("what", ["add", "change", "rotate", "revoke", "delete", "refresh"])
def test_the_page_of_an_error_holds_no_secret(
    make_administrator: Callable[..., User],
    kapso_sandbox: Sandbox,
    filled_in: dict[str, Any],
    settings: Any,
    secrets: Callable[[], list[str]],
    failing: str,
    what: str,
) -> None:
    settings.DEBUG = True
    client = Client(raise_request_exception=False)
    client.force_login(make_administrator("all", "add", "change", "delete", "view", "open"))
    embed = make("revoked" if what == "delete" else "works", kapso_sandbox)
    target = f"{embed.pk}:{AccessLink.objects.get().pk}"
    failures = []

    def fail(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if (
            failing in sql
            and sql.startswith(("INSERT", "UPDATE"))
            and "creating" not in str(params)
        ):
            failures.append(1)
            raise DatabaseError("the disk is full")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(fail):
        if what == "add":
            response = client.post(url("add"), filled_in)
        elif what == "change":
            response = client.post(url("change", embed.pk), {**filled_in, "slug": "sales"})
        else:
            sent = {"confirmed": "yes", "target": target}
            response = client.post(url("verb", what), sent)
    if response.status_code == 500:
        assert failures
        assert "the disk is full" in response.text
    found = [number for number, secret in enumerate(secrets()) if secret in response.text]
    assert not found, "a secret leaked"
    assert_all_is_accounted_for(kapso_sandbox)


def test_there_is_no_way_to_ask_for_the_address() -> None:
    assert not {"show", "reveal", "url", "secret"} & VERBS.keys()


def test_the_models_work_under_a_model_admin_of_the_host(
    administrator: User, kapso_sandbox: Sandbox, settings: Any
) -> None:
    settings.ROOT_URLCONF = "tests.admin.urls_of_plain_admins"
    embed = make("works", kapso_sandbox)
    LaunchAttempt.objects.create(username="ana", slug="sales", outcome="opened")
    administrator.is_superuser = True
    administrator.save()
    client = Client()
    client.force_login(administrator)
    for path in ("inboxembed/", f"inboxembed/{embed.pk}/change/", "launchattempt/", "inboxchange/"):
        page = client.get(f"/admin/kapso_inbox/{path}")
        assert page.status_code == 200
        assert "kapso-panel" not in page.text
        assert "Export as CSV" not in page.text


def test_an_admin_of_another_name_has_all_pages(
    admin: Client, kapso_sandbox: Sandbox, settings: Any
) -> None:
    settings.ROOT_URLCONF = "tests.admin.urls_of_another_admin"
    embed = make("works", kapso_sandbox, expires_at=timezone.now() + timedelta(days=2))
    gone = make("revoked", kapso_sandbox, "gone")
    start = "/crm-admin/kapso_inbox/inboxembed/"
    for path in (
        "",
        "add/",
        "health/",
        f"{embed.pk}/change/",
        f"{embed.pk}/preview/",
        f"{embed.pk}/history/",
        f"{gone.pk}/delete/",
        f"verbs/rotate/?id={embed.pk}&id={gone.pk}",
    ):
        page = admin.get(start + path)
        assert page.status_code == 200
        assert '"/admin/' not in page.text
    sent = {"confirmed": "yes", "target": f"{embed.pk}:{embed.current_link_id}"}
    page = admin.post(f"{start}verbs/rotate/", sent)
    assert f'"{start}{embed.pk}/change/"' in page.text


def test_the_pages_of_an_embed_lead_to_it_by_its_name(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("works", kapso_sandbox)
    link = f'<a href="{url("change", embed.pk)}">{embed.name}</a>'
    assert f"<h2>{link}</h2>" in admin.get(url("preview", embed.pk)).text
    assert f"{link}: A link of it may still work" in admin.get(url("delete", embed.pk)).text


def test_what_a_host_overrides_holds_on_every_page(
    admin: Client, kapso_sandbox: Sandbox, settings: Any
) -> None:
    settings.ROOT_URLCONF = "tests.admin.urls_of_a_subclass"
    embed = make("works", kapso_sandbox)
    gone = make("revoked", kapso_sandbox, "gone")
    start = "/admin/kapso_inbox/inboxembed/"
    for path in ("", f"{embed.pk}/change/", f"{embed.pk}/preview/", f"verbs/rotate/?id={embed.pk}"):
        assert "The host's own words" in unescape(admin.get(start + path).text)
    assert admin.get(f"{start}verbs/revoke/?id={embed.pk}").status_code == 403
    assert admin.get(f"{start}health/").status_code == 200
    assert "/verbs/revoke/" not in admin.get(f"{start}{embed.pk}/change/").text
    assert admin.post(f"{start}{gone.pk}/delete/", {"post": "yes"}).status_code == 403
    assert InboxEmbed.objects.filter(pk=gone.pk).exists()
    assert admin.get(f"{start}own/").text == "A page of the host"
