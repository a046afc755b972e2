"""What a sync concludes from what Kapso's list lacks, and when it concludes nothing."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db.models import F
from django.test import override_settings

from kapso_inbox.kapso import NotFoundError, UncertainError
from kapso_inbox.lifecycle import create_embed, resolve_embed, revoke_embed
from kapso_inbox.lifecycle.resolve import ABSENT_AFTER
from kapso_inbox.models import AccessLink, InboxEmbed, reference_in
from kapso_inbox.sandbox.engine import Answer, Fault, Sandbox
from kapso_inbox.sandbox.interception import intercepted
from kapso_inbox.sync import sync_project

pytestmark = pytest.mark.django_db

State = AccessLink.State


def with_settings(**values: Any) -> override_settings:
    return override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, **values})


def pass_time(by: timedelta = ABSENT_AFTER) -> None:
    moments = ("created_at", "state_changed_at", "absent_at", "seen_at")
    AccessLink.objects.update(**{name: F(name) - by for name in moments})
    InboxEmbed.objects.update(updated_at=F("updated_at") - by)


@pytest.fixture
def embeds(kapso_sandbox: Sandbox) -> list[InboxEmbed]:
    """Return five embeds that work, the oldest first."""
    made = [create_embed(slug=f"embed-{n}", name=f"Embed {n}") for n in range(5)]
    pass_time()
    return made


def states() -> list[str]:
    return list(AccessLink.objects.order_by("created_at").values_list("state", flat=True))


def kapso_id(embed: InboxEmbed) -> str:
    assert embed.current_link is not None
    return embed.current_link.kapso_id


def all_work() -> bool:
    return all(
        link.state == State.ACTIVE and link.reveal_url() for link in AccessLink.objects.all()
    )


@contextmanager
def knowing_nothing(sandbox: Sandbox) -> Iterator[None]:
    """Let Kapso answer an empty list, and 404 for each ID."""
    project = sandbox.project()
    embeds = dict(project.embeds)
    project.embeds.clear()
    yield
    project.embeds.update(embeds)


# One link is gone


def test_a_link_that_is_gone_is_over_only_once_it_was_absent_twice_some_minutes_apart(
    kapso_sandbox: Sandbox, embeds: list[InboxEmbed]
) -> None:
    del kapso_sandbox.project().embeds[kapso_id(embeds[1])]
    first = sync_project()
    assert (first.missing, first.ended, first.problems) == (1, 0, [])
    assert all_work()
    assert (sync_project().missing, states().count(State.REVOKED)) == (1, 0)
    pass_time()
    second = sync_project()
    assert (second.missing, second.ended) == (0, 1)
    assert states()[1] == State.REVOKED


def test_a_link_that_was_absent_and_came_back_begins_anew(
    kapso_sandbox: Sandbox, embeds: list[InboxEmbed]
) -> None:
    record = kapso_sandbox.project().embeds.pop(kapso_id(embeds[0]))
    assert sync_project().missing == 1
    kapso_sandbox.project().embeds[record["id"]] = record
    pass_time()
    assert sync_project().missing == 0
    del kapso_sandbox.project().embeds[record["id"]]
    pass_time()
    assert (sync_project().missing, states().count(State.REVOKED)) == (1, 0)


def test_the_command_says_that_a_missing_link_is_looked_for_again(
    kapso_sandbox: Sandbox, embeds: list[InboxEmbed]
) -> None:
    del kapso_sandbox.project().embeds[kapso_id(embeds[1])]
    out = io.StringIO()
    call_command("kapso_sync", stdout=out)
    assert "1 missing from Kapso's list, to be looked up again" in out.getvalue()


# Most of them are gone


@pytest.mark.parametrize("gone", [3, 5])
def test_a_list_that_lacks_most_links_proves_nothing_however_often_it_comes(
    kapso_sandbox: Sandbox, embeds: list[InboxEmbed], gone: int
) -> None:
    for embed in embeds[:gone]:
        del kapso_sandbox.project().embeds[kapso_id(embed)]
    for _ in range(3):
        report = sync_project()
        assert report.ended == 0
        assert f"{gone} of 5 links are not in Kapso's list" in str(report.problems[0])
        assert "--accept-missing" in str(report.problems[0])
        assert all_work()
        pass_time()


def test_a_minute_in_which_kapso_knows_nothing_changes_nothing(
    kapso_sandbox: Sandbox, embeds: list[InboxEmbed]
) -> None:
    with knowing_nothing(kapso_sandbox):
        for _ in range(3):
            with pytest.raises(SystemExit) as exit_status:
                call_command("kapso_sync", stdout=io.StringIO(), stderr=io.StringIO())
            assert exit_status.value.code == 1
            assert all_work()
            pass_time()
    report = sync_project()
    assert (report.ended, report.revoked, report.problems) == (0, 0, [])
    assert len(kapso_sandbox.project().active_embeds()) == 5


def test_an_operator_confirms_that_most_links_are_gone(
    kapso_sandbox: Sandbox, embeds: list[InboxEmbed]
) -> None:
    kapso_sandbox.project().embeds.clear()
    call_command("kapso_sync", "--accept-missing", stdout=io.StringIO())
    assert all_work()  # absent for the first time
    pass_time()
    call_command("kapso_sync", "--accept-missing", stdout=io.StringIO())
    assert states() == [State.REVOKED] * 5


def test_a_list_that_lacks_most_links_does_not_settle_an_uncertain_one(
    kapso_sandbox: Sandbox, embeds: list[InboxEmbed]
) -> None:
    kapso_sandbox.fail_next(method="POST", drop="after")
    with pytest.raises(UncertainError):
        create_embed(slug="acme", name="Acme")
    uncertain = InboxEmbed.objects.get(slug="acme")
    pass_time()
    with knowing_nothing(kapso_sandbox):
        for _ in range(2):
            sync_project()
            with pytest.raises(UncertainError, match="lacks most of the links"):
                resolve_embed(uncertain)
            pass_time()
    assert states()[-1] == State.UNKNOWN
    sync_project()
    assert states()[-1] == State.REVOKED


def test_a_list_that_is_shorter_than_it_says_is_not_complete(
    kapso_sandbox: Sandbox, embeds: list[InboxEmbed]
) -> None:
    held = kapso_sandbox.project().active_embeds()
    meta = {"page": 1, "per_page": 100, "total_pages": 1, "total_count": 5}
    short = Answer(200, {"data": held[:4], "meta": meta})
    kapso_sandbox.order(Fault(answer=short, method="GET"))
    report = sync_project()
    assert not report.complete
    assert "fewer entries (4) than it says itself (5)" in str(report.problems[0])
    assert report.missing == 0


def test_a_list_that_grows_while_it_is_read_is_complete(
    kapso_sandbox: Sandbox, embeds: list[InboxEmbed]
) -> None:
    kapso_sandbox.max_per_page = 2
    original = kapso_sandbox.handle

    def handle(request: Any, **kw: Any) -> Any:
        if request.method == "GET" and request.query.get("page") == "2":
            kapso_sandbox.handle = original  # type: ignore[method-assign]
            kapso_sandbox.project().create({"name": "New", "scope_type": "project"})
        return original(request, **kw)

    kapso_sandbox.handle = handle  # type: ignore[method-assign]
    report = sync_project()
    assert (report.complete, report.problems) == (True, [])


# Another Kapso, another key


def test_another_kapso_that_takes_the_same_key_ends_nothing(
    kapso_sandbox: Sandbox, embeds: list[InboxEmbed]
) -> None:
    with with_settings(BASE_URL="https://kapso.example.com/v1"), intercepted():
        for _ in range(3):
            report = sync_project()
            assert "the key belongs to another project" in str(report.problems[0])
            pass_time()
    assert all_work()
    assert sync_project().problems == []


def test_a_renewed_key_is_recognised_although_the_newest_and_the_oldest_embed_are_gone(
    kapso_sandbox: Sandbox, embeds: list[InboxEmbed]
) -> None:
    kapso_sandbox.projects["a-new-key"] = kapso_sandbox.project()
    for embed in (embeds[0], embeds[-1]):
        del kapso_sandbox.project().embeds[kapso_id(embed)]
    with with_settings(API_KEY="a-new-key"):
        report = sync_project()
        assert (report.complete, report.missing, report.problems) == (True, 2, [])
        pass_time()
        assert sync_project().ended == 2


def test_an_operator_confirms_that_all_links_are_gone_although_the_key_was_renewed(
    kapso_sandbox: Sandbox, embeds: list[InboxEmbed]
) -> None:
    kapso_sandbox.projects["a-new-key"] = kapso_sandbox.project()
    kapso_sandbox.project().embeds.clear()
    with with_settings(API_KEY="a-new-key"):
        assert "--accept-missing" in str(sync_project().problems[0])
        assert sync_project(accept_missing=True).missing == 5
        pass_time()
        assert sync_project(accept_missing=True).ended == 5


# Aliases


def test_an_alias_that_was_renamed_makes_no_twins_and_is_a_problem(
    kapso_sandbox: Sandbox, embeds: list[InboxEmbed]
) -> None:
    kapso_sandbox.projects["clinic-key"] = kapso_sandbox.project()
    with with_settings(API_KEY="", PROJECTS={"clinic": {"API_KEY": "clinic-key"}}):
        report = sync_project("clinic")
        assert (report.unmanaged, InboxEmbed.objects.count()) == (0, 5)
        problem = str(*report.problems)
        assert "stored under the alias “default”" in problem
        assert "update(project='clinic')" in problem
        InboxEmbed.objects.filter(project="default").update(project="clinic")
        report = sync_project("clinic")
        assert (report.missing, report.unmanaged, report.problems) == (0, 0, [])
    assert len(kapso_sandbox.project().active_embeds()) == 5


def test_an_uncertain_link_under_another_alias_is_not_shown_as_unmanaged(
    kapso_sandbox: Sandbox,
) -> None:
    kapso_sandbox.fail_next(method="POST", drop="after")
    with pytest.raises(UncertainError):
        create_embed(slug="acme", name="Acme")
    kapso_sandbox.projects["clinic-key"] = kapso_sandbox.project()
    with with_settings(API_KEY="", PROJECTS={"clinic": {"API_KEY": "clinic-key"}}):
        assert sync_project("clinic").unmanaged == 0


def test_live_links_of_an_alias_that_was_removed_are_a_problem(
    kapso_sandbox: Sandbox, embeds: list[InboxEmbed]
) -> None:
    kapso_sandbox.fail_next(method="DELETE", answer=Answer(502, ""))
    with pytest.raises(UncertainError):
        revoke_embed(embeds[0])
    kapso_sandbox.add_project("clinic-key")
    with with_settings(API_KEY="", PROJECTS={"clinic": {"API_KEY": "clinic-key"}}):
        err = io.StringIO()
        with pytest.raises(SystemExit) as exit_status:
            call_command("kapso_sync", stdout=io.StringIO(), stderr=err)
    assert exit_status.value.code == 1
    assert "5 links that may work at Kapso belong to the project “default”" in err.getvalue()


# Names


def test_an_embed_of_another_link_that_bears_our_reference_is_not_revoked_for_it(
    kapso_sandbox: Sandbox, embeds: list[InboxEmbed]
) -> None:
    kapso_sandbox.fail_next(method="POST", drop="before")
    with pytest.raises(UncertainError):
        create_embed(slug="acme", name="Acme")
    uncertain = AccessLink.objects.get(embed__slug="acme")
    record = kapso_sandbox.project().embeds[kapso_id(embeds[0])]
    record["name"] = uncertain.name_for_kapso("Acme")
    assert reference_in(record["name"]) == uncertain.reference
    for _ in range(2):
        pass_time()
        sync_project()
        resolve_embed(uncertain.embed)
    assert record["status"] == "active"
    assert states() == [State.ACTIVE] * 5 + [State.FAILED]


def test_a_revocation_is_not_confirmed_by_a_minute_in_which_kapso_knows_nothing(
    kapso_sandbox: Sandbox, embeds: list[InboxEmbed]
) -> None:
    kapso_sandbox.fail_next(method="DELETE", answer=Answer(502, ""))
    with pytest.raises(UncertainError):
        revoke_embed(embeds[0])
    pass_time()
    with knowing_nothing(kapso_sandbox):
        assert sync_project().revoked == 0
    assert states()[0] == State.REVOKING
    assert sync_project().revoked == 1


def test_a_link_is_not_revoked_by_a_minute_in_which_kapso_knows_nothing(
    kapso_sandbox: Sandbox, embeds: list[InboxEmbed]
) -> None:
    with knowing_nothing(kapso_sandbox), pytest.raises(NotFoundError):
        revoke_embed(embeds[0])
    assert states()[0] == State.REVOKING
    revoke_embed(embeds[0])
    assert states()[0] == State.REVOKED
    assert len(kapso_sandbox.project().active_embeds()) == 4


def test_a_link_that_is_gone_is_revoked_if_kapso_knows_the_others(
    kapso_sandbox: Sandbox, embeds: list[InboxEmbed]
) -> None:
    del kapso_sandbox.project().embeds[kapso_id(embeds[0])]
    revoke_embed(embeds[0])
    assert states()[0] == State.REVOKED
