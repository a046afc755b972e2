"""The admin's page of the webhooks at Kapso, and the way there from the health page."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client, override_settings
from django.utils import timezone

from kapso_inbox.conversations.models import Conversation, WebhookDelivery
from kapso_inbox.sandbox.engine import Sandbox

from .conftest import SECRET

pytestmark = pytest.mark.django_db

PAGE = "/admin/kapso_conversations/webhookdelivery/webhooks/"
HEALTH = "/admin/kapso_inbox/inboxembed/health/"
SITE = "https://crm.example.com"
ADDRESS = f"{SITE}/kapso-inbox/webhooks/default/"
OTHER = "https://www.example.com"


@pytest.fixture(autouse=True)
def _hosts(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["testserver", "crm.example.com", "www.example.com"]
    cache.clear()


def press(client: Client, verb: str, site: str = SITE, **data: str) -> Any:
    sent = {"project": "default", "site": site, "verb": verb, **data}
    return client.post(PAGE, sent, follow=True)


def register(site: str) -> None:
    """Create a site's webhooks as another deployment does: without knowing this one's hosts."""
    with override_settings(ALLOWED_HOSTS=[]):
        call_command("kapso_webhooks", "--set", site, verbosity=0)


def webhooks(sandbox: Sandbox) -> list[dict[str, Any]]:
    return list(sandbox.project().webhooks.records.values())


def field_of(page: str) -> str:
    """Return what the field for the address of the site holds."""
    field = re.search(r'<input type="url"[^>]*>', page)
    assert field is not None
    value = re.search(r'value="([^"]*)"', field[0])
    return unescape(value[1]) if value else ""


def test_an_administrator_sees_and_creates_the_webhooks(
    kapso_sandbox: Sandbox, admin_client: Client
) -> None:
    page = admin_client.get(PAGE).text
    assert page.count("Missing") == 4
    page = press(admin_client, "set").text
    assert "4 webhooks were created." in page
    assert page.count("Delivers") == 4
    assert page.count("The address in the field below") == 4
    assert ADDRESS in page
    assert SECRET not in page
    assert "4 webhooks were updated." in press(admin_client, "set").text
    assert "Kapso sent 4 test events." in press(admin_client, "test").text


def test_the_field_has_the_address_that_kapso_knows_and_otherwise_the_browsers(
    kapso_sandbox: Sandbox, admin_client: Client
) -> None:
    assert field_of(admin_client.get(PAGE).text) == "https://testserver"
    register("https://staging.example.com")
    assert field_of(admin_client.get(PAGE).text) == "https://testserver"
    # What ALLOWED_HOSTS allows may be another deployment's all the same.
    register(SITE)
    assert field_of(admin_client.get(PAGE).text) == "https://testserver"


@pytest.mark.parametrize("hosts", [["localhost", "127.0.0.1", "testserver"], ["*"]])
def test_on_this_machine_all_names_of_it_are_one_site(
    kapso_sandbox: Sandbox, admin_client: Client, settings: Any, hosts: list[str]
) -> None:
    settings.ALLOWED_HOSTS = hosts
    press(admin_client, "set", "http://127.0.0.1:8100")
    page = admin_client.get(PAGE, headers={"host": "localhost:8100"}).text
    assert field_of(page) == "http://127.0.0.1:8100"
    assert page.count("The address in the field below") == 4
    page = press(admin_client, "set", "http://localhost:8100").text
    assert "4 webhooks had another address of this site and now have this one." in page
    assert len(webhooks(kapso_sandbox)) == 4


def test_the_table_says_whose_each_address_is(kapso_sandbox: Sandbox, admin_client: Client) -> None:
    register("https://staging.example.com")
    page = admin_client.get(PAGE).text
    assert page.count("Another site: ALLOWED_HOSTS does not name it") == 4
    assert page.count("Missing") == 4, "this site has none"
    twice = "If it leads to this site, Kapso tells this site everything twice"
    assert twice not in page
    register(SITE)
    page = admin_client.get(PAGE, {"project": "default", "site": OTHER}).text
    assert page.count("Another address that ALLOWED_HOSTS allows") == 4
    assert page.count("Another site: ALLOWED_HOSTS does not name it") == 4
    assert twice in page
    assert page.count("Missing") == 4, "this address has none"


def test_pressing_create_moves_what_has_another_address_of_this_site(
    kapso_sandbox: Sandbox, admin_client: Client, settings: Any
) -> None:
    register("https://staging.example.com")
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1", "testserver"]
    register("http://127.0.0.1:8100")
    told = "Some webhooks have another address of this site."
    assert told not in admin_client.get(PAGE).text
    same = "http://localhost:8100"
    page = admin_client.get(PAGE, {"project": "default", "site": same}).text
    assert told in page
    assert page.count("Another address of this site") == 4
    assert "Missing" not in page
    page = press(admin_client, "set", same).text
    assert "4 webhooks had another address of this site and now have this one." in page
    assert told not in page
    hosts = sorted(row["url"].split("/")[2] for row in webhooks(kapso_sandbox))
    assert hosts == ["localhost:8100"] * 4 + ["staging.example.com"] * 4


def test_removing_asks_first(kapso_sandbox: Sandbox, admin_client: Client) -> None:
    press(admin_client, "set")
    page = press(admin_client, "remove")
    assert page.redirect_chain == []
    assert f"These 4 webhooks to {ADDRESS} will be removed:" in page.text
    assert "<li>The whole project</li>" in page.text
    assert "No, take me back" in page.text
    back = unescape(re.findall(r'href="([^"]*)">No, take me back', page.text)[0])
    assert field_of(admin_client.get(back).text) == SITE
    assert len(webhooks(kapso_sandbox)) == 4
    assert "4 webhooks were removed." in press(admin_client, "remove", confirmed="yes").text
    assert webhooks(kapso_sandbox) == []


@pytest.mark.parametrize("verb", ["remove", "test"])
def test_where_no_webhook_has_the_address_the_page_says_so(
    kapso_sandbox: Sandbox, admin_client: Client, verb: str
) -> None:
    press(admin_client, "set")
    page = press(admin_client, verb, OTHER).text
    assert f"No webhook at Kapso leads to {OTHER}/kapso-inbox/webhooks/default/" in page
    assert len(webhooks(kapso_sandbox)) == 4


@pytest.mark.parametrize("verb", ["set", "test", "remove"])
@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("crm", "“crm” is not an address such as https://crm.example.com."),
        ("http://crm.example.com", "is not an address such as"),
        ("https://evil.example.net", "“evil.example.net” is not in ALLOWED_HOSTS"),
        ("", "This field is required."),
    ],
)
def test_a_refused_address_stays_in_the_field_with_the_reason(
    kapso_sandbox: Sandbox, admin_client: Client, typed: str, said: str, verb: str
) -> None:
    answer = press(admin_client, verb, typed)
    assert (answer.status_code, answer.redirect_chain) == (200, [])
    assert said in answer.text
    assert 'class="errorlist"' in answer.text
    assert field_of(answer.text) == typed
    assert "The address in the field below" not in answer.text
    assert webhooks(kapso_sandbox) == []


@pytest.mark.parametrize("verb", ["set", "test"])
def test_an_address_stays_in_the_field_after_each_press(
    kapso_sandbox: Sandbox, admin_client: Client, verb: str
) -> None:
    register(SITE)
    assert field_of(press(admin_client, verb, OTHER).text) == OTHER
    kapso_sandbox.fail_next(method="GET", path="webhooks", drop=True, times=9)
    assert field_of(press(admin_client, verb, OTHER).text) == OTHER


def test_an_address_of_another_site_in_the_query_is_not_taken(
    kapso_sandbox: Sandbox, admin_client: Client
) -> None:
    query = {"project": "default", "site": "https://evil.example.net"}
    assert field_of(admin_client.get(PAGE, query).text) == "https://testserver"


def test_a_press_for_a_project_that_is_not_there_changes_nothing(
    kapso_sandbox: Sandbox, admin_client: Client
) -> None:
    assert press(admin_client, "set", project="other").redirect_chain == [(PAGE, 302)]
    assert press(admin_client, "other").redirect_chain == [(PAGE, 302)]
    assert webhooks(kapso_sandbox) == []


def test_only_where_there_are_several_projects_they_are_named(
    kapso_sandbox: Sandbox, admin_client: Client, settings: Any
) -> None:
    assert "Kapso project “" not in admin_client.get(PAGE).text
    own = {"API_KEY": "key-of-the-clinic"}
    settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, "PROJECTS": {"clinic": own}}
    page = admin_client.get(PAGE).text
    assert "Kapso project “default”" in page
    assert "Kapso project “clinic”" in page


def test_an_error_of_kapso_is_told_on_the_page(
    kapso_sandbox: Sandbox, admin_client: Client
) -> None:
    kapso_sandbox.fail_next(path="webhooks", drop=True, times=3)
    assert "Kapso" in admin_client.get(PAGE).text


def test_staff_without_the_permission_cannot_open_the_page(
    kapso_sandbox: Sandbox, make_agent: Any
) -> None:
    client = Client()
    client.force_login(make_agent("staff", is_staff=True))
    assert client.get(PAGE).status_code == 403
    assert client.post(PAGE, {"verb": "set"}).status_code == 403


@pytest.mark.parametrize(
    ("language", "name"), [("es", "Todo el proyecto"), ("pt-br", "Todo o projeto")]
)
def test_the_page_and_the_findings_name_the_project_in_the_readers_language(
    kapso_sandbox: Sandbox, admin_client: Client, settings: Any, language: str, name: str
) -> None:
    settings.LANGUAGE_CODE = language
    page = admin_client.get(PAGE).text + admin_client.get(HEALTH).text
    assert f"{name}</th>" in page
    assert f"{name.lower()}, " in page.lower()
    assert "the project" not in page


# The health page


def test_the_health_page_leads_to_the_webhooks(
    kapso_sandbox: Sandbox, admin_client: Client
) -> None:
    page = admin_client.get(HEALTH).text
    assert f'<a class="kapso-button" href="{PAGE}">Webhooks at Kapso</a>' in page
    assert "Open “Webhooks at Kapso”, and press “Create or update” there." in page
    press(admin_client, "set")
    cache.clear()
    assert "Webhooks at Kapso" not in admin_client.get(HEALTH).text


def test_the_command_stays_in_the_technical_details(
    kapso_sandbox: Sandbox, admin_client: Client
) -> None:
    page = admin_client.get(HEALTH).text
    details = "".join(re.findall(r"<details.*?</details>", page, re.DOTALL))
    assert "manage.py kapso_webhooks" in details
    assert page.count("manage.py kapso_webhooks") == details.count("manage.py kapso_webhooks")


def test_without_that_page_the_health_page_names_the_command(
    kapso_sandbox: Sandbox, admin_client: Client, settings: Any
) -> None:
    settings.ROOT_URLCONF = "tests.admin.urls_of_another_admin"
    page = admin_client.get("/crm-admin/kapso_inbox/inboxembed/health/").text
    assert "manage.py kapso_webhooks --set" in page
    assert "Webhooks at Kapso" not in page


def test_those_who_may_not_use_that_page_are_not_sent_there(
    kapso_sandbox: Sandbox, make_agent: Any
) -> None:
    viewer = make_agent("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_inboxembed"))
    client = Client()
    client.force_login(viewer)
    page = client.get(HEALTH).text
    assert "Kapso has no webhook" in page
    assert "Webhooks at Kapso" not in page


def test_a_refused_signature_and_silence_lead_there_too(
    kapso_sandbox: Sandbox, admin_client: Client
) -> None:
    press(admin_client, "set")
    now = timezone.now()
    Conversation.objects.create(
        project="default", kapso_id="c-1", created_at=now - timedelta(days=1), last_active_at=now
    )
    WebhookDelivery.objects.create(project="default", event_key="e", outcome="refused")
    page = admin_client.get(HEALTH).text
    assert page.count("Webhooks at Kapso</a>") == 2
