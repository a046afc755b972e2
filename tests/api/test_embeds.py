"""Embeds through the API: creating, reading, changing, rotating, syncing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.test import override_settings
from rest_framework.test import APIClient

from kapso_inbox.lifecycle import create_embed, revoke_embed
from kapso_inbox.lookups import Kind, search
from kapso_inbox.models import AccessLink, Condition, InboxChange, InboxEmbed
from kapso_inbox.sandbox.engine import Answer, Sandbox
from kapso_inbox.sandbox.interception import intercepted
from kapso_inbox.sync import sync_project
from tests.hosts.clock import as_stored
from tests.hosts.database import connection, in_default
from tests.hosts.people import User

from .conftest import API, EMBEDS, SALES, error

pytestmark = pytest.mark.django_db

State = AccessLink.State

NEW = {"slug": "support", "name": "Support", "scope_type": "project"}
PHONE = "106540352242922"


def methods(sandbox: Sandbox, since: int = 0) -> list[str]:
    return [request.method for request in sandbox.requests][since:]


def secrets_of(sandbox: Sandbox) -> list[str]:
    return [embed["token"] for embed in sandbox.project().embeds.values()]


# Creating


def test_a_new_embed_is_made_at_kapso_and_answered_with_its_address(
    api: APIClient, kapso_sandbox: Sandbox, sales: Group, manager: User
) -> None:
    moment = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=30)
    body = {
        **NEW,
        "allowed_origins": ["https://crm.example.com"],
        "default_mode": "dark",
        "language": "es",
        "expires_at": moment.isoformat(),
        "groups": [sales.pk],
    }
    response = api.post(EMBEDS, body)
    assert response.status_code == 201, response.json()
    assert response["Location"] == "http://testserver/api/kapso-inbox/embeds/support/"
    answer = response.json()
    assert {name: answer[name] for name in body} == {
        **body,
        "expires_at": moment.isoformat().replace("+00:00", "Z"),
    }
    assert (answer["condition"], answer["secret"]) == ("works", "stored")
    assert answer["current_link"]["id"] == answer["newest_link_id"]
    assert methods(kapso_sandbox) == ["POST"]
    assert InboxChange.objects.get().user == manager


def test_no_answer_holds_the_secret(api: APIClient, kapso_sandbox: Sandbox) -> None:
    answers = [
        api.post(EMBEDS, NEW),
        api.get(EMBEDS),
        api.get(f"{EMBEDS}support/"),
        api.post(f"{EMBEDS}support/rotate/"),
        api.delete(f"{EMBEDS}support/"),
    ]
    said = b"".join(answer.content for answer in answers)
    assert len(secrets_of(kapso_sandbox)) == 2
    for token in secrets_of(kapso_sandbox):
        assert token.encode() not in said
    assert b"sealed" not in said
    assert b"v1.test." not in said


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "Support", "scope_type": "project"}, "slug"),
        ({"slug": "support", "name": "Support"}, "scope_type"),
        ({"slug": "support", "scope_type": "project"}, "name"),
        ({**NEW, "slug": "sup port"}, "slug"),
        ({**NEW, "slug": "sync"}, "slug"),
        ({**NEW, "name": "two\nlines"}, "name"),
        ({**NEW, "name": "half \ud83d"}, "name"),
        ({**NEW, "project": "nope"}, "project"),
        ({**NEW, "scope_type": "planet"}, "scope_type"),
        ({**NEW, "scope_type": "half \ud83d"}, "scope_type"),
        ({**NEW, "scope_type": "customer", "scope_id": "7"}, "scope_id"),
        ({**NEW, "scope_id": "7"}, "scope_id"),
        ({**NEW, "assigned_user_id": "7"}, "assigned_user_id"),
        ({**NEW, "allowed_origins": "https://crm.example.com"}, "allowed_origins"),
        ({**NEW, "allowed_origins": ["https://crm.example.com/path"]}, "allowed_origins"),
        ({**NEW, "allowed_origins": [7, None]}, "allowed_origins"),
        ({**NEW, "default_mode": "black"}, "default_mode"),
        ({**NEW, "language": "pt"}, "language"),
        ({**NEW, "expires_at": "tomorrow"}, "expires_at"),
        ({**NEW, "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({**NEW, "expires_at": "9999-12-31T23:59:59-05:00"}, "expires_at"),
        ({**NEW, "expires_at": "0001-01-01T00:00:00+05:00"}, "expires_at"),
        ({**NEW, "groups": [4711]}, "groups"),
        ({**NEW, "groups": ["sales"]}, "groups"),
        ({**NEW, "groups": [2**70]}, "groups"),
    ],
    ids=str,
)
def test_a_value_that_is_not_valid_is_reported_at_its_field_and_nothing_is_sent(
    api: APIClient, kapso_sandbox: Sandbox, body: dict[str, Any], field: str
) -> None:
    response = api.generic("POST", EMBEDS, json.dumps(body), content_type="application/json")
    assert response.status_code == 400
    assert error(response)["code"] == "invalid"
    assert list(error(response)["fields"]) == [field]
    assert all(isinstance(text, str) for text in error(response)["fields"][field])
    assert kapso_sandbox.requests == []
    assert not InboxEmbed.objects.exists()


@pytest.mark.parametrize("body", [[], "slug", 7, None, [NEW]], ids=str)
def test_a_body_that_is_not_an_object_is_refused(
    api: APIClient, kapso_sandbox: Sandbox, body: Any
) -> None:
    response = api.post(EMBEDS, body)
    assert (response.status_code, error(response)["code"]) == (400, "invalid")


@pytest.mark.parametrize("body", ["{", '{"groups": ' + "[" * 100_000, b"\xff\xfe"], ids=len)
def test_a_body_that_cannot_be_read_is_refused(
    api: APIClient, kapso_sandbox: Sandbox, body: Any
) -> None:
    response = api.generic("POST", EMBEDS, body, content_type="application/json")
    assert (response.status_code, error(response)["code"]) == (400, "parse_error")


def test_a_slug_that_is_taken_is_a_conflict(
    api: APIClient, kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    response = api.post(EMBEDS, {**NEW, "slug": "sales"})
    assert response.status_code == 409
    assert error(response)["code"] == "slug_taken"
    assert list(error(response)["fields"]) == ["slug"]
    api.post(EMBEDS, NEW)
    response = api.patch(SALES, {"slug": "support"})
    assert (response.status_code, error(response)["code"]) == (409, "slug_taken")


def test_a_refused_creation_leaves_nothing_and_can_be_repeated(
    api: APIClient, kapso_sandbox: Sandbox
) -> None:
    wrong = {**NEW, "scope_type": "phone_number", "scope_id": "1"}
    response = api.post(EMBEDS, wrong)
    assert (response.status_code, error(response)["code"]) == (400, "invalid")
    (text,) = {" ".join(error(response)["fields"]["scope_id"])}
    assert "This key can see: " in text
    assert api.get(f"{EMBEDS}support/").status_code == 404
    assert [change.slug for change in InboxChange.objects.all()] == ["support"]
    assert api.post(EMBEDS, NEW).status_code == 201


def test_kapsos_own_field_errors_are_reported_at_our_fields(
    api: APIClient, kapso_sandbox: Sandbox
) -> None:
    errors = {"allowed_origins": ["is odd"], "tier": ["is missing"]}
    kapso_sandbox.fail_next(answer=Answer(422, {"errors": errors}))
    response = api.post(EMBEDS, NEW)
    assert (response.status_code, error(response)["code"]) == (400, "kapso_refused")
    assert error(response)["fields"] == {"allowed_origins": ["Kapso says: “is odd”"]}
    assert error(response)["message"] == "tier: Kapso says: “is missing”"


# Reading


def test_an_answer_says_what_is_stored_of_the_secret(
    api: APIClient, kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    def secret() -> tuple[str, str]:
        answer = api.get(SALES).json()
        return answer["condition"], answer["secret"]

    assert secret() == ("works", "stored")
    AccessLink.objects.update(state=State.SECRET_LOST)
    assert secret() == ("secret_lost", "lost")
    revoke_embed(embed)
    assert secret() == ("revoked", "none")


def test_the_list_is_filtered_searched_and_ordered(
    api: APIClient, kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    soon = datetime.now(timezone.utc) + timedelta(days=2)
    create_embed(slug="zeta", name="Alpha", expires_at=soon)
    gone = create_embed(
        slug="number", name="Beta", scope_type="phone_number", scope_id=_number(kapso_sandbox)
    )
    revoke_embed(gone)

    def slugs(query: str = "") -> list[str]:
        response = api.get(f"{EMBEDS}?{query}")
        assert response.status_code == 200, response.json()
        return [row["slug"] for row in response.json()["results"]]

    assert slugs() == ["zeta", "number", "sales"]
    assert slugs("ordering=-slug") == ["zeta", "sales", "number"]
    assert slugs("condition=works") == ["sales"]
    assert slugs("condition=revoked&condition=expires_soon") == ["zeta", "number"]
    assert slugs("scope_type=phone_number") == ["number"]
    assert slugs(f"scope_id={gone.scope_id}") == ["number"]
    assert slugs("project=default&assigned_user_id=") == ["zeta", "number", "sales"]
    assert slugs("project=other") == []
    before = (soon + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert slugs(f"expires_before={before}") == ["zeta"]
    assert slugs("search=ALPH") == ["zeta"]
    assert slugs(f"search={gone.scope_id[2:]}") == ["number"]
    assert slugs("page_size=2&page=2") == ["sales"]


def _number(sandbox: Sandbox) -> str:
    return search(Kind.PHONE_NUMBER).choices[0].id


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("condition=fine", "condition"),
        ("scope_type=planet", "scope_type"),
        ("expires_before=soon", "expires_before"),
        ("ordering=secret", "ordering"),
        ("search=%00", "search"),
        ("expires_before=9999-12-31T23:59:59-09:00", "expires_before"),
    ],
)
def test_a_wrong_filter_is_reported_at_its_name(
    api: APIClient, embed: InboxEmbed, query: str, field: str
) -> None:
    response = api.get(f"{EMBEDS}?{query}")
    assert response.status_code == 400
    assert list(error(response)["fields"]) == [field]


def test_a_page_that_does_not_exist_is_not_found(api: APIClient, embed: InboxEmbed) -> None:
    for page in ("2", "0", "x", "9" * 30):
        response = api.get(f"{EMBEDS}?page={page}")
        assert (response.status_code, error(response)["code"]) == (404, "not_found")


def test_the_list_can_be_filtered_by_every_condition(api: APIClient, embed: InboxEmbed) -> None:
    for condition in Condition.values:
        assert api.get(f"{EMBEDS}?condition={condition}").status_code == 200


# Changing


def test_a_change_is_one_patch_of_what_differs(
    api: APIClient, kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    response = api.patch(SALES, {"default_mode": "dark", "name": "Sales inbox", "groups": []})
    assert response.status_code == 200
    assert (response.json()["default_mode"], response.json()["groups"]) == ("dark", [])
    assert kapso_sandbox.requests[-1].json == {"inbox_embed": {"default_mode": "dark"}}
    assert methods(kapso_sandbox) == ["POST", "PATCH"]


def test_a_setting_that_cannot_be_changed_is_reported_at_its_field(
    api: APIClient, kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    response = api.patch(SALES, {"scope_type": "phone_number", "scope_id": PHONE})
    assert response.status_code == 400
    assert set(error(response)["fields"]) == {"scope_type", "scope_id"}
    assert methods(kapso_sandbox) == ["POST"]


def test_an_answer_can_be_sent_back_as_a_body(
    api: APIClient, kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    answer = api.get(SALES).json()
    for send in (api.put, api.patch):
        assert send(SALES, answer).json() == answer
    assert methods(kapso_sandbox) == ["POST"]


def test_a_value_of_kapsos_that_its_documents_do_not_name_can_be_sent_back(
    api: APIClient, embed: InboxEmbed, kapso_sandbox: Sandbox
) -> None:
    InboxEmbed.objects.update(language="pt", default_mode="sepia")
    body = {name: api.get(SALES).json()[name] for name in ("name", "language", "default_mode")}
    assert body["language"] == "pt"
    since = len(kapso_sandbox.requests)
    assert api.patch(SALES, body).status_code == api.put(SALES, body).status_code == 200
    assert methods(kapso_sandbox, since) == []
    for name in ("language", "default_mode"):
        response = api.patch(SALES, {name: "other"})
        assert list(error(response)["fields"]) == [name]


def test_a_blank_filter_counts_as_left_out(api: APIClient, embed: InboxEmbed) -> None:
    for name in ("condition", "project", "scope_type", "expires_before", "search", "ordering"):
        assert len(api.get(f"{EMBEDS}?{name}=").json()["results"]) == 1, name
    assert api.get(f"{EMBEDS}?condition=&condition=revoked").json()["results"] == []
    for name in ("slug", "outcome", "user", "since", "until"):
        assert api.get(f"{API}openings/?{name}=").status_code == 200, name


def test_an_embed_can_be_renamed(api: APIClient, embed: InboxEmbed) -> None:
    assert api.patch(SALES, {"slug": "verkauf"}).json()["slug"] == "verkauf"
    assert api.get(SALES).status_code == 404


# Making sure that an embed exists


def test_put_creates_an_embed_and_the_same_put_again_changes_nothing(
    api: APIClient, kapso_sandbox: Sandbox
) -> None:
    url, body = f"{EMBEDS}acme/", {"name": "Acme", "scope_type": "project", "language": "es"}
    first = api.put(url, body)
    assert (first.status_code, first["Location"]) == (201, f"http://testserver{url}")
    again = api.put(url, body)
    assert (again.status_code, again.json()) == (200, first.json())
    assert methods(kapso_sandbox) == ["POST"]
    changed = api.put(url, {"default_mode": "dark"})
    assert changed.status_code == 200
    assert (changed.json()["default_mode"], changed.json()["name"]) == ("dark", "Acme")
    assert methods(kapso_sandbox) == ["POST", "PATCH"]
    refused = api.put(url, {"scope_type": "phone_number", "scope_id": PHONE})
    assert (refused.status_code, error(refused)["code"]) == (400, "invalid")


def test_put_does_not_blame_the_scope_if_kapso_does_not_know_the_link(
    api: APIClient, kapso_sandbox: Sandbox
) -> None:
    url = f"{EMBEDS}acme/"
    body = {"name": "Acme", "scope_type": "phone_number", "scope_id": _number(kapso_sandbox)}
    assert api.put(url, body).status_code == 201
    kapso_sandbox.fail_next(method="PATCH", answer=Answer(404, {"error": "Not found"}))
    response = api.put(url, {**body, "default_mode": "dark"})
    assert (response.status_code, error(response)["code"]) == (502, "kapso_not_found")
    assert "scope_id" not in error(response).get("fields", {})


@pytest.mark.parametrize("missing", [["name"], ["scope_type"], ["name", "scope_type"]], ids=str)
def test_put_of_a_new_embed_requires_a_name_and_a_scope_type(
    api: APIClient, kapso_sandbox: Sandbox, missing: list[str]
) -> None:
    url = f"{EMBEDS}acme/"
    body = {"name": "Acme", "scope_type": "project", "language": "es"}
    response = api.put(url, {name: body[name] for name in body if name not in missing})
    assert (response.status_code, error(response)["code"]) == (400, "invalid")
    assert list(error(response)["fields"]) == missing
    assert kapso_sandbox.requests == []
    assert not InboxEmbed.objects.exists()
    assert api.put(url, body).status_code == 201


def test_put_of_an_existing_embed_keeps_every_setting_that_is_left_out(
    api: APIClient, kapso_sandbox: Sandbox, sales: Group
) -> None:
    url = f"{EMBEDS}acme/"
    moment = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=30)
    body = {
        "name": "Acme",
        "scope_type": "phone_number",
        "scope_id": _number(kapso_sandbox),
        "allowed_origins": ["https://crm.example.com"],
        "default_mode": "dark",
        "language": "es",
        "expires_at": moment.isoformat(),
        "groups": [sales.pk],
    }
    since = len(kapso_sandbox.requests)
    first = api.put(url, body)
    assert first.status_code == 201
    for name in (None, *body):
        again = api.put(url, {} if name is None else {name: body[name]})
        assert (again.status_code, again.json()) == (200, first.json()), name
    assert methods(kapso_sandbox, since) == ["POST"]


def test_put_gives_a_link_to_an_embed_without_one(api: APIClient, kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.fail_next(drop="before")
    body = {"name": "Acme", "scope_type": "project"}
    assert api.put(f"{EMBEDS}acme/", body).status_code == 504
    assert api.put(f"{EMBEDS}acme/").json()["condition"] == "works"


def test_put_of_an_embed_that_kapso_refuses_leaves_nothing(
    api: APIClient, kapso_sandbox: Sandbox
) -> None:
    kapso_sandbox.fail_next(answer=Answer(422, {"error": "no"}))
    assert api.put(f"{EMBEDS}acme/", {"name": "Acme", "scope_type": "project"}).status_code == 400
    assert api.get(f"{EMBEDS}acme/").status_code == 404


def test_put_does_not_bring_back_a_revoked_embed(
    api: APIClient, kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    api.delete(SALES)
    response = api.put(SALES, {})
    assert (response.status_code, error(response)["code"]) == (409, "revoked")


def test_put_does_not_adopt_an_embed_made_elsewhere(api: APIClient, kapso_sandbox: Sandbox) -> None:
    made = kapso_sandbox.project().create({"name": "Elsewhere", "scope_type": "project"})
    sync_project()
    address = f"{EMBEDS}{InboxEmbed.objects.get().slug}/"
    since = len(kapso_sandbox.requests)
    response = api.put(address, {"name": "Ours"})
    assert (response.status_code, error(response)["code"]) == (409, "not_ready")
    assert methods(kapso_sandbox, since) == []
    assert [one["id"] for one in kapso_sandbox.project().active_embeds()] == [made["id"]]
    assert api.post(f"{address}rotate/").json()["condition"] == "works"
    assert api.put(address, {"name": "Ours"}).json()["name"] == "Ours"


def test_two_equal_puts_at_once_both_succeed(api: APIClient, kapso_sandbox: Sandbox) -> None:
    came_first: list[InboxEmbed] = []

    def between(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if "kapso_inbox_inboxembed" in sql and not came_first:
            came_first.append(InboxEmbed())
            came_first.append(create_embed(slug="acme", name="Acme"))
        return result

    with connection.execute_wrapper(between):
        body = {"name": "Acme", "scope_type": "project", "default_mode": "dark"}
        response = api.put(f"{EMBEDS}acme/", body)
    assert (response.status_code, response.json()["default_mode"]) == (200, "dark")
    assert methods(kapso_sandbox) == ["POST", "PATCH"]


def test_put_refuses_a_slug_that_our_addresses_use_or_that_is_too_long(
    api: APIClient, kapso_sandbox: Sandbox
) -> None:
    assert api.put(f"{EMBEDS}sync/").status_code == 405
    response = api.put(f"{EMBEDS}{'x' * 51}/", {"name": "X", "scope_type": "project"})
    assert list(error(response)["fields"]) == ["slug"]


# Links


def test_a_revoked_embed_is_answered_and_stays_in_the_list(
    api: APIClient, kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    for _ in range(2):
        response = api.delete(SALES)
        assert response.status_code == 200
        assert (response.json()["condition"], response.json()["secret"]) == ("revoked", "none")
    assert kapso_sandbox.project().active_embeds() == []
    assert methods(kapso_sandbox) == ["POST", "DELETE"]


def test_a_rotation_that_is_sent_twice_makes_one_link(
    api: APIClient, kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    body = {"newest_link_id": api.get(SALES).json()["newest_link_id"]}
    first = api.post(f"{SALES}rotate/", body)
    assert first.status_code == 200
    assert first.json()["newest_link_id"] != body["newest_link_id"]
    again = api.post(f"{SALES}rotate/", body)
    assert (again.status_code, error(again)["code"]) == (409, "replaced")
    assert methods(kapso_sandbox) == ["POST", "POST", "DELETE"]
    assert api.post(f"{SALES}rotate/").status_code == 200
    assert api.post(f"{SALES}rotate/", {"newest_link_id": "7"}).status_code == 400


def test_a_first_rotation_that_is_sent_twice_makes_one_link(
    api: APIClient, kapso_sandbox: Sandbox
) -> None:
    InboxEmbed.objects.create(slug="sales", name="Sales")
    body = {"newest_link_id": api.get(SALES).json()["newest_link_id"]}
    assert body == {"newest_link_id": None}
    assert api.post(f"{SALES}rotate/", body).status_code == 200
    again = api.post(f"{SALES}rotate/", body)
    assert (again.status_code, error(again)["code"]) == (409, "replaced")
    assert methods(kapso_sandbox) == ["POST"]
    # A form has no null: a blank field counts as left out.
    assert (
        api.post(f"{SALES}rotate/", {"newest_link_id": ""}, format="multipart").status_code == 200
    )


@pytest.mark.parametrize(
    ("body", "looked", "is_revived"),
    [
        ({}, False, True),
        ({}, True, False),
        ({"revive": False}, False, False),
        ({"revive": True}, True, True),
        ({"revive": None}, True, False),
    ],
)
def test_a_rotation_brings_back_a_revoked_embed_only_if_that_is_meant(
    api: APIClient,
    kapso_sandbox: Sandbox,
    embed: InboxEmbed,
    body: dict[str, Any],
    looked: bool,
    is_revived: bool,
) -> None:
    seen = {"newest_link_id": api.get(SALES).json()["newest_link_id"]} if looked else {}
    revoke_embed(embed)
    response = api.post(f"{SALES}rotate/", {**seen, **body})
    if is_revived:
        assert response.json()["condition"] == "works"
    else:
        assert (response.status_code, error(response)["code"]) == (409, "revoked")
        assert kapso_sandbox.project().active_embeds() == []


def test_rotating_an_expired_embed_is_refused_at_its_expiry(
    api: APIClient, embed: InboxEmbed
) -> None:
    InboxEmbed.objects.update(expires_at=as_stored(datetime.now(timezone.utc)))
    response = api.post(f"{SALES}rotate/")
    assert list(error(response)["fields"]) == ["expires_at"]


def test_a_link_that_is_being_created_is_left_alone(api: APIClient, embed: InboxEmbed) -> None:
    AccessLink.objects.create(embed=embed)
    for response in (
        api.post(f"{SALES}rotate/"),
        api.patch(SALES, {"name": "New"}),
        api.put(SALES, {"name": "New"}),
        api.post(f"{SALES}resolve/"),
    ):
        assert (response.status_code, error(response)["code"]) == (409, "busy")


def test_resolving_settles_every_uncertain_link(
    api: APIClient, kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    kapso_sandbox.fail_next(method="POST", drop="after")
    response = api.post(f"{SALES}rotate/")
    assert error(response)["code"] == "outcome_uncertain"
    assert api.get(SALES).json()["has_unsettled_links"]
    settled = api.post(error(response)["retry_url"])
    assert settled.status_code == 200
    assert not settled.json()["has_unsettled_links"]
    assert len(kapso_sandbox.project().active_embeds()) == 1
    since = len(kapso_sandbox.requests)
    assert api.post(f"{SALES}resolve/").status_code == 200
    assert methods(kapso_sandbox, since) == []


def test_refreshing_stores_what_kapso_says(
    api: APIClient, kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    (remote,) = kapso_sandbox.project().active_embeds()
    remote["default_mode"] = "dark"
    assert api.get(SALES).json()["default_mode"] == "system"
    assert api.post(f"{SALES}refresh/").json()["default_mode"] == "dark"
    remote["status"] = "revoked"
    assert api.post(f"{SALES}refresh/").json()["condition"] == "revoked"
    assert methods(kapso_sandbox) == ["POST", "GET", "GET"]


# Syncing


def test_a_sync_is_answered_with_its_report(
    api: APIClient, kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    kapso_sandbox.project().create({"name": "Made by hand", "scope_type": "project"})
    looked = api.post(f"{EMBEDS}sync/", {"dry_run": True})
    assert looked.status_code == 200
    assert (looked.json()["unmanaged"], looked.json()["dry_run"]) == (1, True)
    assert InboxEmbed.objects.count() == 1
    done = api.post(f"{EMBEDS}sync/").json()
    assert (done["complete"], done["listed"], done["unmanaged"]) == (True, 2, 1)
    assert done["project"] == "default"
    assert InboxEmbed.objects.count() == 2


def test_a_sync_never_waits_for_the_rate_limit(api: APIClient, kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.fail_next(answer=Answer(429, {}, {"Retry-After": "60"}))
    report = api.post(f"{EMBEDS}sync/").json()
    assert not report["complete"]
    assert report["problems"]


def test_a_sync_of_an_unknown_project_is_refused(api: APIClient) -> None:
    response = api.post(f"{EMBEDS}sync/", {"project": "nope"})
    assert list(error(response)["fields"]) == ["project"]


# The host


@pytest.mark.parametrize("atomic", [False, True])
@pytest.mark.django_db(transaction=True)
def test_it_works_with_and_without_atomic_requests(
    api: APIClient, kapso_sandbox: Sandbox, atomic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", atomic)
    assert api.post(EMBEDS, NEW).status_code == 201
    assert api.post(f"{EMBEDS}support/rotate/").status_code == 200
    assert api.patch(f"{EMBEDS}support/", {"name": "New"}).status_code == 200
    assert api.put(f"{EMBEDS}support/").status_code == 200
    assert api.delete(f"{EMBEDS}support/").status_code == 200


@in_default
@pytest.mark.django_db(databases=["default", "replica"])
def test_an_embed_to_be_changed_is_not_read_from_a_replica(
    ask: Callable[[User], APIClient], kapso_sandbox: Sandbox, sales: Group
) -> None:
    api = ask(User.objects.create_superuser("root"))
    url = f"{EMBEDS}support/"
    with override_settings(DATABASE_ROUTERS=["tests.test_databases.StaleReplica"]):
        assert api.post(EMBEDS, {**NEW, "groups": [sales.pk]}).status_code == 201
        assert api.put(url, NEW).status_code == 200
        assert api.patch(url, {"default_mode": "dark"}).json()["groups"] == [sales.pk]
        for action in ("rotate", "resolve", "refresh"):
            assert api.post(f"{url}{action}/").json()["condition"] == "works"
        assert api.delete(url).json()["condition"] == "revoked"
    assert methods(kapso_sandbox) == ["POST", "PATCH", "POST", "DELETE", "GET", "DELETE"]


@override_settings(USE_TZ=False)
def test_times_have_their_zone_also_on_a_site_without_use_tz(
    api: APIClient, kapso_sandbox: Sandbox
) -> None:
    moment = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=2)
    answer = api.post(EMBEDS, {**NEW, "expires_at": moment.isoformat()}).json()
    assert answer["expires_at"] == moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    (remote,) = kapso_sandbox.project().active_embeds()
    assert remote["expires_at"].startswith(moment.strftime("%Y-%m-%dT%H:%M:%S"))
    later = (moment + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    earlier = (moment - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert len(api.get(f"{EMBEDS}?expires_before={later}").json()["results"]) == 1
    assert len(api.get(f"{EMBEDS}?expires_before={earlier}").json()["results"]) == 0


def test_another_project_is_named_by_its_alias(api: APIClient) -> None:
    projects = {"brasil": {"API_KEY": "another-key-of-the-tests-0123456789"}}
    configured = override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "PROJECTS": projects})
    with configured, intercepted() as sandbox:
        assert api.post(EMBEDS, {**NEW, "project": "brasil"}).status_code == 201
        made = sandbox.project("another-key-of-the-tests-0123456789").active_embeds()
        assert len(made) == 1


@pytest.mark.parametrize(("method", "url"), [("post", EMBEDS), ("put", SALES)])
def test_the_sites_of_a_new_embed_are_named_in_the_request_or_in_the_settings(
    api: APIClient, kapso_sandbox: Sandbox, method: str, url: str
) -> None:
    new = {
        "name": "Sales",
        "scope_type": "project",
        **({"slug": "sales"} if method == "post" else {}),
    }
    with override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "ALLOWED_ORIGINS": None}):
        response = getattr(api, method)(url, new)
        assert response.status_code == 400
        assert list(error(response)["fields"]) == ["allowed_origins"]
        assert "ALLOWED_ORIGINS" in error(response)["fields"]["allowed_origins"][0]
    assert kapso_sandbox.requests == []
    sites = ["https://crm.example.com"]
    with override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "ALLOWED_ORIGINS": sites}):
        assert getattr(api, method)(url, new).json()["allowed_origins"] == sites
    assert api.put(SALES, {"name": "Sales"}).json()["allowed_origins"] == sites
    assert api.put(SALES, {"allowed_origins": []}).json()["allowed_origins"] == []


@pytest.mark.parametrize("slug", ["mine-7", "kapso-01234567-89ab-4cde-8f01-23456789abcd"])
def test_slugs_that_the_app_itself_gives_are_refused(
    api: APIClient, embed: InboxEmbed, kapso_sandbox: Sandbox, slug: str
) -> None:
    kapso_sandbox.requests.clear()
    new = {"name": "New", "scope_type": "project"}
    for response in (
        api.post(EMBEDS, {**new, "slug": slug}),
        api.put(f"{EMBEDS}{slug}/", new),
        api.patch(SALES, {"slug": slug}),
    ):
        assert response.status_code == 400
        assert "Choose another slug." in error(response)["fields"]["slug"][0]
    assert kapso_sandbox.requests == []
