"""Tickets, and a user's own theme and filters."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import connections
from django.http import HttpRequest
from django.test import Client, override_settings
from django.utils import timezone
from rest_framework.authentication import (
    BaseAuthentication,
    BasicAuthentication,
    RemoteUserAuthentication,
    SessionAuthentication,
)
from rest_framework.request import Request
from rest_framework.test import APIClient

from kapso_inbox.access import AccessPolicy
from kapso_inbox.api.own import LaunchView
from kapso_inbox.inbox import tickets
from kapso_inbox.inbox.params import PARAMETERS
from kapso_inbox.lifecycle import revoke_embed
from kapso_inbox.models import (
    AccessLink,
    InboxEmbed,
    InboxPreference,
    LaunchAttempt,
    LaunchTicket,
    Outcome,
)
from tests.hosts.database import connection
from tests.hosts.people import User

from .conftest import SALES, error

pytestmark = pytest.mark.django_db

LAUNCH = f"{SALES}launch/"
PREFERENCES = f"{SALES}preferences/"


@pytest.fixture
def agent(ask: Callable[[User], APIClient], ana: User, embed: InboxEmbed) -> APIClient:
    """Return the client of an agent who may open the embed."""
    return ask(ana)


def params_of(location: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def test_a_ticket_opens_the_inbox_in_a_browser_that_is_not_signed_in(
    agent: APIClient, ana: User, client: Client
) -> None:
    response = agent.post(LAUNCH, {"mode": "dark", "unread": True, "search": None})
    assert response.status_code == 201
    assert response["Cache-Control"] == "no-store, private"
    answer = response.json()
    assert answer["expires_in"] == tickets.LIFETIME
    launch = urlsplit(answer["url"])
    assert answer["url"].startswith("http://testserver/kapso-inbox/sales/launch/?")
    assert parse_qs(launch.query) == {"ticket": [answer["ticket"]]}
    opened = client.get(
        f"{launch.path}?{launch.query}",
        headers={"sec-fetch-dest": "iframe", "sec-fetch-site": "cross-site"},
    )
    assert opened.status_code == 302
    assert params_of(opened["Location"]) == {"mode": "dark", "unread": "1"}
    assert LaunchAttempt.objects.get().user == ana


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"mode": "black"}, "mode"),
        ({"search": ["a"]}, "search"),
        ({"search": "two\nlines"}, "search"),
        ({"whatsapp_config_id": "7"}, "whatsapp_config_id"),
        ({"unread": "perhaps"}, "unread"),
        ({"mood": "dark"}, "mood"),
        ({"slug": "other"}, "slug"),
    ],
    ids=str,
)
@pytest.mark.parametrize("what", ["launch", "preferences"])
def test_a_wrong_theme_or_filter_is_reported_at_its_name(
    agent: APIClient, body: dict[str, Any], field: str, what: str
) -> None:
    response = agent.post(LAUNCH, body) if what == "launch" else agent.put(PREFERENCES, body)
    assert response.status_code == 400
    assert list(error(response)["fields"]) == [field]


def test_a_user_who_may_not_open_the_inbox_gets_no_ticket_and_that_is_recorded(
    ask: Callable[[User], APIClient], manager: User, embed: InboxEmbed
) -> None:
    for url in (LAUNCH, LAUNCH.replace("sales", "none")):
        response = ask(manager).post(url)
        assert (response.status_code, error(response)["code"]) == (404, "not_found")
    assert set(LaunchAttempt.objects.values_list("slug", "outcome")) == {
        ("sales", Outcome.NOT_AVAILABLE),
        ("none", Outcome.NOT_AVAILABLE),
    }


class NobodyIsAdmitted(AccessPolicy):
    def admits(self, request: HttpRequest) -> bool:
        return False


def impersonator(request: HttpRequest) -> str:
    return "the support robot"


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("ACCESS_POLICY", "NobodyIsAdmitted", "not_admitted"),
        ("REAL_USER", "impersonator", "impersonated"),
    ],
)
def test_a_request_that_the_site_does_not_admit_gets_no_ticket_and_that_is_recorded(
    agent: APIClient, embed: InboxEmbed, name: str, value: str, code: str
) -> None:
    configured = {**settings.KAPSO_INBOX, name: f"{__name__}.{value}"}
    with override_settings(KAPSO_INBOX=configured):
        response = agent.post(LAUNCH)
    assert (response.status_code, error(response)["code"]) == (403, code)
    assert not LaunchTicket.objects.exists()
    assert LaunchAttempt.objects.get().outcome == code


def test_an_inbox_that_cannot_open_gets_no_ticket(agent: APIClient, embed: InboxEmbed) -> None:
    def code() -> str:
        response = agent.post(LAUNCH)
        assert response.status_code == 409
        shape: str = error(response)["code"]
        return shape

    InboxEmbed.objects.update(expires_at=timezone.now() - timedelta(hours=1))
    assert code() == "expired"
    AccessLink.objects.update(state=AccessLink.State.UNMANAGED)
    assert code() == "not_ready"
    revoke_embed(embed)
    assert code() == "revoked"
    assert list(LaunchAttempt.objects.order_by("pk").values_list("outcome", flat=True)) == [
        Outcome.EXPIRED,
        Outcome.NOT_READY,
        Outcome.REVOKED,
    ]


def test_a_lost_secret_that_may_be_recovered_gets_a_ticket(
    agent: APIClient, embed: InboxEmbed
) -> None:
    AccessLink.objects.update(state=AccessLink.State.SECRET_LOST)
    assert agent.post(LAUNCH).status_code == 201


class Session(SessionAuthentication):
    """A host's own authentication by session."""


class Cookie(BaseAuthentication):
    """A host's token in a cookie, which a browser sends with whatever a script asks for."""

    def authenticate(self, request: Request) -> tuple[Any, str] | None:
        name = request.COOKIES.get("token")
        return (User.objects.get_by_natural_key(name), name) if name else None


class Token(BaseAuthentication):
    """A host's token in a header."""

    def authenticate(self, request: Request) -> tuple[Any, str] | None:
        name = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return (User.objects.get_by_natural_key(name), name) if name in ("ana", "mona") else None


class Key(BaseAuthentication):
    """A host's key in a header of its own."""

    def authenticate(self, request: Request) -> tuple[Any, str] | None:
        name = request.headers.get("X-Api-Key")
        return (User.objects.get_by_natural_key(name), name) if name else None


#: Who authenticates -> the headers of the request, and whether it gets a ticket.
AUTHENTICATORS: dict[str, tuple[type[BaseAuthentication], dict[str, str], bool]] = {
    "a session": (SessionAuthentication, {}, False),
    "a session, with a token that nobody reads": (
        SessionAuthentication,
        {"authorization": "Bearer ana"},
        False,
    ),
    "a host's session": (Session, {}, False),
    "a cookie": (Cookie, {"cookie": "token=ana"}, False),
    "a password, which the browser may add": (
        BasicAuthentication,
        {"authorization": f"Basic {b64encode(b'ana:secret').decode()}"},
        False,
    ),
    "a proxy": (RemoteUserAuthentication, {}, False),
    "a token": (Token, {"authorization": "Bearer ana"}, True),
    "a token, in a browser with a session": (
        Token,
        {"authorization": "Bearer ana", "cookie": "sessionid=x"},
        True,
    ),
    "a key": (Key, {"x-api-key": "ana"}, True),
}


@pytest.mark.parametrize("who", AUTHENTICATORS)
def test_a_ticket_is_only_for_a_caller_who_knows_the_token(
    ana: User, embed: InboxEmbed, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script on the page can use the session of its reader, and must not get a ticket by it."""
    authenticator, headers, gets_it = AUTHENTICATORS[who]
    monkeypatch.setattr(LaunchView, "authentication_classes", [authenticator])
    client = APIClient()
    ana.set_password("secret")
    ana.save()
    if issubclass(authenticator, SessionAuthentication):
        client.force_login(ana)
    remote = {"REMOTE_USER": "ana"} if authenticator is RemoteUserAuthentication else {}
    backends = ["django.contrib.auth.backends.RemoteUserBackend", *settings.AUTHENTICATION_BACKENDS]
    with override_settings(AUTHENTICATION_BACKENDS=backends):
        response = client.post(LAUNCH, {}, headers=headers, **remote)
    if gets_it:
        assert response.status_code == 201
        return
    assert (response.status_code, error(response)["code"]) == (403, "token_required")
    assert "TICKETS_FOR_SESSIONS" in error(response)["message"]
    assert not LaunchTicket.objects.exists()
    allowed = {**settings.KAPSO_INBOX, "TICKETS_FOR_SESSIONS": True}
    with override_settings(AUTHENTICATION_BACKENDS=backends, KAPSO_INBOX=allowed):
        assert client.post(LAUNCH, {}, headers=headers, **remote).status_code == 201


def test_a_session_learns_nothing_of_an_embed_by_asking_for_a_ticket(
    ana: User, embed: InboxEmbed
) -> None:
    browser = APIClient()
    browser.force_login(ana)
    for slug in ("sales", "none"):
        response = browser.post(LAUNCH.replace("sales", slug))
        assert error(response)["code"] == "token_required"


@override_settings(ROOT_URLCONF="tests.api.urls")
def test_without_the_urls_of_the_pages_no_ticket_is_issued(agent: APIClient) -> None:
    response = agent.post(LAUNCH)
    assert (response.status_code, error(response)["code"]) == (503, "not_configured")
    assert 'include("kapso_inbox.urls")' in error(response)["message"]


def saved(**params: Any) -> dict[str, Any]:
    """Return the answer if only these are saved."""
    return {**dict.fromkeys(PARAMETERS), **params}


def test_preferences_are_replaced_changed_and_removed(
    agent: APIClient, ana: User, embed: InboxEmbed
) -> None:
    assert agent.get(PREFERENCES).json() == saved()
    replaced = agent.put(PREFERENCES, {"mode": "dark", "unread": True, "handoff": False})
    assert (replaced.status_code, replaced.json()) == (200, saved(mode="dark", unread=True))
    changed = agent.patch(PREFERENCES, {"status": "all", "unread": None})
    assert changed.json() == saved(mode="dark", status="all")
    assert agent.get(PREFERENCES).json() == changed.json()
    assert InboxPreference.objects.get(user=ana, embed=embed).params == {
        "mode": "dark",
        "status": "all",
    }
    assert agent.put(PREFERENCES, changed.json()).json() == changed.json()
    assert agent.put(PREFERENCES, {}).json() == saved()
    assert agent.get(PREFERENCES).json() == saved()


def test_users_have_their_own_preferences(
    agent: APIClient,
    ask: Callable[[User], APIClient],
    make_agent: Callable[..., User],
    sales: Group,
) -> None:
    agent.put(PREFERENCES, {"mode": "dark"})
    assert ask(make_agent("bo", sales)).get(PREFERENCES).json() == saved()


def test_preferences_of_an_embed_that_the_user_may_not_open_are_not_found(
    api: APIClient, embed: InboxEmbed
) -> None:
    for response in (api.get(PREFERENCES), api.put(PREFERENCES, {}), api.patch(PREFERENCES, {})):
        assert (response.status_code, error(response)["code"]) == (404, "not_found")
    assert not InboxPreference.objects.exists()


def test_a_browsers_form_saves_preferences_too(agent: APIClient) -> None:
    response = agent.put(
        PREFERENCES, {"mode": "dark", "csrfmiddlewaretoken": "x"}, format="multipart"
    )
    assert response.json() == saved(mode="dark")


def test_launches_have_a_rate_of_their_own(agent: APIClient, api: APIClient) -> None:
    rates = {"kapso_inbox_launches": "1/min"}
    with override_settings(
        REST_FRAMEWORK={**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": rates}
    ):
        assert agent.post(LAUNCH).status_code == 201
        response = agent.post(LAUNCH)
        assert (response.status_code, error(response)["code"]) == (429, "throttled")
        assert 0 < int(response["Retry-After"]) <= 60
        assert agent.put(PREFERENCES, {}).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_first_preferences_that_are_saved_at_the_same_time_are_all_kept(
    ana: User, embed: InboxEmbed, ask: Callable[[User], APIClient]
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time.")
    statuses: list[int] = []
    ready = threading.Barrier(6)

    def save(body: dict[str, str]) -> None:
        client = ask(ana)
        ready.wait()
        statuses.append(client.patch(PREFERENCES, body).status_code)
        connections.close_all()

    for _round in range(3):
        InboxPreference.objects.all().delete()
        bodies = [{"mode": "dark"}, {"status": "active"}, {"unread": "true"}] * 2
        threads = [threading.Thread(target=save, args=[body]) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        saved = InboxPreference.objects.get().params
        assert saved.keys() == {"mode", "status", "unread"}
    assert set(statuses) == {200}
