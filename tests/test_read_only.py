"""A read-only deployment, such as staging with a copy of production's database and API key.

It mirrors Kapso and opens inboxes. It changes nothing at Kapso, whatever somebody tries.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone

from kapso_inbox import conf, lifecycle
from kapso_inbox.admin.verbs import VERBS
from kapso_inbox.kapso import ReadOnlyClientError
from kapso_inbox.lifecycle import ReadOnlyError, create_embed, ensure_embed, update_embed
from kapso_inbox.lifecycle.links import links_of
from kapso_inbox.models import AccessLink, InboxEmbed, read_reason
from kapso_inbox.sandbox.engine import Answer, Sandbox
from kapso_inbox.sync import SyncReport, sync_project
from tests.admin.cases import results
from tests.conftest import FRAME
from tests.hosts.people import User

pytestmark = pytest.mark.django_db

State = AccessLink.State

NOTICE = "This deployment is read-only"
SITE = "https://crm.example.com"


def read_only(**values: Any) -> Any:
    own = {**settings.KAPSO_INBOX, "VERIFY_AFTER": 1e-6, **values, "READ_ONLY": True}
    return override_settings(KAPSO_INBOX=own)


@pytest.fixture
def staging(embed: InboxEmbed) -> Iterator[InboxEmbed]:
    """Return production's embed, as a read-only deployment has it in its copy."""
    with read_only():
        yield embed


@contextmanager
def nothing_changes_at_kapso(sandbox: Sandbox) -> Iterator[None]:
    before, sent = sandbox.project().active_embeds(), len(sandbox.requests)
    yield
    assert [one.method for one in sandbox.requests[sent:] if one.method != "GET"] == []
    assert sandbox.project().active_embeds() == before


def rotated_in_production(sandbox: Sandbox, embed: InboxEmbed) -> dict[str, Any]:
    """Give an embed a new link that this database knows nothing of; return it as Kapso has it."""
    new: dict[str, Any] = sandbox.project().create(
        {"name": f"{embed.name} #ki-0123456789", "scope_type": embed.scope_type}
    )
    link = embed.current_link
    assert link is not None
    sandbox.project().revoke(link.kapso_id)
    return new


def everything_here() -> Any:
    return (
        list(InboxEmbed.objects.order_by("pk").values()),
        list(AccessLink.objects.order_by("pk").values()),
    )


# The lifecycle

VERBS_OF_THE_LIFECYCLE: dict[str, Callable[[InboxEmbed], Any]] = {
    "create_embed": lambda embed: create_embed(slug="new", name="New"),
    "ensure_embed": lambda embed: ensure_embed("new"),
    "update_embed": lambda embed: update_embed(embed, name="Another name", slug="another"),
    "rotate_embed": lifecycle.rotate_embed,
    "revoke_embed": lifecycle.revoke_embed,
    "resolve_embed": lifecycle.resolve_embed,
    "delete_embed": lifecycle.delete_embed,
}


def test_every_verb_of_the_lifecycle_is_tried_here() -> None:
    verbs = {name for name in lifecycle.__all__ if name.endswith("_embed")}
    assert verbs == {*VERBS_OF_THE_LIFECYCLE, "refresh_embed"}


@pytest.mark.parametrize("verb", VERBS_OF_THE_LIFECYCLE)
def test_what_would_change_something_at_kapso_is_refused_and_leaves_nothing(
    kapso_sandbox: Sandbox, staging: InboxEmbed, verb: str
) -> None:
    before = everything_here()
    with (
        nothing_changes_at_kapso(kapso_sandbox),
        pytest.raises(ReadOnlyError, match=r'KAPSO_INBOX\["READ_ONLY"\]'),
    ):
        VERBS_OF_THE_LIFECYCLE[verb](staging)
    assert everything_here() == before


def test_ensuring_what_is_as_wanted_succeeds(
    kapso_sandbox: Sandbox, staging: InboxEmbed, sales: Group
) -> None:
    with nothing_changes_at_kapso(kapso_sandbox):
        assert ensure_embed("sales", name="Sales inbox", groups=[sales]) == staging
        with pytest.raises(ReadOnlyError):
            ensure_embed("sales", name="Another name")


def test_ensuring_does_not_replace_a_lost_link(kapso_sandbox: Sandbox, staging: InboxEmbed) -> None:
    AccessLink.objects.update(state=State.SECRET_LOST, sealed_url="")
    with nothing_changes_at_kapso(kapso_sandbox), pytest.raises(ReadOnlyError):
        ensure_embed("sales")


def test_what_is_stored_here_alone_can_be_changed(
    kapso_sandbox: Sandbox, staging: InboxEmbed
) -> None:
    support = Group.objects.create(name="Support")
    with nothing_changes_at_kapso(kapso_sandbox):
        changed = update_embed(staging, slug="another", groups=[support])
    assert (changed.slug, list(changed.groups.all())) == ("another", [support])


def test_an_embed_can_be_refreshed(kapso_sandbox: Sandbox, staging: InboxEmbed) -> None:
    link = staging.current_link
    assert link is not None
    kapso_sandbox.project().update(link.kapso_id, {"default_mode": "dark"})
    assert lifecycle.refresh_embed(staging).default_mode == "dark"


def test_the_client_itself_refuses_before_it_sends(
    kapso_sandbox: Sandbox, staging: InboxEmbed
) -> None:
    link = staging.current_link
    assert link is not None
    embeds = conf.project().client().inbox_embeds
    with nothing_changes_at_kapso(kapso_sandbox):
        for change in (
            lambda: embeds.create(name="New"),
            lambda: embeds.update(link.kapso_id, {"name": "New"}),
            lambda: embeds.revoke(link.kapso_id),
        ):
            with pytest.raises(ReadOnlyClientError):
                change()
    assert embeds.get(link.kapso_id).status == "active"


# Opening


@pytest.fixture
def agent(client: Client, ana: User) -> Client:
    client.force_login(ana)
    return client


def launch(agent: Client, slug: str = "sales") -> Any:
    return agent.get(f"/kapso-inbox/{slug}/launch/", **FRAME)


def test_an_inbox_opens(agent: Client, kapso_sandbox: Sandbox, staging: InboxEmbed) -> None:
    with nothing_changes_at_kapso(kapso_sandbox):
        assert launch(agent).status_code == 302


def test_a_launch_finds_that_production_has_rotated_and_touches_neither_link(
    agent: Client, kapso_sandbox: Sandbox, staging: InboxEmbed
) -> None:
    rotated_in_production(kapso_sandbox, staging)
    with nothing_changes_at_kapso(kapso_sandbox):
        assert launch(agent).status_code == 410
    assert AccessLink.objects.get().state == State.REVOKED


def test_who_manages_it_reads_why_a_revoked_inbox_cannot_be_rotated_here(
    client: Client, admin_user: User, kapso_sandbox: Sandbox, staging: InboxEmbed
) -> None:
    rotated_in_production(kapso_sandbox, staging)
    client.force_login(admin_user)
    assert NOTICE in launch(client).content.decode()


@pytest.mark.parametrize("method", ["get", "post"])
def test_an_own_inbox_is_not_set_up_and_the_page_says_so_without_a_button(
    agent: Client, kapso_sandbox: Sandbox, staging: InboxEmbed, method: str
) -> None:
    with nothing_changes_at_kapso(kapso_sandbox):
        page = getattr(agent, method)("/kapso-inbox/mine/launch/", **FRAME)
    assert page.status_code == 403
    assert 'data-outcome="read_only"' in page.text
    assert "read-only copy of another one" in page.text
    assert "<button" not in page.text
    assert list(InboxEmbed.objects.all()) == [staging]


# The sync


def test_a_sync_mirrors_and_shows_what_production_made(
    kapso_sandbox: Sandbox, staging: InboxEmbed
) -> None:
    new = rotated_in_production(kapso_sandbox, staging)
    with nothing_changes_at_kapso(kapso_sandbox):
        report = sync_project()
    assert (report.ended, report.unmanaged) == (1, 1)
    assert (report.problems, report.left_undone) == ([], [])
    [old] = links_of(staging)
    assert old.state == State.REVOKED
    made = AccessLink.objects.get(kapso_id=new["id"])
    assert (made.state, read_reason(made.reason)["reference"]) == (State.UNMANAGED, "0123456789")


def left_by(report: SyncReport) -> str:
    text = str(*report.left_undone)
    assert text.startswith('KAPSO_INBOX["READ_ONLY"] is set')
    assert report.problems == []
    return text


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_sync_leaves_a_revocation_that_waits(
    kapso_sandbox: Sandbox, staging: InboxEmbed, dry_run: bool
) -> None:
    AccessLink.objects.update(state=State.REVOKING)
    with nothing_changes_at_kapso(kapso_sandbox):
        assert "links that wait for it (1)" in left_by(sync_project(dry_run=dry_run))
    assert AccessLink.objects.get().state == State.REVOKING


def test_a_sync_does_not_renew(kapso_sandbox: Sandbox, staging: InboxEmbed) -> None:
    now = timezone.now()
    expires_at = (now + timedelta(minutes=3)).replace(microsecond=0)
    link = staging.current_link
    assert link is not None
    kapso_sandbox.project().update(link.kapso_id, {"expires_at": expires_at.isoformat()})
    InboxEmbed.objects.update(expires_at=expires_at)
    AccessLink.objects.update(created_at=now - timedelta(hours=1))
    with read_only(RENEW_BEFORE=timedelta(days=1)), nothing_changes_at_kapso(kapso_sandbox):
        report = sync_project()
    assert report.renewed == 0
    assert "renewing links that are about to expire (1)" in left_by(report)


@pytest.mark.parametrize("state", [State.CREATING, State.UNKNOWN, State.FAILED])
def test_a_sync_leaves_a_link_that_production_was_creating_when_it_was_copied(
    kapso_sandbox: Sandbox, staging: InboxEmbed, state: AccessLink.State
) -> None:
    long_ago = timezone.now() - timedelta(hours=2)
    AccessLink.objects.update(
        state=state, kapso_id="", sealed_url="", created_at=long_ago, state_changed_at=long_ago
    )
    with nothing_changes_at_kapso(kapso_sandbox):
        assert "links that were found alive (1)" in left_by(sync_project())
        AccessLink.objects.update(absent_at=long_ago)  # a list that shifted lacked it before
        sync_project()
    assert AccessLink.objects.get().state == state


def test_a_sync_leaves_a_link_that_works_and_should_not(
    kapso_sandbox: Sandbox, staging: InboxEmbed
) -> None:
    AccessLink.objects.update(state=State.REVOKED, sealed_url="")
    with nothing_changes_at_kapso(kapso_sandbox):
        assert "links that were found alive (1)" in left_by(sync_project())
    assert AccessLink.objects.get().state == State.REVOKED


def test_the_command_prints_what_it_leaves_and_succeeds(
    kapso_sandbox: Sandbox, staging: InboxEmbed
) -> None:
    AccessLink.objects.update(state=State.REVOKING)
    out = io.StringIO()
    call_command("kapso_sync", stdout=out)
    assert "left undone: revoking links that wait for it (1)" in out.getvalue()


def dump() -> tuple[list[InboxEmbed], list[AccessLink]]:
    return list(InboxEmbed.objects.all()), list(AccessLink.objects.all())


def restore(dumped: tuple[list[InboxEmbed], list[AccessLink]]) -> None:
    embeds, links = dumped
    AccessLink.objects.update(state=State.REVOKED)
    InboxEmbed.objects.all().delete()
    current = {embed.pk: embed.current_link_id for embed in embeds}
    InboxEmbed.objects.bulk_create(copy(embed, current_link_id=None) for embed in embeds)
    AccessLink.objects.bulk_create(links)
    for pk, link in current.items():
        InboxEmbed.objects.filter(pk=pk).update(current_link_id=link)


def copy(embed: InboxEmbed, **changes: Any) -> InboxEmbed:
    fields = {field.attname: getattr(embed, field.attname) for field in embed._meta.concrete_fields}
    return InboxEmbed(**{**fields, **changes})


def test_the_next_copy_brings_what_production_made(agent: Client, kapso_sandbox: Sandbox) -> None:
    """The weekly restore: rotated in production, closed in staging, restored, open again."""
    embed = create_embed(slug="sales", name="Sales inbox")
    last_week = dump()
    lifecycle.rotate_embed(embed)
    this_week = dump()
    restore(last_week)
    with read_only(), nothing_changes_at_kapso(kapso_sandbox):
        assert sync_project().problems == []
        assert launch(agent).status_code == 410
        restore(this_week)
        assert sync_project().problems == []
        assert launch(agent).status_code == 302
        assert InboxEmbed.objects.count() == 1


def test_stored_secrets_can_be_encrypted_again(staging: InboxEmbed) -> None:
    call_command("kapso_rotate_keys", stdout=io.StringIO())


# The admin


@pytest.fixture
def admin(client: Client, admin_user: User) -> Client:
    client.force_login(admin_user)
    return client


def page(name: str, *args: Any) -> str:
    return reverse(f"admin:kapso_inbox_inboxembed_{name}", args=args)


def test_the_forms_say_so_and_what_is_typed_is_refused_with_it(
    admin: Client, kapso_sandbox: Sandbox, staging: InboxEmbed
) -> None:
    assert NOTICE in admin.get(page("add")).text
    shown = admin.get(page("change", staging.pk))
    assert NOTICE in shown.text
    assert "Its slug and its groups" in shown.text
    new = {
        "name": "New",
        "slug": "new",
        "scope_type": "project",
        "allowed_origins": SITE,
        "default_mode": "system",
        "expiry": "never",
    }
    with nothing_changes_at_kapso(kapso_sandbox):
        added = admin.post(page("add"), new)
        changed = admin.post(page("change", staging.pk), {**new, "initial-name": "Sales inbox"})
    for answer in (added, changed):
        assert answer.status_code == 200
        [text] = answer.context["adminform"].form.non_field_errors()
        assert text.startswith(NOTICE)
    assert [embed.name for embed in InboxEmbed.objects.all()] == ["Sales inbox"]


@pytest.mark.parametrize("verb", VERBS)
def test_an_action_says_so_instead_of_asking_for_a_confirmation(
    admin: Client, kapso_sandbox: Sandbox, staging: InboxEmbed, verb: str
) -> None:
    chosen = {"action": verb, "_selected_action": [staging.pk]}
    with nothing_changes_at_kapso(kapso_sandbox):
        asked = admin.post(reverse("admin:kapso_inbox_inboxembed_changelist"), chosen, follow=True)
        sent = {"confirmed": "yes", "target": f"{staging.pk}:", "expiry": "30"}
        done = admin.post(page("verb", verb), sent)
        [(outcome, text)] = results(done)
    refused = verb != "refresh"
    assert (NOTICE in asked.text) is refused
    assert ("There is nothing to do." in asked.text) is refused
    assert (outcome == "nothing" and text.startswith(NOTICE)) is refused


def test_the_page_of_an_embed_has_no_button_that_would_be_refused(
    admin: Client, staging: InboxEmbed
) -> None:
    panel = admin.get(page("change", staging.pk)).context["panel"]
    assert [verb["name"] for verb in panel["verbs"]] == ["refresh"]


def test_djangos_own_deletion_says_so(admin: Client, staging: InboxEmbed) -> None:
    AccessLink.objects.update(state=State.REVOKED)
    assert NOTICE in admin.get(page("delete", staging.pk), follow=True).text
    admin.post(page("delete", staging.pk), {"post": "yes"})
    assert InboxEmbed.objects.exists()


def test_the_health_page_says_so_and_offers_only_what_reads(
    admin: Client, kapso_sandbox: Sandbox, staging: InboxEmbed
) -> None:
    rotated_in_production(kapso_sandbox, staging)
    AccessLink.objects.update(created_at=timezone.now() - timedelta(days=3))
    shown = admin.get(page("health"))
    assert NOTICE in shown.text
    rows = [*shown.context["wrong"], *shown.context["fine"]]
    assert {button["verb"] for row in rows for button in row.buttons} <= {
        "refresh",
        "sync",
    }
    AccessLink.objects.update(state=State.REVOKING)
    kapso_sandbox.fail_next(method="GET", answer=Answer(500, {}))
    compared = admin.post(page("sync"), {"project": "default"}, follow=True)
    assert "READ_ONLY" in compared.text


# The API


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        (
            "post",
            "",
            {"slug": "new", "name": "New", "scope_type": "project", "allowed_origins": []},
        ),
        ("put", "new/", {"name": "New", "scope_type": "project", "allowed_origins": []}),
        ("put", "sales/", {"name": "Another name"}),
        ("patch", "sales/", {"name": "Another name"}),
        ("delete", "sales/", {}),
        ("post", "sales/rotate/", {}),
        ("post", "sales/resolve/", {}),
    ],
)
def test_the_api_refuses_with_a_code_of_its_own(
    kapso_sandbox: Sandbox,
    staging: InboxEmbed,
    make_agent: Callable[..., User],
    method: str,
    path: str,
    body: dict[str, Any],
) -> None:
    test = pytest.importorskip("rest_framework.test")
    manager = make_agent("mona")
    manager.user_permissions.set(Permission.objects.filter(codename__endswith="_inboxembed"))
    api = test.APIClient()
    api.force_authenticate(manager)
    with nothing_changes_at_kapso(kapso_sandbox):
        answer = getattr(api, method)(f"/api/kapso-inbox/embeds/{path}", body, format="json")
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "read_only"
    assert answer.json()["error"]["message"].startswith(NOTICE)
    unchanged = api.put("/api/kapso-inbox/embeds/sales/", {"name": "Sales inbox"}, format="json")
    assert unchanged.status_code == 200
