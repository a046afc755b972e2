"""The health page: what kapso_doctor says, each finding with the button that fixes it."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone

from kapso_inbox.admin.entries import by_cause
from kapso_inbox.admin.health import FIXES
from kapso_inbox.admin.verbs import VERBS
from kapso_inbox.diagnosis.findings import MANY, Finding
from kapso_inbox.kapso import KapsoError
from kapso_inbox.lifecycle import create_embed, refresh_embed, rotate_embed
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed
from kapso_inbox.sandbox.engine import Sandbox
from tests.conftest import age_cache
from tests.hosts.database import connection
from tests.hosts.people import User

from .cases import CONDITIONS, FAULTS, assert_all_is_accounted_for, live, make, results, targets
from .conftest import MANAGING, url

pytestmark = pytest.mark.django_db


def found(page: Any) -> dict[str, dict[str, str]]:
    """Return the addresses of the buttons: code of the finding -> label -> address."""
    assert page.status_code == 200
    rows = [*page.context["wrong"], *page.context["fine"]]
    return {_of(row)[0].code: {b["label"]: b["url"] for b in _of(row)[1]} for row in rows}


def _of(row: Any) -> tuple[Any, list[dict[str, str]]]:
    return row.finding, row.buttons


def look(admin: Client) -> str:
    """Return the page, without the links around the names of embeds."""
    return without_links(admin.get(url("health")))


def without_links(page: Any) -> str:
    """Return a page without the links around the names of embeds."""
    return re.sub(r'<a href="[^"]*">([^<]*)</a>', r"\1", html.unescape(page.content.decode()))


def age(**by: float) -> None:
    """Move everything that happened to the links into the past."""
    before = timezone.now() - timedelta(**by)
    AccessLink.objects.update(created_at=before, state_changed_at=before)


#: condition -> the finding about it, and the verb that fixes it.
FIXED = {
    "unmanaged": ("link-unmanaged", "adopt"),
    "expires soon": ("link-expires-soon", "extend"),
    "expired": ("link-expired", "extend"),
    "revoked": ("embed-revoked", "rotate"),
    "waits to be made": ("link-unknown", "resolve"),
    "waits to be revoked": ("revocation-stuck", "resolve"),
    "works, an older one waits": ("revocation-stuck", "resolve"),
    "no link": ("embed-without-link", "rotate"),
}


@pytest.mark.parametrize("condition", FIXED)
def test_each_finding_has_a_button_that_leads_to_its_fix(
    admin: Client, kapso_sandbox: Sandbox, condition: str
) -> None:
    make(condition, kapso_sandbox, allowed_origins=["https://crm.example.com"])
    age(hours=1)
    code, verb = FIXED[condition]
    buttons = found(admin.get(url("health")))[code]
    address = buttons[str(VERBS[verb].label)]
    assert admin.get(address).context["possible"] == 1


def test_a_stuck_revocation_is_resumed_and_the_link_that_works_stays(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("works, an older one waits", kapso_sandbox)
    assert embed.current_link is not None
    age(hours=1)
    [address] = found(admin.get(url("health")))["revocation-stuck"].values()
    asked = admin.get(address)
    sent = {"confirmed": "yes", "target": targets(asked)}
    [(outcome, _text)] = results(admin.post(asked.context["action_url"], sent))
    assert outcome == "done"
    assert live(kapso_sandbox) == [embed.current_link.kapso_id]
    embed.refresh_from_db()
    assert embed.obstacle() is None
    assert set(embed.links.values_list("state", flat=True)) == {"active", "revoked"}


@pytest.mark.table
@pytest.mark.parametrize("condition", CONDITIONS)
def test_no_button_leads_to_a_page_where_nothing_can_be_done(
    admin: Client, kapso_sandbox: Sandbox, condition: str
) -> None:
    make(condition, kapso_sandbox)
    age(hours=1)
    pressed = 0
    for buttons in found(admin.get(url("health"))).values():
        for label, address in buttons.items():
            if "/verbs/" in address:
                page = admin.get(address)
                assert page.context["possible"] == 1, label
                pressed += 1
    assert pressed or condition in ("works", "secret lost")


def test_a_lost_secret_is_fixed_by_a_new_link(admin: Client, kapso_sandbox: Sandbox) -> None:
    make("works", kapso_sandbox)
    AccessLink.objects.update(state="secret_lost", sealed_url="")
    buttons = found(admin.get(url("health")))["secret-lost"]
    assert admin.get(buttons["Rotate the link"]).context["possible"] == 1


def test_a_missing_encryption_key_is_reported(
    admin: Client, kapso_sandbox: Sandbox, settings: Any
) -> None:
    make("works", kapso_sandbox)
    other = {"other": "BBECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}
    settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, "ENCRYPTION_KEYS": other}
    page = admin.get(url("health"))
    assert "encryption-key-missing" in found(page)
    assert other["other"] not in page.text


def test_what_is_wrong_comes_before_what_is_fine(admin: Client, kapso_sandbox: Sandbox) -> None:
    make("revoked", kapso_sandbox)
    make("expired", kapso_sandbox, "old")
    page = admin.get(url("health"))
    levels = [_of(row)[0].level for row in page.context["wrong"]]
    assert levels == sorted(levels)
    assert {_of(row)[0].level for row in page.context["fine"]} == {"info"}


def groups(page: Any) -> list[tuple[str, list[str]]]:
    """Return the groups of what is wrong: the heading, and the codes below it."""
    return [
        (group.title, [entry.finding.code for entry in group.entries])
        for group in page.context["wrong_groups"]
    ]


def test_what_is_wrong_is_grouped_by_inbox_and_leads_to_it_by_name(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("expired", kapso_sandbox, "old")
    page = admin.get(url("health"))
    assert (embed.name, ["link-expired", "origins-none"]) in groups(page)
    assert f'<a href="{url("change", embed.pk)}">{embed.name}</a>' in page.text
    link = f'<a href="{url("change", embed.pk)}">{embed.name}</a>'
    assert f"“{link}” has not opened since" in html.unescape(page.text)


def test_what_is_said_about_the_site_leads_to_the_inboxes_that_it_mentions(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("works", kapso_sandbox, name="Sales <b>& “co”</b>")
    text = admin.get(url("health")).text
    name = "Sales &lt;b&gt;&amp; “co”&lt;/b&gt;"
    assert f'knows the inbox “<a href="{url("change", embed.pk)}">{name}</a>”' in text
    assert embed.name not in text


def test_a_project_is_not_taken_for_an_inbox_of_the_same_slug(
    admin: Client, kapso_sandbox: Sandbox, settings: Any
) -> None:
    make("works", kapso_sandbox, "default", name="Front desk")
    settings.KAPSO_INBOX = {"ALLOWED_ORIGINS": []}
    assert "The Kapso project “default” has no API key" in html.unescape(
        admin.get(url("health")).text
    )


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "Kapso's list could not be read. Kapso refused the API key. The health page says"),
        ("es", "Kapso rechazó la clave de API. La página de diagnóstico dice más."),
        ("pt-br", "O Kapso recusou a chave de API. A página de diagnóstico diz mais."),
    ],
)
def test_what_fails_at_kapso_is_told_in_the_readers_language(
    admin: Client,
    kapso_sandbox: Sandbox,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
    language: str,
    told: str,
) -> None:
    settings.LANGUAGE_CODE = language
    kapso_sandbox.fail_next(**FAULTS["401"], times=99)
    [said] = told_by(admin)
    assert told in said
    assert "HTTP" not in said
    # What operators search for in a log is always in English.
    assert "Kapso's list could not be read. Kapso refused the API key (HTTP 401" in caplog.text


def test_a_cause_of_several_failures_is_told_once_with_what_to_do(
    admin: Client, kapso_sandbox: Sandbox, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    make("waits to be revoked", kapso_sandbox)
    kapso_sandbox.fail_next(drop="after", times=99)
    link = AccessLink.objects.get()
    assert told_by(admin) == [
        f"Kapso's list could not be read. {link} of the inbox “The sales inbox” is not revoked "
        "yet. Kapso's answer did not arrive or cannot be read. Try again in a few minutes."
    ]
    # What went wrong on the way is for operators, in English.
    assert "The connection to Kapso broke" in caplog.text
    settings.LANGUAGE_CODE = "es"
    [said] = told_by(admin)
    assert said.count("La respuesta de Kapso no llegó") == 1
    assert said.endswith("Vuelva a intentarlo dentro de unos minutos.")
    assert "Kapso may" not in said


def test_what_refers_to_the_health_page_leads_there(admin: Client, kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.fail_next(**FAULTS["401"], times=99)
    response = admin.post(url("sync"), {"back": "changelist"})
    [said] = get_messages(response.wsgi_request)
    assert f'<a href="{url("health")}">The health page says more.</a>' in str(said)


def test_a_problem_of_an_inbox_leads_to_it_by_name(admin: Client, kapso_sandbox: Sandbox) -> None:
    embed = make("works", kapso_sandbox, name="Sales & more")
    assert embed.current_link is not None
    kapso_sandbox.project().embeds[embed.current_link.kapso_id]["scope_type"] = "customer"
    response = admin.post(url("sync"))
    [said, *_rest] = [str(one) for one in get_messages(response.wsgi_request)]
    link = f'<a href="{url("change", embed.pk)}">Sales &amp; more</a>'
    assert f"the link of the inbox “{link}” shows conversations that it was not created for" in said


def test_a_cause_that_several_inboxes_share_has_one_instruction(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    for slug in ("one", "two"):
        make("works", kapso_sandbox, slug)
    page = admin.get(url("health"))
    assert ("Several inboxes", ["origins-none", "origins-none"]) in groups(page)
    assert page.text.count("Set its allowed origins to those of this site only") == 1
    for embed in InboxEmbed.objects.all():
        assert f'<a href="{url("change", embed.pk)}">' in page.text


def test_an_inbox_has_each_button_once(admin: Client, kapso_sandbox: Sandbox) -> None:
    make("works", kapso_sandbox, allowed_origins=["http://localhost:8000"])
    page = admin.get(url("health"))
    codes = {entry.finding.code for entry in page.context["wrong"]}
    assert {"origins-local", "origins-miss-site"} <= codes
    assert page.text.count("Change its origins") == 1


def test_an_inbox_that_does_not_open_is_an_error_whatever_the_cause(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    make("expired", kapso_sandbox, "old")
    make("no link", kapso_sandbox, "none")
    make("works", kapso_sandbox, "lost")
    AccessLink.objects.filter(embed__slug="lost").update(state="secret_lost", sealed_url="")
    levels = {
        one.finding.code: one.finding.level for one in admin.get(url("health")).context["wrong"]
    }
    for code in ("link-expired", "embed-without-link", "secret-lost"):
        assert levels[code] == "error"


def test_codes_and_commands_are_folded_where_a_button_does_it(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    make("waits to be made", kapso_sandbox)
    age(hours=1)
    text = admin.get(url("health")).text
    before, _summary, folded = text.partition("link-unknown")[0].rpartition("<summary>")
    assert "manage.py kapso_sync looks for it" not in before
    assert "link-unknown" not in before
    assert "Technical details" in folded


def folded(page: Any) -> str:
    """Return what is folded under “Technical details”."""
    return " ".join(re.findall("<details.*?</details>", html.unescape(page.text), re.DOTALL))


def unfolded(page: Any) -> str:
    """Return what is not folded, without the links around the names of embeds."""
    return re.sub("<details.*?</details>", "", without_links(page), flags=re.DOTALL)


def test_several_links_of_one_inbox_with_one_cause_are_one_entry_with_their_number(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    embed = make("works", kapso_sandbox)
    for _ in range(2):
        kapso_sandbox.fail_next(method="POST", drop="after")
        with suppress(KapsoError):
            rotate_embed(embed)
    page = admin.get(url("health"))
    told = "Kapso may have created a link for the inbox “The sales inbox” that is not known here."
    assert unfolded(page).count(told) == 1
    assert f"{told} There are 2 such links." in unfolded(page)
    assert unfolded(page).count("Find out what became of it") == 1
    for link in AccessLink.objects.filter(state="unknown"):
        assert f"In Kapso its name ends in {link}." in folded(page)


def test_findings_about_no_inbox_are_each_an_entry_of_their_own() -> None:
    alike = [Finding("kapso_inbox.W001", "warning", "The same."), *[Finding("a", "info", "b")] * 2]
    assert [len(together) for together in by_cause(alike)] == [1, 1, 1]


def test_names_of_settings_and_codes_are_folded(
    admin: Client, kapso_sandbox: Sandbox, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["crm.example.com", "testserver"]
    make("works", kapso_sandbox, name="Sales", allowed_origins=["https://other.example"])
    elsewhere = make("unmanaged", kapso_sandbox, name="Made elsewhere")
    page = admin.get(url("health"))
    assert (
        "The inbox “Sales” stays blank on this site: it may only be shown by https://other.example."
        in unfolded(page)
    )
    assert "The inbox “Made elsewhere” works at Kapso and was not created here." in unfolded(page)
    for technical in ("ALLOWED_HOSTS", elsewhere.slug):
        assert technical not in unfolded(page)
        assert technical in folded(page)


def test_more_than_are_listed_come_last_of_their_kind_and_lead_to_the_list_of_all(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    for number in range(MANY + 3):
        InboxEmbed.objects.create(slug=f"inbox-{number:02}", name=f"Inbox {number:02}")
    page = admin.get(url("health"))
    assert ("Several inboxes", ["embed-without-link"] * (MANY + 1)) in groups(page)
    assert "3 more inboxes have the state “No link”." in unfolded(page)
    address = f"{url('changelist')}?state=no_link"
    assert f'<a href="{address}">No link</a>' in page.text
    assert admin.get(address).context["cl"].result_count == MANY + 3


def test_more_than_are_listed_are_one_group_even_if_each_has_a_button(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    for number in range(MANY + 1):
        one = InboxEmbed.objects.create(slug=f"inbox-{number:02}", name=f"Inbox {number:02}")
        AccessLink.objects.create(embed=one, state="unknown")
    page = admin.get(url("health"))
    assert ("Several inboxes", ["link-unknown"] * (MANY + 1)) in groups(page)
    assert "And 1 more like this." in unfolded(page)
    assert unfolded(page).count("Find out what became of it") == MANY


def test_a_button_checks_again(admin: Client, kapso_sandbox: Sandbox) -> None:
    assert f'<a class="kapso-button" href="{url("health")}">Check again</a>' in look(admin)


def test_times_are_in_the_readers_language_and_no_sentence_ends_in_two_full_stops(
    admin: Client, kapso_sandbox: Sandbox, settings: Any
) -> None:
    make("expired", kapso_sandbox, "old")
    make("expires soon", kapso_sandbox, "soon")
    assert "m.." not in look(admin)
    assert "On 20" not in look(admin)
    settings.LANGUAGE_CODE = "es"
    assert "a las " in look(admin)


def test_origins_are_fixed_in_the_form(admin: Client, kapso_sandbox: Sandbox) -> None:
    embed = make("works", kapso_sandbox)
    assert found(admin.get(url("health")))["origins-none"] == {
        "Change its origins": url("change", embed.pk)
    }


def test_without_embeds_a_button_adds_the_first(admin: Client, kapso_sandbox: Sandbox) -> None:
    assert found(admin.get(url("health")))["no-embeds"] == {"Add an inbox": url("add")}


@pytest.mark.table
@pytest.mark.parametrize("fault", FAULTS)
def test_it_answers_whatever_kapso_does(admin: Client, kapso_sandbox: Sandbox, fault: str) -> None:
    make("works", kapso_sandbox)
    kapso_sandbox.fail_next(**FAULTS[fault], times=99)
    assert found(admin.get(url("health")))
    assert_all_is_accounted_for(kapso_sandbox)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"API_KEY": "k\n"},
        {"API_KEY": 3, "PROJECTS": 4, "ENCRYPTION_KEYS": 5},
        {"API_KEY": "k" * 9, "PROJECTS": {"b": {"API_KEY": "l" * 9}}},
    ],
)
def test_it_answers_whatever_the_settings_are(
    admin: Client, kapso_sandbox: Sandbox, settings: Any, broken: dict[str, Any]
) -> None:
    make("works", kapso_sandbox)
    settings.KAPSO_INBOX = broken
    kapso_sandbox.fail_next(**FAULTS["401"], times=99)
    page = admin.get(url("health"))
    assert page.status_code == 200
    assert page.context["wrong"]


def test_looking_for_inboxes_keeps_the_filters_of_the_list(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    filtered = f"{url('changelist')}?q=sales&state=works"
    address = re.search(r'<form method="post" action="([^"]*sync[^"]*)"', admin.get(filtered).text)
    assert address is not None
    done = admin.post(html.unescape(address[1]), {"back": "changelist"})
    assert done["Location"] == filtered


def test_looking_again_and_again_asks_kapso_every_ten_seconds(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    create_embed(slug="sales", name="Sales")
    kapso_sandbox.requests.clear()
    pages = {look(admin) for _ in range(5)}
    assert len(kapso_sandbox.requests) == 1
    assert all("knows the inbox “Sales”" in page for page in pages)
    age_cache(10)
    look(admin)
    assert len(kapso_sandbox.requests) == 2


def test_what_somebody_pressed_is_seen_at_once(admin: Client, kapso_sandbox: Sandbox) -> None:
    embed = create_embed(slug="sales", name="Sales")
    kapso_sandbox.project().revoke(AccessLink.objects.get().kapso_id)
    assert "was revoked in Kapso" in look(admin)
    refresh_embed(embed)
    assert "was revoked in Kapso" not in look(admin)


def test_looking_changes_nothing(admin: Client, kapso_sandbox: Sandbox) -> None:
    for number, condition in enumerate(CONDITIONS):
        make(condition, kapso_sandbox, f"s{number}")
    before = list(InboxEmbed.objects.values()), list(AccessLink.objects.values())
    kapso_sandbox.requests.clear()
    assert admin.get(url("health")).status_code == 200
    assert (list(InboxEmbed.objects.values()), list(AccessLink.objects.values())) == before
    assert {request.method for request in kapso_sandbox.requests} == {"GET"}


def test_users_see_only_the_buttons_that_they_may_press(
    client: Client, kapso_sandbox: Sandbox, make_administrator: Callable[..., User]
) -> None:
    make("unmanaged", kapso_sandbox)
    for one, expected in (
        ("view", set()),
        ("change", {"Adopt"}),
        ("delete", {"Revoke"}),
    ):
        client.force_login(make_administrator(one, one, "view"))
        assert found(client.get(url("health")))["link-unmanaged"].keys() == expected


def test_every_code_with_a_button_is_a_code_of_the_doctor() -> None:
    from pathlib import Path

    import kapso_inbox.diagnosis

    folder = Path(kapso_inbox.diagnosis.__file__).parent
    source = "".join(path.read_text() for path in folder.glob("*.py"))
    assert not [code for code in FIXES if f'"{code}"' not in source]


# The sync


def press_sync(client: Client, **data: str) -> tuple[Any, str]:
    """Press the button, and return the page that follows and what is told."""
    response = client.post(url("sync"), data, follow=True)
    return response, " ".join(map(str, get_messages(response.wsgi_request))) + response.text


def told_by(client: Client, **data: str) -> list[str]:
    """Press the button, and return its messages as people read them."""
    response = client.post(url("sync"), data)
    said = [str(one) for one in get_messages(response.wsgi_request)]
    client.get(response["Location"])  # Which shows them, and so they are told once.
    return [html.unescape(re.sub("<[^>]*>", "", one)) for one in said]


def make_at_kapso(sandbox: Sandbox, count: int, api_key: str | None = None) -> None:
    """Make inboxes at Kapso that nobody here knows."""
    for number in range(count):
        sandbox.project(api_key).create({"name": f"Elsewhere {number}", "scope_type": "project"})


def test_a_button_syncs_where_no_sync_runs(admin: Client, kapso_sandbox: Sandbox) -> None:
    make("works", kapso_sandbox)
    age(days=2)
    assert found(admin.get(url("health")))["sync-not-running"] == {
        "Look for inboxes at Kapso": url("sync")
    }
    kapso_sandbox.project().create({"name": "Made elsewhere", "scope_type": "project"})
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    try:
        response, told = press_sync(admin, project="default")
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False
    assert response.redirect_chain == [(url("health"), 302)]
    assert "Found 1 inbox at Kapso that was not known here." in told
    assert InboxEmbed.objects.filter(name="Made elsewhere").exists()
    assert "sync-not-running" not in found(response)


@pytest.mark.table
@pytest.mark.parametrize("times", [1, 99])
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_kapso_does_a_sync_answers_and_loses_nothing(
    admin: Client, kapso_sandbox: Sandbox, fault: str, times: int
) -> None:
    make("waits to be made", kapso_sandbox)
    make("waits to be revoked", kapso_sandbox, "other")
    if fault == "404" and times > 1:
        kapso_sandbox.project().embeds.clear()  # Then the repeated 404 is true.
    kapso_sandbox.fail_next(**FAULTS[fault], times=times)
    response, told = press_sync(admin)
    assert response.status_code == 200
    assert told
    assert_all_is_accounted_for(kapso_sandbox)


@pytest.mark.parametrize(
    "broken",
    [
        {"API_KEY": "k\n k"},
        {"API_KEY": ""},
        {"API_KEY": "k" * 9, "BASE_URL": "http://elsewhere.example"},
        {"ENCRYPTION_KEYS": {}, "RENEW_BEFORE": 10**6},
    ],
)
def test_a_sync_reports_settings_that_are_not_valid(
    admin: Client, kapso_sandbox: Sandbox, settings: Any, broken: dict[str, Any]
) -> None:
    make("expires soon", kapso_sandbox)
    settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, **broken}
    response, told = press_sync(admin)
    assert response.status_code in (200, 404)
    assert told
    assert len(live(kapso_sandbox)) == 1


def test_a_sync_requires_a_post_and_a_configured_project(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    assert admin.get(url("sync"), {"project": "default"})["Location"] == url("health")
    for project in ("other", "\x00"):
        assert admin.post(url("sync"), {"project": project}).status_code == 404
    assert kapso_sandbox.requests == []


def test_whoever_has_no_shell_finds_what_lives_at_kapso(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    make_at_kapso(kapso_sandbox, 3)
    assert told_by(admin) == [
        "Found 3 inboxes at Kapso that were not known here. Their state is “Unmanaged”. Adopt "
        "those that you want to use here, and leave the others alone."
    ]
    page = admin.get(url("changelist"), {"state": "unmanaged"})
    assert page.context["cl"].result_count == 3
    assert told_by(admin) == ["Found no inbox at Kapso that is not listed here."]
    make_at_kapso(kapso_sandbox, 1)
    assert told_by(admin) == [
        "Found 1 inbox at Kapso that was not known here. Its state is “Unmanaged”. Adopt it to use "
        "it here, or leave it alone."
    ]


def test_whoever_looks_learns_what_else_was_done_and_is_on_record_for_it(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    make("works, an older one waits", kapso_sandbox)
    make("waits to be made", kapso_sandbox, "other")
    assert told_by(admin) == [
        "Found no inbox at Kapso that is not listed here.",
        "This was also done: uncertain links settled: 1; links revoked at Kapso: 2.",
    ]
    assert InboxChange.objects.get(action="settled").username == "admin"


def test_it_leads_back_to_the_page_it_was_pressed_on(admin: Client, kapso_sandbox: Sandbox) -> None:
    for data, page in (
        ({}, "health"),
        ({"back": "health"}, "health"),
        ({"back": "changelist"}, "changelist"),
        ({"back": "https://elsewhere.example/"}, "health"),
    ):
        response = admin.post(url("sync"), data)
        assert (response.status_code, response["Location"]) == (302, url(page))


def test_all_projects_are_looked_through_and_a_refused_key_is_told(
    admin: Client, kapso_sandbox: Sandbox, settings: Any
) -> None:
    settings.KAPSO_INBOX = {
        **settings.KAPSO_INBOX,
        "PROJECTS": {"clinic": {"API_KEY": "clinic-key"}, "gone": {"API_KEY": "no-such-key"}},
    }
    kapso_sandbox.add_project("clinic-key")
    make_at_kapso(kapso_sandbox, 1)
    make_at_kapso(kapso_sandbox, 2, "clinic-key")
    refused, found = told_by(admin)
    assert refused.startswith("gone: ")
    assert "API key" in refused
    assert found.startswith("Found 3 inboxes at Kapso that were not known here.")


@pytest.mark.parametrize("fault", ["401", "500", "no connection"])
def test_nothing_is_said_to_be_found_where_kapso_said_nothing(
    admin: Client, kapso_sandbox: Sandbox, fault: str
) -> None:
    make_at_kapso(kapso_sandbox, 1)
    kapso_sandbox.fail_next(**FAULTS[fault], times=99)
    [told] = told_by(admin)
    assert "Found" not in told
    assert not InboxEmbed.objects.exists()


def test_without_a_project_the_missing_setting_is_named(
    admin: Client, kapso_sandbox: Sandbox, settings: Any
) -> None:
    settings.KAPSO_INBOX = {}
    [told] = told_by(admin)
    assert "API_KEY" in told


def test_inboxes_of_others_in_a_shared_project_are_said_to_be_left_out(
    admin: Client, kapso_sandbox: Sandbox, settings: Any
) -> None:
    settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, "SHARED_PROJECTS": True}
    make_at_kapso(kapso_sandbox, 1)
    assert told_by(admin) == [
        "Found no inbox at Kapso that is not listed here. Inboxes of other sites that share the "
        "project are left out."
    ]


MAY_LIVE = "There may be inboxes at Kapso that are not known here."
PRESS = "press “Look for inboxes at Kapso”"


def test_an_empty_database_says_that_inboxes_may_live_at_kapso(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    for name in ("changelist", "health"):
        text = admin.get(url(name)).text
        assert MAY_LIVE in text, name
        assert PRESS in text, name
        assert "Nothing is wrong" not in text, name
    create_embed(slug="sales", name="Sales", allowed_origins=["http://testserver"])
    assert MAY_LIVE not in admin.get(url("changelist")).text
    # Its link was made here, and Kapso's list was never read.
    assert MAY_LIVE in look(admin)
    assert "Nothing is wrong." not in look(admin)
    told_by(admin)
    assert MAY_LIVE not in look(admin)


def test_a_search_that_finds_nothing_is_not_an_empty_list(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    make("works", kapso_sandbox)
    page = admin.get(url("changelist"), {"q": "nothing like this"})
    assert page.context["cl"].result_count == 0
    assert MAY_LIVE not in page.text


def test_the_button_is_there_for_those_who_may_press_it(
    client: Client, kapso_sandbox: Sandbox, make_administrator: Callable[..., User]
) -> None:
    for one, is_there in (("view", False), ("change", True)):
        client.force_login(make_administrator(one, one))
        for name in ("changelist", "health"):
            text = client.get(url(name)).text
            assert (f'action="{url("sync")}"' in text) == is_there
            assert (PRESS in text) == is_there
        assert client.post(url("sync")).status_code == (302 if is_there else 403)


def test_a_sync_from_another_site_is_refused(administrator: User, kapso_sandbox: Sandbox) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(administrator)
    assert browser.post(url("sync"), {"project": "default"}).status_code == 403
    for name in VERBS:
        assert browser.post(url("verb", name), {"confirmed": "yes"}).status_code == 403
    assert kapso_sandbox.requests == []


def test_every_verb_requires_a_permission_of_django() -> None:
    assert {verb.permission for verb in VERBS.values()} <= set(MANAGING)
