"""A user's own theme and filters, chosen in the frame."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import DatabaseError
from django.http import HttpResponse
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from kapso_inbox.inbox import preferences
from kapso_inbox.lifecycle import create_embed
from kapso_inbox.models import InboxEmbed, InboxPreference, LaunchAttempt
from kapso_inbox.sandbox.engine import Answer, Sandbox
from tests.conftest import FRAME
from tests.hosts.database import connection
from tests.hosts.people import User

pytestmark = pytest.mark.django_db

SETTINGS = "/kapso-inbox/sales/settings/"
LAUNCH = "/kapso-inbox/sales/launch/"
AS_THE_PAGE_ASKS = {"mode": "", "language": "", "status": "", "whatsapp_config_id": ""}


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    cache.clear()


@pytest.fixture
def agent(client: Client, ana: User, embed: InboxEmbed) -> Client:
    """Return the browser of an agent who may open the embed."""
    client.force_login(ana)
    return client


def show(client: Client, query: str = "", **headers: str) -> Any:
    return client.get(SETTINGS + query, **(headers or FRAME))  # type: ignore[arg-type]


def save(client: Client, query: str = "", /, **values: str) -> Any:
    return client.post(SETTINGS + query, {**AS_THE_PAGE_ASKS, **values}, **FRAME)  # type: ignore[arg-type]


def page(response: HttpResponse) -> str:
    assert response.status_code == 200, response.content
    return html.unescape(response.content.decode())


def saved() -> dict[str, Any]:
    return dict(InboxPreference.objects.get().params)


def options(response: HttpResponse, name: str) -> list[str]:
    """Return the labels of a list's options."""
    [select] = re.findall(rf'<select name="{name}".*?</select>', page(response), re.DOTALL)
    return re.findall(r"<option[^>]*>(.*?)</option>", select)


def chosen(response: HttpResponse) -> list[str]:
    """Return the values chosen in the lists, and the names of the ticked boxes."""
    text = page(response)
    return re.findall(r'<option value="([^"]+)" selected>', text) + re.findall(
        r'<input type="checkbox" name="(\w+)"[^>]* checked', text
    )


def test_what_a_user_chooses_is_saved_and_leads_to_the_inbox(
    agent: Client, ana: User, embed: InboxEmbed
) -> None:
    response = save(agent, "", mode="dark", status="all", unread="on")
    assert (response.status_code, response["Location"]) == (303, "../launch/")
    assert InboxPreference.objects.get(user=ana, embed=embed).params == {
        "mode": "dark",
        "status": "all",
        "unread": "1",
    }
    launched = agent.get(LAUNCH, **FRAME)  # type: ignore[arg-type]
    assert parse_qs(urlsplit(launched["Location"]).query) == {
        "mode": ["dark"],
        "status": ["all"],
        "unread": ["1"],
    }
    assert chosen(show(agent)) == ["dark", "all", "unread"]


def test_the_redirect_leads_a_frame_into_the_inbox(agent: Client) -> None:
    origin = {**FRAME, "HTTP_REFERER": "http://testserver/"}
    response: Any = agent.post(SETTINGS, {"mode": "dark"}, follow=False, **origin)  # type: ignore[arg-type]
    launched = agent.get(SETTINGS.replace("settings/", "launch/"), **origin)  # type: ignore[arg-type]
    assert response["Location"] == "../launch/"
    assert launched.status_code == 302


def test_a_blank_choice_removes_the_saved_one(agent: Client) -> None:
    save(agent, "", mode="dark", unread="on")
    save(agent, "")
    assert saved() == {}
    assert chosen(show(agent)) == []


def test_parameters_that_the_form_does_not_offer_are_kept(
    agent: Client, ana: User, embed: InboxEmbed
) -> None:
    params = {"search": "+55", "whatsapp_config_id": "all", "mode": "pink"}
    InboxPreference.objects.create(user=ana, embed=embed, params=params)
    InboxEmbed.objects.update(scope_type="phone_number")
    save(agent, "", language="es")
    assert saved() == {"search": "+55", "whatsapp_config_id": "all", "language": "es"}


def test_a_choice_is_for_one_user_and_one_embed(
    agent: Client, embed: InboxEmbed, make_agent: Callable[..., User]
) -> None:
    bo = make_agent("bo", *embed.groups.all())
    InboxPreference.objects.create(user=bo, embed=embed, params={"mode": "light"})
    save(agent, "", mode="dark")
    assert InboxPreference.objects.get(user=bo).params == {"mode": "light"}
    create_embed(slug="other", name="Other")
    other: Any = agent.get("/kapso-inbox/other/settings/", **FRAME)  # type: ignore[arg-type]
    assert chosen(other) == []


# The wishes of the page


def test_the_pages_own_wishes_are_shown_and_go_back_to_the_launch(agent: Client) -> None:
    query = "?mode=dark&unread=1&search=%2B55"
    shown = show(agent, query)
    assert "This page is set to “Dark”. Your choice applies on other pages." in page(shown)
    assert page(shown).count("Your choice applies") == 2
    assert f'<a href="../launch/{query}">Back</a>' in page(shown)
    assert save(agent, query, mode="light")["Location"] == f"../launch/{query}"
    assert saved() == {"mode": "light"}
    launched = agent.get(LAUNCH + query, **FRAME)  # type: ignore[arg-type]
    assert "mode=dark" in launched["Location"]


def test_the_page_has_the_theme_of_the_inbox(agent: Client) -> None:
    def theme(query: str = "") -> str:
        [found] = re.findall(r'kapso-inbox-message--(\w+)"', page(show(agent, query)))
        return str(found)

    assert theme() == "system"
    InboxEmbed.objects.update(default_mode="light")
    assert theme() == "light"
    save(agent, "", mode="dark")
    assert (theme(), theme("?mode=light")) == ("dark", "light")


# Numbers


def test_an_inbox_of_a_whole_project_offers_its_numbers(
    agent: Client, kapso_sandbox: Sandbox
) -> None:
    number = kapso_sandbox.project().phone_numbers[0]
    names = options(show(agent), "whatsapp_config_id")
    assert names[:2] == ["Default", "All numbers"]
    assert f"{number['name']} · {number['display_phone_number']}" in names
    save(agent, "", whatsapp_config_id=number["internal_id"])
    assert saved() == {"whatsapp_config_id": number["internal_id"]}
    assert chosen(show(agent)) == [number["internal_id"]]


def test_a_number_that_kapso_no_longer_lists_stays_chosen(
    agent: Client, ana: User, embed: InboxEmbed
) -> None:
    gone = {"whatsapp_config_id": "123e4567-e89b-12d3-a456-426614174000"}
    InboxPreference.objects.create(user=ana, embed=embed, params=gone)
    assert chosen(show(agent)) == [gone["whatsapp_config_id"]]
    save(agent, "", **gone)
    assert saved() == gone


@pytest.mark.parametrize("scope", ["phone_number", "customer"])
def test_an_inbox_with_a_smaller_scope_does_not_reveal_the_projects_numbers(
    agent: Client, kapso_sandbox: Sandbox, scope: str
) -> None:
    InboxEmbed.objects.update(scope_type=scope)
    sent = len(kapso_sandbox.requests)
    text = page(show(agent))
    assert "whatsapp_config_id" not in text
    numbers = kapso_sandbox.project().phone_numbers
    assert not any(number["display_phone_number"] in text for number in numbers)
    assert len(kapso_sandbox.requests) == sent


@pytest.mark.parametrize("fault", [{"drop": "before", "times": 9}, {"delay": 30, "times": 9}])
def test_without_an_answer_from_kapso_everything_but_the_number_can_be_chosen(
    agent: Client, ana: User, embed: InboxEmbed, kapso_sandbox: Sandbox, fault: dict[str, Any]
) -> None:
    params = {"whatsapp_config_id": "all"}
    InboxPreference.objects.create(user=ana, embed=embed, params=params)
    kapso_sandbox.fail_next(**fault)
    text = page(show(agent))
    assert "numbers could not be read" in text
    assert 'name="whatsapp_config_id"' not in text
    kapso_sandbox.fail_next(**fault)
    assert save(agent, "", mode="dark").status_code == 303
    assert saved() == {"whatsapp_config_id": "all", "mode": "dark"}


def test_hostile_names_are_escaped(agent: Client, kapso_sandbox: Sandbox) -> None:
    InboxEmbed.objects.update(name="<script>alert(1)</script>")
    number = kapso_sandbox.project().phone_numbers[0]
    number["name"] = "<script>alert(2)</script>"
    response = show(agent, f"?whatsapp_config_id={number['internal_id']}")
    assert b"<script>" not in response.content
    assert response.content.count(b"&lt;script&gt;alert(2)") == 2
    assert b"&lt;script&gt;alert(1)" in response.content


# Refusals


@pytest.mark.parametrize("name", ["mode", "language", "status", "whatsapp_config_id"])
def test_a_wrong_value_is_reported_at_its_field_and_nothing_is_saved(
    agent: Client, name: str
) -> None:
    response = save(agent, "", **{name: "pink"})
    text = page(response)
    [control] = re.findall(rf'<select name="{name}"[^>]*>', text)
    assert 'aria-invalid="true"' in control
    assert f'aria-describedby="id_{name}_error"' in control
    assert f'class="errorlist" id="id_{name}_error"' in text
    assert not InboxPreference.objects.exists()


@pytest.mark.parametrize("method", ["get", "post"])
def test_it_is_refused_whenever_a_launch_would_be_refused(
    client: Client, embed: InboxEmbed, make_agent: Callable[..., User], method: str
) -> None:
    def outcome(slug: str, query: str = "", headers: dict[str, str] = FRAME) -> str:
        ask = getattr(client, method)
        response = ask(f"/kapso-inbox/{slug}/settings/{query}", **headers)
        assert response["X-Frame-Options"] == "SAMEORIGIN"
        assert response["Cache-Control"] == "no-store, private"
        [found] = re.findall(r'data-outcome="(\w+)"', response.content.decode())
        return str(found)

    assert outcome("sales") == "signed_out"
    client.force_login(make_agent("bo"))
    assert outcome("sales") == outcome("nobodys") == "not_available"
    assert outcome("sales", headers={}) == "not_in_frame"
    assert outcome("sales", "?mode=pink") == "bad_parameter"
    assert outcome("sales", headers={**FRAME, "HTTP_SEC_FETCH_SITE": "cross-site"}) == (
        "not_in_frame"
    )
    assert not InboxPreference.objects.exists()
    # The two that came from no frame of this site are alike, and share one row.
    assert sum(LaunchAttempt.objects.filter(username="bo").values_list("times", flat=True)) == 5


def test_a_form_from_another_site_saves_nothing(ana: User, embed: InboxEmbed) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(ana)
    assert save(browser, "", mode="dark").status_code == 403
    assert not InboxPreference.objects.exists()
    [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page(show(browser)))
    assert save(browser, "", mode="dark", csrfmiddlewaretoken=token).status_code == 303


def test_a_host_without_the_csrf_middleware_is_protected_too(ana: User, embed: InboxEmbed) -> None:
    middleware = [name for name in settings.MIDDLEWARE if "csrf" not in name]
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(ana)
    with override_settings(MIDDLEWARE=middleware):
        assert save(browser, "", mode="dark").status_code == 403
    assert not InboxPreference.objects.exists()


def test_the_policy_allows_own_files_and_a_form_to_this_site_and_the_inbox(
    agent: Client,
) -> None:
    response = show(agent)
    assert response["Content-Security-Policy"] == (
        "default-src 'none'; style-src 'self'; script-src 'self'; base-uri 'none'; "
        "form-action 'self' https://inbox.kapso.ai; frame-ancestors 'self'"
    )
    assert response["X-Frame-Options"] == "SAMEORIGIN"
    assert response["Referrer-Policy"] == "strict-origin"
    assert b"<style" not in response.content
    assert re.findall(rb"<script[^>]*>", response.content) == [
        b'<script src="/static/kapso_inbox/notifications.js" defer>'
    ]
    assert set(response.cookies) == {"csrftoken"}


def test_it_makes_few_queries_and_one_request(
    agent: Client, kapso_sandbox: Sandbox, django_assert_max_num_queries: Any
) -> None:
    sent = len(kapso_sandbox.requests)
    with django_assert_max_num_queries(8):
        show(agent)
    show(agent)
    assert len(kapso_sandbox.requests) == sent + 1


def test_a_malformed_answer_from_kapso_does_not_break_the_page(
    agent: Client, kapso_sandbox: Sandbox
) -> None:
    kapso_sandbox.fail_next(answer=Answer(200, "not json"), times=9)
    assert "numbers could not be read" in page(show(agent))


def test_the_secret_address_is_not_in_the_page(agent: Client, kapso_sandbox: Sandbox) -> None:
    [record] = kapso_sandbox.project().active_embeds()
    shown = show(agent)
    answers = [shown, save(agent, "", mode="dark"), save(agent, "", mode="pink")]
    assert [answer.status_code for answer in answers] == [200, 303, 200]
    for answer in answers:
        assert record["token"] not in f"{answer.headers}{answer.content!r}"


@pytest.mark.django_db(transaction=True)
def test_a_choice_that_cannot_be_saved_is_reported_on_our_page(agent: Client) -> None:
    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith(("INSERT", "UPDATE")) and "inboxpreference" in sql:
            raise DatabaseError("disk full")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        response = save(agent, mode="dark")
    assert response.status_code == 503
    assert b'data-outcome="not_recorded"' in response.content
    assert not InboxPreference.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_choice_is_saved_in_a_transaction_that_begins_with_a_write(
    ana: User, embed: InboxEmbed
) -> None:
    """On SQLite, a transaction that reads first cannot always write later, and fails at once."""
    preferences.save(ana, embed, {"mode": "dark"}, decided=["mode"])
    with CaptureQueriesContext(connection) as captured:
        preferences.save(ana, embed, {"mode": "light"}, decided=["mode"])
    said = [one["sql"].split()[0] for one in captured]
    begin = next(n for n, word in enumerate(said) if word in ("BEGIN", "UPDATE"))
    assert next(word for word in said[begin:] if word != "BEGIN") == "UPDATE"


def test_a_form_with_an_outdated_token_is_answered_in_the_frame(
    ana: User, embed: InboxEmbed
) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(ana)
    response = save(strict, mode="dark")
    assert response.status_code == 403
    assert response["X-Frame-Options"] == "SAMEORIGIN"
    assert not InboxPreference.objects.exists()
    token = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page(show(strict)))[0]
    assert save(strict, mode="dark", csrfmiddlewaretoken=token).status_code == 303
