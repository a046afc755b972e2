"""Tickets let a browser without a session in: once, soon, for one user and one embed."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.core.signing import Signer
from django.db import DatabaseError, connections
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone

from kapso_inbox.inbox import tickets
from kapso_inbox.lifecycle import create_embed, revoke_embed
from kapso_inbox.models import (
    AccessLink,
    InboxEmbed,
    InboxPreference,
    LaunchAttempt,
    LaunchTicket,
    Outcome,
)
from kapso_inbox.sandbox.engine import Sandbox
from kapso_inbox.signals import inbox_opened
from tests.conftest import FRAME
from tests.hosts.database import connection, in_default
from tests.hosts.people import User

pytestmark = pytest.mark.django_db

ELSEWHERE = {"HTTP_SEC_FETCH_DEST": "iframe", "HTTP_SEC_FETCH_SITE": "cross-site"}


@pytest.fixture
def ticket(ana: User, embed: InboxEmbed) -> str:
    """Return a ticket of Ana's for the inbox of Sales."""
    return tickets.issue_ticket(ana, embed, {})


def present(
    client: Client, ticket: str, query: str = "", slug: str = "sales", **headers: str
) -> HttpResponse:
    """Ask for the launch as the frame's browser does."""
    path = f"{reverse('kapso_inbox:launch', args=[slug])}?ticket={ticket}{query}"
    return client.get(path, **(headers or ELSEWHERE))  # type: ignore[arg-type, return-value]


def assert_refused(response: HttpResponse, outcome: Outcome = Outcome.BAD_TICKET) -> None:
    """Check that the answer is our page for that outcome, and does not open the inbox."""
    assert f'data-outcome="{outcome.value}"'.encode() in response.content
    assert "Location" not in response.headers
    if outcome == Outcome.BAD_TICKET:
        assert response.status_code == 403
        assert b"Open the inbox again." in response.content


def opened() -> int:
    return LaunchAttempt.objects.filter(outcome=Outcome.OPENED).count()


def record() -> list[tuple[str, str]]:
    """Return the recorded attempts: username and outcome."""
    return list(LaunchAttempt.objects.order_by("pk").values_list("username", "outcome"))


def seconds_pass(seconds: float) -> None:
    LaunchTicket.objects.update(created_at=timezone.now() - timedelta(seconds=seconds))


def user_params(request: HttpRequest, embed: InboxEmbed) -> Mapping[str, Any]:
    assert isinstance(request.user, User)
    return {"search": request.user.get_username()}


def test_a_ticket_opens_the_inbox_for_a_browser_without_a_session(
    client: Client, ticket: str, kapso_sandbox: Sandbox
) -> None:
    [at_kapso] = kapso_sandbox.project().active_embeds()
    response = present(client, ticket)
    assert (response.status_code, response["Location"]) == (302, at_kapso["embed_url"])
    assert record() == [("ana", "opened")]


@pytest.mark.parametrize("site", ["same-origin", "same-site", "cross-site"])
def test_the_frame_may_be_on_a_page_of_any_site(client: Client, ticket: str, site: str) -> None:
    response = present(client, ticket, **{**ELSEWHERE, "HTTP_SEC_FETCH_SITE": site})
    assert response.status_code == 302


def test_the_answer_is_as_private_as_that_of_any_launch_but_may_be_framed(
    client: Client, ticket: str
) -> None:
    response = present(client, ticket)
    assert response["Cache-Control"] == "no-store, private"
    assert response["Referrer-Policy"] == "strict-origin"
    # The middleware for this header must not add it either: its default is to deny.
    assert "X-Frame-Options" not in response.headers


def test_the_page_that_refuses_a_ticket_shows_in_a_frame_of_another_origin(
    client: Client, embed: InboxEmbed
) -> None:
    response = present(client, "garbage")
    assert "X-Frame-Options" not in response.headers
    assert response["Content-Security-Policy"] == (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'"
    )
    assert b"<a " not in response.content
    assert b"<script" not in response.content


def test_theme_and_filters_travel_inside_the_ticket(
    client: Client, ana: User, embed: InboxEmbed
) -> None:
    InboxPreference.objects.create(user=ana, embed=embed, params={"mode": "light", "unread": "1"})
    ticket = tickets.issue_ticket(ana, embed, {"mode": "dark", "search": "+55 11"})
    with override_settings(
        KAPSO_INBOX={**settings.KAPSO_INBOX, "USER_PARAMS": "tests.inbox.test_tickets.user_params"}
    ):
        response = present(client, ticket)
    query = parse_qs(urlsplit(response["Location"]).query)
    assert query == {"mode": ["dark"], "search": ["+55 11"], "unread": ["1"]}


def test_the_hosts_function_and_the_signals_receivers_see_the_tickets_user(
    client: Client, ana: User, ticket: str
) -> None:
    seen: list[Any] = []

    async def remember(sender: Any, user: Any, request: Any, **kwargs: Any) -> None:
        seen.extend([user, request.user, await request.auser()])

    inbox_opened.connect(remember)
    try:
        with override_settings(
            KAPSO_INBOX={
                **settings.KAPSO_INBOX,
                "USER_PARAMS": "tests.inbox.test_tickets.user_params",
            }
        ):
            response = present(client, ticket)
    finally:
        inbox_opened.disconnect(remember)
    assert parse_qs(urlsplit(response["Location"]).query) == {"search": ["ana"]}
    assert seen == [ana, ana, ana]


def test_a_ticket_starts_no_session(client: Client, ticket: str) -> None:
    response = present(client, ticket)
    assert not response.cookies
    assert client.get(reverse("kapso_inbox:launch", args=["sales"]), **FRAME).status_code == 403  # type: ignore[arg-type]


def test_a_browser_signed_in_as_the_tickets_user_is_let_in(
    client: Client, ana: User, ticket: str
) -> None:
    client.force_login(ana)
    assert present(client, ticket).status_code == 302


# Tickets that open nothing


def test_a_ticket_works_once(client: Client, ticket: str) -> None:
    assert present(client, ticket).status_code == 302
    assert_refused(present(client, ticket))
    assert record() == [("ana", "opened"), ("ana", "bad_ticket")]


def test_a_ticket_works_for_a_minute(client: Client, ana: User, embed: InboxEmbed) -> None:
    late = tickets.issue_ticket(ana, embed, {})
    seconds_pass(tickets.LIFETIME)
    assert_refused(present(client, late))
    just_in_time = tickets.issue_ticket(ana, embed, {})
    seconds_pass(tickets.LIFETIME - 10)
    assert present(client, just_in_time).status_code == 302
    assert tickets.LIFETIME == 60
    assert record() == [("ana", "bad_ticket"), ("ana", "opened")]


def test_a_browser_signed_in_as_another_user_opens_nothing_with_it(
    client: Client, ana: User, ticket: str, sales: Group, make_agent: Callable[..., User]
) -> None:
    bo = make_agent("bo", sales)
    client.force_login(bo)
    response = present(client, ticket)
    assert_refused(response, Outcome.OTHER_USER)
    assert b"signed in to the CRM as somebody else" in response.content
    assert record() == [("bo", "other_user")]
    client.force_login(ana)
    assert_refused(present(client, ticket))
    assert opened() == 0


def test_a_ticket_for_one_embed_opens_no_other(
    client: Client, ticket: str, kapso_sandbox: Sandbox
) -> None:
    create_embed(slug="other", name="Other")
    assert_refused(present(client, ticket, slug="other"))
    assert_refused(present(client, ticket))
    slugs = LaunchAttempt.objects.order_by("pk").values_list("slug", "outcome")
    assert list(slugs) == [("other", "bad_ticket"), ("sales", "bad_ticket")]


def test_a_slug_that_now_belongs_to_another_embed_opens_nothing(
    client: Client, ticket: str, embed: InboxEmbed
) -> None:
    InboxEmbed.objects.filter(pk=embed.pk).update(slug="old-sales")
    create_embed(slug="sales", name="New sales")
    assert_refused(present(client, ticket))


def test_a_ticket_for_an_embed_that_was_renamed_or_deleted_opens_nothing(
    client: Client, ana: User, ticket: str, embed: InboxEmbed
) -> None:
    InboxEmbed.objects.update(slug="renamed")
    renamed = present(client, ticket)
    assert_refused(renamed)
    ticket = tickets.issue_ticket(ana, embed, {})
    revoke_embed(embed)
    InboxEmbed.objects.get().delete()
    deleted = present(client, ticket)
    assert_refused(deleted)
    # Nothing reveals whether there is such an embed.
    assert deleted.content == renamed.content
    assert dict(deleted.headers) == dict(renamed.headers)


def test_a_ticket_whose_embed_was_deleted_without_django_opens_nothing(
    client: Client, ticket: str
) -> None:
    LaunchTicket.objects.update(embed_id=10**6)
    assert_refused(present(client, ticket))


def test_a_user_who_lost_the_permission_opens_nothing(
    client: Client, ana: User, ticket: str
) -> None:
    ana.user_permissions.remove(Permission.objects.get(codename="open_inboxembed"))
    assert_refused(present(client, ticket), Outcome.NOT_AVAILABLE)
    ana.user_permissions.add(Permission.objects.get(codename="open_inboxembed"))
    assert_refused(present(client, ticket))
    assert record() == [("ana", "not_available"), ("ana", "bad_ticket")]


def test_a_user_who_left_the_embeds_groups_opens_nothing(
    client: Client, ana: User, ticket: str
) -> None:
    ana.groups.clear()
    assert_refused(present(client, ticket), Outcome.NOT_AVAILABLE)


class EverybodyOpensEverything:
    """A host's policy that does not check whether a user is active."""

    def openable(self, user: Any, embeds: Any) -> Any:
        return embeds


@pytest.mark.parametrize("policy", [None, "tests.inbox.test_tickets.EverybodyOpensEverything"])
def test_a_user_who_was_deactivated_opens_nothing(
    client: Client, ticket: str, policy: str | None
) -> None:
    User.objects.update(is_active=False)
    own = {"ACCESS_POLICY": policy} if policy else {}
    with override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, **own}):
        assert_refused(present(client, ticket))
    assert record() == [("ana", "bad_ticket")]


def test_a_user_who_was_deleted_opens_nothing(client: Client, ana: User, ticket: str) -> None:
    ana.delete()
    assert_refused(present(client, ticket))
    assert record() == []


def test_a_ticket_that_is_deleted_is_revoked(client: Client, ticket: str) -> None:
    LaunchTicket.objects.all().delete()
    assert_refused(present(client, ticket))


@pytest.mark.parametrize(
    "text",
    ["", "x", "%00", "%ff", "%ED%A0%80", ":", "a:b:c", "x" * 2000, "{id}", "{id}:", "{hex}:x"],
)
def test_a_text_that_we_did_not_sign_opens_nothing(client: Client, ticket: str, text: str) -> None:
    row = LaunchTicket.objects.get()
    assert_refused(present(client, text.format(id=row.pk, hex=row.pk.hex)))
    assert record() == []
    assert present(client, ticket).status_code == 302


def test_the_database_without_the_secret_key_yields_no_ticket(client: Client, ticket: str) -> None:
    stored = LaunchTicket.objects.get().pk.hex
    forged = Signer(key="another", salt="kapso_inbox.tickets").sign(stored)
    of_another_purpose = Signer(salt="sessions").sign(stored)
    for text in (forged, of_another_purpose):
        assert_refused(present(client, text))
    assert present(client, ticket).status_code == 302


def test_the_secret_key_without_the_database_yields_no_ticket(
    client: Client, embed: InboxEmbed
) -> None:
    signed = Signer(salt="kapso_inbox.tickets").sign("0" * 32)
    assert_refused(present(client, signed))


def test_a_ticket_survives_a_new_secret_key_if_the_old_one_is_a_fallback(
    client: Client, ticket: str
) -> None:
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]):
        assert present(client, ticket).status_code == 302


@pytest.mark.parametrize("query", ["&mode=dark", "&next=/", "&ticket="])
def test_a_query_with_more_than_the_ticket_opens_nothing(
    client: Client, ticket: str, query: str
) -> None:
    assert_refused(present(client, ticket, query))
    assert opened() == 0


@pytest.mark.parametrize("dest", ["empty", "document", "image", "script", "object", None])
def test_a_script_that_fetches_a_launch_reads_nothing_and_uses_the_ticket_up(
    client: Client, ticket: str, kapso_sandbox: Sandbox, dest: str | None
) -> None:
    token = kapso_sandbox.project().active_embeds()[0]["token"]
    headers = {"HTTP_SEC_FETCH_DEST": dest} if dest else {"HTTP_ACCEPT": "*/*"}
    response = present(client, ticket, **headers)
    assert_refused(response, Outcome.NOT_IN_FRAME)
    assert token not in f"{response.headers}{response.content!r}"
    assert_refused(present(client, ticket))
    assert record() == [("ana", "not_in_frame"), ("ana", "bad_ticket")]


def test_without_fetch_metadata_a_ticket_opens_the_inbox_if_the_settings_allow_it(
    client: Client, ticket: str
) -> None:
    with override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "REQUIRE_FETCH_METADATA": False}):
        assert present(client, ticket, HTTP_ACCEPT="*/*").status_code == 302


def test_other_methods_neither_open_the_inbox_nor_use_the_ticket_up(
    client: Client, ticket: str
) -> None:
    path = f"{reverse('kapso_inbox:launch', args=['sales'])}?ticket={ticket}"
    for method in ("post", "put", "head", "options"):
        assert getattr(client, method)(path, **ELSEWHERE).status_code == 405
    assert present(client, ticket).status_code == 302


def test_an_inbox_that_opens_for_nobody_says_why(client: Client, ticket: str) -> None:
    AccessLink.objects.update(state=AccessLink.State.REVOKED)
    assert_refused(present(client, ticket), Outcome.REVOKED)
    assert record() == [("ana", "revoked")]


def test_wrong_values_in_a_tickets_row_are_left_out(
    client: Client, ticket: str, caplog: pytest.LogCaptureFixture
) -> None:
    LaunchTicket.objects.update(params={"mode": "dark", "token": "1"})
    response = present(client, ticket)
    assert parse_qs(urlsplit(response["Location"]).query) == {"mode": ["dark"]}
    assert "Left out of a ticket: token" in caplog.text


# Simultaneous requests and failing databases


@pytest.mark.django_db(transaction=True)
def test_only_one_of_two_who_find_a_ticket_valid_is_let_in(client: Client, ticket: str) -> None:
    """The second request runs while the first is about to use the ticket up."""
    second: list[HttpResponse] = []

    def meanwhile(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("UPDATE") and "launchticket" in sql and not second:
            second.append(HttpResponse())
            second[0] = present(Client(), ticket)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(meanwhile):
        first = present(client, ticket)
    assert second[0].status_code == 302
    assert_refused(first)
    assert opened() == 1


@pytest.mark.django_db(transaction=True)
def test_a_ticket_that_cannot_be_used_up_opens_nothing(
    client: Client, ticket: str, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("UPDATE") and "launchticket" in sql:
            raise DatabaseError("read-only")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        response = present(client, ticket)
    assert_refused(response, Outcome.NOT_RECORDED)
    assert response.status_code == 503
    assert "could not be used up" in caplog.text


def failing_user_params(request: HttpRequest, embed: InboxEmbed) -> Mapping[str, Any]:
    raise SystemExit  # nothing of ours catches this


@pytest.mark.django_db(transaction=True)
def test_no_rollback_makes_a_ticket_valid_again(
    client: Client, ticket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for alias in connections:
        monkeypatch.setitem(connections[alias].settings_dict, "ATOMIC_REQUESTS", True)
    with (
        override_settings(
            KAPSO_INBOX={
                **settings.KAPSO_INBOX,
                "USER_PARAMS": "tests.inbox.test_tickets.failing_user_params",
            }
        ),
        pytest.raises(SystemExit),
    ):
        present(client, ticket)
    assert_refused(present(client, ticket))


@pytest.mark.django_db(transaction=True)
def test_a_launch_runs_outside_the_transactions_of_every_database(
    client: Client, ticket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[str] = []
    for alias in connections:
        monkeypatch.setitem(connections[alias].settings_dict, "ATOMIC_REQUESTS", True)

    def note(sender: Any, **kwargs: Any) -> None:
        entered.extend(alias for alias in connections if connections[alias].in_atomic_block)

    inbox_opened.connect(note)
    try:
        assert present(client, ticket).status_code == 302
    finally:
        inbox_opened.disconnect(note)
    assert entered == []


# What is stored


def test_nothing_stored_or_shown_about_a_ticket_works_as_one(
    client: Client, ana: User, ticket: str, caplog: pytest.LogCaptureFixture
) -> None:
    signature = ticket.rpartition(":")[2]
    caplog.set_level(logging.DEBUG)
    present(client, ticket)
    present(client, ticket)
    row = LaunchTicket.objects.get()
    dump = io.StringIO()
    call_command("dumpdata", "kapso_inbox", database=connection.alias, stdout=dump)
    admin = User.objects.create_superuser("root", password="x")
    client.force_login(admin)
    pages = client.get("/admin/").content + client.get("/admin/kapso_inbox/", follow=True).content
    said = [repr(row), str(row), caplog.text, dump.getvalue(), pages.decode()]
    said += [f"{opening.__dict__}" for opening in LaunchAttempt.objects.all()]
    assert "kapso_inbox.launchticket" in dump.getvalue()
    for text in said:
        assert signature not in text
    assert str(row) == f"#{row.pk}"


def test_there_are_no_permissions_for_tickets(db: None) -> None:
    assert not Permission.objects.filter(content_type__model="launchticket").exists()


def test_old_tickets_are_deleted_when_a_new_one_is_issued(ana: User, embed: InboxEmbed) -> None:
    for _ in range(3):
        tickets.issue_ticket(ana, embed, {})
    seconds_pass(3601)
    tickets.issue_ticket(ana, embed, {})
    assert LaunchTicket.objects.count() == 1


def test_a_late_ticket_is_still_known_to_the_record(
    client: Client, ana: User, embed: InboxEmbed, ticket: str
) -> None:
    seconds_pass(3000)
    tickets.issue_ticket(ana, embed, {})
    present(client, ticket)
    assert record() == [("ana", "bad_ticket")]


def test_issuing_makes_at_most_three_queries_however_many_tickets_are_old(
    ana: User, embed: InboxEmbed, django_assert_num_queries: Any
) -> None:
    LaunchTicket.objects.bulk_create(
        LaunchTicket(user=ana, embed=embed, created_at=timezone.now() - timedelta(days=1))
        for _ in range(150)
    )
    with django_assert_num_queries(3):
        tickets.issue_ticket(ana, embed, {})
    assert LaunchTicket.objects.count() == 51
    with django_assert_num_queries(3):
        tickets.issue_ticket(ana, embed, {})
    with django_assert_num_queries(2):
        tickets.issue_ticket(ana, embed, {})
    assert LaunchTicket.objects.count() == 3


@in_default
@pytest.mark.django_db(databases=["default", "replica"])
def test_tickets_are_never_read_from_a_replica(
    ana: User, embed: InboxEmbed, kapso_sandbox: Sandbox
) -> None:
    with override_settings(DATABASE_ROUTERS=["tests.test_databases.StaleReplica"]):
        ticket = tickets.find_ticket(tickets.issue_ticket(ana, embed, {}))
        assert ticket is not None
        assert (ticket.user, ticket.embed) == (ana, embed)
        assert tickets.use_ticket(ticket)
        assert not tickets.use_ticket(ticket)


def test_a_ticket_works_on_a_site_that_authenticates_by_token_alone(
    client: Client, ana: User, embed: InboxEmbed
) -> None:
    names = ["django.middleware.common.CommonMiddleware"]
    with override_settings(MIDDLEWARE=names):
        ticket = tickets.issue_ticket(ana, embed, {})
        frame = {"HTTP_SEC_FETCH_DEST": "iframe", "HTTP_SEC_FETCH_SITE": "cross-site"}
        address = f"/kapso-inbox/sales/launch/?ticket={ticket}"
        assert client.get(address, **frame).status_code == 302
        assert client.get(address, **frame).status_code == 403
        assert client.get("/kapso-inbox/sales/launch/", **FRAME).status_code == 403


def test_a_refused_ticket_signs_nobody_in(client: Client, ana: User, ticket: str) -> None:
    """The host's middleware must not treat the bearer of a used ticket as its user."""
    present(client, ticket)
    again = present(client, ticket)
    assert_refused(again)
    assert not again.wsgi_request.user.is_authenticated
    assert list(LaunchAttempt.objects.filter(user=ana).values_list("outcome", flat=True)) == [
        "bad_ticket",
        "opened",
    ]
