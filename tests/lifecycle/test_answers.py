"""Kapso's answers are compared with what was asked for, and never taken for it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from datetime import timezone as dt_timezone
from typing import Any

import pytest
from django.test import RequestFactory
from django.utils import timezone

from kapso_inbox.inbox.launch import LaunchRefusedError, open_inbox
from kapso_inbox.kapso import UncertainError
from kapso_inbox.lifecycle import (
    create_embed,
    ensure_embed,
    refresh_embed,
    revoke_embed,
    rotate_embed,
    update_embed,
)
from kapso_inbox.models import AccessLink, Condition, InboxChange, InboxEmbed, Outcome
from kapso_inbox.reasons import describe_reason
from kapso_inbox.sandbox.engine import Answer, Fault, Sandbox
from kapso_inbox.sandbox.seed import seed_for
from kapso_inbox.sync import sync_project
from tests.hosts.people import User

pytestmark = pytest.mark.django_db

State = AccessLink.State
_SEED = seed_for(0, datetime(2026, 1, 1, tzinfo=dt_timezone.utc))
CUSTOMER = _SEED.customers[0]["id"]
MEMBER = _SEED.users[0]["user_id"]
ANOTHER_CUSTOMER = _SEED.customers[1]["id"]
NARROW: dict[str, Any] = {
    "scope_type": "customer",
    "scope_id": CUSTOMER,
    "assigned_user_id": MEMBER,
    "allowed_origins": ["https://crm.example.com"],
}


@pytest.fixture
def narrow(kapso_sandbox: Sandbox) -> InboxEmbed:
    """Return an embed of one customer, one team member and one site."""
    return create_embed(slug="acme", name="Acme", **NARROW)


@pytest.fixture
def agent(make_agent: Callable[..., User]) -> User:
    return make_agent("ana")


def open_for(user: User) -> str:
    request = RequestFactory().get("/")
    request.user = user
    return open_inbox(request, "acme", {})


def answer_with(sandbox: Sandbox, method: str, **fields: Any) -> None:
    """Change fields of Kapso's next answer to a method."""
    original = sandbox.handle

    def handle(request: Any, **kw: Any) -> Any:
        answer = original(request, **kw)
        if request.method != method:
            return answer
        sandbox.handle = original  # type: ignore[method-assign]
        body = json.loads(answer.content)
        body["data"].update(fields)
        return dataclasses.replace(answer, body=body)

    sandbox.handle = handle  # type: ignore[method-assign]


def at_kapso(sandbox: Sandbox, embed: InboxEmbed) -> dict[str, Any]:
    embed.refresh_from_db()
    assert embed.current_link is not None
    return sandbox.project().embeds[embed.current_link.kapso_id]


# A creation


@pytest.mark.parametrize(
    ("answered", "told"),
    [
        ({"scope_type": "project", "scope_id": None}, "scope_type=project"),
        ({"scope_id": ANOTHER_CUSTOMER}, f"scope_id={ANOTHER_CUSTOMER}"),
        ({"assigned_user_id": None}, "assigned_user_id="),
        ({"assigned_user_id": CUSTOMER}, f"assigned_user_id={CUSTOMER}"),
        ({"allowed_origins": []}, "more sites"),
        ({"allowed_origins": ["https://crm.example.com", "*"]}, "more sites"),
    ],
)
def test_a_link_that_shows_more_than_was_asked_for_is_taken_back(
    kapso_sandbox: Sandbox, answered: dict[str, Any], told: str
) -> None:
    answer_with(kapso_sandbox, "POST", **answered)
    with pytest.raises(UncertainError, match=told):
        create_embed(slug="acme", name="Acme", **NARROW)
    assert kapso_sandbox.project().active_embeds() == []
    link = AccessLink.objects.get()
    assert (link.state, link.sealed_url) == (State.REVOKED, "")
    assert told in link.reason or told in describe_reason(link.reason)


@pytest.mark.parametrize("answered", [None, "2126-01-01T00:00:00Z"])
def test_a_link_that_outlives_what_was_asked_for_is_taken_back(
    kapso_sandbox: Sandbox, answered: str | None
) -> None:
    answer_with(kapso_sandbox, "POST", expires_at=answered)
    with pytest.raises(UncertainError, match="lasts longer"):
        create_embed(slug="a", name="A", expires_at=datetime(2099, 1, 1, tzinfo=dt_timezone.utc))
    assert kapso_sandbox.project().active_embeds() == []


@pytest.mark.parametrize(
    "answered",
    [
        {"scope_id": CUSTOMER.upper(), "assigned_user_id": MEMBER.upper()},
        {"allowed_origins": ["https://CRM.example.com/"]},
        {"allowed_origins": ["crm.example.com"]},
        {"scope_type": 7.5, "scope_id": {}, "allowed_origins": "?"},
    ],
)
def test_the_same_in_another_spelling_or_unreadable_is_not_different(
    kapso_sandbox: Sandbox, answered: dict[str, Any]
) -> None:
    answer_with(kapso_sandbox, "POST", **answered)
    embed = create_embed(slug="acme", name="Acme", **NARROW)
    assert embed.obstacle() is None
    assert (embed.scope_type, embed.scope_id) == ("customer", CUSTOMER)
    assert embed.assigned_user_id == MEMBER


def test_a_whole_project_has_no_scope_id_whatever_kapso_answers(kapso_sandbox: Sandbox) -> None:
    answer_with(kapso_sandbox, "POST", scope_id="the-project-itself")
    embed = create_embed(slug="all", name="All")
    assert (embed.obstacle(), embed.scope_id) == (None, "")


def test_a_link_with_the_id_of_the_one_to_be_replaced_ends_neither(
    kapso_sandbox: Sandbox, narrow: InboxEmbed
) -> None:
    record = at_kapso(kapso_sandbox, narrow)
    answer_with(kapso_sandbox, "POST", id=record["id"])
    with pytest.raises(UncertainError, match="another embed than the one that was asked for"):
        rotate_embed(narrow)
    assert record["status"] == "active"
    narrow.refresh_from_db()
    assert narrow.current_link is not None
    assert narrow.current_link.reveal_url() == record["embed_url"]
    sync_project()  # it finds the other one by its reference
    assert [one["id"] for one in kapso_sandbox.project().active_embeds()] == [record["id"]]


def test_an_embed_with_another_reference_is_not_taken_for_the_one_that_was_created(
    kapso_sandbox: Sandbox,
) -> None:
    settings = {"name": "Another deployment's #ki-0123456789", "scope_type": "project"}
    another = kapso_sandbox.project().create(settings)
    answer_with(kapso_sandbox, "POST", **another)
    with pytest.raises(UncertainError, match="another embed"):
        create_embed(slug="acme", name="Acme")
    assert another["status"] == "active"
    sync_project()
    assert [one["id"] for one in kapso_sandbox.project().active_embeds()] == [another["id"]]


@pytest.mark.parametrize("name", ["A name that Kap", "Kapso's own", ""])
def test_a_name_that_kapso_changed_or_left_out_is_not_anothers(
    kapso_sandbox: Sandbox, name: str
) -> None:
    answer_with(kapso_sandbox, "POST", name=name)
    assert create_embed(slug="acme", name="A name that Kapso cuts").obstacle() is None


# Later


@pytest.mark.parametrize(
    "widened",
    [{"scope_type": "project", "scope_id": None}, {"assigned_user_id": None}],
)
def test_an_embed_that_was_widened_at_kapso_is_closed_until_it_is_rotated(
    kapso_sandbox: Sandbox, narrow: InboxEmbed, widened: dict[str, Any]
) -> None:
    at_kapso(kapso_sandbox, narrow).update(widened)
    AccessLink.objects.update(state_changed_at=timezone.now() - timedelta(minutes=1))
    InboxEmbed.objects.update(updated_at=timezone.now() - timedelta(minutes=1))
    report = sync_project()
    assert "shows conversations that it was not created for" in str(report.problems[0])
    narrow.refresh_from_db()
    assert (narrow.scope_type, narrow.scope_id) == ("customer", CUSTOMER)
    assert narrow.assigned_user_id == MEMBER
    assert narrow.obstacle() == Outcome.DIFFERENT
    assert InboxEmbed.objects.with_condition().get().condition == Condition.DIFFERENT
    assert InboxChange.objects.filter(action=InboxChange.Action.FOUND).count() == 1
    sync_project()  # says it again, and records it once
    assert InboxChange.objects.filter(action=InboxChange.Action.FOUND).count() == 1
    rotate_embed(narrow)
    (record,) = kapso_sandbox.project().active_embeds()
    assert (record["scope_id"], record["assigned_user_id"]) == (CUSTOMER, MEMBER)
    assert InboxEmbed.objects.get().obstacle() is None
    assert sync_project().problems == []


def test_an_embed_that_was_widened_at_kapso_opens_for_nobody_at_the_next_launch_that_asks(
    kapso_sandbox: Sandbox, narrow: InboxEmbed, agent: User
) -> None:
    assert open_for(agent)
    at_kapso(kapso_sandbox, narrow).update(scope_type="project", scope_id=None)
    AccessLink.objects.update(checked_at=timezone.now() - timedelta(hours=1))
    with pytest.raises(LaunchRefusedError) as refused:
        open_for(agent)
    assert refused.value.outcome == Outcome.DIFFERENT
    with pytest.raises(LaunchRefusedError):
        open_for(agent)


def test_an_embed_that_is_narrow_again_at_kapso_opens_again(
    kapso_sandbox: Sandbox, narrow: InboxEmbed
) -> None:
    record = at_kapso(kapso_sandbox, narrow)
    asked = {name: record[name] for name in ("scope_type", "scope_id")}
    record.update(scope_type="project", scope_id=None)
    assert refresh_embed(narrow).obstacle() == Outcome.DIFFERENT
    record.update(asked)
    assert refresh_embed(narrow).obstacle() is None


def test_an_answer_that_leaves_fields_out_opens_nothing_again(
    kapso_sandbox: Sandbox, narrow: InboxEmbed
) -> None:
    record = at_kapso(kapso_sandbox, narrow)
    record.update(scope_type="project", scope_id=None)
    refresh_embed(narrow)
    answer_with(kapso_sandbox, "GET", scope_type={}, scope_id={}, assigned_user_id={})
    assert refresh_embed(narrow).obstacle() == Outcome.DIFFERENT


def test_ensure_embed_replaces_a_link_that_shows_other_conversations(
    kapso_sandbox: Sandbox, narrow: InboxEmbed
) -> None:
    wide = at_kapso(kapso_sandbox, narrow)
    wide.update(scope_type="project", scope_id=None)
    refresh_embed(narrow)
    assert ensure_embed("acme").obstacle() is None
    (record,) = kapso_sandbox.project().active_embeds()
    assert (record["id"] != wide["id"], record["scope_type"]) == (True, "customer")


def test_a_sync_that_only_looks_reports_a_difference_and_stores_nothing(
    kapso_sandbox: Sandbox, narrow: InboxEmbed
) -> None:
    at_kapso(kapso_sandbox, narrow).update(scope_type="project", scope_id=None)
    InboxEmbed.objects.update(updated_at=timezone.now() - timedelta(minutes=1))
    assert "shows conversations that it was not created for" in str(
        sync_project(dry_run=True).problems[0]
    )
    narrow.refresh_from_db()
    assert narrow.obstacle() is None


# Another embed in the answer


def test_an_answer_about_another_embed_changes_nothing(
    kapso_sandbox: Sandbox, narrow: InboxEmbed, agent: User
) -> None:
    other = create_embed(slug="other", name="Other")
    id_of_other = at_kapso(kapso_sandbox, other)["id"]
    wrong = {"id": id_of_other, "name": "Other", "status": "revoked", "scope_type": "project"}
    answer_with(kapso_sandbox, "GET", **wrong)
    with pytest.raises(UncertainError, match="another embed"):
        refresh_embed(narrow)
    kapso_sandbox.order(Fault(method="PATCH", answer=Answer(200, {"data": wrong})))
    with pytest.raises(UncertainError, match="another embed"):
        update_embed(narrow, name="New")
    AccessLink.objects.update(checked_at=timezone.now() - timedelta(hours=1))
    answer_with(kapso_sandbox, "GET", **wrong)
    assert open_for(agent)
    narrow.refresh_from_db()
    assert (narrow.name, narrow.scope_id, narrow.obstacle()) == ("Acme", NARROW["scope_id"], None)


def test_a_404_to_a_delete_is_not_confirmed_by_an_answer_about_another_embed(
    kapso_sandbox: Sandbox, narrow: InboxEmbed
) -> None:
    own = at_kapso(kapso_sandbox, narrow)
    kapso_sandbox.order(Fault(method="DELETE", answer=Answer(404, {"error": "Not found"})))
    wrong = Answer(200, {"data": {**own, "id": "of-another", "status": "revoked"}})
    kapso_sandbox.order(Fault(method="GET", path=own["id"], answer=wrong))
    with pytest.raises(UncertainError, match="another embed"):
        revoke_embed(narrow)
    narrow.refresh_from_db()
    assert narrow.current_link is not None
    assert narrow.current_link.state == State.REVOKING


# A change


def test_origins_that_kapso_did_not_narrow_are_no_success(
    kapso_sandbox: Sandbox, narrow: InboxEmbed
) -> None:
    wide = Answer(200, {"data": {**at_kapso(kapso_sandbox, narrow), "allowed_origins": []}})
    for method in ("PATCH", "GET"):
        kapso_sandbox.order(Fault(method=method, answer=wide))
    with pytest.raises(UncertainError, match="more sites"):
        update_embed(narrow, allowed_origins=["https://sales.example.com"])


def test_origins_that_kapso_did_narrow_are_a_success_whatever_it_first_answered(
    kapso_sandbox: Sandbox, narrow: InboxEmbed
) -> None:
    answer_with(kapso_sandbox, "PATCH", allowed_origins=[])
    origins = ["https://sales.example.com"]
    assert update_embed(narrow, allowed_origins=origins).allowed_origins == origins
