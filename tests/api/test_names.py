"""What the API does not know it refuses by name, in every body and every query."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.test import override_settings
from rest_framework.test import APIClient

from kapso_inbox.models import InboxEmbed
from kapso_inbox.sandbox.engine import Sandbox
from tests.hosts.people import User

from .conftest import API, EMBEDS, MANAGE, SALES, error

pytestmark = pytest.mark.django_db

NEW = {"slug": "support", "name": "Support", "scope_type": "project"}
SCOPED = {"slug": "support", "name": "Support", "scope_id": "x", "scopeType": "customer"}


@pytest.fixture
def manager(make_manager: Callable[..., User], embed: InboxEmbed, sales: Group) -> User:
    """Return a user who may do everything."""
    codenames = [f"{action}_inboxembed" for action in (*MANAGE, "open")]
    manager = make_manager("mona", *codenames, "view_launchattempt")
    manager.groups.add(sales)
    return manager


#: Every address that takes a body or a query, by its methods.
WRITES = [
    ("post", EMBEDS, NEW),
    ("put", SALES, {}),
    ("put", f"{EMBEDS}new/", {"name": "New", "scope_type": "project"}),
    ("patch", SALES, {"name": "New"}),
    ("delete", SALES, {}),
    ("post", f"{SALES}rotate/", {}),
    ("post", f"{SALES}resolve/", {}),
    ("post", f"{SALES}refresh/", {}),
    ("post", f"{SALES}launch/", {"mode": "dark"}),
    ("put", f"{SALES}preferences/", {"mode": "dark"}),
    ("patch", f"{SALES}preferences/", {"mode": "dark"}),
    ("post", f"{EMBEDS}sync/", {}),
]
READS = [
    ("get", EMBEDS),
    ("head", EMBEDS),
    ("get", SALES),
    ("get", f"{SALES}preferences/"),
    ("get", f"{API}phone-numbers/"),
    ("get", f"{API}customers/"),
    ("get", f"{API}team-members/"),
    ("get", f"{API}openings/"),
]


def fields(response: Any) -> dict[str, list[str]]:
    """Return the texts of an answer that refuses something, by name."""
    assert response.status_code == 400, response.content
    assert error(response)["code"] == "invalid"
    texts: dict[str, list[str]] = error(response)["fields"]
    return texts


@pytest.mark.parametrize("form", ["json", "multipart"])
@pytest.mark.parametrize(("method", "path", "body"), WRITES, ids=str)
def test_a_name_in_a_body_that_is_not_known_is_refused_and_nothing_is_sent(
    api: APIClient, kapso_sandbox: Sandbox, method: str, path: str, body: Any, form: str
) -> None:
    since = len(kapso_sandbox.requests)
    response = getattr(api, method)(path, {**body, "moed": "dark"}, format=form)
    assert list(fields(response)) == ["moed"]
    assert len(kapso_sandbox.requests) == since
    assert InboxEmbed.objects.count() == 1


@pytest.mark.parametrize(("method", "path"), [*((one[0], one[1]) for one in WRITES), *READS])
def test_a_name_in_a_query_that_is_not_known_is_refused_and_nothing_is_sent(
    api: APIClient, kapso_sandbox: Sandbox, method: str, path: str
) -> None:
    bodies = {(one[0], one[1]): one[2] for one in WRITES}
    body = [bodies[method, path]] if (method, path) in bodies else []
    since = len(kapso_sandbox.requests)
    response = getattr(api, method)(f"{path}?dry_rum=true", *body)
    if method == "head":
        assert response.status_code == 400
    else:
        assert list(fields(response)) == ["dry_rum"]
    assert len(kapso_sandbox.requests) == since


def test_a_wrong_name_is_answered_with_a_close_one(api: APIClient, kapso_sandbox: Sandbox) -> None:
    texts = fields(api.post(EMBEDS, {**SCOPED, "wholly": 1}))
    assert texts == {
        "scopeType": ["This name is not known. Did you mean “scope_type”?"],
        "wholly": ["This name is not known."],
        "scope_type": ["This field is required."],
    }
    (text,) = fields(api.get(f"{EMBEDS}?conditions=works"))["conditions"]
    assert "“condition”" in text
    (text,) = fields(api.post(f"{SALES}launch/", {"Mode": "dark"}))["Mode"]
    assert "“mode”" in text


def test_a_setting_of_a_sync_in_the_query_is_not_ignored(
    api: APIClient, kapso_sandbox: Sandbox
) -> None:
    since = len(kapso_sandbox.requests)
    assert list(fields(api.post(f"{EMBEDS}sync/?dry_run=true"))) == ["dry_run"]
    assert len(kapso_sandbox.requests) == since


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        (EMBEDS, '{"slug": "a", "name": "A", "scope_type": "project", "name": "B"}', "name"),
        (f"{SALES}launch/", '{"mode": "dark", "mode": "light"}', "mode"),
        (f"{EMBEDS}sync/", '{"dry_run": true, "dry_run": false}', "dry_run"),
        (f"{SALES}rotate/", '{"revive": null, "revive": true}', "revive"),
    ],
)
def test_a_name_that_stands_twice_in_a_body_is_refused(
    api: APIClient, kapso_sandbox: Sandbox, path: str, body: str, name: str
) -> None:
    since = len(kapso_sandbox.requests)
    response = api.generic("POST", path, body, content_type="application/json")
    assert fields(response) == {name: ["This is given more than once."]}
    form = api.post(path, {name: ["a", "b"]}, format="multipart")
    assert "more than once" in fields(form)[name][0]
    assert len(kapso_sandbox.requests) == since


@pytest.mark.parametrize(
    "name", ["groups[]", "groups[x]", "assigned_user_id[]", "assigned_user_id[0]"]
)
def test_a_field_of_a_form_that_would_not_be_read_is_refused(
    api: APIClient, kapso_sandbox: Sandbox, sales: Group, name: str
) -> None:
    """Ignored, each of these would open the inbox to more people than was asked for."""
    since = len(kapso_sandbox.requests)
    assert list(fields(api.post(EMBEDS, {**NEW, name: sales.pk}, format="multipart"))) == [name]
    assert len(kapso_sandbox.requests) == since


def test_a_form_gives_a_list_by_repeating_its_name_or_by_numbers_but_not_both(
    api: APIClient, kapso_sandbox: Sandbox, sales: Group
) -> None:
    both = {**NEW, "groups": sales.pk, "groups[0]": sales.pk}
    assert list(fields(api.post(EMBEDS, both, format="multipart"))) == ["groups[0]"]
    made = api.post(EMBEDS, {**NEW, "groups[0]": sales.pk}, format="multipart")
    assert (made.status_code, made.json()["groups"]) == (201, [sales.pk])


def test_a_parameter_is_repeated_only_if_it_takes_several_values(api: APIClient) -> None:
    assert list(fields(api.get(f"{EMBEDS}?ordering=name&ordering=slug"))) == ["ordering"]
    assert list(fields(api.get(f"{EMBEDS}?page=1&page=2"))) == ["page"]
    assert api.get(f"{EMBEDS}?condition=works&condition=revoked").status_code == 200


@pytest.mark.parametrize("size", ["0", "-1", "x", "201", "1e1"])
def test_a_size_of_a_page_that_is_not_valid_is_refused(api: APIClient, size: str) -> None:
    assert list(fields(api.get(f"{EMBEDS}?page_size={size}"))) == ["page_size"]


def test_the_parameters_of_the_hosts_own_settings_are_known(api: APIClient) -> None:
    framework = {
        **settings.REST_FRAMEWORK,
        "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.LimitOffsetPagination",
        "PAGE_SIZE": 1,
    }
    with override_settings(REST_FRAMEWORK=framework):
        assert api.get(f"{EMBEDS}?limit=1&offset=0&format=json").status_code == 200
        assert list(fields(api.get(f"{EMBEDS}?page=1"))) == ["page"]
        assert list(fields(api.get(f"{SALES}?limit=1"))) == ["limit"]


@pytest.mark.parametrize("send", ["put", "patch"])
def test_what_is_read_only_can_be_sent_back_unchanged_only(
    api: APIClient, kapso_sandbox: Sandbox, send: str
) -> None:
    """A client reads an embed, changes one field, and sends all of it back."""
    answer = api.get(SALES).json()
    changed = getattr(api, send)(SALES, {**answer, "default_mode": "dark"})
    assert (changed.status_code, changed.json()["default_mode"]) == (200, "dark")
    stale = getattr(api, send)(SALES, {**answer, "default_mode": "light"})
    assert list(fields(stale)) == ["updated_at"]  # somebody has changed it since it was read
    answer = api.get(SALES).json()
    since = len(kapso_sandbox.requests)
    for name, value in (("condition", "revoked"), ("current_link", None), ("scope_name", "x")):
        assert list(fields(getattr(api, send)(SALES, {**answer, name: value}))) == [name]
        assert list(fields(getattr(api, send)(SALES, {name: value}))) == [name]
    assert len(kapso_sandbox.requests) == since


def test_a_slug_in_a_put_is_the_one_of_its_address(api: APIClient, kapso_sandbox: Sandbox) -> None:
    assert list(fields(api.put(SALES, {"slug": "other"}))) == ["slug"]
    assert list(fields(api.put(f"{EMBEDS}support/", {**NEW, "slug": "other"}))) == ["slug"]
    assert api.put(f"{EMBEDS}support/", NEW).status_code == 201


def test_a_new_embed_takes_nothing_that_is_read_only(
    api: APIClient, kapso_sandbox: Sandbox
) -> None:
    answer = api.get(SALES).json()
    refused = fields(api.post(EMBEDS, {**answer, "slug": "copy"}))
    assert {"condition", "current_link", "created_at"} < refused.keys()
    assert not {"name", "scope_type", "groups"} & refused.keys()
    assert "read-only" in refused["condition"][0]
    assert refused.keys() == fields(api.put(f"{EMBEDS}copy/", {**answer, "slug": "copy"})).keys()


def test_a_body_with_very_many_long_names_is_answered_briefly(api: APIClient) -> None:
    names = {f"{number}{'x' * 1_000}": 1 for number in range(500)}
    texts = fields(api.patch(SALES, names))
    assert len(texts) == 10
    assert max(map(len, texts)) == 50


@pytest.mark.parametrize("body", [[], [{}], "name", 7, True, None], ids=str)
@pytest.mark.parametrize(("method", "path"), [(one[0], one[1]) for one in WRITES])
def test_a_body_of_another_type_is_refused(
    api: APIClient, kapso_sandbox: Sandbox, method: str, path: str, body: Any
) -> None:
    since = len(kapso_sandbox.requests)
    response = api.generic(method.upper(), path, json.dumps(body), content_type="application/json")
    assert fields(response) == {}
    assert len(kapso_sandbox.requests) == since


def test_a_method_that_is_not_supported_is_answered_as_such(api: APIClient) -> None:
    response = api.post(f"{API}customers/?x=1", {"y": 2})
    assert (response.status_code, error(response)["code"]) == (405, "method_not_allowed")
