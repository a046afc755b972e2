"""Encryption keys are replaced while agents work."""

from __future__ import annotations

import io
import json
import logging
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, transaction
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from kapso_inbox import lifecycle, signals
from kapso_inbox.encryption import generate_key, key_id_of
from kapso_inbox.lifecycle import InsideTransactionError
from kapso_inbox.lifecycle.reencrypt import ReencryptReport, reencrypt
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed
from tests.conftest import FRAME
from tests.hosts.database import connection
from tests.hosts.people import User

State = AccessLink.State

KEYS = {name: generate_key() for name in ("old", "new", "other")}
URL = "https://inbox.kapso.ai/embed/the-secret-token-of-"
ROOT = Path(__file__).resolve().parents[2]


def under(*key_ids: str) -> Any:
    """Override the encryption keys. The first one encrypts."""
    keys = {key_id: KEYS[key_id] for key_id in key_ids}
    return override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "ENCRYPTION_KEYS": keys})


@pytest.fixture
def make_link(db: None) -> Callable[..., AccessLink]:
    """Return a function that creates an embed with a link, encrypted under the first key."""

    def make(slug: str, state: State = State.ACTIVE) -> AccessLink:
        embed = InboxEmbed.objects.create(slug=slug, name=slug)
        link = AccessLink(embed=embed, state=state, kapso_id=f"id-of-{slug}")
        link.store_url(URL + slug)
        link.save()
        InboxEmbed.objects.filter(pk=embed.pk).update(current_link=link)
        return link

    return make


def key_ids() -> list[str]:
    """Return the ID of the key that each stored secret is encrypted under."""
    sealed = AccessLink.objects.exclude(sealed_url="").values_list("sealed_url", flat=True)
    return sorted(key_id_of(text) for text in sealed)


def decrypts(link: AccessLink) -> bool:
    return AccessLink.objects.get(pk=link.pk).reveal_url() == URL + link.embed.slug


def rotate_keys(*options: str) -> str:
    out = io.StringIO()
    call_command("kapso_rotate_keys", *options, stdout=out)
    return out.getvalue()


@contextmanager
def just_before(statement: str, act: Callable[[], Any], number: int = 1) -> Iterator[None]:
    """Call a function right before the first (second, …) such statement in the block."""
    left = number

    def wrapper(execute: Any, sql: str, *args: Any) -> Any:
        nonlocal left
        if sql.startswith(statement):
            left -= 1
            if left == 0:
                act()
        return execute(sql, *args)

    with connection.execute_wrapper(wrapper):
        yield
    assert left <= 0


# Re-encryption


def test_every_secret_is_encrypted_under_the_first_key_and_still_decrypts(
    make_link: Callable[..., AccessLink],
) -> None:
    with under("old"):
        links = [make_link(f"inbox-{number}") for number in range(7)]
    with under("new", "old"):
        links.append(make_link("made-since"))
        report = reencrypt(batch_size=3)
        assert (report.reencrypted, report.current, report.total) == (7, 1, 8)
        assert (report.unused_key_ids, report.used_key_ids) == (["old"], [])
    with under("new"):
        assert all(decrypts(link) for link in links)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 6, 7])
def test_no_link_is_skipped_whatever_the_batch_size(
    make_link: Callable[..., AccessLink], batch_size: int
) -> None:
    with under("old"):
        for number in range(6):
            make_link(f"inbox-{number}")
    with under("new", "old"):
        assert reencrypt(batch_size=batch_size).reencrypted == 6
    assert key_ids() == ["new"] * 6


def test_a_batch_costs_one_query_and_one_update_for_each_link(
    make_link: Callable[..., AccessLink],
) -> None:
    def queries(of: str) -> int:
        return len([query for query in captured.captured_queries if query["sql"].startswith(of)])

    with under("old"):
        for number in range(12):
            make_link(f"inbox-{number}")
    with under("new", "old"):
        for batch_size, batches in ((4, 3), (12, 1)):
            AccessLink.objects.filter(embed__slug="inbox-0").update(state=State.UNKNOWN)
            with CaptureQueriesContext(connection) as captured:
                reencrypt(batch_size=batch_size)
            # One more query finds no further links, and one checks which old keys are in use.
            assert queries("SELECT") == batches + 1 + 1
            assert queries("UPDATE") == (12 if batches == 3 else 0)


def test_repeating_it_changes_nothing(make_link: Callable[..., AccessLink]) -> None:
    with under("old"):
        make_link("sales")
    with under("new", "old"):
        reencrypt()
        sealed = AccessLink.objects.get().sealed_url
        assert reencrypt().current == 1
    assert AccessLink.objects.get().sealed_url == sealed


def test_a_dry_run_decrypts_every_secret_and_writes_nothing(
    make_link: Callable[..., AccessLink],
) -> None:
    with under("other"):
        make_link("lost")
    with under("old"):
        make_link("sales")
    before = list(AccessLink.objects.order_by("pk").values())
    with under("new", "old"):
        report = reencrypt(dry_run=True)
    assert (report.reencrypted, len(report.unreadable)) == (1, 1)
    assert report.used_key_ids == ["old"]
    assert list(AccessLink.objects.order_by("pk").values()) == before
    assert not InboxChange.objects.exists()


def test_links_without_a_secret_are_left_alone(make_link: Callable[..., AccessLink]) -> None:
    AccessLink.objects.create(embed=InboxEmbed.objects.create(slug="a", name="A"))
    with under("new", "old"):
        assert reencrypt().total == 0
    assert AccessLink.objects.get().state == State.CREATING


def test_key_ids_are_case_sensitive(make_link: Callable[..., AccessLink]) -> None:
    with override_settings(
        KAPSO_INBOX={**settings.KAPSO_INBOX, "ENCRYPTION_KEYS": {"k": KEYS["old"]}}
    ):
        make_link("sales")
    both = {"K": KEYS["new"], "k": KEYS["old"]}
    with override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "ENCRYPTION_KEYS": both}):
        assert reencrypt().reencrypted == 1
        assert key_ids() == ["K"]


# Secrets that cannot be decrypted


def test_a_secret_that_cannot_be_decrypted_is_named_and_lost_and_does_not_stop_the_others(
    make_link: Callable[..., AccessLink],
) -> None:
    with under("other"):
        unknown_key = make_link("unknown-key")
    with under("old"):
        altered, moved, good = make_link("altered"), make_link("moved"), make_link("good")
    with under("new"):
        altered_new = make_link("altered-under-the-first-key")
    for link in (altered, altered_new):
        sealed = link.sealed_url[:-6] + "AAAAAA"
        AccessLink.objects.filter(pk=link.pk).update(sealed_url=sealed)
    AccessLink.objects.filter(pk=moved.pk).update(sealed_url=good.sealed_url)
    plain = make_link("plain-text")
    AccessLink.objects.filter(pk=plain.pk).update(sealed_url=URL + "plain-text")
    with under("new", "old"):
        report = reencrypt(batch_size=2)
        assert decrypts(good)
    lost = {"altered", "moved", "altered-under-the-first-key", "plain-text"}
    assert {one.slug for one in report.unreadable} == {*lost, "unknown-key"}
    assert report.reencrypted == 1
    states = AccessLink.objects.filter(embed__slug__in=lost).values_list("state", flat=True)
    assert set(states) == {State.SECRET_LOST}
    # Other processes may have that key.
    assert AccessLink.objects.get(pk=unknown_key.pk).state == State.ACTIVE
    changes = InboxChange.objects.filter(action=InboxChange.Action.LOST)
    assert set(changes.values_list("slug", flat=True)) == lost
    # An altered secret names the key "old", so that key may still be needed.
    assert report.used_key_ids == ["old"]


def test_a_signal_is_sent_once_for_each_secret_that_is_lost(
    make_link: Callable[..., AccessLink],
) -> None:
    heard = []

    def hear(sender: Any, embed: InboxEmbed, link: AccessLink, **kwargs: Any) -> None:
        heard.append((embed.slug, link.state))

    sealed = make_link("sales").sealed_url
    AccessLink.objects.update(sealed_url=sealed[:-6] + "AAAAAA")
    signals.secret_lost.connect(hear)
    try:
        reencrypt()
        reencrypt()
    finally:
        signals.secret_lost.disconnect(hear)
    assert heard == [("sales", State.SECRET_LOST)]
    assert InboxChange.objects.count() == 1


@pytest.mark.parametrize("state", [State.REVOKING, State.UNKNOWN, State.SECRET_LOST, State.REVOKED])
def test_only_an_active_link_becomes_lost(
    make_link: Callable[..., AccessLink], state: State
) -> None:
    with under("other"):
        link = make_link("sales", state)
    with under("new"):
        assert len(reencrypt().unreadable) == 1
    link.refresh_from_db()
    assert link.state == state


def test_configuring_the_key_of_lost_secrets_again_restores_them(
    make_link: Callable[..., AccessLink], ana: User, client: Client
) -> None:
    with under("old"):
        make_link("sales")
    wrong = {"new": KEYS["new"], "old": KEYS["other"]}
    with override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "ENCRYPTION_KEYS": wrong}):
        reencrypt()
    assert AccessLink.objects.get().state == State.SECRET_LOST
    client.force_login(ana)
    with under("new", "old"):
        assert reencrypt().reencrypted == 1
    with under("new"):
        assert launch(client) == 302
    assert AccessLink.objects.get().state == State.ACTIVE


def launch(client: Client) -> int:
    with override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "VERIFY_AFTER": 0}):
        answer = client.get("/kapso-inbox/sales/launch/", headers=HEADERS)
    assert answer.status_code != 302 or answer["Location"] == URL + "sales"
    return answer.status_code


HEADERS = {name.removeprefix("HTTP_").replace("_", "-"): value for name, value in FRAME.items()}


# While other processes work


@pytest.mark.parametrize("statement", ["SELECT", "UPDATE"])
@pytest.mark.parametrize("keys", [("old",), ("new", "old"), ("old", "new")])
def test_launches_work_at_every_moment_of_a_key_rotation(
    make_link: Callable[..., AccessLink],
    ana: User,
    client: Client,
    statement: str,
    keys: tuple[str, ...],
) -> None:
    """Also in processes with the old settings, as long as they have the secret's key."""
    answers = []

    def launch_elsewhere() -> None:
        with under(*keys):
            answers.append(launch(client))

    client.force_login(ana)
    with under("old"):
        make_link("sales")
    with under("new", "old"), just_before(statement, launch_elsewhere):
        assert reencrypt().reencrypted == 1
    with under("new"):
        answers.append(launch(client))
    assert answers == [302, 302]


def test_a_link_that_is_revoked_meanwhile_stays_without_a_secret(
    make_link: Callable[..., AccessLink],
) -> None:
    with under("old"):
        link = make_link("sales")

    def revoke() -> None:
        link.move(State.REVOKING, expected=[State.ACTIVE], sealed_url="")

    with under("new", "old"), just_before("UPDATE", revoke):
        report = reencrypt()
    assert (report.changed_meanwhile, report.reencrypted) == (1, 0)
    link.refresh_from_db()
    assert (link.state, link.sealed_url) == (State.REVOKING, "")


def test_a_secret_that_another_process_reencrypts_meanwhile_is_not_lost(
    make_link: Callable[..., AccessLink],
) -> None:
    with under("other"):
        link = make_link("sales")

    def reencrypt_elsewhere() -> None:
        with under("new", "other"):
            link.store_url(link.reveal_url())
        AccessLink.objects.filter(pk=link.pk).update(sealed_url=link.sealed_url)

    # The first SELECT reads the batch, the second one reads the link again.
    with under("new"), just_before("SELECT", reencrypt_elsewhere, number=2):
        report = reencrypt()
        assert decrypts(link)
    assert (report.changed_meanwhile, report.unreadable) == (1, [])
    assert AccessLink.objects.get().state == State.ACTIVE


def test_a_link_can_be_rotated_meanwhile(embed: InboxEmbed) -> None:
    keys = {**settings.KAPSO_INBOX["ENCRYPTION_KEYS"]}
    both = {**settings.KAPSO_INBOX, "ENCRYPTION_KEYS": {"new": KEYS["new"], **keys}}
    with override_settings(KAPSO_INBOX=both):
        with just_before(
            f"UPDATE {connection.ops.quote_name(AccessLink._meta.db_table)}",
            lambda: lifecycle.rotate_embed(embed),
        ):
            report = reencrypt()
        assert report.changed_meanwhile == 1
        assert key_ids() == ["new"]
        embed.refresh_from_db()
        assert embed.current_link is not None
        assert embed.current_link.reveal_url()


def test_a_key_under_which_another_process_still_encrypts_counts_as_used(
    make_link: Callable[..., AccessLink],
) -> None:
    """A process with the old settings creates a link that the pass has already gone past."""

    def make_another() -> None:
        with under("old"):
            link = make_link("made-meanwhile")
            made = AccessLink(embed=link.embed, id=uuid.UUID(int=1), state=State.ACTIVE)
            made.store_url(URL + "made-meanwhile")
            made.save(force_insert=True)

    with under("old"):
        make_link("sales")
    with under("new", "old", "other"), just_before("UPDATE", make_another):
        report = reencrypt()
        assert (report.used_key_ids, report.unused_key_ids) == (["old"], ["other"])
        again = reencrypt()
        assert (again.used_key_ids, again.unused_key_ids) == ([], ["old", "other"])


@pytest.mark.parametrize("when", [1, 2, 3, 4])
def test_it_can_be_stopped_at_any_point_and_repeated(
    make_link: Callable[..., AccessLink], when: int
) -> None:
    with under("old"):
        links = [make_link(f"inbox-{number}") for number in range(4)]
    with under("new", "old"):
        with stopped_at_update(when, KeyboardInterrupt), pytest.raises(CommandError) as caught:
            rotate_keys("--batch-size", "2")
        assert caught.value.returncode == 130
        assert "Run the command again" in str(caught.value)
        assert key_ids().count("new") == when - 1
        assert all(decrypts(link) for link in links)
        assert reencrypt(batch_size=2).reencrypted == 4 - (when - 1)
    with under("new"):
        assert all(decrypts(link) for link in links)


@contextmanager
def stopped_at_update(number: int, error: Any) -> Iterator[None]:
    updates = 0

    def wrapper(execute: Any, sql: str, *args: Any) -> Any:
        nonlocal updates
        updates += sql.startswith("UPDATE")
        if updates == number:
            raise error
        return execute(sql, *args)

    with connection.execute_wrapper(wrapper):
        yield


@pytest.mark.django_db(transaction=True)
def test_inside_a_transaction_it_raises_an_error_that_says_what_to_do(
    make_link: Callable[..., AccessLink],
) -> None:
    with under("old"):
        make_link("sales")
    with under("new", "old"):
        with (
            transaction.atomic(using=connection.alias),
            pytest.raises(InsideTransactionError, match="outside of"),
        ):
            reencrypt()
        with (
            transaction.atomic(using=connection.alias),
            pytest.raises(CommandError, match="outside of") as caught,
        ):
            rotate_keys()
        assert caught.value.returncode == 2
    assert key_ids() == ["old"]


# The command


def test_the_summary_says_what_was_done_and_which_keys_may_be_removed(
    make_link: Callable[..., AccessLink],
) -> None:
    with under("old"):
        make_link("sales")
        make_link("support")
    with under("new", "old", "other"):
        tried = rotate_keys("--dry-run")
        assert "2 would be re-encrypted" in tried
        assert "Still in use: old\n" in tried
        told = rotate_keys()
        assert "2 re-encrypted" in told
        assert "may be removed: old, other" in told
        assert "Still in use" not in told


def test_the_summary_names_secrets_that_cannot_be_decrypted_and_the_exit_status_is_1(
    make_link: Callable[..., AccessLink],
) -> None:
    with under("other"):
        lost = make_link("lost")
    with under("old"):
        make_link("sales")
    out = io.StringIO()
    with under("new", "old"), pytest.raises(CommandError, match="cannot be decrypted") as caught:
        call_command("kapso_rotate_keys", stdout=out)
    assert caught.value.returncode == 1
    assert f"lost ({lost}): The encryption key 'other' is not in KAPSO_INBOX" in out.getvalue()
    assert "1 re-encrypted" in out.getvalue()


def test_the_json_summary_is_complete(make_link: Callable[..., AccessLink]) -> None:
    with under("other"):
        lost = make_link("lost")
    with under("old"):
        make_link("sales")
    out = io.StringIO()
    with under("new", "old"), pytest.raises(CommandError):
        call_command("kapso_rotate_keys", "--json", stdout=out)
    reason = "The encryption key 'other' is not in KAPSO_INBOX[\"ENCRYPTION_KEYS\"]."
    told = json.loads(out.getvalue())
    assert told["ok"] is False
    assert "Put the missing keys back" in told["error"]
    assert told["links"] == {
        "key_id": "new",
        "dry_run": False,
        "reencrypted": 1,
        "current": 0,
        "changed_meanwhile": 0,
        "unreadable": [{"slug": "lost", "link": str(lost), "reason": reason}],
        "used_key_ids": [],
        "unused_key_ids": ["old"],
        "total": 2,
    }


@pytest.mark.parametrize("size", ["0", "-1", "many"])
def test_the_batch_size_must_be_at_least_1(size: str) -> None:
    with pytest.raises(CommandError, match="at least 1"):
        rotate_keys(f"--batch-size={size}")


@pytest.mark.parametrize("keys", [{}, {"k": "short"}, None])
def test_without_valid_keys_it_names_the_setting(keys: Any) -> None:
    with (
        override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "ENCRYPTION_KEYS": keys}),
        pytest.raises(CommandError, match="ENCRYPTION_KEYS") as caught,
    ):
        rotate_keys("--skip-checks")
    assert caught.value.returncode == 2


@pytest.mark.django_db(transaction=True)
def test_no_output_holds_a_secret_a_key_or_a_ciphertext(
    make_link: Callable[..., AccessLink], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "kapso_inbox")
    with under("old"):
        links = [make_link("sales"), make_link("support"), make_link("altered")]
    with under("other"):
        links.append(make_link("lost"))
    AccessLink.objects.filter(embed__slug="altered").update(sealed_url=links[0].sealed_url)
    said = []
    with under("new", "old"):
        # Some databases quote the row in their error.
        quoting = DatabaseError(f"Failing row contains ({links[0].sealed_url})")
        for options, fault in (
            (["--dry-run"], None),
            ([], quoting),
            ([], KeyboardInterrupt),
            (["--json"], None),
            ([], None),
        ):
            out, err = io.StringIO(), io.StringIO()
            with ExitStack() as stack:
                if fault:
                    stack.enter_context(stopped_at_update(2, fault))
                caught = stack.enter_context(pytest.raises(CommandError))
                call_command("kapso_rotate_keys", *options, stdout=out, stderr=err)
            said += [out.getvalue(), err.getvalue(), *traceback.format_exception(caught.value)]
    text = "".join(said) + caplog.text + repr(ReencryptReport("new", dry_run=False))
    text += "".join(InboxChange.objects.values_list("details", flat=True))
    assert "lost" in text
    sealed = [*links, *AccessLink.objects.all()]
    secrets = [
        *KEYS.values(),
        URL,
        "the-secret-token",
        *(link.sealed_url[10:30] for link in sealed),
    ]
    assert not [number for number, secret in enumerate(secrets) if secret in text]
