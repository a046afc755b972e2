"""Processes with different encryption keys at once: a rolling restart, and a roll-back."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client, override_settings
from django.utils import timezone

from kapso_inbox.diagnosis import diagnose
from kapso_inbox.encryption import UnknownKeyError, generate_key, key_id_of
from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.lifecycle import create_embed, ensure_embed, rotate_embed
from kapso_inbox.lifecycle.reencrypt import reencrypt
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed
from kapso_inbox.sandbox.engine import Sandbox
from kapso_inbox.sync import sync_project
from tests.conftest import FRAME
from tests.hosts.people import User

pytestmark = pytest.mark.django_db

State = AccessLink.State

KEYS = {name: generate_key() for name in ("old", "new")}

#: The settings of two processes that run at the same time, step by step as documented.
STEPS = [
    (["old"], ["old", "new"]),
    (["old", "new"], ["new", "old"]),
    (["new", "old"], ["new"]),
]


def process(*key_ids: str, **values: Any) -> Any:
    """Be a process with these encryption keys. The first one encrypts."""
    keys = {key_id: KEYS[key_id] for key_id in key_ids}
    return override_settings(
        KAPSO_INBOX={**settings.KAPSO_INBOX, "ENCRYPTION_KEYS": keys, "VERIFY_AFTER": 0, **values}
    )


@pytest.fixture
def agent(client: Client, ana: User) -> Client:
    client.force_login(ana)
    return client


def launch(agent: Client, slug: str = "sales") -> int:
    return agent.get(f"/kapso-inbox/{slug}/launch/", **FRAME).status_code


def create(slug: str = "sales", **given: Any) -> InboxEmbed:
    return create_embed(slug=slug, name=slug, **given)


@contextmanager
def nothing_changes(sandbox: Sandbox) -> Iterator[None]:
    """Check that no link is replaced, marked as lost or ended, and that Kapso is not told."""

    def everything() -> Any:
        links = AccessLink.objects.order_by("pk").values("pk", "state", "reason", "sealed_url")
        return list(links), InboxChange.objects.count(), sandbox.project().active_embeds()

    before, sent = everything(), len(sandbox.requests)
    yield
    assert everything() == before
    assert all(request.method == "GET" for request in sandbox.requests[sent:])


# A process that lacks a key


def test_a_launch_says_so_and_leaves_the_link_as_it_is(
    agent: Client, kapso_sandbox: Sandbox
) -> None:
    with process("new", "old"):
        create()
    with process("old"), nothing_changes(kapso_sandbox):
        assert launch(agent) == 503
    with process("new", "old"):
        assert launch(agent) == 302


def test_an_administrator_who_opens_it_reads_which_key_this_process_lacks(
    client: Client, admin_user: User, kapso_sandbox: Sandbox
) -> None:
    with process("new", "old"):
        create()
    client.force_login(admin_user)
    with process("old"):
        page = client.get("/kapso-inbox/sales/launch/", **FRAME).text
    assert "The encryption key &#x27;new&#x27; is not in KAPSO_INBOX" in page
    assert "restart" in page
    assert "rotate" not in page


def test_without_any_key_a_launch_leaves_the_link_as_it_is(
    agent: Client, kapso_sandbox: Sandbox
) -> None:
    with process("old"):
        create()
    with process(), nothing_changes(kapso_sandbox):
        assert launch(agent) == 503
    with process("old"):
        assert launch(agent) == 302


def test_ensuring_raises_an_error_that_names_the_setting_and_the_key(
    kapso_sandbox: Sandbox,
) -> None:
    with process("new", "old"):
        create()
    with (
        process("old"),
        nothing_changes(kapso_sandbox),
        pytest.raises(UnknownKeyError, match=r"'new' .*KAPSO_INBOX\[.ENCRYPTION_KEYS.\]") as caught,
    ):
        ensure_embed("sales", name="Another name")
    assert isinstance(caught.value, ConfigurationError)


def test_ensuring_does_not_replace_a_lost_link_whose_key_this_process_lacks(
    kapso_sandbox: Sandbox,
) -> None:
    with process("new", "old"):
        create()
    AccessLink.objects.update(state=State.SECRET_LOST)
    with process("old"), nothing_changes(kapso_sandbox), pytest.raises(UnknownKeyError):
        ensure_embed("sales")
    with process("new", "old"):
        ensure_embed("sales")
    assert AccessLink.objects.get().state == State.ACTIVE


def test_a_secret_that_is_broken_under_a_known_key_is_replaced(
    agent: Client, kapso_sandbox: Sandbox
) -> None:
    with process("old"):
        link = create().current_link
        assert link is not None
        AccessLink.objects.update(sealed_url=link.sealed_url[:-6] + "AAAAAA")
        assert launch(agent) == 503
        assert AccessLink.objects.get().state == State.SECRET_LOST
        ensure_embed("sales")
        assert launch(agent) == 302


def test_encrypting_again_reports_the_key_and_leaves_the_link_as_it_is(
    kapso_sandbox: Sandbox,
) -> None:
    with process("new", "old"):
        create()
    out = io.StringIO()
    with process("old"), nothing_changes(kapso_sandbox), pytest.raises(CommandError):
        call_command("kapso_rotate_keys", stdout=out)
    assert "'new' is not in KAPSO_INBOX" in out.getvalue()


def test_a_sync_does_not_renew_a_link_whose_key_it_lacks(
    agent: Client, kapso_sandbox: Sandbox
) -> None:
    """The successor would be under a key that the other processes may not have any more."""
    with process("new"):
        create(expires_at=timezone.now() + timedelta(minutes=3))
    AccessLink.objects.update(created_at=timezone.now() - timedelta(hours=1))
    with process("old", RENEW_BEFORE=timedelta(days=1)), nothing_changes(kapso_sandbox):
        report = sync_project()
    assert report.renewed == 0
    problem = str(*report.problems)
    assert "“sales” could not be renewed" in problem
    assert "ENCRYPTION_KEYS" in problem
    with process("new", RENEW_BEFORE=timedelta(days=1)):
        assert sync_project().renewed == 1
        assert launch(agent) == 302


def test_a_sync_renews_the_others_all_the_same(kapso_sandbox: Sandbox) -> None:
    soon = timezone.now() + timedelta(minutes=3)
    with process("new"):
        create("a", expires_at=soon)
    with process("old"):
        create("b", expires_at=soon)
    AccessLink.objects.update(created_at=timezone.now() - timedelta(hours=1))
    with process("old", RENEW_BEFORE=timedelta(days=1)):
        report = sync_project()
    assert (report.renewed, len(report.problems)) == (1, 1)


def test_the_doctor_advises_a_restart_before_a_rotation(kapso_sandbox: Sandbox) -> None:
    with process("new", "old"):
        create()
    with process("old"):
        [finding] = [one for one in diagnose() if one.code == "encryption-key-missing"]
    assert finding.hint.index("restart") < finding.hint.index("rotate")


# A rolling restart as documented


@pytest.mark.parametrize(("these", "those"), STEPS, ids=str)
def test_at_each_step_each_process_opens_what_the_other_creates(
    agent: Client, kapso_sandbox: Sandbox, these: list[str], those: list[str]
) -> None:
    def both() -> Iterator[Any]:
        yield process(*these)
        yield process(*those)

    for number, writer in enumerate(both()):
        with writer:
            rotate_embed(create(f"inbox-{number}"))
            create(f"other-{number}")
        for reader in both():
            for slug in (f"inbox-{number}", f"other-{number}"):
                with reader, nothing_changes(kapso_sandbox):
                    assert launch(agent, slug) == 302
                    ensure_embed(slug)


def test_after_the_last_step_nothing_depends_on_the_old_key(
    agent: Client, kapso_sandbox: Sandbox
) -> None:
    with process("old"):
        create()
    with process("new", "old"):
        report = reencrypt()
        assert report.unused_key_ids == ["old"]
    with process("new"):
        assert launch(agent) == 302


# A roll-back


def test_rolled_back_to_the_old_key_nothing_is_lost_until_the_new_one_is_back(
    agent: Client, kapso_sandbox: Sandbox
) -> None:
    with process("new", "old"):
        create()
    with process("old"), nothing_changes(kapso_sandbox):
        assert launch(agent) == 503
        with pytest.raises(UnknownKeyError):
            ensure_embed("sales")
    with process("old", "new"):
        assert launch(agent) == 302
        ensure_embed("sales")
        assert reencrypt().reencrypted == 1
    with process("old"):
        assert launch(agent) == 302
    assert key_id_of(AccessLink.objects.get().sealed_url) == "old"
