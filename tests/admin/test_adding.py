"""An administrator adds an embed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.contrib.messages import get_messages
from django.db import OperationalError
from django.test import Client, override_settings
from django.utils import timezone

from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed
from kapso_inbox.sandbox.engine import Answer, Sandbox
from tests.hosts.database import connection, in_default
from tests.hosts.people import User

from .cases import live, make, results
from .conftest import url

pytestmark = pytest.mark.django_db


def posts(sandbox: Sandbox) -> int:
    return [request.method for request in sandbox.requests].count("POST")


def errors(response: Any) -> dict[str, list[str]]:
    return {
        field: [str(text) for text in texts]
        for field, texts in response.context["adminform"].form.errors.items()
    }


def test_a_new_embed_is_created_at_kapso_and_shown_with_its_tag(
    admin: Client, filled_in: dict[str, Any], kapso_sandbox: Sandbox, settings: Any
) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://crm.example.com"]
    response = admin.post(url("add"), filled_in, follow=True)
    embed = InboxEmbed.objects.get()
    assert response.redirect_chain == [(url("preview", embed.pk), 302)]
    assert "{% load kapso_inbox %}{% kapso_inbox &quot;support&quot; %}" in response.text
    assert embed.obstacle() is None
    assert embed.scope_name
    assert embed.allowed_origins == ["https://crm.example.com"]
    assert posts(kapso_sandbox) == 1
    assert InboxChange.objects.get().username == "admin"
    assert LogEntry.objects.get().object_id == str(embed.pk)


def test_the_groups_and_the_expiry_are_stored(
    admin: Client, filled_in: dict[str, Any], sales: Group
) -> None:
    admin.post(url("add"), filled_in | {"expiry": "30", "groups": [sales.pk]})
    embed = InboxEmbed.objects.get()
    assert list(embed.groups.all()) == [sales]
    assert embed.expires_at is not None
    assert timedelta(days=29) < embed.expires_at - timezone.now() <= timedelta(days=30)


@pytest.mark.parametrize(
    ("configured", "origins", "any_site"),
    [
        (None, "http://testserver", False),
        (["https://a.example", "*.b.example"], "https://a.example\n*.b.example", False),
        ([], "", True),
    ],
)
def test_the_form_proposes_the_sites_of_the_settings_or_else_this_one(
    admin: Client,
    kapso_sandbox: Sandbox,
    configured: list[str] | None,
    origins: str,
    any_site: bool,
) -> None:
    with override_settings(KAPSO_INBOX={"API_KEY": "k", "ALLOWED_ORIGINS": configured}):
        page = admin.get(url("add"))
    form = page.context["adminform"].form
    assert f"{origins}</textarea>" in page.text
    assert form["any_site"].value() is any_site
    assert kapso_sandbox.requests == []


def test_any_site_may_show_it_only_if_that_is_chosen(
    admin: Client, filled_in: dict[str, Any], kapso_sandbox: Sandbox
) -> None:
    admin.post(url("add"), filled_in | {"allowed_origins": "", "any_site": "on"})
    assert InboxEmbed.objects.get().allowed_origins == []


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("name", "", "required"),
        ("slug", "not a slug", "slug"),
        ("slug", "sync", "reserved for the addresses of this app"),
        ("slug", "mine-7", "for users' own inboxes"),
        ("scope_id", "", "Pick a number from the list."),
        ("scope_id", "Support", "Pick a number from the list."),
        ("scope_id", "a1b2c3d4-0000-4000-8000-000000000000", "only digits"),
        ("assigned_user_id", "Ana", "Pick a team member from the list."),
        ("assigned_user_id", "7", "UUID"),
        ("allowed_origins", "https://crm.example.com/path", "is not an origin"),
        ("allowed_origins", " \n", "tick “Any site may show it”"),
        ("allowed_origins", "https://crm.example.com\n*", "Write it alone"),
        ("any_site", "on", "leave the origins blank"),
        ("default_mode", "blue", "blue"),
        ("expiry", "date", "Enter the date."),
        ("name", "Inbox #ki-0123456789", "reference"),
    ],
)
def test_wrong_input_is_reported_at_its_field_and_kapso_is_not_asked(
    admin: Client,
    filled_in: dict[str, Any],
    kapso_sandbox: Sandbox,
    field: str,
    value: str,
    told: str,
) -> None:
    response = admin.post(url("add"), filled_in | {field: value})
    assert response.status_code == 200
    at = "expires_at" if field == "expiry" else field
    assert told in " ".join(errors(response)[at])
    assert response.context["adminform"].form.data["name"] == (filled_in | {field: value})["name"]
    assert kapso_sandbox.requests == []
    assert not InboxEmbed.objects.exists()


def test_all_that_is_wrong_is_reported_at_once_each_at_its_field(
    admin: Client, filled_in: dict[str, Any], embed: InboxEmbed, kapso_sandbox: Sandbox
) -> None:
    kapso_sandbox.requests.clear()
    filled_in |= {
        "name": "",
        "slug": embed.slug,
        "scope_id": "Support",
        "allowed_origins": "https://a.example/path\nhttps://b.example\nftp://c.example",
        "expiry": "date",
        "expires_at_0": "2020-01-01",
        "expires_at_1": "00:00",
    }
    assert errors(admin.post(url("add"), filled_in)) == {
        "name": ["This field is required."],
        "slug": ["There is an embed with this slug already."],
        "scope_id": ["Pick a number from the list."],
        "allowed_origins": [
            "“https://a.example/path”, “ftp://c.example” are not origins. "
            "Write each as https://crm.example.com or *.example.com."
        ],
        "expires_at": ["This time is in the past."],
    }
    assert kapso_sandbox.requests == []


@pytest.mark.parametrize("any_site", [{}, {"any_site": "on"}])
def test_an_asterisk_alone_is_the_same_as_ticking_any_site(
    admin: Client, filled_in: dict[str, Any], kapso_sandbox: Sandbox, any_site: dict[str, str]
) -> None:
    admin.post(url("add"), filled_in | {"allowed_origins": " * "} | any_site)
    embed = InboxEmbed.objects.get()
    assert embed.allowed_origins == []
    form = admin.get(url("change", embed.pk)).context["adminform"].form
    assert form["any_site"].value() is True


def test_what_kapso_refuses_is_reported_at_its_field_and_leaves_nothing_behind(
    admin: Client, filled_in: dict[str, Any], kapso_sandbox: Sandbox
) -> None:
    body = {"errors": {"name": ["is too long"], "color": ["is unknown"]}}
    kapso_sandbox.fail_next(method="POST", answer=Answer(422, body))
    response = admin.post(url("add"), filled_in)
    assert errors(response) == {
        "name": ["Kapso says: “is too long”"],
        "__all__": ["color: Kapso says: “is unknown”"],
    }
    assert not InboxEmbed.objects.exists()
    assert admin.post(url("add"), filled_in).status_code == 302


def test_for_a_number_of_another_project_the_form_lists_those_that_the_key_sees(
    admin: Client, filled_in: dict[str, Any], kapso_sandbox: Sandbox, number: dict[str, Any]
) -> None:
    response = admin.post(url("add"), filled_in | {"scope_id": "999999999999"})
    told = " ".join(errors(response)["scope_id"])
    assert told.index("Check it for a typo.") < told.index("another project")
    assert number["display_phone_number"] in told
    assert not InboxEmbed.objects.exists()


def test_a_form_that_is_shown_again_names_what_was_picked(
    admin: Client, filled_in: dict[str, Any], number: dict[str, Any]
) -> None:
    admin.get(url("lookup"), {"kind": "phone_number"})
    page = admin.post(url("add"), filled_in | {"name": ""}).text
    shown = f"{number['name']} · {number['display_phone_number']}"
    assert f'data-kapso-label="{shown}"' in page


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"answer": Answer(401, {"error": "no"})}, "refused the API key"),
        ({"answer": Answer(429, {}, {"Retry-After": "60"})}, "Try again in 60 seconds."),
        ({"drop": "before"}, "Kapso may have done it"),
        ({"answer": Answer(500, {"error": "boom"})}, "Kapso may have done it"),
        ({"answer": Answer(200, {"data": {}})}, "Kapso may have done it"),
    ],
)
def test_whatever_kapso_does_the_administrator_is_told_and_nothing_is_created_twice(
    admin: Client,
    filled_in: dict[str, Any],
    kapso_sandbox: Sandbox,
    fault: dict[str, Any],
    told: str,
) -> None:
    kapso_sandbox.fail_next(method="POST", **fault)
    response = admin.post(url("add"), filled_in, follow=True)
    assert response.status_code == 200
    texts = [str(message) for message in get_messages(response.wsgi_request)]
    if "adminform" in response.context:
        texts += [text for at_field in errors(response).values() for text in at_field]
    assert told in " ".join([*texts, response.text])
    uncertain = "may have" in told
    assert InboxEmbed.objects.exists() is uncertain
    if uncertain:
        assert AccessLink.objects.get().state == "unknown"
        # Sending the form again, by reloading the page, creates no second embed.
        again = admin.post(url("add"), filled_in, follow=True)
        assert posts(kapso_sandbox) == 1
        [text] = map(str, get_messages(again.wsgi_request))
        assert "Do not add it again" in text


@pytest.mark.parametrize(("has", "leads_there"), [(("add", "view"), True), (("add",), False)])
def test_a_refused_key_leads_whoever_may_see_it_to_the_health_page(
    client: Client,
    make_administrator: Callable[..., User],
    filled_in: dict[str, Any],
    kapso_sandbox: Sandbox,
    has: tuple[str, ...],
    leads_there: bool,
) -> None:
    client.force_login(make_administrator("staff", *has))
    kapso_sandbox.fail_next(method="POST", answer=Answer(401, {"error": "You & I"}))
    page = client.post(url("add"), filled_in).text
    assert "The health page says more." in page
    assert (f'<a href="{url("health")}">The health page says more.</a>' in page) is leads_there
    assert "Kapso says: “You &amp; I”" in page


def test_an_address_at_an_origin_that_the_settings_lack_is_told_with_what_to_do(
    admin: Client, filled_in: dict[str, Any], kapso_sandbox: Sandbox
) -> None:
    kapso_sandbox.project().inbox_origin = "https://inbox.kapso.example"
    response = admin.post(url("add"), filled_in, follow=True)
    embed = InboxEmbed.objects.get()
    assert response.redirect_chain == [(url("change", embed.pk), 302)]
    [told] = map(str, get_messages(response.wsgi_request))
    assert "is at https://inbox.kapso.example, but KAPSO_INBOX" in told
    assert "has only https://inbox.kapso.ai. So the new link was revoked at once" in told
    assert told.endswith("Do not add the inbox again: press “Rotate the link” here.")
    # The page keeps saying so when the message is gone.
    assert "is at https://inbox.kapso.example" in admin.get(url("change", embed.pk)).text


@pytest.mark.django_db(transaction=True)
def test_if_the_database_fails_after_kapso_created_the_embed_it_is_reported_and_nothing_stays_live(
    admin: Client, filled_in: dict[str, Any], kapso_sandbox: Sandbox
) -> None:
    def fail(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith("UPDATE") and "sealed_url" in sql and posts(kapso_sandbox):
            raise OperationalError("the disk is full")
        return execute(sql, *args)

    def fail_to_store(execute: Any, sql: str, params: Any, *args: Any) -> Any:
        is_active = any(str(param) == AccessLink.State.ACTIVE for param in params or ())
        return fail(execute, sql, params, *args) if is_active else execute(sql, params, *args)

    with connection.execute_wrapper(fail_to_store):
        response = admin.post(url("add"), filled_in, follow=True)
    embed = InboxEmbed.objects.get()
    assert response.redirect_chain == [(url("change", embed.pk), 302)]
    [told] = get_messages(response.wsgi_request)
    assert "The database failed" in str(told)
    assert "the disk is full" not in response.text
    assert kapso_sandbox.project().active_embeds() == []
    assert AccessLink.objects.get().state == AccessLink.State.REVOKED


def test_if_the_database_fails_first_it_is_reported_and_the_form_keeps_what_was_typed(
    admin: Client, filled_in: dict[str, Any], kapso_sandbox: Sandbox
) -> None:
    def fail(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith("INSERT") and "inboxembed" in sql:
            raise OperationalError("the disk is full")
        return execute(sql, *args)

    with connection.execute_wrapper(fail):
        response = admin.post(url("add"), filled_in)
    assert errors(response) == {"__all__": ["The database failed. Look at it again in a moment."]}
    assert 'value="Support inbox"' in response.text
    assert posts(kapso_sandbox) == 0
    assert not InboxEmbed.objects.exists()


def test_a_button_that_is_pressed_twice_creates_one_embed(
    admin: Client, filled_in: dict[str, Any], kapso_sandbox: Sandbox
) -> None:
    first, second = admin.post(url("add"), filled_in), admin.post(url("add"), filled_in)
    assert first.status_code == second.status_code == 302
    assert first["Location"] == second["Location"]
    assert posts(kapso_sandbox) == 1


def test_a_button_that_is_pressed_again_while_the_first_press_waits_is_told_to_wait(
    admin: Client, filled_in: dict[str, Any], kapso_sandbox: Sandbox
) -> None:
    kapso_sandbox.fail_next(method="POST", drop="before")
    admin.post(url("add"), filled_in)
    AccessLink.objects.update(state="creating")  # As it is until Kapso answers.
    again = admin.post(url("add"), filled_in)
    [text] = errors(again)["__all__"]
    assert "Try again in a moment." in text
    assert posts(kapso_sandbox) == 1


def test_a_slug_of_another_embed_is_reported_at_the_slug(
    admin: Client, filled_in: dict[str, Any], embed: InboxEmbed, kapso_sandbox: Sandbox
) -> None:
    response = admin.post(url("add"), filled_in | {"slug": "sales"})
    assert errors(response)["slug"] == ["There is an embed with this slug already."]
    assert posts(kapso_sandbox) == 1


def test_it_works_in_a_project_with_atomic_requests(
    admin: Client, filled_in: dict[str, Any], kapso_sandbox: Sandbox
) -> None:
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    try:
        assert admin.post(url("add"), filled_in).status_code == 302
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False
    assert InboxEmbed.objects.get().obstacle() is None


@pytest.mark.parametrize(
    "sites", [{"allowed_origins": "", "any_site": "on"}, {"allowed_origins": "*"}]
)
def test_a_message_warns_of_origins_that_open_the_embed_to_the_whole_web(
    admin: Client, filled_in: dict[str, Any], kapso_sandbox: Sandbox, sites: dict[str, str]
) -> None:
    made = {"id": "1", "embed_url": "https://inbox.kapso.ai/embed/x"}
    kapso_sandbox.fail_next(method="POST", answer=Answer(201, {"data": made}))
    response = admin.post(url("add"), filled_in | sites, follow=True)
    told = " ".join(str(message) for message in get_messages(response.wsgi_request))
    assert "Any site can show this inbox" in response.text + told


def test_a_hostile_name_is_shown_as_text(
    admin: Client, filled_in: dict[str, Any], kapso_sandbox: Sandbox
) -> None:
    name = "<script>alert(1)</script>{{ 1 }}"
    response = admin.post(url("add"), filled_in | {"name": name}, follow=True)
    embed = InboxEmbed.objects.get()
    pages = [
        response.text,
        *(
            admin.get(url(*page)).text
            for page in (("changelist",), ("change", embed.pk), ("preview", embed.pk), ("health",))
        ),
    ]
    assert not any("<script>alert(1)" in page for page in pages)
    assert all("&lt;script&gt;alert(1)" in page for page in pages[:4])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"groups": True}),
        ({"groups": True}, {}),
        ({}, {"expiry": "7"}),
        ({"expiry": "7"}, {}),
        ({"expiry": "7"}, {"expiry": "30"}),
        ({}, {"allowed_origins": "", "any_site": "on"}),
    ],
)
def test_another_form_of_the_same_slug_is_not_taken_for_a_second_press(
    admin: Client,
    filled_in: dict[str, Any],
    kapso_sandbox: Sandbox,
    sales: Group,
    first: dict[str, Any],
    second: dict[str, Any],
) -> None:
    one, other = (
        {**filled_in, **form, **({"groups": [sales.pk]} if form.get("groups") else {})}
        for form in (first, second)
    )
    assert admin.post(url("add"), one).status_code == 302
    assert admin.post(url("add"), one).status_code == 302
    response = admin.post(url("add"), other)
    assert errors(response)["slug"] == ["There is an embed with this slug already."]
    assert posts(kapso_sandbox) == 1


def test_an_embed_whose_creation_failed_elsewhere_stays_when_kapso_refuses_it_again(
    admin: Client, filled_in: dict[str, Any], kapso_sandbox: Sandbox
) -> None:
    before = make("no link", kapso_sandbox, "support")
    response = admin.post(url("add"), filled_in | {"scope_id": "99999"})
    assert "scope_id" in errors(response)
    assert InboxEmbed.objects.get().pk == before.pk
    assert admin.post(url("add"), filled_in).status_code == 302
    assert InboxEmbed.objects.get().obstacle() is None


@in_default
@pytest.mark.django_db(transaction=True, databases=["default", "replica"])
def test_nothing_is_decided_by_a_replica_that_lags_behind(
    admin: Client, filled_in: dict[str, Any], kapso_sandbox: Sandbox
) -> None:
    with override_settings(DATABASE_ROUTERS=[f"{__name__}.StaleReplica"]):
        for _press in range(2):
            assert admin.post(url("add"), filled_in).status_code == 302
        embed = InboxEmbed.objects.using("default").get()
        newest = AccessLink.objects.using("default").get().pk
        refused = admin.post(url("add"), filled_in | {"slug": "other", "scope_id": "99999"})
        assert "scope_id" in errors(refused)
        kapso_sandbox.fail_next(method="POST", drop="after")
        assert admin.post(url("add"), filled_in | {"slug": "lost"}).status_code == 302
        sent = {"confirmed": "yes", "target": f"{embed.pk}:{newest}"}
        for verb in ("rotate", "revoke"):
            [(outcome, _text)] = results(admin.post(url("verb", verb), sent))
            assert outcome == "done"
    assert set(InboxEmbed.objects.values_list("slug", flat=True)) == {"support", "lost"}
    assert len(live(kapso_sandbox)) == 1  # The one whose answer was lost.


class StaleReplica:
    """Reads embeds from a replica that has received nothing yet."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica" if model._meta.app_label == "kapso_inbox" else "default"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"

    def allow_relation(self, *args: Any, **hints: Any) -> bool:
        return True
