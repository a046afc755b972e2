"""What only the request knows: a second factor, and somebody who acts as another user."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission
from django.http import HttpRequest, HttpResponse
from django.template import RequestContext, Template
from django.test import Client, RequestFactory, override_settings

from kapso_inbox import audit, lifecycle
from kapso_inbox.access import AccessPolicy
from kapso_inbox.inbox import own, tickets
from kapso_inbox.models import InboxChange, InboxEmbed, LaunchAttempt
from kapso_inbox.sandbox.engine import Sandbox
from tests.conftest import FRAME
from tests.hosts.people import User

pytestmark = pytest.mark.django_db

ELSEWHERE = {"HTTP_SEC_FETCH_DEST": "iframe", "HTTP_SEC_FETCH_SITE": "cross-site"}


class SecondFactorPolicy(AccessPolicy):
    def admits(self, request: HttpRequest) -> bool:
        return bool(request.headers.get("X-Verified"))


def with_settings(**values: Any) -> override_settings:
    return override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, **values})


def second_factor() -> override_settings:
    return with_settings(ACCESS_POLICY=f"{__name__}.SecondFactorPolicy")


def somebody(request: HttpRequest) -> str:
    return "the support robot"


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root")


@pytest.fixture
def agent(client: Client, ana: User, embed: InboxEmbed) -> Client:
    client.force_login(ana)
    return client


@pytest.fixture
def hijacked(agent: Client, root: User) -> Client:
    """Return a browser in which root acts as Ana, as django-hijack keeps it in the session."""
    session = agent.session
    session["hijack_history"] = [str(root.pk)]
    session.save()
    return agent


def ask(client: Client, address: str = "sales/launch/", **headers: Any) -> HttpResponse:
    return client.get(f"/kapso-inbox/{address}", **FRAME, **headers)  # type: ignore[arg-type, return-value]


def outcome_of(response: HttpResponse) -> str:
    return response.content.decode().partition('data-outcome="')[2].partition('"')[0]


# The policy's own question


@pytest.mark.parametrize(
    "address", ["sales/launch/", "sales/settings/", "mine/launch/", "mine/settings/"]
)
def test_a_request_that_is_not_admitted_gets_no_frame(agent: Client, address: str) -> None:
    with second_factor():
        response = ask(agent, address)
    assert response.status_code == 403
    assert outcome_of(response) == "not_admitted"
    assert LaunchAttempt.objects.get().outcome == "not_admitted"


def test_a_request_that_is_admitted_opens_the_inbox(agent: Client) -> None:
    with second_factor():
        assert ask(agent, HTTP_X_VERIFIED="1").status_code == 302


def test_direct_delivery_asks_as_well(ana: User, embed: InboxEmbed, rf: RequestFactory) -> None:
    template = Template('{% load kapso_inbox %}{% kapso_inbox "sales" %}')
    with with_settings(DELIVERY="direct", ACCESS_POLICY=f"{__name__}.SecondFactorPolicy"):
        for headers, is_shown in (({}, False), ({"HTTP_X_VERIFIED": "1"}, True)):
            request = rf.get("/", **headers)  # type: ignore[arg-type]
            request.user = ana
            page = template.render(RequestContext(request))
            assert ("https://inbox.kapso.ai/embed/" in page) is is_shown


def test_a_launch_by_ticket_is_not_asked_again(
    client: Client, ana: User, embed: InboxEmbed
) -> None:
    query = {"ticket": tickets.issue_ticket(ana, embed, {})}
    with second_factor():
        response = client.get("/kapso-inbox/sales/launch/", query, **ELSEWHERE)  # type: ignore[arg-type]
    assert response.status_code == 302


# Somebody who acts as another user


def test_an_opening_is_recorded_for_who_really_sits_there(hijacked: Client, root: User) -> None:
    assert ask(hijacked).status_code == 302
    attempt = LaunchAttempt.objects.get()
    assert attempt.user == root
    assert (attempt.username, attempt.acting_as) == ("root", "ana")


def test_a_refusal_is_recorded_for_who_really_sits_there(hijacked: Client, root: User) -> None:
    assert ask(hijacked, "nothing/launch/").status_code == 404
    attempt = LaunchAttempt.objects.get()
    assert (attempt.user, attempt.acting_as) == (root, "ana")


def test_what_somebody_is_refused_as_another_user_is_not_counted_with_their_own(
    hijacked: Client, root: User, client: Client
) -> None:
    ask(hijacked, "nothing/launch/")
    client.force_login(root)
    ask(client, "nothing/launch/")
    rows = LaunchAttempt.objects.order_by("pk").values_list("user", "acting_as", "times")
    assert list(rows) == [(root.pk, "ana", 1), (root.pk, "", 1)]


def test_an_opening_of_ones_own_accord_names_nobody_else(agent: Client, ana: User) -> None:
    assert ask(agent).status_code == 302
    attempt = LaunchAttempt.objects.get()
    assert (attempt.user, attempt.acting_as) == (ana, "")


def test_django_impersonate_is_known_too(
    ana: User, root: User, embed: InboxEmbed, rf: RequestFactory
) -> None:
    request = rf.get("/")
    request.user = ana
    request.impersonator = root  # type: ignore[attr-defined]
    assert audit.actor_of(request) == audit.Impersonator(root, ana)
    request.impersonator = None  # type: ignore[attr-defined]
    assert audit.actor_of(request) == ana


def test_somebody_who_was_deleted_meanwhile_is_recorded_by_their_key(
    hijacked: Client, root: User
) -> None:
    key = root.pk
    root.delete()
    assert ask(hijacked).status_code == 302
    attempt = LaunchAttempt.objects.get()
    assert attempt.user is None
    assert (attempt.username, attempt.acting_as) == (f"user {key}", "ana")


def test_a_function_of_the_host_says_who_sits_there(agent: Client) -> None:
    with with_settings(REAL_USER=f"{__name__}.somebody"):
        assert ask(agent).status_code == 302
    attempt = LaunchAttempt.objects.get()
    assert (attempt.user, attempt.username) == (None, "the support robot")
    assert attempt.acting_as == "ana"


def test_somebodys_own_inbox_does_not_open_for_who_acts_as_them(
    hijacked: Client, ana: User, kapso_sandbox: Sandbox
) -> None:
    lifecycle.create_embed(
        slug=own.slug_for(ana),
        name="Ana",
        assigned_user_id=kapso_sandbox.project().users[0]["user_id"],
        personal_to=str(ana.pk),
        allowed_origins=[],
    )
    response = ask(hijacked, f"{own.slug_for(ana)}/launch/")
    assert response.status_code == 403
    assert outcome_of(response) == "impersonated"
    assert LaunchAttempt.objects.get().outcome == "impersonated"


@pytest.mark.parametrize("method", ["get", "post"])
def test_nobody_sets_up_somebody_elses_own_inbox(hijacked: Client, ana: User, method: str) -> None:
    ask_for = getattr(hijacked, method)
    response = ask_for("/kapso-inbox/mine/launch/", **FRAME)
    assert outcome_of(response) == "impersonated"
    assert not InboxEmbed.objects.filter(slug=own.slug_for(ana)).exists()


def test_a_change_is_recorded_for_who_really_made_it(
    hijacked: Client, ana: User, embed: InboxEmbed
) -> None:
    ana.is_staff = True
    ana.save()
    ana.user_permissions.add(
        *Permission.objects.filter(
            content_type__app_label="kapso_inbox",
            codename__in=["view_inboxembed", "change_inboxembed"],
        )
    )
    InboxChange.objects.all().delete()
    page = f"/admin/kapso_inbox/inboxembed/{embed.pk}/change/"
    form = hijacked.get(page).context["adminform"].form
    data = {name: form[name].value() for name in form.fields}
    data = {name: value for name, value in data.items() if value is not None}
    response = hijacked.post(page, {**data, "name": "Sales and support"})
    assert response.status_code == 302, response.context["errors"]
    change = InboxChange.objects.get()
    assert (change.username, change.acting_as) == ("root", "ana")
