"""Findings about stored links: their secrets, their states, and whether kapso_sync runs."""

from __future__ import annotations

import pytest

from kapso_inbox import conf
from kapso_inbox.encryption import generate_key
from kapso_inbox.models import AccessLink, ReasonCode, reason
from kapso_inbox.sandbox.engine import Sandbox
from kapso_inbox.sync import sync_project

from .helpers import ChangeSettings, State, ago, codes, diagnose, store, the

pytestmark = pytest.mark.django_db


# Secrets


def test_a_secret_whose_key_is_gone_is_found(change_settings: ChangeSettings) -> None:
    store()
    assert "encryption-key-missing" not in codes(network=False)
    change_settings(ENCRYPTION_KEYS={"new": generate_key()})
    found = the("encryption-key-missing", network=False)
    assert (found.level, found.embed) == ("error", "sales")
    assert "“test”" in found.what
    assert "secrets-open" not in codes(network=False)


def test_a_secret_that_cannot_be_decrypted_is_found(change_settings: ChangeSettings) -> None:
    store()
    assert "secret-unreadable" not in codes(network=False)
    change_settings(ENCRYPTION_KEYS={"test": generate_key()})
    assert the("secret-unreadable", network=False).embed == "sales"
    AccessLink.objects.update(sealed_url="v9.nonsense")
    assert the("secret-unreadable", network=False).level == "error"


def test_a_lost_secret_that_can_be_decrypted_again_is_reported(
    change_settings: ChangeSettings,
) -> None:
    store()
    assert "secret-readable-again" not in codes(network=False)
    AccessLink.objects.update(state=State.SECRET_LOST)
    assert the("secret-readable-again", network=False).level == "info"


def test_a_lost_secret_is_found(change_settings: ChangeSettings) -> None:
    link = store()
    assert "secret-lost" not in codes(network=False)
    link.move(State.SECRET_LOST, expected=[State.ACTIVE], sealed_url="")
    found = the("secret-lost", network=False)
    assert (found.level, found.embed) == ("error", "sales")


def test_secrets_under_an_older_key_are_counted(change_settings: ChangeSettings) -> None:
    old = conf.value("ENCRYPTION_KEYS")["test"]
    store("a")
    store("b")
    assert "encryption-key-old" not in codes(network=False)
    change_settings(ENCRYPTION_KEYS={"new": generate_key(), "test": old})
    found = the("encryption-key-old", network=False)
    assert found.level == "info"
    assert "2 secret addresses are still under the encryption key “test”" in found.what


def test_secrets_that_can_all_be_decrypted_are_reported_if_there_are_any() -> None:
    assert "secrets-open" not in codes(network=False)
    store("a")
    store("b")
    assert "All 2 stored" in the("secrets-open", network=False).what


def test_unusable_keys_are_one_finding_and_not_one_for_each_link(
    change_settings: ChangeSettings,
) -> None:
    store("a")
    store("b")
    assert "secrets-unchecked" not in codes(network=False)
    change_settings(ENCRYPTION_KEYS={})
    assert the("secrets-unchecked", network=False).level == "error"
    assert "secrets-open" not in codes(network=False)


# States


@pytest.mark.parametrize(
    ("code", "state", "level"),
    [
        ("revocation-stuck", State.REVOKING, "error"),
        ("creation-stuck", State.CREATING, "warning"),
    ],
)
def test_a_stuck_link_is_found(code: str, state: AccessLink.State, level: str) -> None:
    link = store(state=state, state_changed_at=ago(minutes=9))
    assert code not in codes(network=False)
    AccessLink.objects.update(state_changed_at=ago(minutes=11))
    found = the(code, network=False)
    assert (found.level, found.embed) == (level, "sales")
    assert str(link) in found.details


def test_a_revocation_that_kapso_has_not_confirmed_is_not_in_order() -> None:
    store(state=State.REVOKING, state_changed_at=ago(seconds=5))
    assert the("revocation-unconfirmed", network=False).level == "warning"
    assert "embed-revoked" not in codes(network=False)


def test_a_link_that_was_missing_from_kapsos_list_is_found() -> None:
    store()
    assert "link-missing" not in codes(network=False)
    AccessLink.objects.update(absent_at=ago(minutes=1))
    assert the("link-missing", network=False).level == "warning"


@pytest.mark.parametrize(
    ("code", "state"), [("link-unknown", State.UNKNOWN), ("link-unmanaged", State.UNMANAGED)]
)
def test_a_link_that_may_work_for_somebody_is_found(code: str, state: AccessLink.State) -> None:
    link = store()
    assert code not in codes(network=False)
    link.move(state, expected=[State.ACTIVE])
    found = the(code, network=False)
    assert (found.level, found.embed) == ("warning", "sales")
    assert "embed-without-link" not in codes(network=False)


@pytest.mark.parametrize("why", ["", reason(ReasonCode.MADE_ELSEWHERE, reference="0123456789")])
def test_an_inbox_that_was_made_elsewhere_is_named_by_its_slug_and_by_its_name_at_kapso(
    why: str,
) -> None:
    store("kapso-7a1f21a8", state=State.UNMANAGED, embed={"name": "Made elsewhere"}, reason=why)
    [found] = [one for one in diagnose(network=False) if one.level == "warning"]
    assert found.what.startswith("The inbox “kapso-7a1f21a8” works at Kapso")
    assert "(" not in found.what
    assert found.details == "Its name at Kapso is “Made elsewhere”."


def test_an_unmanaged_link_that_is_not_revoked_yet_is_named_by_its_id() -> None:
    link = store(state=State.UNMANAGED)
    link.move(State.REVOKING, expected=[State.UNMANAGED])
    AccessLink.objects.update(state_changed_at=ago(minutes=11))
    assert f"Its ID in Kapso is {link.kapso_id}" in the("revocation-stuck", network=False).details


def test_a_sync_that_does_not_run_is_found() -> None:
    link = store(created_at=ago(hours=23))
    assert "sync-not-running" not in codes(network=False), "it may be new"
    AccessLink.objects.update(created_at=ago(hours=25))
    assert the("sync-not-running", network=False).project == "default"
    AccessLink.objects.update(seen_at=ago(hours=23))
    assert "sync-not-running" not in codes(network=False)
    store("clinic", created_at=ago(days=9), seen_at=ago(days=8))
    assert "sync-not-running" not in codes(network=False), "another one was seen"
    AccessLink.objects.filter(pk=link.pk).update(seen_at=ago(hours=25))
    assert the("sync-not-running", network=False).level == "warning"


def test_a_link_that_another_deployment_made_is_found(
    kapso_sandbox: Sandbox, change_settings: ChangeSettings
) -> None:
    kapso_sandbox.project().create({"name": "Sales #ki-0123456789", "scope_type": "project"})
    sync_project()
    found = the("link-of-another-deployment", network=False)
    assert (found.level, "READ_ONLY" in found.hint) == ("warning", True)
    assert "link-unmanaged" not in codes(network=False)
    change_settings(READ_ONLY=True)
    found = the("link-of-another-deployment", network=False)
    assert (found.level, "next copy" in found.hint) == ("info", True)


@pytest.mark.parametrize("state", sorted(AccessLink.UNSETTLED))
def test_what_a_read_only_deployment_leaves_alone_is_no_problem(
    change_settings: ChangeSettings, state: AccessLink.State
) -> None:
    store(state=state, state_changed_at=ago(hours=1))
    change_settings(READ_ONLY=True)
    assert the("link-left-alone", network=False).level == "info"
