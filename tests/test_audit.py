"""The audit trail of openings and changes, and the signals that a host receives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from datetime import timezone as dt_timezone
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError
from django.dispatch import Signal
from django.test import Client, override_settings
from django.utils import timezone

from kapso_inbox import signals
from kapso_inbox.kapso import (
    InboxOriginError,
    InvalidRequestError,
    NotFoundError,
    UncertainError,
)
from kapso_inbox.lifecycle import (
    create_embed,
    ensure_embed,
    refresh_embed,
    resolve_embed,
    revoke_embed,
    rotate_embed,
    update_embed,
)
from kapso_inbox.lifecycle.resolve import ABSENT_AFTER
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed, read_reason, reason_code
from kapso_inbox.reasons import describe_reason
from kapso_inbox.sandbox.engine import Answer, Sandbox
from kapso_inbox.sync import sync_project
from tests.hosts.database import connection
from tests.hosts.people import User
from tests.inbox.test_launch import WRONG_KEY, with_settings

from .conftest import FRAME

pytestmark = pytest.mark.django_db

Action = InboxChange.Action


def unconfirmed() -> list[str]:
    """Return the actions that Kapso has not confirmed yet, the oldest first."""
    rows = InboxChange.objects.with_confirmation().filter(is_unconfirmed=True)
    return list(rows.order_by("pk").values_list("action", flat=True))


def changes() -> list[tuple[str, str, str]]:
    return list(InboxChange.objects.order_by("pk").values_list("username", "slug", "action"))


@pytest.fixture
def heard() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Collect the signals that are sent: their names and arguments."""
    calls: list[tuple[str, dict[str, Any]]] = []
    names = [name for name, value in vars(signals).items() if isinstance(value, Signal)]
    receivers = []
    for name in names:

        def receive(sender: Any, name: str = name, **kwargs: Any) -> None:
            assert sender is InboxEmbed
            kwargs.pop("signal")
            calls.append((name, kwargs))

        getattr(signals, name).connect(receive)
        receivers.append((getattr(signals, name), receive))
    yield calls
    for signal, receive in receivers:
        signal.disconnect(receive)


def test_each_change_is_recorded_with_its_actor(kapso_sandbox: Sandbox, ana: User) -> None:
    embed = create_embed(slug="acme", name="Acme", actor=ana)
    update_embed(embed, name="Acme Inc", groups=ana.groups.all(), actor=ana)
    rotate_embed(embed, actor="cron")
    revoke_embed(embed)
    assert changes() == [
        ("ana", "acme", Action.CREATED),
        ("ana", "acme", Action.CHANGED),
        ("cron", "acme", Action.ROTATED),
        ("", "acme", Action.REVOKED),
    ]
    first, second, third, _ = InboxChange.objects.order_by("pk")
    assert (first.user, first.embed) == (ana, embed)
    assert first.link != third.link
    assert read_reason(second.details)["changes"] == {
        "name": ["Acme", "Acme Inc"],
        "groups": [[], ["Sales"]],
    }


def test_a_call_that_changes_nothing_is_not_recorded(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    recorded = len(changes())
    ensure_embed(embed.slug)
    update_embed(embed, name=embed.name)
    assert len(changes()) == recorded


def test_a_failed_attempt_is_recorded_with_its_reason(kapso_sandbox: Sandbox) -> None:
    with pytest.raises(NotFoundError):
        create_embed(slug="acme", name="Acme", scope_type="phone_number", scope_id="9", actor="x")
    [refused] = InboxChange.objects.all()
    assert (refused.username, refused.slug) == ("x", "acme")
    assert refused.action == Action.CREATION_REFUSED
    assert "not found" in read_reason(refused.details)["detail"]


def test_a_rotation_that_kapso_refuses_is_one_line_that_says_so(
    kapso_sandbox: Sandbox, embed: InboxEmbed, ana: User
) -> None:
    kapso_sandbox.fail_next(answer=Answer(422, {"error": "no"}))
    with pytest.raises(InvalidRequestError):
        rotate_embed(embed, actor=ana)
    [row] = InboxChange.objects.filter(user=ana)
    assert row.action == Action.ROTATION_REFUSED
    assert describe_reason(row.details).endswith("Kapso says: “no”")


@pytest.mark.parametrize(
    "fault", [{"answer": Answer(500, {})}, {"answer": Answer(503, {})}, {"drop": "after"}]
)
def test_what_kapso_may_have_done_is_unconfirmed_until_kapso_confirms_it(
    kapso_sandbox: Sandbox, embed: InboxEmbed, fault: dict[str, Any]
) -> None:
    assert unconfirmed() == []
    kapso_sandbox.fail_next(method="POST", **fault)
    with pytest.raises(UncertainError):
        rotate_embed(embed)
    kapso_sandbox.fail_next(method="POST", **fault)
    with pytest.raises(UncertainError):
        create_embed(slug="other", name="Other")
    kapso_sandbox.fail_next(method="DELETE", **fault)
    with pytest.raises(UncertainError):
        revoke_embed(embed)
    assert unconfirmed() == [Action.ROTATED, Action.CREATED, Action.REVOKED]
    sync_project()
    assert Action.REVOKED not in unconfirmed()


def test_what_a_killed_process_has_begun_never_reads_as_done(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    kapso_sandbox.fail_next(method="POST", error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        rotate_embed(embed)
    assert unconfirmed() == [Action.ROTATED]


def test_a_creation_whose_answer_was_lost_says_what_became_of_it(kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.fail_next(method="POST", drop="after")
    with pytest.raises(UncertainError):
        create_embed(slug="sales", name="Sales", actor="ana")
    resolve_embed(InboxEmbed.objects.get(), actor="bo")
    assert unconfirmed() == []
    assert changes() == [
        ("ana", "sales", Action.CREATION_REFUSED),
        ("bo", "sales", Action.SETTLED),
    ]
    assert {reason_code(row.details) for row in InboxChange.objects.all()} == {"created_after_all"}


def test_a_rotation_that_never_reached_kapso_says_so_once_that_is_known(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    kapso_sandbox.fail_next(method="POST", drop="before")
    with pytest.raises(UncertainError):
        rotate_embed(embed)
    resolve_embed(embed)
    AccessLink.objects.update(absent_at=timezone.now() - ABSENT_AFTER)
    resolve_embed(embed)
    row = InboxChange.objects.get(action=Action.ROTATION_REFUSED)
    assert reason_code(row.details) == "never_created"


def test_a_link_that_cannot_be_used_is_not_recorded_as_created(
    kapso_sandbox: Sandbox, settings: Any
) -> None:
    settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, "INBOX_ORIGINS": ["https://a.example"]}
    with pytest.raises(InboxOriginError):
        create_embed(slug="sales", name="Sales")
    assert changes() == [("", "sales", Action.CREATION_REFUSED)]


@pytest.mark.parametrize("look", [lambda embed: refresh_embed(embed), lambda embed: sync_project()])
def test_what_was_changed_at_kapso_is_recorded_once_from_old_to_new(
    kapso_sandbox: Sandbox, embed: InboxEmbed, look: Callable[[InboxEmbed], object]
) -> None:
    assert embed.current_link is not None
    change = {"allowed_origins": ["https://new.example"], "default_mode": "dark"}
    kapso_sandbox.project().update(embed.current_link.kapso_id, change)
    look(embed)
    look(embed)
    row = InboxChange.objects.get(action=Action.FOUND)
    assert read_reason(row.details)["changes"] == {
        "allowed_origins": [embed.allowed_origins, ["https://new.example"]],
        "default_mode": ["system", "dark"],
    }
    embed.refresh_from_db()
    assert embed.default_mode == "dark"


def test_a_use_at_kapso_is_mirrored_and_not_recorded(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    assert embed.current_link is not None
    record = kapso_sandbox.project().embeds[embed.current_link.kapso_id]
    record["last_used_at"] = "2026-05-01T10:00:00Z"
    sync_project()
    embed.refresh_from_db()
    assert embed.last_used_at is not None
    assert changes() == [("", "sales", Action.CREATED)]


def test_an_inbox_that_is_found_at_kapso_and_adopted_is_recorded_as_that(
    kapso_sandbox: Sandbox, ana: User
) -> None:
    kapso_sandbox.project().create({"name": "Theirs", "scope_type": "project"})
    sync_project(actor=ana)
    sync_project()
    [found] = InboxEmbed.objects.all()
    kapso_sandbox.fail_next(method="POST", answer=Answer(422, {"error": "no"}))
    with pytest.raises(InvalidRequestError):
        rotate_embed(found)
    rotate_embed(found, actor=ana)
    assert changes() == [
        ("ana", found.slug, Action.FOUND),
        ("", found.slug, Action.ADOPTION_REFUSED),
        ("ana", found.slug, Action.ADOPTED),
    ]
    first = InboxChange.objects.earliest("pk")
    assert describe_reason(first.details) == "It was not created here."


def test_a_sync_is_recorded_under_whoever_asked_for_it(
    kapso_sandbox: Sandbox, embed: InboxEmbed, ana: User
) -> None:
    assert embed.current_link is not None
    kapso_sandbox.project().revoke(embed.current_link.kapso_id)
    sync_project(actor=ana)
    assert InboxChange.objects.get(action=Action.FOUND).user == ana


def test_a_change_is_recorded_from_old_to_new(
    kapso_sandbox: Sandbox, embed: InboxEmbed, ana: User
) -> None:
    ends = datetime(2099, 1, 1, tzinfo=dt_timezone.utc)
    group = Group.objects.create(name="Agents")
    update_embed(embed, name="Support", expires_at=ends, groups=[group], actor=ana)
    row = InboxChange.objects.get(action=Action.CHANGED)
    told = describe_reason(row.details)
    assert "Name: Sales inbox → Support" in told
    assert "Expires: — → " in told
    assert told.endswith(" → Agents")


def test_a_revocation_that_somebody_settles_by_hand_leaves_a_line(
    kapso_sandbox: Sandbox, embed: InboxEmbed, ana: User
) -> None:
    AccessLink.objects.update(state=AccessLink.State.REVOKING)
    resolve_embed(embed, actor=ana)
    row = InboxChange.objects.get(action=Action.SETTLED)
    assert row.user == ana
    assert reason_code(row.details) == "revocation_done"


def test_the_audit_trail_outlives_user_embed_and_link(
    kapso_sandbox: Sandbox, ana: User, embed: InboxEmbed
) -> None:
    revoke_embed(embed, actor=ana)
    ids = (ana.pk, embed.pk, embed.current_link_id)
    embed.delete()
    ana.delete()
    change = InboxChange.objects.get(action=Action.REVOKED)
    assert (change.username, change.slug) == ("ana", "sales")
    assert (change.user_id, change.embed_id, change.link_id) == ids


@pytest.mark.django_db(transaction=True)
def test_a_change_that_cannot_be_recorded_is_not_made(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("INSERT") and "inboxchange" in sql:
            raise DatabaseError("disk full")
        return execute(sql, params, many, context)

    sent = len(kapso_sandbox.requests)
    for act in (
        lambda: create_embed(slug="other", name="Other"),
        lambda: rotate_embed(embed),
        lambda: revoke_embed(embed),
        lambda: update_embed(embed, groups=[]),
    ):
        with connection.execute_wrapper(refuse), pytest.raises(DatabaseError):
            act()
    assert len(kapso_sandbox.requests) == sent
    assert AccessLink.objects.get().state == AccessLink.State.ACTIVE


def test_a_signal_is_sent_for_each_event(
    kapso_sandbox: Sandbox, ana: User, client: Client, heard: list[tuple[str, dict[str, Any]]]
) -> None:
    embed = create_embed(slug="sales", name="Sales", actor=ana)
    rotate_embed(embed, actor=ana)
    client.force_login(ana)
    client.get("/kapso-inbox/sales/launch/", **FRAME)  # type: ignore[arg-type]
    with with_settings(ENCRYPTION_KEYS=WRONG_KEY):
        for _ in range(2):
            client.get("/kapso-inbox/sales/launch/", **FRAME)  # type: ignore[arg-type]
    revoke_embed(embed, actor=ana)
    assert [name for name, _ in heard] == [
        "embed_created",
        "link_rotated",
        "inbox_opened",
        "secret_lost",
        "embed_revoked",
    ]
    for name, values in heard:
        assert values["embed"] == embed
        who = values.get("actor", values.get("user"))
        assert who == (None if name == "secret_lost" else ana)
    assert ("", "sales", Action.LOST) in changes()


def test_no_signal_carries_a_secret(
    kapso_sandbox: Sandbox, ana: User, client: Client, heard: list[tuple[str, dict[str, Any]]]
) -> None:
    create_embed(slug="sales", name="Sales")
    client.force_login(ana)
    client.get("/kapso-inbox/sales/launch/", **FRAME)  # type: ignore[arg-type]
    token = kapso_sandbox.project().active_embeds()[0]["token"]
    text = "".join(f"{value!r}{vars(value)!r}" for _, kw in heard for value in kw.values() if value)
    assert "sales" in text
    assert token not in text


def test_no_signal_is_sent_for_an_uncertain_creation(
    kapso_sandbox: Sandbox, heard: list[tuple[str, dict[str, Any]]]
) -> None:
    kapso_sandbox.fail_next(drop="after")
    with pytest.raises(UncertainError):
        create_embed(slug="sales", name="Sales")
    assert heard == []


def test_a_receiver_that_fails_changes_nothing(
    kapso_sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**kwargs: Any) -> None:
        raise ZeroDivisionError

    signals.embed_created.connect(fail)
    try:
        assert create_embed(slug="sales", name="Sales").obstacle() is None
    finally:
        signals.embed_created.disconnect(fail)
    assert "ZeroDivisionError" in caplog.text


@override_settings(USE_TZ=False)
def test_it_works_without_time_zones(kapso_sandbox: Sandbox, ana: User) -> None:
    embed = create_embed(slug="sales", name="Sales", actor=ana)
    rotate_embed(embed)
    revoke_embed(embed)
    assert len(changes()) == 3
