"""A sync mirrors Kapso's list, settles links, renews them and prunes the audit trail."""

from __future__ import annotations

import io
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import override_settings
from django.utils import timezone as django_timezone
from requests.exceptions import ConnectTimeout

from kapso_inbox.kapso import KapsoError, NotFoundError, UncertainError
from kapso_inbox.lifecycle import (
    InsideTransactionError,
    create_embed,
    refresh_embed,
    revoke_embed,
    rotate_embed,
    update_embed,
)
from kapso_inbox.lifecycle.links import STALE_AFTER
from kapso_inbox.lifecycle.resolve import ABSENT_AFTER
from kapso_inbox.models import (
    AccessLink,
    InboxChange,
    InboxEmbed,
    LaunchAttempt,
    Outcome,
    reason_code,
)
from kapso_inbox.sandbox.engine import Answer, Fault, Sandbox
from kapso_inbox.signals import link_rotated
from kapso_inbox.sync import SyncReport, sync_project
from tests.hosts.clock import as_stored
from tests.hosts.database import connection

pytestmark = pytest.mark.django_db

State = AccessLink.State


def with_settings(**values: Any) -> override_settings:
    return override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, **values})


def nothing_to_do(report: SyncReport) -> bool:
    changed = (report.updated, report.unmanaged, report.ended, report.settled, report.revoked)
    return report.complete and not any(changed) and not report.problems


def link_of(embed: InboxEmbed) -> AccessLink:
    embed.refresh_from_db()
    assert embed.current_link is not None
    return embed.current_link


def pass_time(by: timedelta) -> None:
    for link in AccessLink.objects.all():
        for name in ("created_at", "state_changed_at", "absent_at"):
            moment = getattr(link, name)
            setattr(link, name, moment and moment - by)
        link.save()
    InboxEmbed.objects.update(updated_at=django_timezone.now() - by)


def elsewhere(sandbox: Sandbox, number: int = 1) -> list[dict[str, Any]]:
    """Create embeds at Kapso itself, as somebody does in Kapso's own pages."""
    project = sandbox.project()
    settings = {"scope_type": "project", "default_mode": "dark"}
    return [project.create({"name": f"Elsewhere {n}", **settings}) for n in range(number)]


# The mirror


def test_a_change_at_kapso_is_mirrored(kapso_sandbox: Sandbox, embed: InboxEmbed) -> None:
    pass_time(timedelta(minutes=1))
    record = kapso_sandbox.project().active_embeds()[0]
    kapso_sandbox.project().update(record["id"], {"name": "Renamed", "default_mode": "dark"})
    report = sync_project()
    assert (report.complete, report.listed, report.pages, report.updated) == (True, 1, 1, 1)
    embed.refresh_from_db()
    assert (embed.name, embed.default_mode) == ("Renamed", "dark")
    assert nothing_to_do(sync_project())


def test_a_change_made_here_while_the_list_is_read_is_kept(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    pass_time(timedelta(minutes=1))
    old = kapso_sandbox.project().active_embeds()[0].copy()
    original = kapso_sandbox.handle

    def handle(request: Any, **kw: Any) -> Any:
        if request.method == "GET":
            kapso_sandbox.handle = original  # type: ignore[method-assign]
            update_embed(embed, name="Newer")
            meta = {"page": 1, "per_page": 100, "total_pages": 1, "total_count": 1}
            return Answer(200, {"data": [old], "meta": meta})
        return original(request, **kw)

    kapso_sandbox.handle = handle  # type: ignore[method-assign]
    assert sync_project().updated == 0
    embed.refresh_from_db()
    assert embed.name == "Newer"


def test_a_link_that_was_revoked_at_kapso_becomes_revoked(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    kapso_sandbox.project().revoke(link_of(embed).kapso_id)
    assert sync_project().ended == 1
    link = link_of(embed)
    assert (link.state, link.sealed_url) == (State.REVOKED, "")
    found = InboxChange.objects.get(action=InboxChange.Action.FOUND)
    assert (found.username, reason_code(found.details)) == ("kapso_sync", "found_revoked")


def test_a_link_missing_from_a_list_that_shifted_while_it_was_read_stays_active(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    pass_time(timedelta(minutes=1))
    shifted = Answer(200, {"data": [], "meta": {"page": 1, "total_pages": 1}})
    kapso_sandbox.fail_next(answer=shifted, method="GET")
    report = sync_project(accept_missing=True)
    assert (report.complete, report.ended, report.missing) == (True, 0, 0)
    assert link_of(embed).reveal_url()


@pytest.mark.parametrize("wrong", [Answer(500, "oops"), Answer(200, "nonsense"), Answer(401, {})])
def test_a_link_missing_from_the_list_stays_active_if_kapso_cannot_be_asked_about_it(
    kapso_sandbox: Sandbox, embed: InboxEmbed, wrong: Answer
) -> None:
    create_embed(slug="other", name="Other")
    pass_time(timedelta(minutes=1))
    project = kapso_sandbox.project()
    others = [one for one in project.active_embeds() if one["id"] != link_of(embed).kapso_id]
    shifted = Answer(200, {"data": others, "meta": {"page": 1, "total_pages": 1}})
    kapso_sandbox.order(Fault(answer=shifted, method="GET"))
    kapso_sandbox.order(Fault(answer=wrong, method="GET", times=9))
    report = sync_project()
    assert (report.ended, report.missing) == (0, 0)
    assert "could not be asked about it" in str(report.problems[0])
    assert link_of(embed).reveal_url()


def test_a_link_created_while_the_list_is_read_stays_active(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    kapso_sandbox.fail_next(
        answer=Answer(200, {"data": [], "meta": {"page": 1, "total_pages": 1}}), method="GET"
    )
    AccessLink.objects.update(state_changed_at=django_timezone.now() + timedelta(seconds=5))
    assert sync_project().ended == 0
    assert link_of(embed).state == State.ACTIVE


@pytest.mark.parametrize("wrong", [Answer(500, "oops"), Answer(200, "nonsense"), Answer(401, {})])
def test_an_incomplete_list_does_not_prove_that_a_link_is_gone(
    kapso_sandbox: Sandbox, embed: InboxEmbed, wrong: Answer
) -> None:
    pass_time(timedelta(minutes=1))
    elsewhere(kapso_sandbox, 3)
    kapso_sandbox.max_per_page = 2
    original = kapso_sandbox.handle

    def handle(request: Any, **kw: Any) -> Any:
        second_page = request.method == "GET" and request.query.get("page") == "2"
        return wrong if second_page else original(request, **kw)

    kapso_sandbox.handle = handle  # type: ignore[method-assign]
    report = sync_project()
    assert (report.complete, report.pages, report.unmanaged, report.ended) == (False, 1, 2, 0)
    assert "could not be read to its end" in str(report.problems[0])
    assert link_of(embed).state == State.ACTIVE


def test_under_the_key_of_another_project_a_sync_changes_nothing(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    pass_time(timedelta(minutes=1))
    kapso_sandbox.add_project("another-projects-key").create({"name": "x", "scope_type": "project"})
    with with_settings(API_KEY="another-projects-key"):
        report = sync_project()
    assert not report.complete
    assert "the key belongs to another project" in str(report.problems[0])
    assert link_of(embed).state == State.ACTIVE
    assert InboxEmbed.objects.count() == 1


def test_a_new_key_of_the_same_project_is_recognised(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    pass_time(timedelta(minutes=1))
    kapso_sandbox.projects["a-new-key"] = kapso_sandbox.project()
    with with_settings(API_KEY="a-new-key"):
        assert nothing_to_do(sync_project())
        create_embed(slug="other", name="Other")
        pass_time(timedelta(minutes=1))
        del kapso_sandbox.project().embeds[link_of(embed).kapso_id]
        assert sync_project().missing == 1
        pass_time(ABSENT_AFTER)
        assert sync_project().ended == 1


# Embeds created elsewhere


def test_an_embed_created_elsewhere_is_shown_and_never_touched(kapso_sandbox: Sandbox) -> None:
    (record,) = elsewhere(kapso_sandbox)
    assert sync_project().unmanaged == 1
    embed = InboxEmbed.objects.get()
    assert (embed.slug, embed.name) == (f"kapso-{record['id']}", "Elsewhere 0")
    assert (embed.default_mode, embed.obstacle()) == ("dark", Outcome.NOT_READY)
    assert (link_of(embed).state, link_of(embed).kapso_id) == (State.UNMANAGED, record["id"])
    pass_time(timedelta(days=1))
    assert nothing_to_do(sync_project())
    assert {request.method for request in kapso_sandbox.requests} == {"GET"}


def test_a_rotation_adopts_an_embed_created_elsewhere(kapso_sandbox: Sandbox) -> None:
    (record,) = elsewhere(kapso_sandbox)
    sync_project()
    rotate_embed(InboxEmbed.objects.get())
    (active,) = kapso_sandbox.project().active_embeds()
    assert active["id"] != record["id"]
    assert active["default_mode"] == "dark"
    assert InboxEmbed.objects.get().obstacle() is None


def test_an_embed_created_elsewhere_can_be_revoked(kapso_sandbox: Sandbox) -> None:
    elsewhere(kapso_sandbox)
    sync_project()
    revoke_embed(InboxEmbed.objects.get())
    assert kapso_sandbox.project().active_embeds() == []
    assert nothing_to_do(sync_project())


def test_a_revoked_embed_created_elsewhere_is_not_shown(kapso_sandbox: Sandbox) -> None:
    (record,) = elsewhere(kapso_sandbox)
    kapso_sandbox.project().revoke(record["id"])
    assert nothing_to_do(sync_project())
    assert not InboxEmbed.objects.exists()


def test_an_embed_with_an_odd_id_or_without_a_name_is_shown(kapso_sandbox: Sandbox) -> None:
    odd = {"id": "x" * 60, "name": "", "status": "active", "scope_type": "planet"}
    meta = {"page": 1, "per_page": 100, "total_pages": 1, "total_count": 1}
    for _ in range(2):
        kapso_sandbox.fail_next(answer=Answer(200, {"data": [odd], "meta": meta}), method="GET")
        sync_project()
    embed = InboxEmbed.objects.get()
    assert len(embed.slug) <= 50
    assert embed.name


# Unsettled links


def test_an_uncertain_link_that_kapso_did_create_is_revoked(kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.fail_next(method="POST", drop="after")
    with pytest.raises(UncertainError):
        create_embed(slug="acme", name="Acme")
    report = sync_project()
    assert (report.settled, report.revoked, report.unmanaged) == (1, 1, 0)
    assert kapso_sandbox.project().active_embeds() == []
    assert AccessLink.objects.get().state == State.REVOKED


def test_an_uncertain_link_that_kapso_never_created_is_failed_after_two_complete_lists(
    kapso_sandbox: Sandbox,
) -> None:
    kapso_sandbox.fail_next(method="POST", drop="before")
    with pytest.raises(UncertainError):
        create_embed(slug="acme", name="Acme")
    pass_time(timedelta(minutes=1))
    assert sync_project().waiting == 1
    assert sync_project().settled == 0
    pass_time(ABSENT_AFTER)
    report = sync_project()
    assert (report.settled, report.waiting) == (1, 0)
    assert AccessLink.objects.get().state == State.FAILED


def test_an_abandoned_creation_is_settled(kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.fail_next(method="POST", error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        create_embed(slug="acme", name="Acme")
    assert sync_project().settled == 0
    assert AccessLink.objects.get().state == State.CREATING
    pass_time(STALE_AFTER)
    assert sync_project().waiting == 1
    pass_time(ABSENT_AFTER)
    sync_project()
    assert AccessLink.objects.get().state == State.FAILED


def test_a_link_that_is_being_created_is_left_alone(kapso_sandbox: Sandbox) -> None:
    original = kapso_sandbox.handle

    def handle(request: Any, **kw: Any) -> Any:
        answer = original(request, **kw)
        if request.method == "POST":
            kapso_sandbox.handle = original  # type: ignore[method-assign]
            assert nothing_to_do(sync_project())
        return answer

    kapso_sandbox.handle = handle  # type: ignore[method-assign]
    assert create_embed(slug="acme", name="Acme").obstacle() is None
    assert InboxEmbed.objects.count() == 1


def test_an_unfinished_revocation_is_continued(kapso_sandbox: Sandbox, embed: InboxEmbed) -> None:
    kapso_sandbox.fail_next(method="DELETE", drop="before")
    with pytest.raises(UncertainError):
        revoke_embed(embed)
    kapso_sandbox.fail_next(method="DELETE", answer=Answer(503, ""))
    report = sync_project()
    assert report.revoked == 0
    assert "is not revoked yet" in str(report.problems[0])
    assert sync_project().revoked == 1
    assert link_of(embed).state == State.REVOKED


def test_a_live_link_that_is_stored_as_revoked_is_revoked(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    """For example after the database was restored from a backup."""
    AccessLink.objects.update(state=State.REVOKED)
    pass_time(timedelta(minutes=1))
    assert sync_project().revoked == 1
    assert kapso_sandbox.project().active_embeds() == []


def test_a_link_that_stays_uncertain_is_reported_as_a_problem(
    kapso_sandbox: Sandbox,
) -> None:
    kapso_sandbox.fail_next(method="POST", drop="before")
    with pytest.raises(UncertainError):
        create_embed(slug="acme", name="Acme")
    AccessLink.objects.update(key_fingerprint="0" * 12)
    pass_time(timedelta(hours=2))
    report = sync_project()
    assert report.waiting == 1
    assert "references" in str(report.problems[0])


# Renewing


def test_a_link_about_to_expire_is_replaced_by_one_with_the_same_lifetime(
    kapso_sandbox: Sandbox, sales: Group
) -> None:
    expires = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=30)
    embed = create_embed(slug="acme", name="Acme", expires_at=expires)
    old = link_of(embed)
    with with_settings(RENEW_BEFORE=86400 * 7):
        assert sync_project().renewed == 0
        soon = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=3)
        update_embed(embed, expires_at=soon)
        AccessLink.objects.update(created_at=as_stored(soon) - timedelta(days=30))
        assert sync_project().renewed == 1
    new = link_of(embed)
    assert new.pk != old.pk
    assert embed.expires_at is not None
    assert abs(embed.expires_at - (django_timezone.now() + timedelta(days=30))) < timedelta(
        minutes=1
    )
    assert len(kapso_sandbox.project().active_embeds()) == 1


def test_without_renew_before_a_link_is_not_renewed(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    InboxEmbed.objects.update(expires_at=django_timezone.now() + timedelta(minutes=1))
    sync_project()
    assert len(kapso_sandbox.project().links()) == 1


def test_a_renewal_that_fails_keeps_the_old_link_and_is_reported(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    soon = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=3)
    update_embed(embed, expires_at=soon)
    AccessLink.objects.update(created_at=as_stored(soon) - timedelta(days=30))
    kapso_sandbox.order(Fault(method="POST", answer=Answer(429, {})))
    with with_settings(RENEW_BEFORE=86400 * 7):
        report = sync_project()
    assert report.renewed == 0
    assert "could not be renewed" in str(report.problems[0])
    assert link_of(embed).state == State.ACTIVE


@pytest.fixture
def two_about_to_expire(kapso_sandbox: Sandbox) -> list[InboxEmbed]:
    soon = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=3)
    embeds = [create_embed(slug=slug, name=slug, expires_at=soon) for slug in ("one", "two")]
    AccessLink.objects.update(created_at=as_stored(soon) - timedelta(days=30))
    return embeds


def test_an_embed_that_is_revoked_while_another_is_renewed_stays_revoked(
    two_about_to_expire: list[InboxEmbed], kapso_sandbox: Sandbox
) -> None:
    def revoke_the_other(embed: InboxEmbed, **_: Any) -> None:
        for other in two_about_to_expire:
            if other.pk != embed.pk:
                revoke_embed(other)

    link_rotated.connect(revoke_the_other)
    try:
        with with_settings(RENEW_BEFORE=86400 * 7):
            report = sync_project()
    finally:
        link_rotated.disconnect(revoke_the_other)
    assert (report.renewed, report.problems) == (1, [])
    assert len(kapso_sandbox.project().active_embeds()) == 1


def test_a_link_with_a_lifetime_below_renew_before_is_renewed_after_half_of_it(
    embed: InboxEmbed,
) -> None:
    soon = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=3)
    update_embed(embed, expires_at=soon)
    with with_settings(RENEW_BEFORE=86400 * 7):
        assert [sync_project().renewed for _ in range(2)] == [0, 0]
        AccessLink.objects.update(created_at=as_stored(soon) - timedelta(days=7))
        assert [sync_project().renewed for _ in range(2)] == [1, 0]


def test_a_rotation_is_signalled_although_the_old_link_could_not_be_revoked(
    two_about_to_expire: list[InboxEmbed], kapso_sandbox: Sandbox
) -> None:
    told: list[str] = []

    def note(embed: InboxEmbed, **_: Any) -> None:
        told.append(embed.slug)

    link_rotated.connect(note)
    kapso_sandbox.order(Fault(method="DELETE", answer=Answer(500, {}), times=9))
    try:
        with pytest.raises(KapsoError):
            rotate_embed(two_about_to_expire[0])
    finally:
        link_rotated.disconnect(note)
    assert told == ["one"]


def test_nothing_is_done_if_kapso_cannot_say_which_project_the_key_belongs_to(
    two_about_to_expire: list[InboxEmbed], kapso_sandbox: Sandbox
) -> None:
    AccessLink.objects.update(key_fingerprint="another")
    kapso_sandbox.requests.clear()
    kapso_sandbox.order(Fault(method="GET", answer=Answer(503, {}), times=9))
    with with_settings(RENEW_BEFORE=86400 * 7):
        report = sync_project()
    assert "Nothing was done" in str(report.problems[0])
    assert {request.method for request in kapso_sandbox.requests} == {"GET"}


# The audit trail


def test_the_audit_trail_of_openings_is_pruned_after_the_retention_time(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    old = django_timezone.now() - timedelta(days=31)
    for _ in range(3):
        LaunchAttempt.objects.create(slug="sales", username="ana", outcome=Outcome.OPENED)
    LaunchAttempt.objects.update(created_at=old)
    LaunchAttempt.objects.create(slug="sales", username="bo", outcome=Outcome.OPENED)
    with with_settings(AUDIT_RETENTION=None):
        assert sync_project().pruned == 0
    with with_settings(AUDIT_RETENTION=timedelta(days=30)):
        assert sync_project().pruned == 3
    assert LaunchAttempt.objects.get().username == "bo"
    assert InboxChange.objects.exists()


# A dry run


def test_a_dry_run_reports_and_writes_nothing(kapso_sandbox: Sandbox, embed: InboxEmbed) -> None:
    elsewhere(kapso_sandbox, 2)
    gone = create_embed(slug="gone", name="Gone")
    del kapso_sandbox.project().embeds[link_of(gone).kapso_id]
    kapso_sandbox.fail_next(method="POST", drop="after")
    with pytest.raises(UncertainError):
        create_embed(slug="acme", name="Acme")
    waiting = create_embed(slug="pending", name="Waiting")
    AccessLink.objects.filter(embed=waiting).update(state=State.REVOKING)
    kapso_sandbox.project().update(link_of(embed).kapso_id, {"default_mode": "dark"})
    pass_time(timedelta(minutes=1))
    before = list(AccessLink.objects.order_by("pk").values())
    embeds = list(InboxEmbed.objects.order_by("pk").values())
    sent = len(kapso_sandbox.requests)
    report = sync_project(dry_run=True)
    assert (report.updated, report.unmanaged, report.ended) == (1, 2, 1)
    assert (report.settled, report.revoked) == (1, 1)
    assert list(AccessLink.objects.order_by("pk").values()) == before
    assert list(InboxEmbed.objects.order_by("pk").values()) == embeds
    assert {request.method for request in kapso_sandbox.requests[sent:]} == {"GET"}


# Costs


def queries_of(new: int, sandbox: Sandbox, counted: Any) -> int:
    elsewhere(sandbox, new)
    sync_project()
    pass_time(timedelta(minutes=1))
    for record in sandbox.project().links():
        record["name"] = f"Renamed with {new} others"
    with counted(1000) as captured:
        report = sync_project()
    assert report.updated == len(sandbox.project().links())
    return len(captured.captured_queries)


def test_a_full_page_costs_no_more_requests_and_queries_than_a_short_one(
    kapso_sandbox: Sandbox, django_assert_max_num_queries: Any
) -> None:
    few = queries_of(2, kapso_sandbox, django_assert_max_num_queries)
    kapso_sandbox.requests.clear()
    many = queries_of(90, kapso_sandbox, django_assert_max_num_queries)
    assert many - few <= 1  # SQLite limits the values in a query
    assert len(kapso_sandbox.requests) == 2


def test_the_number_of_queries_does_not_depend_on_the_number_of_new_embeds(
    kapso_sandbox: Sandbox, django_assert_max_num_queries: Any
) -> None:
    counts = []
    # SQLite accepts 999 values in a statement, which is about fifty rows.
    for number in (2, 2, 50):
        elsewhere(kapso_sandbox, number)
        with django_assert_max_num_queries(1000) as captured:
            assert sync_project().unmanaged == number
        counts.append(len(captured.captured_queries))
    assert counts[1] == counts[2]


# Refusals


@pytest.mark.django_db(transaction=True)
def test_inside_a_transaction_it_raises_an_error(kapso_sandbox: Sandbox) -> None:
    with transaction.atomic(using=connection.alias), pytest.raises(InsideTransactionError):
        sync_project()


def test_a_project_that_is_not_configured_is_named_in_the_error() -> None:
    with pytest.raises(ImproperlyConfigured, match="clinic"):
        sync_project("clinic")


# The command


def run(*args: str, status: int = 0) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("kapso_sync", *args, stdout=out, stderr=err)
        ended: Any = 0
    except SystemExit as end:
        ended = end.code
    assert ended == status
    return out.getvalue(), err.getvalue()


def test_the_command_prints_a_summary(kapso_sandbox: Sandbox, embed: InboxEmbed) -> None:
    assert run() == ("default: 1 embed at Kapso; no changes.\n", "")
    elsewhere(kapso_sandbox)
    assert "1 would be shown as unmanaged" in run("--dry-run")[0]
    assert "1 shown as unmanaged" in run()[0]


def test_the_command_prints_json_for_programs(kapso_sandbox: Sandbox, embed: InboxEmbed) -> None:
    out, _ = run("--json")
    (report,) = json.loads(out)["projects"]
    assert (report["project"], report["complete"], report["listed"]) == ("default", True, 1)


def test_the_exit_status_tells_cron_about_a_problem(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    kapso_sandbox.project().embeds[link_of(embed).kapso_id]["scope_type"] = "customer"
    _out, err = run(status=1)
    assert (
        f"default: At Kapso the link of the inbox “{embed.slug}” shows conversations that it "
        "was not created for"
    ) in err


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"answer": Answer(401, {})}, "Kapso refused the API key (HTTP 401"),
        ({"answer": Answer(403, {})}, "Kapso refused the API key (HTTP 403"),
        ({"answer": Answer(404, {})}, "Remove or correct the setting BASE_URL."),
        ({"error": ConnectTimeout()}, "Kapso did not accept the connection in time"),
    ],
)
def test_a_project_of_whose_list_nothing_could_be_read_has_failed(
    kapso_sandbox: Sandbox, embed: InboxEmbed, fault: dict[str, Any], why: str
) -> None:
    kapso_sandbox.fail_next(method="GET", times=9, **fault)
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("kapso_sync", stdout=out, stderr=err)
    assert caught.value.returncode == 2
    assert str(caught.value) == (
        "default: Nothing of Kapso's list could be read. Run: manage.py kapso_doctor --project "
        "default"
    )
    assert "what lives there is unknown" in out.getvalue()
    assert why in err.getvalue()


def test_a_list_that_was_read_in_part_is_a_problem_and_no_failure(
    kapso_sandbox: Sandbox,
) -> None:
    elsewhere(kapso_sandbox, 3)
    kapso_sandbox.max_per_page = 1
    original = kapso_sandbox.handle

    def handle(request: Any, **kw: Any) -> Any:
        return Answer(401, {}) if request.query.get("page") == "2" else original(request, **kw)

    kapso_sandbox.handle = handle  # type: ignore[method-assign]
    out, err = run(status=1)
    assert "Kapso's list was read in part, 1 embed" in out
    assert "could not be read to its end. Kapso refused the API key" in err


def test_a_project_is_synced_whatever_happens_in_another(kapso_sandbox: Sandbox) -> None:
    with with_settings(PROJECTS={"clinic": {"API_KEY": "unknown-to-kapso"}}):
        with pytest.raises(CommandError, match="clinic: Nothing of Kapso's list") as caught:
            call_command("kapso_sync", stdout=(out := io.StringIO()))
        assert caught.value.returncode == 2
        assert run("--project", "default")[0].startswith("default: 0 embeds")
    assert "clinic: Kapso's list was not read, so what lives there is unknown" in out.getvalue()
    assert "default: 0 embeds at Kapso; no changes." in out.getvalue()


def test_the_command_refuses_unknown_projects_and_invalid_settings() -> None:
    with pytest.raises(CommandError, match="no project “clinic”") as caught:
        call_command("kapso_sync", "--project", "clinic")
    assert caught.value.returncode == 2
    with with_settings(API_KEY=""), pytest.raises(CommandError, match="has no Kapso project"):
        call_command("kapso_sync")
    with with_settings(BASE_URL="http://x.example"), pytest.raises(CommandError, match="https"):
        call_command("kapso_sync")


def test_a_terminal_shows_a_progress_bar(
    kapso_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tqdm", reason="Requires the extra progress.")
    elsewhere(kapso_sandbox, 3)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    call_command("kapso_sync")
    assert "embeds" in capsys.readouterr().err


def test_a_project_with_invalid_settings_does_not_stop_the_others(
    kapso_sandbox: Sandbox, embed: InboxEmbed, capsys: pytest.CaptureFixture[str]
) -> None:
    projects = {"clinic": {"API_KEY": "with a blank"}}
    with (
        with_settings(PROJECTS=projects),
        pytest.raises(CommandError, match="clinic: ") as raised,
    ):
        call_command("kapso_sync", "--project=clinic", "--project=default")
    assert raised.value.returncode == 2
    assert "default: 1 embed at Kapso" in capsys.readouterr().out


# Refreshing one embed


def test_a_refresh_mirrors_one_embed(embed: InboxEmbed, kapso_sandbox: Sandbox) -> None:
    link = embed.current_link
    assert link is not None
    kapso_sandbox.project().update(link.kapso_id, {"name": "Renamed", "default_mode": "dark"})
    sent = len(kapso_sandbox.requests)
    embed = refresh_embed(embed)
    assert (embed.name, embed.default_mode) == ("Renamed", "dark")
    assert len(kapso_sandbox.requests) == sent + 1


def test_a_refresh_finds_that_an_embed_was_revoked_at_kapso(
    embed: InboxEmbed, kapso_sandbox: Sandbox
) -> None:
    link = embed.current_link
    assert link is not None
    kapso_sandbox.project().revoke(link.kapso_id)
    assert refresh_embed(embed).obstacle() == Outcome.REVOKED
    sent = len(kapso_sandbox.requests)
    assert refresh_embed(embed).obstacle() == Outcome.REVOKED
    assert len(kapso_sandbox.requests) == sent


def test_a_refresh_concludes_nothing_from_a_404(embed: InboxEmbed, kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.fail_next(method="GET", answer=Answer(404, {"error": "no"}))
    with pytest.raises(NotFoundError):
        refresh_embed(embed)
    assert InboxEmbed.objects.get().obstacle() is None
