"""The checks of the soak find what they are for: each of these is planted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.test import override_settings

from kapso_inbox.lifecycle import create_embed, revoke_embed
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed
from kapso_inbox.sandbox.server import SandboxServer

from .checks import BrokenError, check_logs, check_now, check_quiet, check_told
from .kapso import FaultyKapso
from .worker import Event

pytestmark = pytest.mark.django_db

State = AccessLink.State
SLUG = "own-0-0"


@pytest.fixture
def kapso() -> Iterator[FaultyKapso]:
    """Yield a Kapso with one embed that the app has created."""
    made = FaultyKapso((), "1")
    made.add_project(settings.KAPSO_INBOX["API_KEY"])
    with SandboxServer(made) as server:
        configured = {
            **settings.KAPSO_INBOX,
            "BASE_URL": server.base_url,
            "INBOX_ORIGINS": [server.inbox_origin],
        }
        with override_settings(KAPSO_INBOX=configured):
            create_embed(slug=SLUG, name=SLUG, actor="w0.1.1")
            yield made


def done(action: str = "create", began: float = 1, **fields: object) -> Event:
    link = AccessLink.objects.get()
    told = {"link": link.kapso_id, "state": link.state, "name": "New"}
    event = Event(f"w0.1.{began:g}", action, SLUG, timedelta(0), began, began + 0.5, told=told)
    for name, value in fields.items():
        setattr(event, name, value)
    return event


def at_kapso(kapso: FaultyKapso) -> dict[str, object]:
    return kapso.project().embeds[AccessLink.objects.get().kapso_id]


def broken(check: Callable[[], None]) -> str:
    with pytest.raises(BrokenError) as raised:
        check()
    return str(raised.value)[:2]


def test_nothing_is_broken_where_nothing_is_planted(kapso: FaultyKapso, tmp_path: Path) -> None:
    (tmp_path / "worker.log").write_text("POST /inbox_embeds: 201 in 3 ms")
    check_now(kapso)
    check_told(done(), kapso, alone=True)
    check_quiet(kapso, [done()], set())
    check_logs(tmp_path, kapso, [settings.KAPSO_INBOX["API_KEY"]])


def test_a_live_embed_without_a_row_is_found(kapso: FaultyKapso) -> None:
    AccessLink.objects.update(state=State.FAILED)
    assert broken(lambda: check_quiet(kapso, [], set())) == "I1"


def test_two_embeds_with_one_reference_are_found(kapso: FaultyKapso) -> None:
    kapso.project().create({"name": at_kapso(kapso)["name"], "scope_type": "project"})
    assert broken(lambda: check_now(kapso)) == "I1"


def test_an_unsettled_link_is_found(kapso: FaultyKapso) -> None:
    AccessLink.objects.create(embed=InboxEmbed.objects.get(), state=State.UNKNOWN)
    assert broken(lambda: check_quiet(kapso, [], set())) == "I1"


def test_a_second_active_link_is_found(kapso: FaultyKapso) -> None:
    AccessLink.objects.create(embed=InboxEmbed.objects.get(), state=State.ACTIVE)
    assert broken(lambda: check_now(kapso)) == "I2"


def test_an_embed_that_does_not_live_is_found(kapso: FaultyKapso) -> None:
    at_kapso(kapso)["status"] = "revoked"
    assert broken(lambda: check_quiet(kapso, [], set())) == "I2"


def test_a_stored_address_of_another_embed_is_found(kapso: FaultyKapso) -> None:
    link = AccessLink.objects.get()
    link.store_url("https://inbox.kapso.ai/embed/another")
    link.save()
    assert broken(lambda: check_quiet(kapso, [], set())) == "I2"


def test_an_embed_that_nobody_ended_and_that_is_over_is_found(kapso: FaultyKapso) -> None:
    event = done()
    revoke_embed(InboxEmbed.objects.get())
    assert broken(lambda: check_quiet(kapso, [event], set())) == "I2"
    check_quiet(kapso, [event], {AccessLink.objects.get().kapso_id})
    check_quiet(kapso, [event, done("revoke", 2)], set())


def test_an_active_link_that_was_ended_is_found(kapso: FaultyKapso) -> None:
    kapso.ended.add(AccessLink.objects.get().kapso_id)
    assert broken(lambda: check_now(kapso)) == "I3"


def test_an_embed_that_was_revoked_and_lives_is_found(kapso: FaultyKapso) -> None:
    events = [done("create"), done("revoke", 2)]
    assert broken(lambda: check_quiet(kapso, events, set())) == "I4"
    check_quiet(kapso, [*events, done("rotate", 3)], set())


@pytest.mark.parametrize("action", ["create", "ensure"])
def test_a_success_that_is_not_true_is_found(kapso: FaultyKapso, action: str) -> None:
    at_kapso(kapso)["status"] = "revoked"
    assert broken(lambda: check_told(done(action), kapso, alone=True)) == "I5"
    check_told(done(action), kapso, alone=False)


def test_a_revocation_that_did_not_happen_is_found(kapso: FaultyKapso) -> None:
    InboxChange.objects.update(action=InboxChange.Action.REVOKED)
    assert broken(lambda: check_told(done("revoke"), kapso, alone=True)) == "I5"


def test_a_change_that_did_not_happen_is_found(kapso: FaultyKapso) -> None:
    InboxChange.objects.update(action=InboxChange.Action.CHANGED)
    assert broken(lambda: check_told(done("update"), kapso, alone=True)) == "I5"


def test_a_launch_into_a_page_that_is_gone_is_found(kapso: FaultyKapso) -> None:
    event = done("launch", told={"url": at_kapso(kapso)["embed_url"]})
    check_told(event, kapso, alone=True)
    at_kapso(kapso)["status"] = "revoked"
    assert broken(lambda: check_told(event, kapso, alone=True)) == "I5"


def test_an_undocumented_exception_is_found(kapso: FaultyKapso) -> None:
    event = done(error="KeyError", documented=False)
    assert broken(lambda: check_told(event, kapso, alone=False)) == "I5"


@pytest.mark.parametrize("what", ["key", "token", "address"])
def test_a_secret_in_a_log_is_found(kapso: FaultyKapso, tmp_path: Path, what: str) -> None:
    secrets = {
        "key": settings.KAPSO_INBOX["API_KEY"],
        "token": at_kapso(kapso)["token"],
        "address": "https://inbox.kapso.ai/embed/x",
    }
    (tmp_path / "worker.log").write_text(f"DEBUG url='{secrets[what]}'")
    keys = [settings.KAPSO_INBOX["API_KEY"]]
    assert broken(lambda: check_logs(tmp_path, kapso, keys)) == "I6"


def test_a_change_that_is_not_on_record_is_found(kapso: FaultyKapso) -> None:
    InboxChange.objects.all().delete()
    assert broken(lambda: check_told(done(), kapso, alone=False)) == "I7"
