"""Updating, rotating and revoking."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import DatabaseError, transaction
from django.db.models import ProtectedError
from django.test import override_settings
from requests.exceptions import ConnectTimeout

from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.kapso import (
    InvalidRequestError,
    NotFoundError,
    UncertainError,
    UnreachableError,
)
from kapso_inbox.lifecycle import (
    BusyError,
    InsideTransactionError,
    create_embed,
    revoke_embed,
    rotate_embed,
    update_embed,
)
from kapso_inbox.models import AccessLink, InboxEmbed
from kapso_inbox.sandbox.engine import Answer, Fault, Sandbox
from tests.hosts.clock import as_stored
from tests.hosts.database import connection

pytestmark = pytest.mark.django_db

State = AccessLink.State


def sent(sandbox: Sandbox) -> list[str]:
    """Return the methods of the requests since the embed was created."""
    return [request.method for request in sandbox.requests][1:]


def states(embed: InboxEmbed) -> list[str]:
    return sorted(embed.links.values_list("state", flat=True))


def link_of(embed: InboxEmbed) -> AccessLink:
    embed.refresh_from_db()
    assert embed.current_link is not None
    return embed.current_link


# update_embed


def test_an_update_sends_one_patch_with_what_differs(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    moment = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=3)
    changed = update_embed(embed, name="Verkauf", default_mode="system", expires_at=moment)
    (request,) = kapso_sandbox.requests[1:]
    assert request.method == "PATCH"
    sent = request.json["inbox_embed"]
    assert datetime.fromisoformat(sent.pop("expires_at")) == moment
    assert sent == {"name": f"Verkauf #ki-{link_of(embed).reference}"}
    assert (changed.name, changed.expires_at) == ("Verkauf", as_stored(moment))
    assert update_embed(embed, expires_at=None).expires_at is None


def test_settings_that_only_we_store_are_saved_without_a_request(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    group = Group.objects.create(name="Support")
    update_embed(embed, slug="verkauf", groups=[group])
    embed.refresh_from_db()
    assert (embed.slug, list(embed.groups.all())) == ("verkauf", [group])
    assert sent(kapso_sandbox) == []


def test_an_update_stores_kapsos_answer(kapso_sandbox: Sandbox, embed: InboxEmbed) -> None:
    answer = {"data": {"id": link_of(embed).kapso_id, "default_mode": "sepia"}}
    kapso_sandbox.fail_next(answer=Answer(200, answer))
    changed = update_embed(embed, default_mode="dark", language="es")
    assert (changed.default_mode, changed.language) == ("sepia", "es")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scope_type": "phone_number", "scope_id": "1"}, "scope_id"),
        ({"project": "other"}, "project"),
        ({"assigned_user_id": "123e4567-e89b-12d3-a456-426614174000"}, "assigned_user_id"),
        ({"language": "xx"}, "language"),
    ],
)
def test_a_setting_that_cannot_be_changed_is_named(
    kapso_sandbox: Sandbox, embed: InboxEmbed, change: dict[str, Any], field: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        update_embed(embed, **change)
    assert field in caught.value.message_dict
    assert sent(kapso_sandbox) == []


def test_a_slug_that_is_taken_is_named(kapso_sandbox: Sandbox, embed: InboxEmbed) -> None:
    create_embed(slug="other", name="Other")
    with pytest.raises(ValidationError) as caught:
        update_embed(embed, slug="other")
    assert list(caught.value.message_dict) == ["slug"]


def test_repeating_the_fixed_values_and_none_for_no_assignment_changes_nothing(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    update_embed(embed, scope_type="project", scope_id="", assigned_user_id=None, project="default")
    assert sent(kapso_sandbox) == []


def test_an_expiry_that_has_passed_does_not_prevent_another_change(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    past = as_stored(datetime(2020, 1, 1, tzinfo=timezone.utc))
    InboxEmbed.objects.update(expires_at=past)
    kapso_sandbox.project().expire(link_of(embed).kapso_id)
    assert update_embed(embed, expires_at=past, name="New").name == "New"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(answer=Answer(422, {"errors": {"name": ["too long"]}})), InvalidRequestError),
        (Fault(error=ConnectTimeout()), UnreachableError),
        (Fault(drop="before"), UncertainError),
    ],
    ids=["refused", "unreachable", "uncertain and not done"],
)
def test_nothing_changes_here_if_kapso_did_not_change_it(
    kapso_sandbox: Sandbox, embed: InboxEmbed, fault: Fault, error: type[Exception]
) -> None:
    kapso_sandbox.order(fault)
    with pytest.raises(error):
        update_embed(embed, name="New", slug="new", groups=[])
    embed.refresh_from_db()
    assert (embed.name, embed.slug, embed.groups.count()) == ("Sales inbox", "sales", 1)


def test_an_uncertain_patch_is_followed_by_a_get_and_never_sent_twice(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    kapso_sandbox.fail_next(drop="after")
    assert update_embed(embed, name="New").name == "New"
    assert sent(kapso_sandbox) == ["PATCH", "GET"]
    embed.refresh_from_db()
    assert embed.name == "New"


def test_an_uncertain_patch_stays_uncertain_if_the_get_fails(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    kapso_sandbox.fail_next(drop="after")
    kapso_sandbox.fail_next(answer=Answer(404, {}))
    with pytest.raises(UncertainError):
        update_embed(embed, name="New")


def test_an_update_without_a_live_link_applies_to_the_next_link(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    revoke_embed(embed)
    assert update_embed(embed, default_mode="dark").default_mode == "dark"
    assert sent(kapso_sandbox) == ["DELETE"]
    rotate_embed(embed)
    (record,) = kapso_sandbox.project().active_embeds()
    assert record["default_mode"] == "dark"


# rotate_embed


def test_a_rotated_embed_has_one_live_link_which_is_new(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    old = link_of(embed)
    rotated = rotate_embed(embed)
    assert sent(kapso_sandbox) == ["POST", "DELETE"]
    (record,) = kapso_sandbox.project().active_embeds()
    assert link_of(rotated).kapso_id == record["id"] != old.kapso_id
    old.refresh_from_db()
    assert (old.state, old.sealed_url) == (State.REVOKED, "")


def test_the_old_link_works_until_the_new_one_does(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    old = link_of(embed)
    kapso_sandbox.fail_next(answer=Answer(503, "maintenance"))
    with pytest.raises(UncertainError):
        rotate_embed(embed)
    assert link_of(embed) == old
    assert states(embed) == [State.ACTIVE, State.UNKNOWN]
    assert sent(kapso_sandbox) == ["POST"]


def test_an_old_link_that_cannot_be_revoked_stays_revoking(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    old = link_of(embed)
    kapso_sandbox.order(Fault(method="DELETE", answer=Answer(503, "maintenance")))
    with pytest.raises(UncertainError):
        rotate_embed(embed)
    old.refresh_from_db()
    assert (old.state, old.sealed_url) == (State.REVOKING, "")
    assert old.reason
    assert link_of(embed).state == State.ACTIVE
    revoke_embed(embed)
    assert states(embed) == [State.REVOKED, State.REVOKED]


def test_a_rotation_sends_the_settings_of_the_embed(kapso_sandbox: Sandbox) -> None:
    customer = kapso_sandbox.project().customers[0]["id"]
    embed = create_embed(
        slug="acme",
        name="Acme",
        scope_type="customer",
        scope_id=customer,
        allowed_origins=["*.example.com"],
        default_mode="dark",
        language="es",
    )
    rotate_embed(embed)
    first, second = kapso_sandbox.requests[0].json, kapso_sandbox.requests[1].json
    first["inbox_embed"].pop("name")
    second["inbox_embed"].pop("name")
    assert first == second


def test_rotating_an_embed_whose_expiry_has_passed_is_refused_before_kapso_is_asked(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    InboxEmbed.objects.update(expires_at=as_stored(datetime(2020, 1, 1, tzinfo=timezone.utc)))
    with pytest.raises(ValidationError) as caught:
        rotate_embed(embed)
    assert list(caught.value.message_dict) == ["expires_at"]
    assert sent(kapso_sandbox) == []


def test_a_second_rotation_at_the_same_time_raises_a_busy_error(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    AccessLink.objects.create(embed=embed)
    with pytest.raises(BusyError):
        rotate_embed(embed)
    assert sent(kapso_sandbox) == []


# revoke_embed


def test_a_revoked_embed_has_no_link_at_kapso(kapso_sandbox: Sandbox, embed: InboxEmbed) -> None:
    revoke_embed(embed)
    assert link_of(embed).state == State.REVOKED
    assert link_of(embed).sealed_url == ""
    assert kapso_sandbox.project().active_embeds() == []


def test_launches_stop_before_the_delete_is_sent(kapso_sandbox: Sandbox, embed: InboxEmbed) -> None:
    kapso_sandbox.fail_next(drop="before")
    with pytest.raises(UncertainError):
        revoke_embed(embed)
    link = link_of(embed)
    assert (link.state, link.sealed_url) == (State.REVOKING, "")
    assert link.reason
    revoke_embed(embed)
    assert link_of(embed).state == State.REVOKED


def test_revoking_twice_sends_one_request(kapso_sandbox: Sandbox, embed: InboxEmbed) -> None:
    revoke_embed(embed)
    revoke_embed(embed)
    assert sent(kapso_sandbox) == ["DELETE"]


def test_a_404_alone_does_not_prove_that_a_link_is_revoked(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    """The key may be another project's. Then the link still lives."""
    AccessLink.objects.update(key_fingerprint="0" * 12)
    kapso_sandbox.order(Fault(answer=Answer(404, {"error": "Not found"}), times=2))
    with pytest.raises(NotFoundError):
        revoke_embed(embed)
    assert link_of(embed).state == State.REVOKING


def test_two_404s_under_the_key_that_created_the_link_prove_that_it_is_revoked(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    kapso_sandbox.order(Fault(answer=Answer(404, {"error": "Not found"}), times=2))
    revoke_embed(embed)
    assert link_of(embed).state == State.REVOKED


def test_a_404_and_a_get_that_says_revoked_prove_that_a_link_is_revoked(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    kapso_sandbox.order(
        Fault(method="DELETE", answer=Answer(404, {"error": "Not found"}), process=True)
    )
    revoke_embed(embed)
    assert link_of(embed).state == State.REVOKED


def test_a_link_that_is_created_while_its_embed_is_revoked_is_revoked_too(
    kapso_sandbox: Sandbox, sales: Group
) -> None:
    """The revocation happens while Kapso processes the POST."""
    original = kapso_sandbox.handle

    def handle(request: Any, **kw: Any) -> Any:
        answer = original(request, **kw)
        if request.method == "POST":
            revoke_embed(InboxEmbed.objects.get())
        return answer

    kapso_sandbox.handle = handle  # type: ignore[method-assign]
    with pytest.raises(BusyError):
        create_embed(slug="sales", name="Sales")
    assert kapso_sandbox.project().active_embeds() == []
    embed = InboxEmbed.objects.get()
    assert (embed.current_link, states(embed)) == (None, [State.REVOKED])


@pytest.mark.django_db(transaction=True)
def test_inside_a_transaction_every_change_is_refused(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    for change in (revoke_embed, rotate_embed, update_embed):
        with transaction.atomic(using=connection.alias), pytest.raises(InsideTransactionError):
            change(embed)
    assert sent(kapso_sandbox) == []


# Storing the link after the 201


class _Broken:
    """Make the database refuse to store an access link's secret, a number of times."""

    def __init__(self, times: int) -> None:
        self.times = times

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("UPDATE") and "sealed_url" in sql and self.times:
            self.times -= 1
            raise DatabaseError("the connection is gone")
        return execute(sql, params, many, context)


@pytest.mark.django_db(transaction=True)
def test_a_write_that_fails_after_the_post_is_repeated(kapso_sandbox: Sandbox) -> None:
    with connection.execute_wrapper(_Broken(1)):
        embed = create_embed(slug="support", name="Support")
    assert link_of(embed).reveal_url()
    assert sent(kapso_sandbox) == []


@pytest.mark.django_db(transaction=True)
def test_a_link_that_cannot_be_stored_is_revoked(kapso_sandbox: Sandbox) -> None:
    with connection.execute_wrapper(_Broken(2)), pytest.raises(DatabaseError):
        create_embed(slug="support", name="Support")
    assert kapso_sandbox.project().active_embeds() == []
    assert AccessLink.objects.get().state == State.REVOKED


@pytest.mark.django_db(transaction=True)
def test_a_link_that_cannot_be_stored_is_revoked_even_if_the_revocation_cannot_be_stored(
    kapso_sandbox: Sandbox,
) -> None:
    with connection.execute_wrapper(_Broken(3)), pytest.raises(DatabaseError):
        create_embed(slug="support", name="Support")
    assert kapso_sandbox.project().active_embeds() == []
    assert AccessLink.objects.get().state == State.CREATING


@pytest.mark.django_db(transaction=True)
def test_a_link_that_can_be_neither_stored_nor_revoked_is_logged_as_critical_without_its_url(
    kapso_sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    kapso_sandbox.order(Fault(method="DELETE", drop="before"))
    with connection.execute_wrapper(_Broken(3)), pytest.raises(DatabaseError):
        create_embed(slug="support", name="Support")
    (record,) = kapso_sandbox.project().active_embeds()
    (entry,) = [one for one in caplog.records if one.levelno == logging.CRITICAL]
    assert record["id"] in entry.getMessage()
    assert AccessLink.objects.get().reference in entry.getMessage()
    assert record["token"] not in caplog.text


class _LostCommit:
    """Commit, and then fail once as if the database's answer were lost."""

    def __init__(self, real: Any) -> None:
        self.real, self.armed = real, True

    def __call__(self) -> None:
        this_one = self.armed and AccessLink.objects.filter(state=State.REVOKING).exists()
        self.real()
        if this_one:
            self.armed = False
            raise DatabaseError("the answer is lost")


@pytest.mark.django_db(transaction=True)
def test_a_commit_whose_answer_is_lost_leaves_no_second_link(
    kapso_sandbox: Sandbox, embed: InboxEmbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = _LostCommit(connection._commit)
    monkeypatch.setattr(connection, "_commit", lost)
    rotate_embed(embed)
    assert not lost.armed
    assert states(embed) == [State.ACTIVE, State.REVOKED]
    assert len(kapso_sandbox.project().active_embeds()) == 1


def test_the_next_rotation_also_revokes_a_link_that_could_not_be_revoked(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    """That link may have leaked, so repeating the rotation must not leave it alive."""
    kapso_sandbox.fail_next(method="DELETE", answer=Answer(502, ""))
    with pytest.raises(UncertainError):
        rotate_embed(embed)
    rotate_embed(embed)
    assert len(kapso_sandbox.project().active_embeds()) == 1
    assert states(embed) == [State.ACTIVE, State.REVOKED, State.REVOKED]


@pytest.mark.parametrize("wrong", [{"API_KEY": ""}, {"API_KEY": "a b"}])
def test_launches_stop_even_if_kapso_cannot_be_asked(
    kapso_sandbox: Sandbox, embed: InboxEmbed, wrong: dict[str, str]
) -> None:
    with (
        override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, **wrong}),
        pytest.raises((ImproperlyConfigured, ConfigurationError)),
    ):
        revoke_embed(embed)
    assert link_of(embed).state == State.REVOKING
    revoke_embed(embed)
    assert kapso_sandbox.project().active_embeds() == []


def meanwhile(sandbox: Sandbox, method: str, act: Callable[[], object]) -> None:
    """Call a function while Kapso processes the next request of that method."""
    original = sandbox.handle

    def handle(request: Any, **kw: Any) -> Any:
        answer = original(request, **kw)
        if request.method == method:
            sandbox.handle = original  # type: ignore[method-assign]
            act()
        return answer

    sandbox.handle = handle  # type: ignore[method-assign]


def test_an_update_during_which_the_link_is_rotated_raises_a_busy_error_and_changes_nothing(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    meanwhile(kapso_sandbox, "PATCH", lambda: rotate_embed(embed))
    with pytest.raises(BusyError):
        update_embed(embed, allowed_origins=["https://crm.example.com"])
    (record,) = kapso_sandbox.project().active_embeds()
    embed.refresh_from_db()
    assert embed.allowed_origins == record["allowed_origins"] == []


def test_an_update_keeps_the_values_of_another_update_at_the_same_time(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    meanwhile(kapso_sandbox, "PATCH", lambda: update_embed(embed, default_mode="dark"))
    now = update_embed(embed, name="New name")
    (record,) = kapso_sandbox.project().active_embeds()
    assert (
        (now.name, now.default_mode) == ("New name", record["default_mode"]) == ("New name", "dark")
    )
    embed.refresh_from_db()
    assert (embed.name, embed.default_mode) == ("New name", "dark")


def test_an_update_during_a_rotation_raises_a_busy_error(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    def change() -> None:
        with pytest.raises(BusyError):
            update_embed(embed, allowed_origins=["https://crm.example.com"])

    meanwhile(kapso_sandbox, "POST", change)
    rotate_embed(embed)
    assert sent(kapso_sandbox) == ["POST", "DELETE"]


def test_if_a_link_created_during_a_revocation_cannot_be_revoked_its_id_is_stored(
    kapso_sandbox: Sandbox,
) -> None:
    def revoke() -> None:
        revoke_embed(InboxEmbed.objects.get())
        kapso_sandbox.fail_next(method="DELETE", answer=Answer(502, ""))

    meanwhile(kapso_sandbox, "POST", revoke)
    with pytest.raises(BusyError):
        create_embed(slug="acme", name="Acme")
    assert len(kapso_sandbox.project().active_embeds()) == 1
    revoke_embed(InboxEmbed.objects.get())
    assert kapso_sandbox.project().active_embeds() == []


# Deleting


@pytest.mark.parametrize("state", sorted(AccessLink.LIVE))
def test_a_link_that_may_live_cannot_be_deleted_by_any_method(
    embed: InboxEmbed, state: str
) -> None:
    AccessLink.objects.update(state=state)
    for delete in (
        AccessLink.objects.get().delete,
        AccessLink.objects.all().delete,
        embed.delete,
        InboxEmbed.objects.all().delete,
    ):
        with (
            pytest.raises(ProtectedError, match="Revoke the embed first"),
            transaction.atomic(using=connection.alias),
        ):
            delete()
    assert AccessLink.objects.count() == InboxEmbed.objects.count() == 1


@pytest.mark.parametrize("state", [State.REVOKED, State.FAILED])
def test_an_embed_whose_links_are_over_can_be_deleted(embed: InboxEmbed, state: str) -> None:
    AccessLink.objects.update(state=state)
    embed.delete()
    assert not AccessLink.objects.exists()
