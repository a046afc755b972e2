"""A signal is sent once, after the commit, for everything that changes or ends an embed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from kapso_inbox import signals
from kapso_inbox.lifecycle import (
    create_embed,
    delete_embed,
    refresh_embed,
    revoke_embed,
    rotate_embed,
    update_embed,
)
from kapso_inbox.models import AccessLink, InboxEmbed
from kapso_inbox.sandbox.engine import Sandbox
from kapso_inbox.sync import sync_project
from kapso_inbox.transactions import database, is_inside_transaction

SIGNALS = (
    "embed_created",
    "embed_updated",
    "link_rotated",
    "embed_revoked",
    "embed_deleted",
)


@pytest.fixture
def heard() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Collect the signals that are sent: their names and arguments."""
    told: list[tuple[str, dict[str, Any]]] = []
    receivers = {}
    for name in SIGNALS:

        def receive(name: str = name, **arguments: Any) -> None:
            assert not is_inside_transaction()
            told.append((name, {key: arguments[key] for key in arguments if key != "signal"}))

        receivers[name] = receive
        getattr(signals, name).connect(receive)
    yield told
    for name, receive in receivers.items():
        getattr(signals, name).disconnect(receive)


def revoke_at_kapso(sandbox: Sandbox, embed: InboxEmbed) -> None:
    assert embed.current_link is not None
    sandbox.project().revoke(embed.current_link.kapso_id)


@pytest.mark.django_db
def test_each_change_sends_one_signal_with_its_actor(
    kapso_sandbox: Sandbox, heard: list[tuple[str, dict[str, Any]]]
) -> None:
    embed = create_embed(slug="support", name="Support", actor="ana")
    update_embed(embed, name="Help", default_mode="dark", actor="ana")
    rotate_embed(embed, actor="ana")
    revoke_embed(embed, actor="ana")
    delete_embed(embed, actor="ana")
    assert [name for name, _ in heard] == list(SIGNALS)
    assert {arguments["actor"] for _, arguments in heard} == {"ana"}
    assert {arguments["sender"] for _, arguments in heard} == {InboxEmbed}
    told = dict(heard)
    assert set(told["embed_updated"]["changes"]) == {"name", "default_mode"}
    assert told["embed_revoked"]["reason"] == "requested"
    assert told["embed_deleted"]["embed"].slug == "support"


@pytest.mark.django_db
def test_an_update_that_changes_nothing_sends_no_signal(
    embed: InboxEmbed, heard: list[tuple[str, dict[str, Any]]]
) -> None:
    update_embed(embed, name=embed.name)
    assert heard == []


@pytest.mark.django_db
@pytest.mark.parametrize("finder", ["refresh", "sync"])
def test_a_revocation_found_at_kapso_sends_a_signal_with_its_reason(
    kapso_sandbox: Sandbox,
    embed: InboxEmbed,
    heard: list[tuple[str, dict[str, Any]]],
    finder: str,
) -> None:
    revoke_at_kapso(kapso_sandbox, embed)
    if finder == "refresh":
        refresh_embed(embed, actor="ana")
    else:
        sync_project()
        sync_project()  # the second sync finds nothing new
    ((name, arguments),) = heard
    assert (name, arguments["reason"]) == ("embed_revoked", "found_revoked")
    assert arguments["actor"] == ("ana" if finder == "refresh" else "kapso_sync")
    assert arguments["embed"].pk == embed.pk


@pytest.mark.django_db
def test_the_end_of_a_past_link_sends_no_signal_about_the_embed(
    kapso_sandbox: Sandbox, embed: InboxEmbed, heard: list[tuple[str, dict[str, Any]]]
) -> None:
    former = embed.current_link
    rotate_embed(embed)
    heard.clear()
    assert former is not None
    AccessLink.objects.filter(pk=former.pk).update(state=AccessLink.State.SECRET_LOST)
    sync_project()
    assert heard == []


@pytest.mark.django_db(transaction=True)
def test_a_signal_is_sent_after_the_surrounding_commit_and_not_after_a_rollback(
    heard: list[tuple[str, dict[str, Any]]],
) -> None:
    embed = InboxEmbed(slug="support")
    with transaction.atomic(using=database()):
        signals.send_after_commit(signals.embed_created, embed=embed, actor=None)
        assert heard == []
    assert [name for name, _ in heard] == ["embed_created"]
    heard.clear()
    with transaction.atomic(using=database()):
        signals.send_after_commit(signals.embed_created, embed=embed, actor=None)
        transaction.set_rollback(True, using=database())
    assert heard == []


@pytest.mark.django_db
def test_a_receiver_that_fails_changes_nothing(
    kapso_sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**_arguments: Any) -> None:
        raise ZeroDivisionError

    signals.embed_created.connect(fail)
    try:
        assert create_embed(slug="support", name="Support").obstacle() is None
    finally:
        signals.embed_created.disconnect(fail)
    assert "ZeroDivisionError" in caplog.text
