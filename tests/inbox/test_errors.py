"""An exception in the host's code or in ours: reported as Django does, told in our own page."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core import mail
from django.core.exceptions import PermissionDenied
from django.core.signals import got_request_exception
from django.http import Http404, HttpRequest
from django.template import TemplateDoesNotExist
from django.test import Client, override_settings

from kapso_inbox.access import AccessPolicy
from kapso_inbox.models import InboxEmbed, InboxEmbedQuerySet, LaunchAttempt
from tests.conftest import FRAME
from tests.hosts.database import connection
from tests.hosts.people import User
from tests.settings import ADMINS

pytestmark = pytest.mark.django_db

FRAMES = ["sales/launch/", "sales/settings/", "mine/launch/", "mine/settings/"]


class BrokenPolicy(AccessPolicy):
    def admits(self, request: HttpRequest) -> bool:
        raise LookupError("no organisation\n<b>of this user</b>")


class SecretivePolicy(AccessPolicy):
    def openable(self, user: Any, embeds: InboxEmbedQuerySet) -> InboxEmbedQuerySet:
        raise PermissionDenied("not on a Sunday")


class ForgetfulPolicy(AccessPolicy):
    def openable(self, user: Any, embeds: InboxEmbedQuerySet) -> InboxEmbedQuerySet:
        raise Http404("no such organisation")


def broken_user(request: HttpRequest) -> Any:
    raise LookupError("no session")


def with_settings(**values: Any) -> override_settings:
    return override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, **values})


def with_policy(name: str) -> override_settings:
    return with_settings(ACCESS_POLICY=f"{__name__}.{name}")


@pytest.fixture
def agent(client: Client, ana: User, embed: InboxEmbed) -> Client:
    """Return the browser of an agent, to which a server sends its errors as pages."""
    client.force_login(ana)
    client.raise_request_exception = False
    return client


@pytest.fixture
def reported() -> Iterator[list[Any]]:
    """Collect what Django tells those who watch for exceptions, such as an error tracker."""
    found: list[Any] = []

    def note(request: HttpRequest, **kwargs: Any) -> None:
        found.append(request.path)

    got_request_exception.connect(note)
    yield found
    got_request_exception.disconnect(note)


@pytest.mark.parametrize("address", FRAMES)
def test_an_exception_of_the_host_is_told_in_our_page(agent: Client, address: str) -> None:
    with with_policy("BrokenPolicy"):
        response = agent.get(f"/kapso-inbox/{address}", **FRAME)  # type: ignore[arg-type]
    page = response.content.decode()
    assert response.status_code == 500
    assert 'data-outcome="failed"' in page
    assert "organisation" not in page
    assert response["Cache-Control"] == "no-store, private"
    assert response["X-Frame-Options"] == "SAMEORIGIN"
    assert 'href="../launch/"' in page


@override_settings(DEBUG=True)
def test_a_developer_sees_the_last_line_of_the_exception(agent: Client) -> None:
    with with_policy("BrokenPolicy"):
        page = agent.get("/kapso-inbox/sales/launch/", **FRAME).content.decode()  # type: ignore[arg-type]
    assert "<code>LookupError: no organisation" in page
    assert "&lt;b&gt;of this user" in page


def test_an_exception_is_logged_and_signalled_as_that_of_any_view(
    agent: Client, reported: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    with with_policy("BrokenPolicy"):
        agent.get("/kapso-inbox/sales/launch/", **FRAME)  # type: ignore[arg-type]
    assert reported == ["/kapso-inbox/sales/launch/"]
    (record,) = [one for one in caplog.records if one.name == "django.request"]
    assert (record.levelno, record.status_code) == (logging.ERROR, 500)  # type: ignore[attr-defined]
    assert record.exc_info is not None
    assert record.exc_info[0] is LookupError


@override_settings(ADMINS=ADMINS, DEBUG=False)
def test_the_administrators_of_a_site_are_mailed(agent: Client) -> None:
    with with_policy("BrokenPolicy"):
        agent.get("/kapso-inbox/sales/launch/", **FRAME)  # type: ignore[arg-type]
    (message,) = mail.outbox
    assert "/kapso-inbox/sales/launch/" in message.subject


def test_a_failed_attempt_is_recorded(agent: Client, ana: User) -> None:
    with with_policy("BrokenPolicy"):
        agent.get("/kapso-inbox/sales/launch/", **FRAME)  # type: ignore[arg-type]
    attempt = LaunchAttempt.objects.get()
    assert (attempt.user, attempt.slug, attempt.outcome) == (ana, "sales", "failed")


def test_a_failure_that_cannot_be_recorded_either_is_told_all_the_same(agent: Client) -> None:
    with with_settings(REAL_USER=f"{__name__}.broken_user"):
        response = agent.get("/kapso-inbox/sales/launch/", **FRAME)  # type: ignore[arg-type]
    assert response.status_code == 500
    assert b'data-outcome="failed"' in response.content
    assert not LaunchAttempt.objects.exists()


@pytest.mark.parametrize("policy", ["SecretivePolicy", "ForgetfulPolicy"])
def test_what_the_host_forbids_looks_like_what_is_not_there(
    agent: Client, reported: list[Any], policy: str
) -> None:
    with with_policy(policy):
        response = agent.get("/kapso-inbox/sales/launch/", **FRAME)  # type: ignore[arg-type]
    assert response.status_code == 404
    assert b'data-outcome="not_available"' in response.content
    assert b"Sunday" not in response.content
    assert reported == []
    assert LaunchAttempt.objects.get().outcome == "not_available"


@pytest.mark.django_db(transaction=True)
def test_a_forgotten_migrate_is_told_in_our_page(agent: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE kapso_inbox_inboxembed RENAME TO hidden")
    try:
        response = agent.get("/kapso-inbox/sales/launch/", **FRAME)  # type: ignore[arg-type]
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE hidden RENAME TO kapso_inbox_inboxembed")
    assert response.status_code == 500
    assert b'data-outcome="failed"' in response.content


def test_a_page_that_cannot_be_rendered_has_a_plain_one_in_its_place(
    agent: Client, caplog: pytest.LogCaptureFixture
) -> None:
    no_templates = [{**settings.TEMPLATES[0], "DIRS": [], "APP_DIRS": False}]
    with override_settings(TEMPLATES=no_templates):
        response = agent.get("/kapso-inbox/nothing/launch/", **FRAME)  # type: ignore[arg-type]
    page = response.content.decode()
    assert response.status_code == 500
    assert "data-kapso-inbox" in page
    assert '<main data-outcome="failed">' in page
    assert response["X-Frame-Options"] == "SAMEORIGIN"
    errors = [one.exc_info[0] for one in caplog.records if one.exc_info]
    assert errors == [TemplateDoesNotExist, TemplateDoesNotExist]


@override_settings(DEBUG_PROPAGATE_EXCEPTIONS=True)
def test_a_site_that_wants_exceptions_gets_them(agent: Client) -> None:
    with with_policy("BrokenPolicy"), pytest.raises(LookupError):
        agent.get("/kapso-inbox/sales/launch/", **FRAME)  # type: ignore[arg-type]


def test_a_hosts_own_test_meets_the_exception_itself(agent: Client) -> None:
    agent.raise_request_exception = True
    with with_policy("BrokenPolicy"), pytest.raises(LookupError):
        agent.get("/kapso-inbox/sales/launch/", **FRAME)  # type: ignore[arg-type]
