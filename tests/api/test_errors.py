"""Errors have the same shape, whatever raises them and whatever the host's settings are."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.db import DatabaseError
from django.test import Client, override_settings
from django.utils import translation
from rest_framework import pagination
from rest_framework.test import APIClient

from kapso_inbox.api.errors import CODES
from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.models import InboxEmbed
from kapso_inbox.sandbox.engine import Sandbox
from tests.hosts.database import connection
from tests.hosts.people import User

from .conftest import API, EMBEDS, SALES, error

pytestmark = pytest.mark.django_db


@contextmanager
def framework(**values: Any) -> Iterator[None]:
    """Override the host's settings of REST framework."""
    with override_settings(REST_FRAMEWORK={**settings.REST_FRAMEWORK, **values}):
        yield


def hosts_handler(error: Exception, context: Any) -> None:
    raise AssertionError("our handler is called, not the host's")


@pytest.mark.parametrize(
    ("ask_for", "status", "code"),
    [
        (lambda api: api.post(API + "team-members/"), 405, "method_not_allowed"),
        (lambda api: api.get(EMBEDS, headers={"accept": "image/png"}), 406, "not_acceptable"),
        (
            lambda api: api.generic("POST", EMBEDS, "x", content_type="text/csv"),
            415,
            "unsupported_media_type",
        ),
        (lambda api: api.get(f"{EMBEDS}nothing/"), 404, "not_found"),
        (lambda api: api.put(f"{EMBEDS}a%00b/"), 404, "not_found"),
        (lambda api: api.post(f"{EMBEDS}%C2%84/rotate/"), 404, "not_found"),
        (lambda api: api.post(EMBEDS, {}), 400, "invalid"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_errors_of_the_framework_have_our_shape(
    api: APIClient, ask_for: Callable[[APIClient], Any], status: int, code: str
) -> None:
    with framework(EXCEPTION_HANDLER="tests.api.test_errors.hosts_handler"):
        response = ask_for(api)
    assert (response.status_code, error(response)["code"]) == (status, code)
    assert status in CODES[code].statuses


def test_a_mistake_in_the_program_is_not_answered_as_an_error_of_ours(
    api: APIClient, embed: InboxEmbed
) -> None:
    broken = {**settings.KAPSO_INBOX, "ACCESS_POLICY": "kapso_inbox.no_such.Policy"}
    with override_settings(KAPSO_INBOX=broken), pytest.raises(ImportError):
        api.get(EMBEDS)


def test_a_database_error_in_a_read_is_left_to_the_host(api: APIClient, embed: InboxEmbed) -> None:
    def fail(*args: Any) -> Any:
        raise DatabaseError("down")

    with connection.execute_wrapper(fail), pytest.raises(DatabaseError):
        api.get(EMBEDS)


def test_texts_are_in_the_readers_language(api: APIClient, embed: InboxEmbed) -> None:
    with translation.override("es"):
        response = api.get(f"{EMBEDS}nothing/")
    assert error(response)["message"] == "No encontrado."
    assert error(response)["code"] == "not_found"


@pytest.mark.parametrize("method", ["get", "patch", "delete"])
def test_an_embed_that_is_deleted_meanwhile_is_not_found(
    api: APIClient, kapso_sandbox: Sandbox, method: str
) -> None:
    embed = InboxEmbed.objects.create(slug="sales", name="Sales")
    gone: list[bool] = []

    def delete_after_it_was_found(
        execute: Any, sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        found = execute(sql, params, many, context)
        if "kapso_inbox_inboxembed" in sql and "LIMIT 21" not in sql and not gone:
            gone.append(True)
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM kapso_inbox_inboxembed WHERE id = %s", [embed.pk])
        return found

    with connection.execute_wrapper(delete_after_it_was_found):
        response = getattr(api, method)(SALES, *([{"name": "New"}] if method == "patch" else []))
    if method == "get":
        assert response.status_code == 200
    else:
        assert (response.status_code, error(response)["code"]) == (404, "not_found")


# The host's settings


class OnePerPage(pagination.PageNumberPagination):
    page_size = 1


class ByCursor(pagination.CursorPagination):
    page_size = 2


class ByOffset(pagination.LimitOffsetPagination):
    default_limit = 2


def test_lists_use_the_hosts_pagination(api: APIClient, embed: InboxEmbed) -> None:
    InboxEmbed.objects.bulk_create(InboxEmbed(slug=f"s{n}", name=f"S{n}") for n in range(4))
    for name, results in (("OnePerPage", 1), ("ByCursor", 2), ("ByOffset", 2)):
        with framework(DEFAULT_PAGINATION_CLASS=f"{__name__}.{name}"):
            body = api.get(f"{EMBEDS}?ordering=slug").json()
            assert len(body["results"]) == results
            assert len(api.get(body["next"]).json()["results"]) == results
            assert api.get(f"{API}openings/").json()["results"] == []
    assert len(api.get(EMBEDS).json()["results"]) == 5
    assert len(api.get(f"{EMBEDS}?page_size=2").json()["results"]) == 2


def test_a_cursor_pagination_refuses_an_order_by_nullable_times(
    api: APIClient, embed: InboxEmbed
) -> None:
    with framework(DEFAULT_PAGINATION_CLASS=f"{__name__}.ByCursor"):
        for name in ("expires_at", "-last_used_at"):
            response = api.get(f"{EMBEDS}?ordering={name}")
            assert list(error(response)["fields"]) == ["ordering"]
        assert api.get(f"{EMBEDS}?ordering=-updated_at").status_code == 200
    assert api.get(f"{EMBEDS}?ordering=expires_at").status_code == 200


def test_writes_are_limited_by_the_rate_that_the_host_sets(
    api: APIClient, embed: InboxEmbed
) -> None:
    rates = {"kapso_inbox_writes": "2/min"}
    with framework(DEFAULT_THROTTLE_RATES=rates):
        for _ in range(2):
            assert api.patch(SALES, {}).status_code == 200
        for response in (api.patch(SALES, {}), api.post(f"{SALES}refresh/"), api.delete(SALES)):
            assert (response.status_code, error(response)["code"]) == (429, "throttled")
            assert int(response["Retry-After"]) > 0
        for _ in range(5):
            assert api.get(SALES).status_code == 200


def test_without_a_rate_there_is_no_throttle(api: APIClient, embed: InboxEmbed) -> None:
    for _ in range(30):
        assert api.patch(SALES, {}).status_code == 200


def test_a_host_without_any_rates_has_no_throttle(api: APIClient, embed: InboxEmbed) -> None:
    with framework(DEFAULT_THROTTLE_RATES=None):
        assert api.patch(SALES, {}).status_code == 200


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
@pytest.mark.parametrize(("action", "status"), [("rotate", 400), ("resolve", 400), ("no", 404)])
def test_a_body_that_is_nested_too_deeply_breaks_no_page(
    manager: User, embed: InboxEmbed, action: str, status: int, accept: str
) -> None:
    client = APIClient()
    client.force_authenticate(manager)
    response = client.generic(
        "POST",
        f"{SALES}{action}/",
        "[" * 100_000,
        content_type="application/json",
        headers={"accept": accept},
    )
    assert response.status_code == status


def test_a_browsers_session_needs_its_csrf_token(manager: User, embed: InboxEmbed) -> None:
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(manager)
    assert client.get(SALES).status_code == 200
    response = client.delete(SALES)
    assert (response.status_code, error(response)["code"]) == (403, "permission_denied")


@pytest.mark.parametrize("name", ["v1", "acme"])
def test_addresses_are_right_wherever_the_host_includes_the_api(
    api: APIClient, kapso_sandbox: Sandbox, name: str
) -> None:
    with override_settings(ROOT_URLCONF="tests.api.urls_elsewhere"):
        prefix = f"/hosts/{name}/inboxes/embeds/"
        response = api.post(prefix, {"slug": "support", "name": "Support", "scope_type": "project"})
        assert response["Location"] == f"http://testserver{prefix}support/"
        kapso_sandbox.fail_next(method="POST", drop="after")
        response = api.post(f"{prefix}support/rotate/")
        assert error(response)["retry_url"] == f"http://testserver{prefix}support/resolve/"


@pytest.mark.parametrize(
    "path",
    [
        EMBEDS,
        SALES,
        f"{SALES}rotate/",
        f"{SALES}preferences/",
        f"{EMBEDS}sync/",
        f"{API}team-members/",
    ],
)
def test_every_view_answers_options(api: APIClient, embed: InboxEmbed, path: str) -> None:
    assert api.options(path).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        EMBEDS,
        SALES,
        f"{SALES}rotate/",
        f"{SALES}launch/",
        f"{SALES}preferences/",
        f"{EMBEDS}sync/",
        f"{API}team-members/",
        f"{API}openings/",
        f"{EMBEDS}nothing/",
    ],
)
def test_the_api_can_be_browsed(
    client: Client, manager: User, sales: Group, embed: InboxEmbed, path: str
) -> None:
    manager.groups.add(sales)
    manager.user_permissions.add(Permission.objects.get(codename="open_inboxembed"))
    client.force_login(manager)
    response = client.get(path, headers={"accept": "text/html"})
    assert response.status_code in (200, 404, 405)
    assert b"<html" in response.content
    if path == SALES:
        assert b'name="default_mode"' in response.content


@pytest.mark.parametrize("path", [EMBEDS, SALES, f"{SALES}launch/", f"{API}phone-numbers/"])
def test_behind_login_required_middleware_the_api_authenticates_by_itself(
    embed: InboxEmbed, path: str
) -> None:
    guard = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    with override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, guard]):
        response = APIClient().get(path)
    assert response.status_code in (401, 403)
    assert error(response)["code"] == "not_authenticated"


@pytest.mark.parametrize("library", ["rest_framework", "drf_spectacular"])
def test_without_a_library_of_the_extra_the_urls_name_the_extra_to_install(
    monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, "kapso_inbox.api.urls", raising=False)
    with pytest.raises(ConfigurationError, match=r"django-kapso-inbox\[api\]"):
        importlib.import_module("kapso_inbox.api.urls")
