"""Every fault of Kapso's or the network's in every write: the answer, and the state after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.db import DatabaseError, transaction
from django.test import override_settings
from requests import exceptions
from rest_framework.test import APIClient

from kapso_inbox import lifecycle
from kapso_inbox.api import errors
from kapso_inbox.lifecycle import LifecycleError
from kapso_inbox.models import AccessLink, InboxEmbed
from kapso_inbox.sandbox.engine import Answer, Sandbox
from tests.hosts.database import connection

from ..faults.troubles import REQUEST_TROUBLES
from .conftest import EMBEDS, SALES, error

pytestmark = pytest.mark.django_db

State = AccessLink.State

_HTML = "<html>Welcome to the hotel's network</html>"


def _refused() -> dict[str, Any]:
    return {"error": REQUEST_TROUBLES["connection refused"]()["fault"].error}


#: The faults of a request, by name. Each is made anew, since an exception keeps its traceback.
FAULTS: dict[str, Callable[[], dict[str, Any]]] = {
    "401": lambda: {"answer": Answer(401, {"error": "Invalid API key"})},
    "403": lambda: {"answer": Answer(403, {"error": "Forbidden"})},
    "402": lambda: {"answer": Answer(402, {"error": "service_credits_exhausted"})},
    "404": lambda: {"answer": Answer(404, {"error": "Not found"})},
    "422": lambda: {"answer": Answer(422, {"errors": {"name": ["is odd"]}})},
    "429": lambda: {"answer": Answer(429, {}, {"Retry-After": "7"})},
    "302": lambda: {"answer": Answer(302, "", {"Location": "https://kapso.example/"})},
    "500": lambda: {"answer": Answer(500, _HTML)},
    "500, and done": lambda: {"answer": Answer(500, _HTML), "process": True},
    "2xx of nonsense": lambda: {"answer": Answer(200, _HTML)},
    "2xx of nonsense, and done": lambda: {"answer": Answer(200, _HTML), "process": True},
    "not reachable": _refused,
    "no answer": lambda: {"error": exceptions.ReadTimeout()},
    "no answer, and done": lambda: {"delay": 60},
    "dropped": lambda: {"drop": "before"},
    "dropped, and done": lambda: {"drop": "after"},
}

#: The request that each write sends first, and the write.
WRITES: dict[str, tuple[str, Callable[[APIClient], Any]]] = {
    "create": (
        "POST",
        lambda api: api.post(
            EMBEDS, {"slug": "support", "name": "Support", "scope_type": "project"}
        ),
    ),
    "ensure": (
        "POST",
        lambda api: api.put(f"{EMBEDS}support/", {"name": "Support", "scope_type": "project"}),
    ),
    "update": ("PATCH", lambda api: api.patch(SALES, {"default_mode": "dark"})),
    "ensure again": ("PATCH", lambda api: api.put(SALES, {"default_mode": "dark"})),
    "rotate": ("POST", lambda api: api.post(f"{SALES}rotate/")),
    "rotate, the old link": ("DELETE", lambda api: api.post(f"{SALES}rotate/")),
    "revoke": ("DELETE", lambda api: api.delete(SALES)),
    "resolve": ("GET", lambda api: api.post(f"{SALES}resolve/")),
    "refresh": ("GET", lambda api: api.post(f"{SALES}refresh/")),
}


#: The answer to each fault of a POST. `expected` says how the other methods differ.
TOLD = {
    "401": (502, "kapso_refused_key"),
    "403": (502, "kapso_refused_key"),
    "402": (502, "kapso_credits_used_up"),
    "404": (502, "kapso_not_found"),
    "422": (400, "kapso_refused"),
    "429": (503, "kapso_rate_limited"),
    "302": (502, "outcome_uncertain"),
    "500": (502, "outcome_uncertain"),
    "500, and done": (502, "outcome_uncertain"),
    "2xx of nonsense": (502, "outcome_uncertain"),
    "2xx of nonsense, and done": (502, "outcome_uncertain"),
    "not reachable": (504, "kapso_unreachable"),
    "no answer": (504, "outcome_uncertain"),
    "no answer, and done": (504, "outcome_uncertain"),
    "dropped": (504, "outcome_uncertain"),
    "dropped, and done": (504, "outcome_uncertain"),
}

REVOKES = ("rotate, the old link", "revoke")
UPDATES = ("update", "ensure again")

#: write -> the condition of the embed, or None if there is none, and the states of its links
#: afterwards: if Kapso refused, and if the outcome is uncertain.
AFTER: dict[str, tuple[tuple[str | None, list[str]], tuple[str, list[str]]]] = {
    "create": ((None, []), ("waiting", ["unknown"])),
    "ensure": ((None, []), ("waiting", ["unknown"])),
    "update": (("works", ["active"]),) * 2,
    "ensure again": (("works", ["active"]),) * 2,
    "rotate": (("works", ["active", "failed"]), ("works", ["active", "unknown"])),
    "rotate, the old link": (("works", ["revoking", "active"]),) * 2,
    "revoke": (("waiting", ["revoking"]),) * 2,
    "resolve": (("works", ["active", "unknown"]),) * 2,
    "refresh": (("works", ["active"]),) * 2,
}

#: write -> how many links of the embed live at Kapso: if it did nothing, and if it did it.
ALIVE = {
    "create": (0, 1),
    "ensure": (0, 1),
    "rotate": (1, 2),
    "rotate, the old link": (2, 1),
    "revoke": (1, 0),
}


def expected(write: str, fault: str) -> tuple[int, str, str]:
    """Return the status, the code, and the last part of `retry_url`."""
    status, code = TOLD[fault]
    if write in UPDATES and fault.endswith("and done"):
        return 200, "", ""  # the lifecycle asked Kapso whether it did
    if write in REVOKES:
        return max(status, 502), "not_revoked_yet", "resolve"
    if write == "refresh" and code == "kapso_refused":
        return 502, "kapso_unusable_answer", ""
    if write == "refresh" and code == "outcome_uncertain":
        return status, "kapso_unusable_answer" if status == 502 else "kapso_unreachable", ""
    if code == "outcome_uncertain":
        return status, code, "refresh" if write in UPDATES else "resolve"
    return status, code, ""


@pytest.mark.table
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("write", WRITES)
def test_each_fault_in_each_write_is_answered_and_recorded(
    api: APIClient, kapso_sandbox: Sandbox, embed: InboxEmbed, write: str, fault: str
) -> None:
    if write == "resolve":
        AccessLink.objects.create(embed=embed, state=State.UNKNOWN)
    method, do = WRITES[write]
    # As often as a GET is repeated. The faults that are left over affect nothing below.
    kapso_sandbox.fail_next(method=method, times=9, **FAULTS[fault]())
    response = do(api)
    told = error(response) if response.status_code >= 400 else {"code": ""}
    retry_view = told.get("retry_url", "").rstrip("/").rpartition("/")[2]
    assert (response.status_code, told["code"], retry_view) == expected(write, fault)
    assert response.headers.get("Retry-After") == ("7" if fault == "429" else None)

    slug = "support" if write in ("create", "ensure") else "sales"
    links = AccessLink.objects.filter(embed__slug=slug).order_by("created_at")
    is_uncertain = TOLD[fault][1] == "outcome_uncertain"
    condition, states = AFTER[write][is_uncertain]
    assert list(links.values_list("state", flat=True)) == states
    alive = [one for one in kapso_sandbox.project().active_embeds() if _is_of(one, slug)]
    assert len(alive) == ALIVE.get(write, (1, 1))[fault.endswith("and done")]
    shown = api.get(f"{EMBEDS}{slug}/")
    if condition is None:
        assert shown.status_code == 404
        return
    now = shown.json()
    assert now["condition"] == condition
    # Links other than the current one, which is the one that `revoke` is about.
    unsettled = {"unknown", "revoking"} & set(states) and write != "revoke"
    assert now["has_unsettled_links"] == bool(unsettled)
    assert now["default_mode"] == ("dark" if response.status_code == 200 else "system")


def _is_of(remote: dict[str, Any], slug: str) -> bool:
    return bool(remote["name"].startswith(slug.title()))


@pytest.mark.parametrize("write", ["create", "ensure", "rotate"])
def test_an_origin_that_the_settings_lack_is_named_and_nothing_is_left_to_find_out(
    api: APIClient, kapso_sandbox: Sandbox, embed: InboxEmbed, write: str
) -> None:
    kapso_sandbox.project().inbox_origin = "https://inbox.kapso.example"
    response = WRITES[write][1](api)
    told = error(response)
    assert (response.status_code, told["code"]) == (502, "inbox_origin_missing")
    assert "is at https://inbox.kapso.example, but KAPSO_INBOX" in told["message"]
    assert "has only https://inbox.kapso.ai. So the new link was revoked" in told["message"]
    assert "retry_url" not in told


def test_a_link_at_a_foreign_origin_that_could_not_be_revoked_has_a_retry_url(
    api: APIClient, kapso_sandbox: Sandbox
) -> None:
    kapso_sandbox.project().inbox_origin = "https://inbox.kapso.example"
    kapso_sandbox.fail_next(method="DELETE", drop="before")
    told = error(WRITES["create"][1](api))
    assert told["code"] == "inbox_origin_missing"
    assert "not revoked yet" in told["message"]
    assert api.post(told["retry_url"]).json()["has_unsettled_links"] is False
    assert kapso_sandbox.project().active_embeds() == []


@pytest.mark.parametrize("write", ["create", "rotate, the old link", "revoke"])
def test_the_retry_url_finds_out_what_happened(
    api: APIClient, kapso_sandbox: Sandbox, embed: InboxEmbed, write: str
) -> None:
    method, do = WRITES[write]
    kapso_sandbox.fail_next(method=method, drop="after")
    answer = api.post(error(do(api))["retry_url"])
    assert answer.status_code == 200
    assert not answer.json()["has_unsettled_links"]
    alive = kapso_sandbox.project().active_embeds()
    assert len(alive) == (0 if write == "revoke" else 1)


def test_missing_settings_are_reported_by_name(
    api: APIClient, kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    since = len(kapso_sandbox.requests)
    for missing in ("API_KEY", "ENCRYPTION_KEYS"):
        values = {**settings.KAPSO_INBOX, missing: None}
        with override_settings(KAPSO_INBOX=values):
            response = api.post(f"{SALES}rotate/")
        assert (response.status_code, error(response)["code"]) == (503, "not_configured")
        assert missing in error(response)["message"]
    assert len(kapso_sandbox.requests) == since


@pytest.mark.parametrize("write", [write for write in WRITES if write != "rotate, the old link"])
def test_inside_a_transaction_nothing_is_done(
    api: APIClient, kapso_sandbox: Sandbox, embed: InboxEmbed, write: str
) -> None:
    AccessLink.objects.create(embed=embed, state=State.UNKNOWN)
    since = len(kapso_sandbox.requests)
    with transaction.atomic(using=connection.alias):
        response = WRITES[write][1](api)
        assert (response.status_code, error(response)["code"]) == (503, "inside_transaction")
        assert api.post(f"{EMBEDS}sync/").status_code == 503
    assert len(kapso_sandbox.requests) == since


@pytest.mark.django_db(transaction=True)
def test_a_link_that_the_database_cannot_store_is_revoked_and_reported(
    api: APIClient, kapso_sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("UPDATE") and "sealed_url" in sql:
            raise DatabaseError("the disk is full")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(fail):
        response = WRITES["create"][1](api)
    assert (response.status_code, error(response)["code"]) == (503, "not_stored")
    assert "disk" not in response.content.decode()
    assert "the disk is full" in caplog.text
    assert kapso_sandbox.project().active_embeds() == []
    assert api.get(f"{EMBEDS}support/").json()["condition"] == "waiting"


def test_every_refusal_of_the_lifecycle_has_a_code() -> None:
    kinds = {getattr(lifecycle, name) for name in lifecycle.__all__ if name.endswith("Error")}
    codes = {
        errors.refusal(kind("because"), only_read=False).code for kind in kinds - {LifecycleError}
    }
    assert codes == {
        "busy",
        "replaced",
        "revoked",
        "live",
        "read_only",
        "made_elsewhere",
        "inside_transaction",
    }
