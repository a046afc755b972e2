"""The launch: from the CRM into the inbox, or to a page that says why not."""

from __future__ import annotations

import html
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.db import DatabaseError
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template import Context, Template
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone, translation

from kapso_inbox import audit
from kapso_inbox.access import AccessPolicy
from kapso_inbox.lifecycle import create_embed, revoke_embed, update_embed
from kapso_inbox.lifecycle.refresh import AT_ONCE_AFTER
from kapso_inbox.models import AccessLink, InboxEmbed, InboxPreference, LaunchAttempt, Outcome
from kapso_inbox.sandbox.engine import Answer, Sandbox
from tests.conftest import FRAME
from tests.hosts.database import connection
from tests.hosts.people import User

pytestmark = pytest.mark.django_db

LAUNCH = "/kapso-inbox/sales/launch/"


def with_settings(**values: Any) -> override_settings:
    return override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, **values})


def user_params(request: HttpRequest, embed: InboxEmbed) -> Mapping[str, Any]:
    return {"mode": "dark", "status": "all", "language": "klingon"}


def broken_user_params(request: HttpRequest, embed: InboxEmbed) -> Mapping[str, Any]:
    raise LookupError("no profile")


@pytest.fixture
def agent(client: Client, ana: User, embed: InboxEmbed) -> Client:
    """Return the browser of an agent who may open the embed."""
    client.force_login(ana)
    return client


def launch(client: Client, query: str = "", **headers: str) -> HttpResponse:
    return client.get(LAUNCH + query, **(headers or FRAME))  # type: ignore[arg-type, return-value]


def params_of(response: HttpResponse) -> dict[str, str]:
    assert response.status_code == 302, response.content
    return {k: v[0] for k, v in parse_qs(urlsplit(response["Location"]).query).items()}


def links(response: HttpResponse) -> dict[str, str]:
    """Return the links of a page: text -> address."""
    found = re.findall(r'<a href="([^"]*)"[^>]*>(.*?)</a>', response.content.decode())
    return {text: html.unescape(address) for address, text in found}


def outcomes() -> list[str]:
    return list(LaunchAttempt.objects.values_list("outcome", flat=True))


def stale() -> None:
    """Make the last answer from Kapso an hour old."""
    AccessLink.objects.update(checked_at=timezone.now() - timedelta(hours=1))


def pass_time(delta: timedelta) -> None:
    """Make the last question to Kapso, and its answer, older."""
    AccessLink.objects.update(
        checked_at=F("checked_at") - delta, answered_at=F("answered_at") - delta
    )


def test_an_agent_is_sent_to_the_secret_address(agent: Client, kapso_sandbox: Sandbox) -> None:
    (record,) = kapso_sandbox.project().active_embeds()
    response = launch(agent)
    assert (response.status_code, response["Location"]) == (302, record["embed_url"])
    assert response.content == b""


def test_the_answer_is_not_cached_and_shows_kapso_only_the_origin(agent: Client) -> None:
    response = launch(agent)
    assert response["Cache-Control"] == "no-store, private"
    assert response["Referrer-Policy"] == "strict-origin"
    assert response["X-Frame-Options"] == "SAMEORIGIN"


def test_theme_and_filters_of_the_address_are_passed_on(agent: Client) -> None:
    response = launch(agent, "?mode=dark&search=%2B55+11&unread=true&handoff=0&status=all")
    assert params_of(response) == {
        "mode": "dark",
        "search": "+55 11",
        "unread": "1",
        "status": "all",
    }


def test_the_page_overrides_the_preference_which_overrides_the_profile(
    agent: Client, ana: User, embed: InboxEmbed
) -> None:
    InboxPreference.objects.create(user=ana, embed=embed, params={"mode": "light", "unread": True})
    with with_settings(USER_PARAMS="tests.inbox.test_launch.user_params"):
        assert params_of(launch(agent)) == {"mode": "light", "unread": "1", "status": "all"}
        assert params_of(launch(agent, "?mode=system"))["mode"] == "system"


def test_another_users_preference_does_not_count(
    agent: Client, embed: InboxEmbed, make_agent: Callable[..., User]
) -> None:
    InboxPreference.objects.create(user=make_agent("bo"), embed=embed, params={"mode": "dark"})
    assert params_of(launch(agent)) == {}


def test_wrong_values_of_a_profile_or_preference_are_left_out_and_logged(
    agent: Client, ana: User, embed: InboxEmbed, caplog: pytest.LogCaptureFixture
) -> None:
    InboxPreference.objects.create(user=ana, embed=embed, params={"mode": "x", "unread": "1"})
    with with_settings(USER_PARAMS="tests.inbox.test_launch.user_params"):
        assert params_of(launch(agent)) == {"unread": "1", "mode": "dark", "status": "all"}
    assert "saved preference: mode" in caplog.text
    assert "USER_PARAMS: language" in caplog.text


def test_the_inbox_opens_even_if_the_hosts_function_fails(
    agent: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with with_settings(USER_PARAMS="tests.inbox.test_launch.broken_user_params"):
        assert launch(agent).status_code == 302
    assert "no profile" in caplog.text


# Refusals


def test_only_a_frame_of_this_site_is_sent_on(agent: Client, kapso_sandbox: Sandbox) -> None:
    token = kapso_sandbox.project().active_embeds()[0]["token"]
    for dest, site in (
        ("iframe", "cross-site"),
        ("iframe", "same-site"),
        ("empty", "same-origin"),
        ("document", "same-origin"),
        ("document", "none"),
        ("image", "same-origin"),
    ):
        response = launch(agent, HTTP_SEC_FETCH_DEST=dest, HTTP_SEC_FETCH_SITE=site)
        assert response.status_code == 403
        assert token not in f"{response.headers}{response.content!r}"
    assert set(outcomes()) == {Outcome.NOT_IN_FRAME}


def test_a_service_worker_that_fetches_for_a_frame_is_blamed_and_not_the_page(
    agent: Client,
) -> None:
    response = launch(agent, HTTP_SEC_FETCH_DEST="empty", HTTP_SEC_FETCH_MODE="same-origin")
    assert response.status_code == 403
    assert b"service worker" in response.content
    response = launch(agent, HTTP_SEC_FETCH_DEST="document")
    assert b"service worker" not in response.content


def test_a_browser_without_fetch_metadata_is_told_what_is_required(
    agent: Client,
) -> None:
    response = agent.get(LAUNCH)
    assert response.status_code == 403
    assert b"https://" in response.content
    with with_settings(REQUIRE_FETCH_METADATA=False):
        assert agent.get(LAUNCH).status_code == 302


def test_a_signed_out_visitor_gets_a_link_to_sign_in(client: Client, embed: InboxEmbed) -> None:
    response = launch(client, "?mode=dark&search=%2B55")
    assert response.status_code == 403
    assert links(response) == {
        "Sign in": "/accounts/login/?next=/kapso-inbox/sales/signed-in/",
        "Try again": "../launch/?mode=dark&search=%2B55",
    }
    assert outcomes() == []


@override_settings(LOGIN_URL="https://sso.example.com/in?realm=crm")
def test_a_login_page_on_another_site_gets_the_whole_address_to_return_to(
    client: Client, embed: InboxEmbed
) -> None:
    address = urlsplit(links(launch(client))["Sign in"])
    assert address.netloc == "sso.example.com"
    assert parse_qs(address.query) == {
        "realm": ["crm"],
        "next": ["http://testserver/kapso-inbox/sales/signed-in/"],
    }


def test_a_user_who_has_signed_in_is_told_to_go_on_where_they_were(
    client: Client, ana: User, embed: InboxEmbed
) -> None:
    address = "/kapso-inbox/sales/signed-in/"
    assert client.get(address)["Location"] == f"/accounts/login/?next={address}"
    client.force_login(ana)
    response: Any = client.get(address)
    assert links(response) == {}
    assert "continue where you were" in response.content.decode()
    assert response["X-Frame-Options"] == "SAMEORIGIN"
    assert response["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'")


def test_an_embed_of_others_and_one_that_does_not_exist_look_the_same(
    client: Client, embed: InboxEmbed, make_agent: Callable[..., User]
) -> None:
    client.force_login(make_agent("bo"))
    others, nobodys = launch(client), client.get("/kapso-inbox/nobodys/launch/", **FRAME)
    assert others.status_code == nobodys.status_code == 404
    assert others.content == nobodys.content
    assert dict(others.headers) == dict(nobodys.headers)
    for slug in ("sales", "nobodys"):
        assert client.get(f"/kapso-inbox/{slug}/").status_code == 404


@pytest.mark.parametrize("query", ["?mode=black", "?mode=dark&mode=light", "?token=1", "?status="])
def test_a_wrong_parameter_gets_a_page_that_lists_the_right_ones(agent: Client, query: str) -> None:
    response = launch(agent, query)
    if query == "?status=":
        assert response.status_code == 302
        return
    assert response.status_code == 400
    assert b'data-outcome="bad_parameter"' in response.content


def test_a_hostile_parameter_is_escaped(agent: Client) -> None:
    response = launch(agent, "?%3Cscript%3Ealert(1)%3C/script%3E=1")
    assert response.status_code == 400
    assert b"<script" not in response.content


STATES = [
    (AccessLink.State.REVOKING, 410, Outcome.REVOKED),
    (AccessLink.State.REVOKED, 410, Outcome.REVOKED),
]


@pytest.mark.parametrize(("state", "status", "outcome"), STATES)
def test_a_revoked_link_is_reported(
    agent: Client, state: str, status: int, outcome: Outcome
) -> None:
    AccessLink.objects.update(state=state)
    response = launch(agent)
    assert response.status_code == status
    assert f'data-outcome="{outcome.value}"'.encode() in response.content
    assert outcomes() == [outcome]


def test_an_embed_without_a_working_link_is_reported(agent: Client) -> None:
    InboxEmbed.objects.update(current_link=None)
    response = launch(agent)
    assert (response.status_code, outcomes()) == (503, [Outcome.NOT_READY])


def test_an_expired_embed_is_reported(agent: Client) -> None:
    InboxEmbed.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    response = launch(agent)
    assert (response.status_code, outcomes()) == (410, [Outcome.EXPIRED])


#: Another key under the ID of the one that the secrets are encrypted with.
WRONG_KEY = {"test": "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8"}


def test_an_unreadable_secret_is_reported_and_recovered_with_its_key(agent: Client) -> None:
    with with_settings(ENCRYPTION_KEYS=WRONG_KEY):
        response = launch(agent)
        assert (response.status_code, outcomes()) == (503, [Outcome.SECRET_LOST])
        assert AccessLink.objects.get().state == AccessLink.State.SECRET_LOST
        assert AccessLink.objects.get().reason
        assert launch(agent).status_code == 503
    assert launch(agent).status_code == 302
    assert AccessLink.objects.get().state == AccessLink.State.ACTIVE


def _refuse_to_change_links(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    if sql.startswith("UPDATE") and "accesslink" in sql:
        raise DatabaseError("read-only")
    return execute(sql, params, many, context)


@pytest.mark.django_db(transaction=True)
def test_a_secret_whose_loss_or_return_cannot_be_recorded_causes_no_server_error(
    agent: Client,
) -> None:
    with with_settings(ENCRYPTION_KEYS=WRONG_KEY):
        with connection.execute_wrapper(_refuse_to_change_links):
            assert launch(agent).status_code == 503
        assert AccessLink.objects.get().state == AccessLink.State.ACTIVE
        launch(agent)
    assert AccessLink.objects.get().state == AccessLink.State.SECRET_LOST
    with connection.execute_wrapper(_refuse_to_change_links):
        assert launch(agent).status_code == 503
    assert LaunchAttempt.objects.get(outcome=Outcome.NOT_RECORDED).times == 2
    assert launch(agent).status_code == 302


def test_a_recovered_secret_does_not_outlive_its_embed(agent: Client) -> None:
    with with_settings(ENCRYPTION_KEYS=WRONG_KEY):
        launch(agent)
    InboxEmbed.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert launch(agent).status_code == 410


def test_a_ciphertext_moved_to_another_row_does_not_open(agent: Client) -> None:
    other = create_embed(slug="other", name="Other")
    assert other.current_link is not None
    AccessLink.objects.filter(embed__slug="sales").update(sealed_url=other.current_link.sealed_url)
    assert launch(agent).status_code == 503


def test_our_pages_need_only_their_stylesheet(agent: Client) -> None:
    InboxEmbed.objects.update(current_link=None)
    response = launch(agent)
    assert response["Content-Security-Policy"] == (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self'"
    )
    assert response["X-Frame-Options"] == "SAMEORIGIN"
    assert response["Cache-Control"] == "no-store, private"
    assert b"<style" not in response.content
    assert b"<script" not in response.content
    with override_settings(STATIC_URL="https://cdn.example.com/static/"):
        assert "style-src https://cdn.example.com;" in launch(agent)["Content-Security-Policy"]
    with override_settings(STATIC_URL="//cdn.example.com/static/"):
        assert "style-src cdn.example.com;" in launch(agent)["Content-Security-Policy"]


def test_only_get_launches(agent: Client) -> None:
    for method in ("post", "put", "head", "options"):
        assert getattr(agent, method)(LAUNCH, **FRAME).status_code == 405
    assert outcomes() == []


# What administrators are told


@pytest.fixture
def manager(client: Client, embed: InboxEmbed, sales: Group) -> Client:
    """Return the browser of an administrator who may also open the embed."""
    mona = User.objects.create_user("mona", is_staff=True)
    for codename in ("change_inboxembed", "open_inboxembed"):
        mona.user_permissions.add(Permission.objects.get(codename=codename))
    mona.groups.add(sales)
    client.force_login(mona)
    return client


def admin_page(embed: InboxEmbed) -> str:
    return f"/admin/kapso_inbox/inboxembed/{embed.pk}/change/"


FIXABLE = {
    "not_ready": (lambda: InboxEmbed.objects.update(current_link=None), "never finished"),
    "revoked": (
        lambda: AccessLink.objects.update(state=AccessLink.State.REVOKED),
        "Rotating the link",
    ),
    "expired": (
        lambda: InboxEmbed.objects.update(expires_at=timezone.now() - timedelta(days=1)),
        "Change its expiry",
    ),
    "secret_lost": (
        lambda: AccessLink.objects.update(state=AccessLink.State.SECRET_LOST, sealed_url=""),
        "Put back the encryption key",
    ),
}


@pytest.mark.parametrize(
    ("reader", "language"),
    [("fr", "en"), ("es", "es"), ("es-mx", "es"), ("pt-br", "pt-br"), ("en-gb", "en")],
)
def test_a_page_says_the_language_that_its_texts_are_in(reader: str, language: str) -> None:
    with translation.override(reader):
        page = Template('{% extends "kapso_inbox/base.html" %}').render(Context())
    assert f'<html lang="{language}" data-kapso-inbox>' in page


@pytest.mark.parametrize("outcome", FIXABLE)
def test_an_administrator_is_told_the_fix_and_where_to_apply_it(
    manager: Client, embed: InboxEmbed, outcome: str
) -> None:
    break_it, fix = FIXABLE[outcome]
    break_it()
    response = launch(manager)
    assert f'data-outcome="{outcome}"' in response.content.decode()
    assert fix in response.content.decode()
    assert links(response) == {
        "Open it in the admin": admin_page(embed),
        "Try again": "../launch/",
    }
    assert b'target="_blank" rel="noopener"' in response.content


@pytest.mark.parametrize("outcome", FIXABLE)
def test_an_agent_is_told_whom_to_ask(agent: Client, outcome: str) -> None:
    break_it, fix = FIXABLE[outcome]
    break_it()
    response = launch(agent)
    assert fix not in response.content.decode()
    assert "administrator" in response.content.decode()
    assert list(links(response)) == ["Try again"]


def test_without_the_admin_or_a_way_into_it_no_link_leads_there(
    manager: Client, settings: Any
) -> None:
    InboxEmbed.objects.update(current_link=None)
    User.objects.filter(**{User.USERNAME_FIELD: "mona"}).update(is_staff=False)
    assert list(links(launch(manager))) == ["Try again"]
    User.objects.filter(**{User.USERNAME_FIELD: "mona"}).update(is_staff=True)
    settings.ROOT_URLCONF = "tests.urls_without_admin"
    response = launch(manager)
    assert "never finished" in response.content.decode()
    assert list(links(response)) == ["Try again"]


def test_a_user_who_may_add_embeds_is_told_that_the_slug_is_wrong(
    client: Client, make_agent: Any
) -> None:
    adds = Permission.objects.get(codename="add_inboxembed")
    user = make_agent("alex", is_staff=True)
    user.user_permissions.add(adds)
    client.force_login(user)
    response = client.get("/kapso-inbox/suport/launch/", **FRAME)
    assert response.status_code == 404
    assert "None of the inboxes that you manage has the slug “suport”" in response.text
    add = reverse("admin:kapso_inbox_inboxembed_add")
    assert links(response)["Add it in the admin"] == f"{add}?slug=suport"


def test_a_user_who_may_add_embeds_learns_nothing_about_the_embeds_of_others(
    client: Client, make_agent: Any, embed: InboxEmbed
) -> None:
    user = make_agent("alex", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="add_inboxembed"))
    client.force_login(user)
    there, not_there = (
        client.get(f"/kapso-inbox/{slug}/launch/", **FRAME).text.replace(slug, "")
        for slug in (embed.slug, "suport")
    )
    assert there == not_there


def test_a_manager_who_may_not_read_is_told_what_is_missing(
    manager: Client, embed: InboxEmbed, sales: Group
) -> None:
    mona = User.objects.get_by_natural_key("mona")
    permission = Permission.objects.get(codename="open_inboxembed")
    mona.groups.clear()
    said = launch(manager).content.decode()
    assert "You may manage this inbox, but not read it" in said
    assert "Only members of these groups (Sales) may read it." in said
    assert "kapso_inbox.open_inboxembed" not in said
    mona.user_permissions.remove(permission)
    response = launch(manager)
    assert "kapso_inbox.open_inboxembed" in response.content.decode()
    assert "Sales" in response.content.decode()
    assert (response.status_code, links(response)["Open it in the admin"]) == (
        404,
        admin_page(embed),
    )
    mona.groups.add(sales)
    said = launch(manager).content.decode()
    assert "kapso_inbox.open_inboxembed" in said
    assert "Only members" not in said
    embed.personal_to = "somebody"
    embed.save()
    mona.user_permissions.add(permission)
    assert "somebody else's own" in launch(manager).content.decode()


def test_an_embed_out_of_a_managers_reach_and_one_that_does_not_exist_look_the_same(
    manager: Client,
) -> None:
    with with_settings(ACCESS_POLICY="tests.inbox.test_launch.NothingInReach"):
        others = launch(manager)
        nobodys = manager.get("/kapso-inbox/nobodys/launch/", **FRAME)  # type: ignore[arg-type]
    assert others.status_code == nobodys.status_code == 404
    assert others.content == nobodys.content


class NothingInReach(AccessPolicy):
    def within_reach(self, user: Any, embeds: QuerySet[InboxEmbed]) -> QuerySet[InboxEmbed]:
        return embeds.none()


def test_the_name_of_a_group_is_escaped(manager: Client, sales: Group) -> None:
    User.objects.get_by_natural_key("mona").groups.clear()
    Group.objects.update(name="<script>alert(1)</script>")
    response = launch(manager)
    assert b"<script" not in response.content
    assert b"&lt;script&gt;" in response.content


@pytest.mark.parametrize("mode", ["dark", "light", "system"])
def test_our_page_has_the_theme_that_the_frame_asks_for(agent: Client, mode: str) -> None:
    InboxEmbed.objects.update(current_link=None)
    classes = f"kapso-inbox-message kapso-inbox-message--{mode}"
    assert f'class="{classes}">' in launch(agent, f"?mode={mode}").content.decode()
    assert b"kapso-inbox-message--system" in launch(agent).content
    assert b"kapso-inbox-message--system" in launch(agent, "?mode=%22onload").content


# The origin of the page

CRM = "https://crm.example.com"


def allow(kapso_sandbox: Sandbox, *origins: str, at_kapso: tuple[str, ...] | None = None) -> None:
    """Set the embed's allowed origins, here and at Kapso, who was not asked lately."""
    pass_time(AT_ONCE_AFTER)
    InboxEmbed.objects.update(allowed_origins=list(origins))
    record = kapso_sandbox.project().find(AccessLink.objects.get().kapso_id)
    record["allowed_origins"] = list(origins if at_kapso is None else at_kapso)


def launch_from(client: Client, referer: str, query: str = "", **headers: str) -> HttpResponse:
    return launch(client, query, **{**FRAME, "HTTP_REFERER": referer, **headers})


def test_a_page_on_which_the_frame_would_stay_blank_is_told_both_origins(
    agent: Client, kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    allow(kapso_sandbox, CRM, "*.example.org")
    response = launch_from(agent, "https://www.example.net/")
    assert (response.status_code, outcomes()) == (403, [Outcome.WRONG_ORIGIN])
    assert LaunchAttempt.objects.get().embed == embed
    said = response.content.decode()
    assert "The page is at https://www.example.net." in said
    assert "may be shown at: https://crm.example.com, *.example.org." in said
    assert "tell an administrator" in said
    assert list(links(response)) == ["Try again"]


def test_an_administrator_is_shown_where_to_add_an_origin(
    manager: Client, kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    allow(kapso_sandbox, CRM)
    response = launch_from(manager, "http://crm.example.com/")
    assert b"Add the origin of this page" in response.content
    assert links(response)["Open it in the admin"] == admin_page(embed)


@pytest.mark.parametrize(
    ("allowed", "referer"),
    [
        ((), "https://www.example.net/"),
        (("*",), "https://www.example.net/"),
        ((CRM,), f"{CRM}/"),
        ((CRM,), CRM.upper()),
        (("http://crm.example.com",), f"{CRM}/"),
        (("crm.example.com",), f"{CRM}/"),
        (("*.example.com",), f"{CRM}/"),
        (("http://localhost:8000",), "http://localhost:8000/"),
        ((CRM,), ""),
        ((CRM,), "null"),
        ((CRM,), "about:srcdoc"),
        ((CRM,), "chrome-extension://abc/"),
        ((CRM,), "*"),
        ((CRM,), "https://[::1"),
    ],
)
def test_a_page_that_would_work_or_is_unknown_is_not_refused(
    agent: Client, kapso_sandbox: Sandbox, allowed: tuple[str, ...], referer: str
) -> None:
    allow(kapso_sandbox, *allowed)
    sent = len(kapso_sandbox.requests)
    assert launch_from(agent, referer).status_code == 302
    assert len(kapso_sandbox.requests) == sent


def test_an_origin_that_was_just_added_at_kapso_is_allowed(
    agent: Client, kapso_sandbox: Sandbox
) -> None:
    allow(kapso_sandbox, "https://old.example.com", at_kapso=("https://old.example.com", CRM))
    assert launch_from(agent, CRM).status_code == 302
    assert InboxEmbed.objects.get().allowed_origins == ["https://old.example.com", CRM]


@pytest.mark.parametrize("fault", [{"drop": "before", "times": 9}, {"answer": Answer(401, {})}])
def test_without_an_answer_from_kapso_the_browser_decides(
    agent: Client, kapso_sandbox: Sandbox, fault: dict[str, Any]
) -> None:
    allow(kapso_sandbox, CRM)
    kapso_sandbox.fail_next(**fault)
    assert launch_from(agent, "https://www.example.net").status_code == 302
    with with_settings(VERIFY_AFTER=0):
        assert launch_from(agent, "https://www.example.net").status_code == 302


def test_of_many_launches_from_another_page_one_asks_kapso_and_all_are_told_the_same(
    agent: Client, kapso_sandbox: Sandbox
) -> None:
    allow(kapso_sandbox, CRM)
    sent = len(kapso_sandbox.requests)
    for _ in range(20):
        assert launch_from(agent, "https://www.example.net").status_code == 403
    assert len(kapso_sandbox.requests) == sent + 1
    pass_time(AT_ONCE_AFTER)
    assert launch_from(agent, "https://www.example.net").status_code == 403
    assert len(kapso_sandbox.requests) == sent + 2


def test_of_many_launches_from_another_page_one_asks_a_kapso_that_does_not_answer(
    agent: Client, kapso_sandbox: Sandbox
) -> None:
    allow(kapso_sandbox, CRM)
    sent = len(kapso_sandbox.requests)
    kapso_sandbox.fail_next(answer=Answer(401, {}), times=99)
    for _ in range(20):
        assert launch_from(agent, "https://www.example.net").status_code == 302
    assert len(kapso_sandbox.requests) == sent + 1


def test_an_origin_that_was_just_added_at_kapso_is_allowed_ten_seconds_after_a_refusal(
    agent: Client, kapso_sandbox: Sandbox
) -> None:
    allow(kapso_sandbox, "https://old.example.com")
    assert launch_from(agent, CRM).status_code == 403
    record = kapso_sandbox.project().find(AccessLink.objects.get().kapso_id)
    record["allowed_origins"] = [CRM]
    assert launch_from(agent, CRM).status_code == 403
    pass_time(AT_ONCE_AFTER)
    assert launch_from(agent, CRM).status_code == 302


def test_an_origin_that_was_just_added_here_is_allowed_at_once(
    agent: Client, kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    allow(kapso_sandbox, "https://old.example.com")
    assert launch_from(agent, CRM).status_code == 403
    update_embed(embed, allowed_origins=[CRM])
    assert launch_from(agent, CRM).status_code == 302


def test_without_fetch_metadata_the_origin_is_not_checked(
    agent: Client, kapso_sandbox: Sandbox
) -> None:
    allow(kapso_sandbox, CRM)
    with with_settings(REQUIRE_FETCH_METADATA=False):
        response = agent.get(LAUNCH, HTTP_REFERER="https://www.example.net/")
    assert response.status_code == 302


def test_hostile_origins_are_escaped(agent: Client, kapso_sandbox: Sandbox) -> None:
    allow(kapso_sandbox, '"><script>alert(1)</script>')
    response = launch_from(agent, "https://<script>alert(2)</script>")
    assert response.status_code == 403
    assert b"<script" not in response.content


# The reader's language

with_locale = override_settings(
    MIDDLEWARE=[*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
)


@pytest.mark.parametrize(
    ("accepted", "spoken"), [("es", "es"), ("es-MX", "es"), ("en-GB", "en"), ("pt-BR", None)]
)
def test_the_inbox_is_in_the_readers_language_if_kapso_supports_it(
    agent: Client, accepted: str, spoken: str | None
) -> None:
    with with_locale:
        response = launch(agent, **FRAME, HTTP_ACCEPT_LANGUAGE=accepted)
    assert params_of(response).get("language") == spoken


def test_every_other_wish_overrides_the_readers_language(
    agent: Client, ana: User, embed: InboxEmbed
) -> None:
    spanish = {**FRAME, "HTTP_ACCEPT_LANGUAGE": "es"}
    with with_locale:
        assert params_of(launch(agent, "?language=en", **spanish))["language"] == "en"
        InboxPreference.objects.create(user=ana, embed=embed, params={"language": "en"})
        assert params_of(launch(agent, **spanish))["language"] == "en"


def test_the_language_of_the_site_does_not_override_the_embeds(agent: Client) -> None:
    with override_settings(LANGUAGE_CODE="es"):
        assert params_of(launch(agent, **FRAME, HTTP_ACCEPT_LANGUAGE="es")) == {}


# The record


def test_an_opening_is_recorded_with_user_embed_time_and_address(
    agent: Client, ana: User, embed: InboxEmbed
) -> None:
    launch(agent)
    opening = LaunchAttempt.objects.get()
    assert (opening.user, opening.username, opening.embed, opening.slug) == (
        ana,
        "ana",
        embed,
        "sales",
    )
    assert (opening.link, opening.outcome) == (embed.current_link, Outcome.OPENED)
    assert opening.address == "127.0.0.1"
    assert timezone.now() - opening.created_at < timedelta(minutes=1)


def test_the_record_outlives_user_embed_and_link(
    agent: Client, ana: User, embed: InboxEmbed
) -> None:
    launch(agent)
    revoke_embed(embed)
    ids = (ana.pk, embed.pk, embed.current_link_id)
    embed.delete()
    ana.delete()
    opening = LaunchAttempt.objects.get()
    assert (opening.username, opening.slug) == ("ana", "sales")
    assert (opening.user_id, opening.embed_id, opening.link_id) == ids


def _refuse_to_record(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    if sql.startswith("INSERT") and "launchattempt" in sql:
        raise DatabaseError("disk full")
    return execute(sql, params, many, context)


def test_an_opening_that_cannot_be_recorded_does_not_launch(agent: Client) -> None:
    with connection.execute_wrapper(_refuse_to_record):
        response = launch(agent)
    assert response.status_code == 503
    assert b'data-outcome="not_recorded"' in response.content


def test_a_refusal_that_cannot_be_recorded_is_still_a_page_of_ours(agent: Client) -> None:
    InboxEmbed.objects.update(current_link=None)
    with connection.execute_wrapper(_refuse_to_record):
        assert launch(agent).status_code == 503


@pytest.mark.parametrize(
    ("remote", "recorded"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("", None),
        ("unix:", None),
        ("localhost", None),
        ("1.2.3.4, 5.6.7.8", None),
        ("1.2.3.4:5678", None),
        ("a\0b", None),
        ("x" * 300, None),
    ],
)
def test_an_odd_remote_address_never_breaks_a_launch(
    agent: Client, remote: str, recorded: str | None
) -> None:
    response = agent.get(LAUNCH, REMOTE_ADDR=remote, **FRAME)  # type: ignore[arg-type]
    assert response.status_code == 302
    assert LaunchAttempt.objects.get().address == recorded


@pytest.mark.parametrize("username", [None, 7, "x" * 300])
def test_an_odd_username_never_breaks_a_launch(
    agent: Client, ana: User, monkeypatch: pytest.MonkeyPatch, username: Any
) -> None:
    monkeypatch.setattr(User, "get_username", lambda self: username)
    assert launch(agent).status_code == 302
    assert LaunchAttempt.objects.get().username == str(username or ana.pk)[:254]


def test_every_refusal_of_a_signed_in_user_is_recorded(
    agent: Client, embed: InboxEmbed, make_agent: Callable[..., User]
) -> None:
    launch(agent, "?mode=black")
    agent.get("/kapso-inbox/sales/?mode=black")
    agent.force_login(make_agent("bo"))
    agent.get("/kapso-inbox/sales/")
    launch(agent)
    recorded = LaunchAttempt.objects.order_by("pk").values_list("username", "outcome", "times")
    assert list(recorded) == [("ana", "bad_parameter", 2), ("bo", "not_available", 2)]


def test_refusals_that_are_alike_are_counted_in_one_row_a_minute(
    agent: Client, ana: User, embed: InboxEmbed
) -> None:
    for _ in range(30):
        agent.get("/kapso-inbox/invented/launch/", **FRAME)  # type: ignore[arg-type]
    attempt = LaunchAttempt.objects.get()
    assert (attempt.user, attempt.slug, attempt.times) == (ana, "invented", 30)
    LaunchAttempt.objects.update(created_at=F("created_at") - timedelta(minutes=1))
    agent.get("/kapso-inbox/invented/launch/", **FRAME)  # type: ignore[arg-type]
    assert list(LaunchAttempt.objects.order_by("pk").values_list("times", flat=True)) == [30, 1]


def test_refusals_of_another_person_embed_outcome_or_address_have_a_row_of_their_own(
    agent: Client, embed: InboxEmbed, make_agent: Callable[..., User]
) -> None:
    away = {"REMOTE_ADDR": "203.0.113.7"}
    for _ in range(3):
        agent.get("/kapso-inbox/invented/launch/", **FRAME)  # type: ignore[arg-type]
        agent.get("/kapso-inbox/other/launch/", **FRAME)  # type: ignore[arg-type]
        agent.get("/kapso-inbox/invented/launch/")
        agent.get("/kapso-inbox/invented/launch/", **FRAME, **away)  # type: ignore[arg-type]
    agent.force_login(make_agent("bo"))
    agent.get("/kapso-inbox/invented/launch/", **FRAME)  # type: ignore[arg-type]
    times = LaunchAttempt.objects.order_by("pk").values_list("times", flat=True)
    assert list(times) == [3, 3, 3, 3, 1]


def test_somebody_who_invents_slugs_fills_a_bounded_number_of_rows_and_all_are_counted(
    agent: Client, ana: User, embed: InboxEmbed
) -> None:
    for number in range(audit.MOST_REFUSALS + 30):
        agent.get(f"/kapso-inbox/x{number}/launch/", **FRAME)  # type: ignore[arg-type]
        agent.get("/kapso-inbox/x0/launch/", **FRAME)  # type: ignore[arg-type]
    rows = LaunchAttempt.objects.order_by("pk")
    assert len(rows) == audit.MOST_REFUSALS + 1
    several = rows[audit.MOST_REFUSALS]
    assert (several.user, several.slug, several.outcome) == (ana, "*", Outcome.NOT_AVAILABLE)
    assert (several.times, several.address, several.embed) == (30, None, None)
    assert rows[0].times == 1 + audit.MOST_REFUSALS + 30
    LaunchAttempt.objects.update(created_at=F("created_at") - timedelta(minutes=1))
    agent.get("/kapso-inbox/y/launch/", **FRAME)  # type: ignore[arg-type]
    assert LaunchAttempt.objects.filter(slug="y", times=1).exists()


def test_every_opening_has_a_row_of_its_own(agent: Client) -> None:
    for _ in range(audit.MOST_REFUSALS + 5):
        assert launch(agent).status_code == 302
    assert outcomes() == [Outcome.OPENED] * (audit.MOST_REFUSALS + 5)
    agent.get("/kapso-inbox/invented/launch/", **FRAME)  # type: ignore[arg-type]
    assert LaunchAttempt.objects.filter(slug="invented").exists()


def test_a_refusal_of_a_time_in_the_future_takes_up_no_other(agent: Client) -> None:
    agent.get("/kapso-inbox/invented/launch/", **FRAME)  # type: ignore[arg-type]
    LaunchAttempt.objects.update(created_at=F("created_at") + timedelta(days=365))
    agent.get("/kapso-inbox/invented/launch/", **FRAME)  # type: ignore[arg-type]
    assert list(LaunchAttempt.objects.values_list("times", flat=True)) == [1, 1]


@pytest.mark.parametrize("params", [["mode"], "dark", 5, {"mode": ["dark"], "search": {"a": 1}}])
def test_a_malformed_preference_never_breaks_a_launch(
    agent: Client, ana: User, embed: InboxEmbed, params: Any
) -> None:
    InboxPreference.objects.create(user=ana, embed=embed, params=params)
    assert launch(agent).status_code == 302


def test_a_missing_function_of_the_host_never_breaks_a_launch(agent: Client) -> None:
    with with_settings(USER_PARAMS="nowhere.at_all"):
        assert launch(agent).status_code == 302


@override_settings(LOGIN_URL="no-such-name")
def test_a_login_address_that_does_not_resolve_never_breaks_our_pages(
    client: Client, embed: InboxEmbed
) -> None:
    response = launch(client)
    assert response.status_code == 403
    assert list(links(response)) == ["Try again"]


@pytest.mark.django_db(transaction=True)
def test_with_a_read_only_database_kapso_is_not_asked(
    agent: Client, kapso_sandbox: Sandbox
) -> None:
    stale()
    sent = len(kapso_sandbox.requests)

    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("UPDATE"):
            raise DatabaseError("read-only")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        assert launch(agent).status_code == 302
    assert len(kapso_sandbox.requests) == sent


# What a launch costs


def own_queries(queries: list[dict[str, str]]) -> list[str]:
    """Leave out the queries for session and user, which every view behind a login makes."""
    return [
        query["sql"]
        for query in queries
        if "django_session" not in query["sql"]
        and f'FROM "{User._meta.db_table}" WHERE' not in query["sql"].replace("`", '"')
        and "SAVEPOINT" not in query["sql"]
    ]


def test_a_launch_makes_three_queries_permissions_included(
    agent: Client, kapso_sandbox: Sandbox, django_assert_max_num_queries: Any
) -> None:
    sent = len(kapso_sandbox.requests)
    with django_assert_max_num_queries(100) as captured:
        assert launch(agent).status_code == 302
    assert len(own_queries(captured.captured_queries)) == 3
    assert len(kapso_sandbox.requests) == sent


def test_a_launch_makes_five_queries_with_those_of_the_session_and_the_user(
    agent: Client, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(100) as captured:
        assert launch(agent).status_code == 302
    counted = [q["sql"] for q in captured.captured_queries if "SAVEPOINT" not in q["sql"]]
    assert len(counted) == 5


def test_a_permission_that_was_taken_away_ends_launches_at_once(agent: Client) -> None:
    assert launch(agent).status_code == 302
    User.objects.get().user_permissions.clear()
    assert launch(agent).status_code == 404


def test_the_number_of_queries_does_not_depend_on_the_page_or_the_readers_language(
    agent: Client, kapso_sandbox: Sandbox, django_assert_max_num_queries: Any
) -> None:
    allow(kapso_sandbox, CRM)
    with with_locale, django_assert_max_num_queries(100) as captured:
        assert launch_from(agent, CRM, HTTP_ACCEPT_LANGUAGE="es").status_code == 302
    assert len(own_queries(captured.captured_queries)) == 3


@pytest.mark.parametrize(
    ("name", "queries"),
    [
        ("Sales inbox", 5),
        # A setting that was changed at Kapso is recorded, with its old and its new value.
        ("Renamed at Kapso", 8),
    ],
)
def test_a_launch_that_asks_kapso_makes_five_queries_on_our_own_tables(
    agent: Client,
    kapso_sandbox: Sandbox,
    django_assert_max_num_queries: Any,
    name: str,
    queries: int,
) -> None:
    stale()
    embed_id = AccessLink.objects.get().kapso_id
    found = kapso_sandbox.project().find(embed_id)
    found.update(name=name, scope_name="Told by Kapso")
    with django_assert_max_num_queries(100) as captured:
        assert launch(agent).status_code == 302
    ours = [sql for sql in own_queries(captured.captured_queries) if "kapso_inbox_" in sql]
    assert len(ours) == queries
    embed = InboxEmbed.objects.get()
    assert (embed.name, embed.scope_name) == (name, "Told by Kapso")


# Verified launches


def test_kapso_is_asked_once_per_interval(agent: Client, kapso_sandbox: Sandbox) -> None:
    sent = len(kapso_sandbox.requests)
    launch(agent)
    assert len(kapso_sandbox.requests) == sent
    stale()
    for _ in range(3):
        assert launch(agent).status_code == 302
    assert [request.method for request in kapso_sandbox.requests[sent:]] == ["GET"]


def test_with_verify_after_zero_kapso_is_never_asked(agent: Client, kapso_sandbox: Sandbox) -> None:
    stale()
    sent = len(kapso_sandbox.requests)
    with with_settings(VERIFY_AFTER=0):
        assert launch(agent).status_code == 302
    assert len(kapso_sandbox.requests) == sent


def test_a_link_revoked_at_kapso_is_found_and_reported(
    agent: Client, kapso_sandbox: Sandbox
) -> None:
    link = AccessLink.objects.get()
    kapso_sandbox.project().revoke(link.kapso_id)
    stale()
    response = launch(agent)
    assert (response.status_code, outcomes()) == (410, [Outcome.REVOKED])
    link.refresh_from_db()
    assert (link.state, link.sealed_url) == (AccessLink.State.REVOKED, "")


def test_a_link_expired_at_kapso_is_found_and_reported(
    agent: Client, kapso_sandbox: Sandbox
) -> None:
    kapso_sandbox.project().expire(AccessLink.objects.get().kapso_id)
    stale()
    assert launch(agent).status_code == 410
    assert outcomes() == [Outcome.EXPIRED]


@pytest.mark.parametrize(
    "fault",
    [
        {"answer": Answer(500, "oops"), "times": 9},
        {"answer": Answer(401, {"error": "no"})},
        {"answer": Answer(404, {"error": "no"})},
        {"drop": "before", "times": 9},
        {"delay": 30, "times": 9},
        {"answer": Answer(200, "not json"), "times": 9},
    ],
    ids=str,
)
def test_a_launch_continues_if_kapso_does_not_answer(
    agent: Client, kapso_sandbox: Sandbox, fault: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    stale()
    kapso_sandbox.fail_next(**fault)
    assert launch(agent).status_code == 302
    assert "could not be verified" in caplog.text
    assert AccessLink.objects.get().state == AccessLink.State.ACTIVE


@pytest.fixture
def silent_kapso() -> Iterator[str]:
    """Serve connections without ever answering."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_launch_waits_about_a_second_for_a_silent_kapso(
    ana: User, client: Client, sales: Group, silent_kapso: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Use real HTTP. The limit is a second; the rest of the time is the machine's."""
    caplog.set_level(logging.WARNING)
    embed = InboxEmbed.objects.create(slug="sales", name="Sales")
    link = AccessLink(embed=embed, state=AccessLink.State.ACTIVE, kapso_id="1")
    link.store_url("https://inbox.kapso.ai/embed/t")
    link.save()
    InboxEmbed.objects.update(current_link=link)
    client.force_login(ana)
    with with_settings(BASE_URL=silent_kapso):
        started = time.monotonic()
        assert launch(client).status_code == 302
        waited = time.monotonic() - started
    assert 0.5 < waited < 2
    assert "could not be verified" in caplog.text


# The whole page


def test_the_whole_page_shows_the_inbox_with_the_pages_parameters(agent: Client) -> None:
    response = agent.get("/kapso-inbox/sales/?unread=1&search=%2B55&utm_source=mail")
    assert response.status_code == 200
    launch = b"/kapso-inbox/sales/launch/?search=%2B55&amp;unread=1&amp;handoff=0"
    assert b'src="%s"' % launch in response.content
    assert b"<title>Sales inbox</title>" in response.content
    assert "no-store" in response["Cache-Control"]


def test_the_whole_page_asks_to_sign_in_first(client: Client, embed: InboxEmbed) -> None:
    response = client.get("/kapso-inbox/sales/")
    assert response["Location"] == "/accounts/login/?next=/kapso-inbox/sales/"


def test_a_wrong_parameter_of_the_whole_page_gets_our_page_with_a_400(agent: Client) -> None:
    response = agent.get("/kapso-inbox/sales/?mode=black")
    assert response.status_code == 400
    assert b"system, light, dark" in response.content


@pytest.mark.parametrize("atomic", [False, True])
@pytest.mark.django_db(transaction=True)
def test_it_works_with_and_without_atomic_requests(
    agent: Client, atomic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", atomic)
    assert agent.get("/kapso-inbox/sales/").status_code == 200
    assert launch(agent).status_code == 302
    assert outcomes() == [Outcome.OPENED]


@pytest.mark.parametrize("login_url", ["", None])
def test_a_site_without_a_login_offers_none(
    client: Client, embed: InboxEmbed, login_url: str | None
) -> None:
    with override_settings(LOGIN_URL=login_url):
        response = launch(client)
    assert response.status_code == 403
    assert links(response) == {"Try again": "../launch/"}
