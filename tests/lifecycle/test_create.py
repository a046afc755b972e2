from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import IntegrityError, OperationalError, transaction
from django.dispatch import Signal
from django.test import override_settings
from django.utils import timezone as django_timezone
from requests.exceptions import ConnectTimeout

from kapso_inbox import signals
from kapso_inbox.audit import record_change
from kapso_inbox.kapso import (
    CredentialsError,
    InboxOriginError,
    InvalidRequestError,
    KapsoError,
    NotFoundError,
    PaymentRequiredError,
    RateLimitedError,
    UncertainError,
    UnreachableError,
)
from kapso_inbox.lifecycle import (
    BusyError,
    InsideTransactionError,
    RevokedError,
    create_embed,
    delete_embed,
    ensure_embed,
    revoke_embed,
    rotate_embed,
    update_embed,
)
from kapso_inbox.lifecycle.issue import MAX_URL, replace_link
from kapso_inbox.lifecycle.links import STALE_AFTER
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed, read_reason
from kapso_inbox.reasons import describe_reason
from kapso_inbox.sandbox.engine import Answer, Fault, Sandbox
from tests.hosts.clock import as_stored
from tests.hosts.database import connection
from tests.hosts.people import User

pytestmark = pytest.mark.django_db

State = AccessLink.State


def posts(sandbox: Sandbox) -> list[Any]:
    return [request for request in sandbox.requests if request.method == "POST"]


def states(embed: InboxEmbed) -> list[str]:
    return sorted(embed.links.values_list("state", flat=True))


def test_an_embed_is_created_with_exactly_one_post(kapso_sandbox: Sandbox) -> None:
    number = kapso_sandbox.project().phone_numbers[0]
    moment = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=30)
    group = Group.objects.create(name="Support")
    embed = create_embed(
        slug="support",
        name="Support inbox",
        scope_type="phone_number",
        scope_id=number["phone_number_id"],
        allowed_origins=["https://crm.example.com"],
        default_mode="dark",
        language="es",
        expires_at=moment,
        assigned_user_id=kapso_sandbox.project().users[0]["user_id"],
        groups=[group],
    )
    (request,) = kapso_sandbox.requests
    assert (request.method, request.path) == ("POST", "/inbox_embeds")
    (record,) = kapso_sandbox.project().active_embeds()
    link = embed.current_link
    assert link is not None
    assert (link.state, link.kapso_id) == (State.ACTIVE, record["id"])
    assert link.reveal_url() == record["embed_url"]
    assert record["name"] == f"Support inbox #ki-{link.reference}"
    stored = InboxEmbed.objects.get(slug="support")
    assert stored.name == "Support inbox"
    assert stored.scope_name == number["name"]
    assert stored.assigned_user_name == kapso_sandbox.project().users[0]["name"]
    assert (stored.allowed_origins, stored.default_mode, stored.language, stored.expires_at) == (
        ["https://crm.example.com"],
        "dark",
        "es",
        as_stored(moment),
    )
    assert list(stored.groups.all()) == [group]


def test_the_mirror_stores_what_kapso_answered(kapso_sandbox: Sandbox) -> None:
    embed = create_embed(slug="support", name="Support")
    assert embed.language == "en"  # Kapso's default
    assert embed.scope_name == kapso_sandbox.project().name


def test_the_intent_is_committed_before_kapso_is_asked(kapso_sandbox: Sandbox) -> None:
    seen = []

    def look_at_the_database(*args: Any) -> None:
        link = AccessLink.objects.select_related("embed").get()
        seen.append(
            (link.embed.slug, link.state, link.name_for_kapso(link.embed.name), link.sealed_url)
        )

    kapso_sandbox.order(Fault(answer=None, delay=0.001))
    original = kapso_sandbox.handle

    def handle(request: Any, **kw: Any) -> Any:
        return original(request, sleep=look_at_the_database)

    kapso_sandbox.handle = handle  # type: ignore[method-assign]
    create_embed(slug="support", name="Support")
    (looked,) = seen
    assert looked[:2] == ("support", State.CREATING)
    assert looked[2] == posts(kapso_sandbox)[0].json["inbox_embed"]["name"]
    assert looked[3] == ""


def test_a_taken_slug_is_named_and_nothing_is_sent(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    with pytest.raises(ValidationError) as caught:
        create_embed(slug=embed.slug, name="Another")
    assert list(caught.value.message_dict) == ["slug"]
    assert len(posts(kapso_sandbox)) == 1
    embed.refresh_from_db()
    assert embed.name == "Sales inbox"


REFUSED: list[tuple[Fault, type[KapsoError]]] = [
    (Fault(answer=Answer(400, {"error": "Bad"})), InvalidRequestError),
    (Fault(answer=Answer(401, {"error": "Invalid API key"})), CredentialsError),
    (Fault(answer=Answer(402, {"error": "service_credits_exhausted"})), PaymentRequiredError),
    (Fault(answer=Answer(403, "<html>error code: 1010</html>")), CredentialsError),
    (Fault(answer=Answer(404, {"error": "Phone number not found"})), NotFoundError),
    (Fault(answer=Answer(422, {"errors": {"name": ["is odd"]}})), InvalidRequestError),
    (Fault(answer=Answer(429, {}, {"Retry-After": "60"})), RateLimitedError),
    (Fault(error=ConnectTimeout()), UnreachableError),
]


@pytest.mark.parametrize(
    ("fault", "error"), REFUSED, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_creation_that_kapso_refuses_leaves_nothing_but_its_audit_records(
    kapso_sandbox: Sandbox, ana: User, fault: Fault, error: type[KapsoError]
) -> None:
    told: list[str] = []

    def listen(sender: type[InboxEmbed], signal: Signal, **kwargs: Any) -> None:
        told.append(sender.__name__)

    kapso_sandbox.order(fault)
    signals.embed_created.connect(listen)
    signals.embed_deleted.connect(listen)
    try:
        with pytest.raises(error) as caught:
            create_embed(slug="support", name="Support", actor=ana)
    finally:
        signals.embed_created.disconnect(listen)
        signals.embed_deleted.disconnect(listen)
    assert len(posts(kapso_sandbox)) == 1
    assert not InboxEmbed.objects.exists()
    assert not AccessLink.objects.exists()
    [row] = InboxChange.objects.all()
    assert (row.action, row.slug) == (InboxChange.Action.CREATION_REFUSED, "support")
    assert row.user == ana
    assert read_reason(row.details)["error"] == type(caught.value).__name__
    assert told == []  # of an embed that never was, nobody is told anything


@pytest.mark.parametrize("fault", [REFUSED[0][0], REFUSED[-1][0]], ids=["refused", "unsent"])
def test_ensuring_an_embed_that_kapso_refuses_leaves_nothing_behind_either(
    kapso_sandbox: Sandbox, fault: Fault
) -> None:
    kapso_sandbox.order(fault)
    with pytest.raises(KapsoError):
        ensure_embed("acme", name="Acme")
    assert not InboxEmbed.objects.exists()


def test_an_embed_that_existed_before_stays_when_kapso_refuses_its_link(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    """An embed that works, and one that the host created."""
    InboxEmbed.objects.create(slug="hosts", name="The host's")
    kapso_sandbox.order(Fault(answer=Answer(422, {"error": "no"}), times=2))
    for refused in (lambda: rotate_embed(embed), lambda: ensure_embed("hosts")):
        with pytest.raises(InvalidRequestError):
            refused()
    assert set(InboxEmbed.objects.values_list("slug", flat=True)) == {embed.slug, "hosts"}


@pytest.mark.parametrize("again", [create_embed, ensure_embed])
def test_what_a_crash_left_of_a_refused_creation_is_gone_once_it_is_refused_again(
    kapso_sandbox: Sandbox, again: Callable[..., InboxEmbed]
) -> None:
    left = InboxEmbed.objects.create(slug="left", name="Left")
    AccessLink.objects.create(embed=left, state=State.FAILED)
    record_change(InboxChange.Action.CREATED, left)
    kapso_sandbox.fail_next(answer=Answer(422, {"error": "no"}))
    with pytest.raises(InvalidRequestError):
        again(slug="left", name="Left")
    assert not InboxEmbed.objects.exists()
    assert "refused" in InboxChange.objects.latest("pk").action


@pytest.mark.parametrize("meanwhile", ["changed", "rotated", "revoked", "deleted"])
def test_an_embed_that_somebody_touched_while_kapso_refused_it_is_left_to_them(
    kapso_sandbox: Sandbox, meanwhile: str, sales: Group
) -> None:
    """Somebody acts between the commit that the link is `failed` and the one of the deletion."""
    done: list[str] = []

    def between(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if not done and sql.startswith("UPDATE") and State.FAILED in (params or ()):
            done.append(meanwhile)
            embed = InboxEmbed.objects.get()
            if meanwhile == "changed":
                update_embed(embed, groups=[sales])
            elif meanwhile == "rotated":
                rotate_embed(embed)
            elif meanwhile == "revoked":
                revoke_embed(embed)
            else:
                delete_embed(embed)
        return result

    kapso_sandbox.fail_next(answer=Answer(422, {"error": "no"}))
    with connection.execute_wrapper(between), pytest.raises(InvalidRequestError):
        create_embed(slug="support", name="Support")
    assert done == [meanwhile]
    assert InboxEmbed.objects.exists() == (meanwhile != "deleted")
    assert len(kapso_sandbox.project().active_embeds()) == (meanwhile == "rotated")


def test_a_refusal_is_reported_even_if_its_row_cannot_be_deleted(kapso_sandbox: Sandbox) -> None:
    def fail(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("DELETE"):
            raise OperationalError("down")
        return execute(sql, params, many, context)

    kapso_sandbox.fail_next(answer=Answer(422, {"error": "no"}))
    with connection.execute_wrapper(fail), pytest.raises(InvalidRequestError):
        create_embed(slug="support", name="Support")
    assert states(InboxEmbed.objects.get()) == [State.FAILED]
    assert create_embed(slug="support", name="Support").obstacle() is None


def test_ensuring_an_embed_that_is_deleted_meanwhile_can_be_tried_again(
    kapso_sandbox: Sandbox,
) -> None:
    InboxEmbed.objects.create(slug="acme", name="Acme")

    def between(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("UPDATE"):  # the lock, before the new link is begun
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM kapso_inbox_inboxembed")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(between), pytest.raises(BusyError, match="acme"):
        ensure_embed("acme")
    assert ensure_embed("acme").obstacle() is None


UNCERTAIN = [
    Fault(drop="before"),
    Fault(drop="after"),
    Fault(delay=60),
    Fault(answer=Answer(500, {"error": "oops"}), process=True),
    Fault(answer=Answer(502, "<html>Bad gateway</html>")),
    Fault(answer=Answer(302, "", {"Location": "https://elsewhere.example/"})),
    Fault(answer=Answer(409, {"error": "conflict"})),
    Fault(answer=Answer(201, "not json"), process=True),
    Fault(answer=Answer(201, {"data": {"embed_url": "https://inbox.kapso.ai/embed/t"}})),
    Fault(answer=Answer(201, {"data": {"id": "1"}})),
]


@pytest.mark.parametrize("fault", UNCERTAIN, ids=range(len(UNCERTAIN)))
def test_an_uncertain_creation_is_unknown_and_never_sent_again(
    kapso_sandbox: Sandbox, fault: Fault
) -> None:
    kapso_sandbox.order(fault)
    with pytest.raises(UncertainError):
        create_embed(slug="support", name="Support")
    link = AccessLink.objects.get()
    assert (link.state, link.sealed_url) == (State.UNKNOWN, "")
    assert link.reason
    assert len(posts(kapso_sandbox)) == 1


def test_a_refused_creation_can_be_repeated_with_corrected_values(
    kapso_sandbox: Sandbox,
) -> None:
    with pytest.raises(NotFoundError):
        create_embed(slug="support", name="Supprt", scope_type="phone_number", scope_id="999")
    number = kapso_sandbox.project().phone_numbers[0]["phone_number_id"]
    embed = create_embed(slug="support", name="Support", scope_type="phone_number", scope_id=number)
    assert (embed.name, states(embed)) == ("Support", [State.ACTIVE])
    assert InboxEmbed.objects.count() == 1
    assert len(kapso_sandbox.project().active_embeds()) == 1


def test_an_uncertain_creation_is_not_repeated_by_creating_again(kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.fail_next(drop="after")
    with pytest.raises(UncertainError):
        create_embed(slug="support", name="Support")
    with pytest.raises(ValidationError):
        create_embed(slug="support", name="Support")
    assert len(posts(kapso_sandbox)) == 1


def test_without_valid_encryption_keys_nothing_is_sent(
    kapso_sandbox: Sandbox,
) -> None:
    for keys in ({}, {"k": "short"}):
        with (
            override_settings(KAPSO_INBOX={"API_KEY": "k", "ENCRYPTION_KEYS": keys}),
            pytest.raises(ImproperlyConfigured, match="ENCRYPTION_KEYS"),
        ):
            create_embed(slug="support", name="Support", allowed_origins=[])
    assert kapso_sandbox.requests == []
    assert not InboxEmbed.objects.exists()


def test_the_log_names_the_actor(kapso_sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kapso_inbox")
    create_embed(slug="support", name="Support", actor="ana")
    assert "'ana' creates the embed 'support'" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_inside_a_transaction_it_raises_an_error_that_says_what_to_do(
    kapso_sandbox: Sandbox,
) -> None:
    with (
        transaction.atomic(using=connection.alias),
        pytest.raises(InsideTransactionError, match="non_atomic_requests"),
    ):
        create_embed(slug="support", name="Support")
    connection.set_autocommit(False)
    try:
        with pytest.raises(InsideTransactionError):
            create_embed(slug="support", name="Support")
    finally:
        connection.set_autocommit(True)
    assert kapso_sandbox.requests == []
    assert not InboxEmbed.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_intent_survives_the_end_of_the_process(kapso_sandbox: Sandbox) -> None:
    """The code after the POST never runs, but the row that accounts for it is committed."""
    kapso_sandbox.fail_next(error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        create_embed(slug="support", name="Support")
    connection.close()
    assert AccessLink.objects.get().state == State.CREATING


# ensure_embed


def test_ensuring_twice_changes_nothing_and_sends_nothing(kapso_sandbox: Sandbox) -> None:
    first = ensure_embed("acme", name="Acme", language="es")
    sent = len(kapso_sandbox.requests)
    second = ensure_embed("acme", name="Acme", language="es")
    assert second == first
    assert second.current_link == first.current_link
    assert len(kapso_sandbox.requests) == sent == 1


def test_ensuring_does_not_change_settings_that_are_left_out(kapso_sandbox: Sandbox) -> None:
    create_embed(slug="acme", name="Acme", allowed_origins=["https://crm.example.com"])
    assert ensure_embed("acme").allowed_origins == ["https://crm.example.com"]
    assert len(kapso_sandbox.requests) == 1


def test_ensuring_other_values_changes_the_embed(kapso_sandbox: Sandbox) -> None:
    ensure_embed("acme", name="Acme")
    embed = ensure_embed("acme", name="Acme Inc", default_mode="dark")
    assert (embed.name, embed.default_mode) == ("Acme Inc", "dark")
    assert [request.method for request in kapso_sandbox.requests] == ["POST", "PATCH"]


def test_ensuring_another_scope_is_refused(kapso_sandbox: Sandbox) -> None:
    ensure_embed("acme", name="Acme")
    customer = kapso_sandbox.project().customers[0]["id"]
    with pytest.raises(ValidationError) as caught:
        ensure_embed("acme", scope_type="customer", scope_id=customer)
    assert set(caught.value.message_dict) == {"scope_type", "scope_id"}
    assert len(kapso_sandbox.requests) == 1


def test_ensuring_after_a_failure_creates_the_link(kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.fail_next(answer=Answer(401, {"error": "no"}))
    with pytest.raises(CredentialsError):
        ensure_embed("acme", name="Acme")
    embed = ensure_embed("acme", name="Acme")
    assert states(embed) == [State.ACTIVE]


def test_ensuring_after_an_uncertain_creation_creates_a_new_link_and_keeps_the_old_row(
    kapso_sandbox: Sandbox,
) -> None:
    kapso_sandbox.fail_next(drop="before")
    with pytest.raises(UncertainError):
        ensure_embed("acme", name="Acme")
    embed = ensure_embed("acme", name="Acme")
    assert states(embed) == [State.ACTIVE, State.UNKNOWN]


def test_ensuring_while_another_process_creates_the_link_raises_a_busy_error(
    kapso_sandbox: Sandbox,
) -> None:
    embed = InboxEmbed.objects.create(slug="acme", name="Acme")
    AccessLink.objects.create(embed=embed)
    with pytest.raises(BusyError, match="acme"):
        ensure_embed("acme", name="Acme")
    assert kapso_sandbox.requests == []


def test_an_abandoned_creation_does_not_block_the_next_one(kapso_sandbox: Sandbox) -> None:
    embed = InboxEmbed.objects.create(slug="acme", name="Acme")
    stale = django_timezone.now() - STALE_AFTER
    AccessLink.objects.create(embed=embed, state_changed_at=stale)
    assert states(ensure_embed("acme")) == [State.ACTIVE, State.UNKNOWN]


def test_ensuring_never_revives_a_revoked_embed(kapso_sandbox: Sandbox, embed: InboxEmbed) -> None:
    revoke_embed(embed)
    with pytest.raises(RevokedError, match="rotate_embed"):
        ensure_embed(embed.slug)
    assert kapso_sandbox.project().active_embeds() == []


OTHER_KEYS = {"test": "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8"}


def test_ensuring_creates_a_new_link_if_the_secret_is_lost(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    AccessLink.objects.update(state=State.SECRET_LOST)
    with override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "ENCRYPTION_KEYS": OTHER_KEYS}):
        ensured = ensure_embed(embed.slug)
    assert states(ensured) == [State.ACTIVE, State.REVOKED]
    assert len(kapso_sandbox.project().active_embeds()) == 1


def test_ensuring_restores_a_lost_secret_if_its_key_is_configured_again(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    AccessLink.objects.update(state=State.SECRET_LOST)
    ensured = ensure_embed(embed.slug)
    assert states(ensured) == [State.ACTIVE]
    assert len(kapso_sandbox.requests) == 1


def test_ensuring_an_embed_whose_creation_was_cut_off_keeps_the_values_of_the_creation(
    kapso_sandbox: Sandbox, sales: Group
) -> None:
    """In particular who may open it, and on which sites."""
    kapso_sandbox.fail_next(drop="before")
    with pytest.raises(UncertainError):
        create_embed(
            slug="acme", name="Acme", groups=[sales], allowed_origins=["https://crm.example.com"]
        )
    embed = ensure_embed("acme")
    assert (embed.name, list(embed.groups.all())) == ("Acme", [sales])
    (record,) = kapso_sandbox.project().active_embeds()
    assert record["allowed_origins"] == ["https://crm.example.com"]


def test_ensuring_after_a_refusal_can_correct_the_scope(kapso_sandbox: Sandbox) -> None:
    wrong = {"scope_type": "phone_number", "scope_id": "999"}
    with pytest.raises(NotFoundError):
        ensure_embed("acme", **wrong)
    number = kapso_sandbox.project().phone_numbers[0]["phone_number_id"]
    ensured = ensure_embed("acme", scope_type="phone_number", scope_id=number)
    assert ensured.scope_id == number
    assert len(kapso_sandbox.project().active_embeds()) == 1


def test_creating_never_takes_over_a_row_that_the_host_created(
    kapso_sandbox: Sandbox, sales: Group
) -> None:
    InboxEmbed.objects.create(slug="acme", name="Acme").groups.set([sales])
    with pytest.raises(ValidationError):
        create_embed(slug="acme", name="Acme")
    assert list(ensure_embed("acme").groups.all()) == [sales]


def test_ensuring_sends_nothing_for_values_that_kapso_fills_in_or_rounds(
    kapso_sandbox: Sandbox,
) -> None:
    moment = datetime.now(timezone.utc) + timedelta(days=2)
    for _ in range(3):
        ensure_embed("acme", language="", expires_at=moment)
    assert [request.method for request in kapso_sandbox.requests] == ["POST"]


def test_ensuring_is_refused_if_the_expiry_has_passed(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    InboxEmbed.objects.update(expires_at=as_stored(datetime(2020, 1, 1, tzinfo=timezone.utc)))
    with pytest.raises(ValidationError) as caught:
        ensure_embed(embed.slug)
    assert list(caught.value.message_dict) == ["expires_at"]
    later = datetime.now(timezone.utc) + timedelta(days=1)
    assert ensure_embed(embed.slug, expires_at=later).obstacle() is None


def test_replacing_a_link_considers_what_another_process_did_before_the_lock(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    """Two processes have read the embed without a link, and one of them has created a link."""
    AccessLink.objects.update(state=State.FAILED)
    InboxEmbed.objects.update(current_link=None)
    replace_link(embed, only_if_missing=True)
    replace_link(embed, only_if_missing=True)
    assert len(kapso_sandbox.project().active_embeds()) == 2  # the first link, and the new one
    revoke_embed(embed)
    with pytest.raises(RevokedError):
        replace_link(embed, only_if_missing=True, revive=False)
    assert len(posts(kapso_sandbox)) == 2


# An answer that cannot be used


@pytest.mark.parametrize(
    ("origin", "told"),
    [("https://evil.example", "INBOX_ORIGINS"), ("http://inbox.kapso.ai", "is not https")],
)
def test_a_link_to_a_foreign_origin_is_revoked_at_once_so_that_links_never_pile_up(
    kapso_sandbox: Sandbox, origin: str, told: str
) -> None:
    kapso_sandbox.project().inbox_origin = origin
    for _ in range(3):
        with pytest.raises(UncertainError, match=told):
            ensure_embed("acme", name="Acme")
    assert kapso_sandbox.project().active_embeds() == []
    assert set(AccessLink.objects.values_list("state", "sealed_url")) == {(State.REVOKED, "")}
    assert told in describe_reason(AccessLink.objects.all()[0].reason)


def test_an_origin_that_the_settings_lack_is_named_with_those_that_they_have(
    kapso_sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    kapso_sandbox.project().inbox_origin = "https://inbox.kapso.example"
    with pytest.raises(InboxOriginError) as caught:
        create_embed(slug="acme", name="Acme")
    [link] = AccessLink.objects.all()
    told = (
        "The address that Kapso answered with is at https://inbox.kapso.example, but "
        'KAPSO_INBOX["INBOX_ORIGINS"] has only https://inbox.kapso.ai. Add it there if Kapso shows '
        "your inboxes at that origin"
    )
    assert str(caught.value) == f"{told}. The link was revoked again"
    assert describe_reason(link.reason) == f"{told.partition('. Add')[0]} (HTTP 201)."
    assert told in caplog.text
    assert "/embed/" not in caplog.text + str(vars(caught.value))

    origins = ["https://inbox.kapso.ai", "https://inbox.kapso.example"]
    with override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "INBOX_ORIGINS": origins}):
        assert ensure_embed("acme").obstacle() is None


def test_a_project_with_inbox_origins_of_its_own_is_told_where_they_are(
    kapso_sandbox: Sandbox,
) -> None:
    kapso_sandbox.project().inbox_origin = "https://inbox.kapso.example"
    own = {"default": {"INBOX_ORIGINS": ["https://inbox.kapso.ai"]}}
    told = re.escape('KAPSO_INBOX["PROJECTS"]["default"]["INBOX_ORIGINS"] has only')
    configured = {**settings.KAPSO_INBOX, "PROJECTS": own}
    with override_settings(KAPSO_INBOX=configured), pytest.raises(InboxOriginError, match=told):
        create_embed(slug="acme", name="Acme")


def test_a_link_that_is_too_long_for_a_redirect_is_revoked_at_once(kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.project().inbox_origin = "https://inbox.kapso.ai/" + "x" * MAX_URL
    with pytest.raises(UncertainError):
        create_embed(slug="acme", name="Acme")
    assert kapso_sandbox.project().active_embeds() == []


def test_an_unusable_link_that_cannot_be_revoked_stays_revoking_until_it_is_revoked(
    kapso_sandbox: Sandbox,
) -> None:
    kapso_sandbox.project().inbox_origin = "https://evil.example"
    kapso_sandbox.fail_next(method="DELETE", drop="before")
    with pytest.raises(InboxOriginError, match="is not revoked yet; kapso_sync goes on with it"):
        create_embed(slug="acme", name="Acme")
    (record,) = kapso_sandbox.project().active_embeds()
    link = AccessLink.objects.get()
    assert (link.state, link.kapso_id) == (State.REVOKING, record["id"])
    revoke_embed(link.embed)
    assert kapso_sandbox.project().active_embeds() == []


def test_each_project_uses_its_own_key(db: None) -> None:
    keys = {"test": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}
    projects = {"clinic": {"API_KEY": "clinic-key", "INBOX_ORIGINS": ["https://inbox.example"]}}
    from kapso_inbox.sandbox.interception import intercepted

    with (
        override_settings(
            KAPSO_INBOX={"API_KEY": "shop-key", "ENCRYPTION_KEYS": keys, "PROJECTS": projects}
        ),
        intercepted() as sandbox,
    ):
        embed = create_embed(slug="clinic", name="Clinic", project="clinic", allowed_origins=[])
        assert len(sandbox.project("clinic-key").active_embeds()) == 1
        assert sandbox.project("shop-key").active_embeds() == []
        assert embed.current_link is not None
        assert embed.current_link.reveal_url().startswith("https://inbox.example/embed/")


@pytest.mark.django_db(transaction=True)
def test_a_group_that_was_deleted_meanwhile_is_not_reported_as_a_taken_slug(
    kapso_sandbox: Sandbox,
) -> None:
    gone = Group.objects.create(name="Gone")
    Group.objects.filter(pk=gone.pk).delete()
    if connection.vendor == "mysql":  # no error, and nobody may open the embed
        assert create_embed(slug="sales", name="Sales", groups=[gone]).restricted
        return
    with pytest.raises(IntegrityError):
        create_embed(slug="sales", name="Sales", groups=[gone])
    assert kapso_sandbox.requests == []


@pytest.mark.parametrize("own", [{"personal_to": "7"}, {"personal_to": "7" * 255}])
def test_a_personal_embed_requires_a_team_member_whether_it_exists_or_not(
    kapso_sandbox: Sandbox, own: dict[str, str]
) -> None:
    with pytest.raises(ValidationError) as raised:
        ensure_embed("sales", **own)
    assert list(raised.value.error_dict) == ["assigned_user_id"]
    ensure_embed("sales")
    with pytest.raises(ValidationError) as raised:
        ensure_embed("sales", **own)
    assert list(raised.value.error_dict) == ["assigned_user_id"]


# The sites that may show it


def configured(origins: Any) -> override_settings:
    return override_settings(
        KAPSO_INBOX={**settings.KAPSO_INBOX, "ALLOWED_ORIGINS": origins}
        if origins is not MISSING
        else {k: v for k, v in settings.KAPSO_INBOX.items() if k != "ALLOWED_ORIGINS"}
    )


MISSING = object()
CRM = ["https://crm.example.com"]


@pytest.mark.parametrize(
    ("setting", "given", "expected"),
    [
        (CRM, {}, CRM),
        (CRM, {"allowed_origins": None}, CRM),
        (CRM, {"allowed_origins": []}, []),
        (CRM, {"allowed_origins": ["*.example.org"]}, ["*.example.org"]),
        ([], {}, []),
        (None, {"allowed_origins": []}, []),
        (MISSING, {"allowed_origins": CRM}, CRM),
    ],
)
@pytest.mark.parametrize("ensures", [False, True])
def test_the_sites_of_a_new_embed_are_those_that_are_named_or_else_those_of_the_settings(
    kapso_sandbox: Sandbox, setting: Any, given: Any, expected: list[str], ensures: bool
) -> None:
    with configured(setting):
        if ensures:
            embed = ensure_embed("acme", **given)
        else:
            embed = create_embed(slug="acme", name="Acme", **given)
    (at_kapso,) = kapso_sandbox.project().active_embeds()
    assert embed.allowed_origins == at_kapso["allowed_origins"] == expected


@pytest.mark.parametrize("setting", [None, MISSING])
@pytest.mark.parametrize("given", [{}, {"allowed_origins": None}])
def test_without_sites_and_without_the_setting_nothing_is_made_and_the_error_says_what_to_do(
    kapso_sandbox: Sandbox, setting: Any, given: Any
) -> None:
    with configured(setting):
        for make in (
            lambda: create_embed(slug="acme", name="\n", **given),
            lambda: ensure_embed("acme", name="\n", **given),
        ):
            with pytest.raises(ValidationError) as raised:
                make()
            told = raised.value.message_dict
            assert told.keys() == {"name", "allowed_origins"}
            assert 'KAPSO_INBOX["ALLOWED_ORIGINS"]' in told["allowed_origins"][0]
            assert "An empty list allows any site." in told["allowed_origins"][0]
    assert kapso_sandbox.requests == []
    assert not InboxEmbed.objects.exists()


@pytest.mark.parametrize("setting", [CRM, [], None])
@pytest.mark.parametrize("given", [{}, {"allowed_origins": None}])
def test_ensuring_an_embed_that_exists_does_not_change_its_sites_by_the_settings(
    kapso_sandbox: Sandbox, setting: Any, given: Any
) -> None:
    create_embed(slug="acme", name="Acme", allowed_origins=["*.example.org"])
    kapso_sandbox.requests.clear()
    with configured(setting):
        assert ensure_embed("acme", **given).allowed_origins == ["*.example.org"]
    assert kapso_sandbox.requests == []
