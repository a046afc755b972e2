"""The admin's preview, search and deletion; and that no page shows the secret."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import settings as django_settings
from django.contrib import admin as django_admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import DatabaseError
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from kapso_inbox import lifecycle
from kapso_inbox.admin.advice import ADVICE
from kapso_inbox.admin.verbs import VERBS
from kapso_inbox.kapso import KapsoError
from kapso_inbox.lifecycle import delete_embed, rotate_embed
from kapso_inbox.models import (
    AccessLink,
    Condition,
    InboxChange,
    InboxEmbed,
    InboxPreference,
    LaunchAttempt,
    Outcome,
    ReasonCode,
    reason,
)
from kapso_inbox.reasons import describe_reason
from kapso_inbox.sandbox.engine import Sandbox
from kapso_inbox.sync import sync_project
from tests.hosts.database import connection
from tests.hosts.people import User

from ..conftest import FRAME
from .cases import CONDITIONS, FAULTS, assert_all_is_accounted_for, confirmed, live, make, targets
from .conftest import url

pytestmark = pytest.mark.django_db


# The panel


def panel(client: Client, embed: InboxEmbed, page: str = "change") -> Any:
    return client.get(url(page, embed.pk)).context["panel"]


#: condition -> the button that mends it, what is said, and whether a page of this site shows it.
PANELS: dict[str, tuple[str, str, bool]] = {
    "works": ("", "", True),
    "expires soon": (
        "Change the expiry",
        "After that nobody can open it. Press “Change the expiry” to keep it open.",
        True,
    ),
    "expired": (
        "Change the expiry",
        "It has expired, so nobody can open it. Press “Change the expiry” to open it again.",
        False,
    ),
    "revoked": (
        "Rotate the link",
        "It was revoked, so nobody can open it. "
        "Press “Rotate the link” to open it again with a new link.",
        False,
    ),
    "waits to be made": (
        "Find out what became of it",
        "Kapso may have created its link, but the answer was lost, so nobody can open it. "
        "Press “Find out what became of it”, and then rotate the link.",
        False,
    ),
    "waits to be revoked": (
        "Find out what became of it",
        "Nobody can open it here, but Kapso has not confirmed yet that it is revoked. "
        "Press “Find out what became of it” to continue.",
        False,
    ),
    "works, an older one waits": (
        "Find out what became of it",
        "Another link of it may still work at Kapso. "
        "Press “Find out what became of it” to revoke that one.",
        True,
    ),
    "secret lost": (
        "Rotate the link",
        "Its address cannot be read here, so nobody can open it. "
        "Press “Rotate the link” to open it again with a new link.",
        False,
    ),
    "unmanaged": (
        "Adopt",
        "It was created elsewhere, so nobody can open it here. "
        "Press “Adopt” to replace its link with one of this site's own.",
        False,
    ),
    "no link": (
        "Rotate the link",
        "It has no link, so nobody can open it. Press “Rotate the link” to get one.",
        False,
    ),
}


@pytest.mark.table
@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_panel_says_what_is_the_matter_and_has_one_button_that_mends_it(
    admin: Client, kapso_sandbox: Sandbox, condition: str
) -> None:
    embed = make(condition, kapso_sandbox)
    button, told, shows = PANELS[condition]
    for page in ("change", "preview"):
        response = admin.get(url(page, embed.pk))
        shown = response.context["panel"]
        assert shown["advice"] == told
        assert (shown["primary"] or {"label": ""})["label"] == button
        assert button not in [verb["label"] for verb in shown["verbs"]]
        # Where nothing has to be mended, looking at it or copying its tag is what comes next.
        assert response.text.count("kapso-button--primary") == 1
        assert ("data-kapso-copy" in response.text) is shows
        if button:
            assert admin.get(shown["primary"]["url"]).context["possible"] == 1


def test_there_is_advice_for_every_condition() -> None:
    assert ADVICE.keys() == set(Condition)


@pytest.mark.table
@pytest.mark.parametrize("condition", CONDITIONS)
def test_technical_details_are_folded(
    admin: Client, kapso_sandbox: Sandbox, condition: str
) -> None:
    embed = make(condition, kapso_sandbox)
    text = unescape(admin.get(url("change", embed.pk)).text)
    section = text[text.index('class="kapso-panel"') :].partition("</section>")[0]
    shown, _summary, folded = section.partition("<details")
    assert embed.links.count() > 0
    for link in embed.links.all():
        assert str(link) in folded
        assert link.kapso_id in folded
        assert describe_reason(link.reason) in folded
        assert str(link.get_state_display()) in folded
        assert str(link) not in shown
        assert not link.kapso_id or link.kapso_id not in shown


def test_an_embed_that_never_had_a_link_has_no_details(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = InboxEmbed.objects.create(slug="sales", name="Sales")
    assert panel(admin, embed)["links"] == []
    assert "<details" not in admin.get(url("preview", embed.pk)).text


def _differ(embed: InboxEmbed) -> None:
    AccessLink.objects.update(differences="scope_id=7")


def _unassign(embed: InboxEmbed) -> None:
    InboxEmbed.objects.update(personal_to="7", assigned_user_id="")


def _lose_groups(embed: InboxEmbed) -> None:
    embed.groups.set([Group.objects.create(name="Sales")])
    Group.objects.all().delete()


def _restrict(embed: InboxEmbed) -> None:
    InboxEmbed.objects.update(allowed_origins=["https://elsewhere.example"])


def _begin(embed: InboxEmbed) -> None:
    AccessLink.objects.update(state="creating")
    InboxEmbed.objects.update(current_link=None)


def _end_at_kapso(code: ReasonCode) -> Callable[[InboxEmbed], None]:
    def end(embed: InboxEmbed) -> None:
        AccessLink.objects.update(state="revoked", reason=reason(code))

    return end


def _end_and_expire(embed: InboxEmbed) -> None:
    AccessLink.objects.update(state="revoked")
    InboxEmbed.objects.update(expires_at=timezone.now() - timedelta(days=1))


@pytest.mark.parametrize(
    ("happens", "button", "told"),
    [
        (_differ, "Rotate the link", "conversations that it was not created for"),
        (_unassign, "Revoke", "no longer limits it to its user's conversations"),
        (
            _lose_groups,
            "Choose its groups",
            "Its link works, but its groups were deleted, so nobody can open it.",
        ),
        (_restrict, "Change its origins", "this site is not among its allowed origins"),
        (_begin, "Find out what became of it", "Its link is being created right now."),
        (
            _end_at_kapso(ReasonCode.FOUND_REVOKED),
            "Rotate the link",
            "It was revoked at Kapso, so nobody",
        ),
        (
            _end_at_kapso(ReasonCode.NOT_FOUND),
            "Rotate the link",
            "Kapso no longer has it, so nobody can open it.",
        ),
        (_end_and_expire, "Change the expiry", "and then rotate the link."),
    ],
)
def test_the_panel_knows_what_else_can_be_the_matter(
    admin: Client,
    kapso_sandbox: Sandbox,
    happens: Callable[[InboxEmbed], None],
    button: str,
    told: str,
) -> None:
    embed = make("works", kapso_sandbox)
    happens(embed)
    shown = panel(admin, embed)
    assert told in shown["advice"]
    assert shown["primary"]["label"] == button
    assert not shown["shows"]
    assert admin.get(shown["primary"]["url"]).status_code == 200


def test_a_site_that_the_settings_name_counts_as_this_site(
    admin: Client, kapso_sandbox: Sandbox, settings: Any
) -> None:
    embed = make("works", kapso_sandbox, allowed_origins=["https://crm.example.com"])
    assert not panel(admin, embed)["shows"]
    settings.CSRF_TRUSTED_ORIGINS = ["https://crm.example.com"]
    assert panel(admin, embed)["shows"]
    settings.CSRF_TRUSTED_ORIGINS = []
    settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, "ALLOWED_ORIGINS": ["https://crm.example.com"]}
    assert panel(admin, embed)["shows"]


def test_after_adopting_the_page_says_that_this_site_may_not_show_it(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    record = {"name": "Theirs", "scope_type": "project", "allowed_origins": ["https://a.example"]}
    kapso_sandbox.project().create(record)
    sync_project()
    embed = InboxEmbed.objects.get()
    _sent, done = confirmed(admin, "adopt", embed)
    page = admin.get(done["Location"])
    assert "It has a new link, and the old one is revoked." in page.text
    assert "this site is not among its allowed origins" in page.text
    shown = page.context["panel"]["primary"]
    assert shown == {
        "label": "Change its origins",
        "url": f"{url('change', embed.pk)}#id_allowed_origins",
    }
    assert 'id="id_allowed_origins"' in page.text


@pytest.mark.parametrize(
    ("settings_of_kapso", "button", "told"),
    [
        (
            {"ENCRYPTION_KEYS": {"other": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}},
            "Rotate the link",
            "Put the key back into the settings. If it is lost, press “Rotate the link”.",
        ),
        ({"ENCRYPTION_KEYS": {}}, "", "are missing or wrong. Correct the settings."),
        ({"READ_ONLY": True}, "", ""),
    ],
)
def test_the_panel_knows_the_settings(
    admin: Client,
    kapso_sandbox: Sandbox,
    settings: Any,
    settings_of_kapso: dict[str, Any],
    button: str,
    told: str,
) -> None:
    embed = make("works", kapso_sandbox)
    settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, **settings_of_kapso}
    shown = panel(admin, embed)
    assert shown["advice"].endswith(told)
    assert (shown["primary"] or {"label": ""})["label"] == button
    assert shown["shows"] is (not told)


@pytest.mark.parametrize("condition", ["unmanaged", "revoked"])
def test_what_cannot_be_pressed_is_not_asked_for(
    admin: Client, kapso_sandbox: Sandbox, settings: Any, condition: str
) -> None:
    embed = make(condition, kapso_sandbox)
    key = "SHARED_PROJECTS" if condition == "unmanaged" else "READ_ONLY"
    settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, key: True}
    shown = panel(admin, embed)
    assert shown["primary"] is None
    assert shown["advice"]
    assert "Press" not in shown["advice"]
    assert not {"Adopt", "Revoke", "Rotate the link"} & {one["label"] for one in shown["verbs"]}


def test_those_who_may_only_view_are_not_told_to_press_anything(
    client: Client, make_administrator: Callable[..., User], kapso_sandbox: Sandbox
) -> None:
    client.force_login(make_administrator("viewer", "view"))
    embed = make("works", kapso_sandbox)
    for happens in (_lose_groups, _restrict, _end_and_expire):
        happens(embed)
        shown = panel(client, embed)
        assert shown["advice"]
        assert "ress “" not in shown["advice"]
        assert shown["primary"] is None


# Preview


def test_a_preview_is_a_launch_like_any_other(
    admin: Client, administrator: User, kapso_sandbox: Sandbox
) -> None:
    embed = make("works", kapso_sandbox)
    page = admin.get(url("preview", embed.pk))
    assert "<iframe" not in page.text
    assert "You cannot read the conversations of this inbox" in page.text
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


def delete(client: Client, embed: InboxEmbed, **query: str) -> tuple[Any, Any]:
    """Follow the link "Delete" of Django's form; return the confirmation and what follows it."""
    asked = client.get(f"{url('delete', embed.pk)}?{urlencode(query)}", follow=True)
    sent = {"confirmed": "yes", "target": targets(asked)}
    return asked, client.post(asked.context["action_url"], {**sent, **query}, follow=True)


def test_djangos_link_leads_to_the_confirmation_that_deletes_and_records_it(
    admin: Client, administrator: User, kapso_sandbox: Sandbox
) -> None:
    embed = make("revoked", kapso_sandbox)
    InboxPreference.objects.create(user=administrator, embed=embed, params={})
    assert url("delete", embed.pk) in admin.get(url("change", embed.pk)).text
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    try:
        asked, response = delete(admin, embed)
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False
    assert asked.context["instead"] is None
    assert response.redirect_chain == [(url("changelist"), 302)]
    assert f"The inbox embed “{embed}” was deleted successfully." in response.text
    assert not InboxEmbed.objects.exists()
    assert LogEntry.objects.get().is_deletion()
    assert InboxChange.objects.filter(action="deleted").get().username == "admin"


@pytest.mark.parametrize("page", ["change", "preview"])
def test_there_is_one_way_to_delete(admin: Client, kapso_sandbox: Sandbox, page: str) -> None:
    for condition in ("works", "revoked"):
        embed = make(condition, kapso_sandbox, condition)
        text = admin.get(url(page, embed.pk)).text
        assert "/verbs/delete/" not in text
        assert text.count(url("delete", embed.pk)) == (page == "change")


@pytest.mark.table
@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_live_embed_is_revoked_before_it_is_deleted_and_revoking_it_alone_is_offered(
    admin: Client, kapso_sandbox: Sandbox, condition: str
) -> None:
    embed = make(condition, kapso_sandbox)
    if condition == "waits to be made":  # It is not known what would have to be revoked.
        asked = admin.get(url("delete", embed.pk), follow=True)
        assert "Find out what became of it first" in asked.text
        return
    asked, _response = delete(admin, embed)
    is_live = condition not in ("revoked", "no link")
    button = "Revoke it and delete the record" if is_live else "Delete the record"
    assert f'value="{button}"' in asked.text
    assert ("rotating its link opens it again" in asked.text) is is_live
    if is_live:
        other = admin.get(asked.context["instead_url"])
        assert other.status_code in (200, 302)  # It is gone by now.
        assert f"/verbs/revoke/?id={embed.pk}" in asked.context["instead_url"]
    assert live(kapso_sandbox) == []
    assert not InboxEmbed.objects.exists()
    actions = set(InboxChange.objects.values_list("action", flat=True))
    assert {"deleted"} | ({"revoked"} if is_live else set()) <= actions


@pytest.mark.table
@pytest.mark.parametrize("condition", CONDITIONS)
def test_nothing_that_may_work_is_deleted_without_a_confirmation_of_what_was_seen(
    admin: Client, kapso_sandbox: Sandbox, condition: str
) -> None:
    embed = make(condition, kapso_sandbox)
    other = make("works", kapso_sandbox, "other")
    before = live(kapso_sandbox)
    goes = condition in ("revoked", "no link")
    admin.post(url("delete", embed.pk), {"post": "yes"})
    chosen = {"action": "delete_selected", "_selected_action": embed.pk, "post": "yes"}
    admin.post(url("changelist"), chosen)
    assert InboxEmbed.objects.count() == 2
    # Several at once, of which those that may work are left out.
    confirmed(admin, "delete", embed, other)
    admin.post(url("verb", "delete"), {"confirmed": "yes", "target": f"{embed.pk}:"})
    assert InboxEmbed.objects.filter(pk=embed.pk).exists() is not goes
    assert InboxEmbed.objects.filter(pk=other.pk).exists()
    assert LogEntry.objects.exists() is goes
    assert live(kapso_sandbox) == before


@pytest.mark.parametrize("fault", ["500", "no connection"])
def test_an_embed_whose_end_kapso_does_not_confirm_is_not_deleted(
    admin: Client, kapso_sandbox: Sandbox, fault: str
) -> None:
    embed = make("works", kapso_sandbox)
    kapso_sandbox.fail_next(method="DELETE", **FAULTS[fault], times=9)
    _asked, response = delete(admin, embed)
    assert response.redirect_chain == [(url("change", embed.pk), 302)]
    assert "Kapso has not confirmed that it is revoked" in response.text
    assert InboxEmbed.objects.get().obstacle() == Outcome.REVOKED
    assert_all_is_accounted_for(kapso_sandbox)


def test_an_embed_with_an_uncertain_link_is_revoked_and_stays_until_that_is_settled(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("works", kapso_sandbox)
    kapso_sandbox.fail_next(method="POST", drop="after")
    with suppress(KapsoError):
        rotate_embed(embed)
    _asked, response = delete(admin, embed)
    assert "so the record stays" in response.text
    assert InboxEmbed.objects.get().obstacle() == Outcome.REVOKED
    assert_all_is_accounted_for(kapso_sandbox)


def test_a_link_begun_since_the_page_was_shown_prevents_the_deletion(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("revoked", kapso_sandbox)
    asked = admin.get(url("delete", embed.pk), follow=True)
    rotate_embed(embed)
    sent = {"confirmed": "yes", "target": targets(asked)}
    response = admin.post(asked.context["action_url"], sent, follow=True)
    assert "Another link was created for it in the meantime" in response.text
    assert InboxEmbed.objects.get().obstacle() is None


def test_a_link_begun_during_the_deletion_prevents_it(
    admin: Client, kapso_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = make("revoked", kapso_sandbox)

    def begin_and_delete(embed: InboxEmbed, *, actor: Any) -> None:
        AccessLink.objects.update(state="creating")
        delete_embed(embed, actor=actor)

    monkeypatch.setattr(lifecycle, "delete_embed", begin_and_delete)
    _asked, response = delete(admin, embed)
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
    _asked, response = delete(admin, embed)
    assert response.redirect_chain[0][0] == url("changelist")
    assert "It no longer exists." in response.text
    assert not LogEntry.objects.exists()


def test_a_deletion_is_answered_as_django_answers_it(admin: Client, kapso_sandbox: Sandbox) -> None:
    embed = make("revoked", kapso_sandbox)
    filters = {"_changelist_filters": "state=revoked"}
    _asked, response = delete(admin, embed, **filters)
    assert response.redirect_chain == [(f"{url('changelist')}?state=revoked", 302)]
    assert f"The inbox embed “{embed}” was deleted successfully." in response.text
    other = make("revoked", kapso_sandbox, "other")
    asked, response = delete(admin, other, _popup="1", _to_field="id")
    for name, value in (("_popup", "1"), ("_to_field", "id")):
        assert f'<input type="hidden" name="{name}" value="{value}">' in asked.text
    assert "breadcrumbs" not in asked.text
    assert response.templates[0].name == "admin/popup_response.html"
    assert str(other.pk) in response.text
    assert not InboxEmbed.objects.exists()


def test_a_deletion_takes_only_a_field_that_may_be_named(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("revoked", kapso_sandbox)
    named = {"_popup": "1", "_to_field": "name"}
    assert admin.get(url("delete", embed.pk), named, follow=True).status_code == 400
    sent = {"confirmed": "yes", "target": f"{embed.pk}:", **named}
    assert admin.post(url("verb", "delete"), sent).status_code == 400
    assert InboxEmbed.objects.exists()


def test_a_program_that_uses_djangos_hook_deletes_through_the_lifecycle(
    administrator: User, kapso_sandbox: Sandbox, rf: RequestFactory
) -> None:
    embed = make("revoked", kapso_sandbox)
    request = rf.post("/")
    request.user = administrator
    django_admin.site._registry[InboxEmbed].delete_model(request, embed)
    assert InboxChange.objects.filter(action="deleted").get().username == "admin"


# What does not exist


@pytest.mark.parametrize("odd", ["0", "x", "9" * 30, "a/b", "_5F", "gone"])
def test_the_pages_of_an_embed_that_does_not_exist_answer_as_djangos_own(
    admin: Client, kapso_sandbox: Sandbox, odd: str
) -> None:
    if odd == "gone":
        embed = make("revoked", kapso_sandbox)
        odd = str(embed.pk)
        delete_embed(embed)
    pages = [url(name, odd) for name in ("change", "history", "preview", "delete")]
    if odd.isdecimal():
        pages += [f"{url('verb', name)}?id={odd}" for name in VERBS]
    for page in pages:
        response = admin.get(page, follow=True)
        assert response.redirect_chain[-1] == (reverse("admin:index"), 302)
        assert "Perhaps it was deleted?" in response.text


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
            texts.append(client.get(url(name, embed.pk), follow=True).text)
    for verb in VERBS:
        texts.append(client.get(url("verb", verb), {"id": [one.pk for one in embeds]}).text)
        done = confirmed(client, verb, *embeds)[1]
        texts.append(client.get(done["Location"]).text)
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
        f"verbs/delete/?id={gone.pk}",
        f"verbs/rotate/?id={embed.pk}&id={gone.pk}",
    ):
        page = admin.get(start + path)
        assert page.status_code == 200
        assert '"/admin/' not in page.text
    sent = {"confirmed": "yes", "target": f"{embed.pk}:{embed.current_link_id}"}
    done = admin.post(f"{start}verbs/rotate/", sent)
    assert done["Location"] == f"{start}{embed.pk}/change/"
    several = {"confirmed": "yes", "target": [f"{embed.pk}:", f"{gone.pk}:"]}
    page = admin.post(f"{start}verbs/refresh/", several, follow=True)
    assert page.redirect_chain[0][0].startswith(f"{start}results/")
    assert f'"{start}{embed.pk}/change/"' in page.text
    asked = admin.get(f"{start}{gone.pk}/delete/")
    assert asked["Location"] == f"{start}verbs/delete/?id={gone.pk}"
    for missing in (f"{gone.pk + 1}/preview/", f"verbs/rotate/?id={gone.pk + 1}"):
        assert admin.get(start + missing)["Location"] == "/crm-admin/"


def test_the_pages_of_an_embed_lead_to_it_by_its_name(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("works", kapso_sandbox)
    link = f'<a href="{url("change", embed.pk)}">{embed.name}</a>'
    assert f"<h2>{link}</h2>" in admin.get(url("preview", embed.pk)).text
    assert link in admin.get(url("delete", embed.pk), follow=True).text


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
    assert admin.get(f"{start}{gone.pk}/delete/", follow=True).status_code == 403
    assert InboxEmbed.objects.filter(pk=gone.pk).exists()
    assert admin.get(f"{start}own/").text == "A page of the host"
