"""`kapso_webhooks` and the doctor look after the webhooks at Kapso."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from kapso_inbox.conversations.models import Conversation, WebhookDelivery
from kapso_inbox.diagnosis import diagnose
from kapso_inbox.sandbox.engine import Sandbox

from .conftest import SECRET, Post, about

pytestmark = pytest.mark.django_db

SITE = "https://crm.example.com"
ADDRESS = f"{SITE}/kapso-inbox/webhooks/default/"


def run(*options: str) -> tuple[int, str]:
    """Run the command; return its exit status and its output."""
    out = io.StringIO()
    try:
        call_command("kapso_webhooks", *options, stdout=out, stderr=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    except CommandError as error:
        return error.returncode, out.getvalue() + str(error)
    return 0, out.getvalue()


def webhooks(sandbox: Sandbox) -> list[dict[str, Any]]:
    return list(sandbox.project().webhooks.records.values())


def test_every_number_and_the_project_get_a_webhook_and_only_one(kapso_sandbox: Sandbox) -> None:
    status, output = run()
    assert status == 1
    assert output.count("missing") == 4
    assert run("--set", SITE)[0] == 0
    assert run("--set", f"{SITE}/")[0] == 0
    rows = webhooks(kapso_sandbox)
    assert len(rows) == 4
    assert {row["url"] for row in rows} == {ADDRESS}
    assert {row["secret_key"] for row in rows} == {SECRET}
    status, output = run()
    assert status == 0
    assert SECRET not in output
    assert output.count("delivers") == 4


def test_a_webhook_that_kapso_paused_is_said_and_switched_on_again(kapso_sandbox: Sandbox) -> None:
    run("--set", SITE)
    webhooks(kapso_sandbox)[0]["active"] = False
    status, output = run()
    assert status == 1
    assert "paused by Kapso" in output
    run("--set", SITE)
    assert all(row["active"] for row in webhooks(kapso_sandbox))


def test_the_webhooks_of_another_site_are_left_alone(kapso_sandbox: Sandbox) -> None:
    run("--set", "https://staging.example.com")
    run("--set", SITE)
    assert len(webhooks(kapso_sandbox)) == 8
    assert run("--remove", SITE)[0] == 0
    assert len(webhooks(kapso_sandbox)) == 4
    assert "no webhook of that site" in run("--remove", SITE)[1]


HERE, THE_SAME = "http://localhost:8100", "http://127.0.0.1:8100"


def test_a_webhook_with_another_address_of_this_site_is_moved_and_not_doubled(
    kapso_sandbox: Sandbox,
) -> None:
    run("--set", THE_SAME)
    ids = {row["id"] for row in webhooks(kapso_sandbox)}
    status, output = run("--set", HERE)
    assert (status, output.count("moved")) == (0, 4)
    assert {row["id"] for row in webhooks(kapso_sandbox)} == ids
    assert {row["url"].split("/")[2] for row in webhooks(kapso_sandbox)} == {"localhost:8100"}


def test_another_port_is_another_deployment(kapso_sandbox: Sandbox) -> None:
    run("--set", "http://localhost:8200")
    run("--set", HERE)
    assert len(webhooks(kapso_sandbox)) == 8


def test_where_this_site_was_told_twice_one_webhook_is_left(kapso_sandbox: Sandbox) -> None:
    run("--set", "http://localhost:8200")
    run("--set", HERE)
    for row in webhooks(kapso_sandbox):
        row["url"] = row["url"].replace("localhost:8200", "127.0.0.1:8100")
    status, output = run("--set", HERE)
    assert (status, output.count("updated"), output.count("removed")) == (0, 4, 4)
    assert {row["url"].split("/")[2] for row in webhooks(kapso_sandbox)} == {"localhost:8100"}


@pytest.mark.parametrize(
    "hosts",
    [["*"], [".example.com"], ["crm.example.com", "staging.example.com"]],
)
def test_allowed_hosts_do_not_make_another_deployments_webhooks_this_sites(
    kapso_sandbox: Sandbox, settings: Any, hosts: list[str]
) -> None:
    settings.ALLOWED_HOSTS = hosts
    run("--set", "https://staging.example.com")
    run("--set", SITE)
    assert len(webhooks(kapso_sandbox)) == 8


def test_a_webhook_with_an_address_that_is_none_is_left_alone(kapso_sandbox: Sandbox) -> None:
    run("--set", SITE)
    webhooks(kapso_sandbox)[0]["url"] = "https://[crm/kapso-inbox/webhooks/default/"
    assert run()[0] == 1
    run("--set", SITE)
    assert len(webhooks(kapso_sandbox)) == 5


def test_a_new_secret_is_given_to_kapso_while_the_old_one_is_still_accepted(
    kapso_sandbox: Sandbox, settings: Any, post: Post
) -> None:
    run("--set", SITE)
    secrets = ["a-new-secret", SECRET]
    settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, "WEBHOOK_SECRETS": {"default": secrets}}
    run("--set", SITE)
    assert {row["secret_key"] for row in webhooks(kapso_sandbox)} == {"a-new-secret"}
    for secret in secrets:
        assert post("whatsapp.message.received", about(1), secret=secret).status_code == 200


def test_a_test_event_makes_no_conversation(
    kapso_sandbox: Sandbox, client: Client, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    run("--set", "https://testserver")
    assert run("--test", "https://testserver")[0] == 0
    responses = kapso_sandbox.deliver(client)
    assert [one.status_code for one in responses] == [200] * 4
    assert not Conversation.objects.exists()
    assert {one.outcome for one in WebhookDelivery.objects.all()} == {"ignored"}


@pytest.mark.parametrize("site", ["crm.example.com", "http://crm.example.com", "https://a.b/c"])
def test_an_address_that_is_not_one_is_an_error(kapso_sandbox: Sandbox, site: str) -> None:
    status, output = run("--set", site)
    assert status == 2
    assert "such as https://crm.example.com" in output
    assert webhooks(kapso_sandbox) == []


def test_without_a_secret_nothing_is_created(kapso_sandbox: Sandbox, settings: Any) -> None:
    settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, "WEBHOOK_SECRETS": {}}
    status, output = run("--set", SITE)
    assert status == 2
    assert "WEBHOOK_SECRETS" in output
    assert webhooks(kapso_sandbox) == []


def test_a_read_only_deployment_changes_no_webhook(kapso_sandbox: Sandbox, settings: Any) -> None:
    settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, "READ_ONLY": True}
    assert run("--set", SITE)[0] == 2
    assert webhooks(kapso_sandbox) == []


def test_a_failure_leaves_what_was_done_and_can_be_repeated(kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.fail_next(method="POST", path="phone_numbers", drop=True)
    status, output = run("--set", SITE)
    assert status == 2
    assert "Run the command again" in output
    assert SECRET not in output
    assert run("--set", SITE)[0] == 0
    assert run()[0] == 0


def test_the_json_holds_no_secret(kapso_sandbox: Sandbox) -> None:
    run("--set", SITE)
    status, output = run("--json")
    told = json.loads(output)
    assert (status, told["ok"], len(told["webhooks"])) == (0, True, 4)
    assert SECRET not in output


def codes(**options: Any) -> dict[str, str]:
    return {one.code: one.what for one in diagnose(["default"], **options)}


def test_the_doctor_finds_missing_paused_and_incomplete_webhooks(
    kapso_sandbox: Sandbox, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["crm.example.com"]
    assert "webhooks-missing" in codes()
    run("--set", SITE)
    found = codes()
    assert not {"webhooks-missing", "webhook-paused", "webhook-events-missing"} & found.keys()
    first, second, *_rest = webhooks(kapso_sandbox)
    first["active"] = False
    second["events"] = second["events"][:1]
    found = codes()
    assert {"webhook-paused", "webhook-events-missing"} <= found.keys()
    settings.ALLOWED_HOSTS = ["other.example.com"]
    assert "webhook-elsewhere" in codes()


def test_the_doctor_asks_nothing_of_kapso_if_it_must_not(kapso_sandbox: Sandbox) -> None:
    codes(network=False)
    assert kapso_sandbox.requests == []


def test_the_health_page_asks_for_the_webhooks_once(kapso_sandbox: Sandbox) -> None:
    codes(remembered_for=60)
    asked = len(kapso_sandbox.requests)
    codes(remembered_for=60)
    assert len(kapso_sandbox.requests) == asked


def know(first_seen: timedelta, last_active: timedelta) -> None:
    """Store a conversation, with how long ago it was first seen and last active."""
    now = timezone.now()
    Conversation.objects.create(
        kapso_id=f"c-{Conversation.objects.count()}",
        project="default",
        created_at=now - first_seen,
        last_active_at=now - last_active,
    )


def test_the_doctor_finds_that_webhooks_never_arrived(kapso_sandbox: Sandbox, post: Post) -> None:
    know(first_seen=timedelta(hours=2), last_active=timedelta(0))
    assert "webhooks-silent" in codes(network=False)
    post("whatsapp.message.received", about(100))
    assert "webhooks-arrive" in codes(network=False)


def test_the_doctor_finds_that_webhooks_stopped_arriving(
    kapso_sandbox: Sandbox, post: Post
) -> None:
    know(first_seen=timedelta(days=3), last_active=timedelta(0))
    post("whatsapp.message.received", about(100))
    WebhookDelivery.objects.update(received_at=timezone.now() - timedelta(hours=2))
    assert "webhooks-silent" in codes(network=False)


def test_what_the_first_sync_brought_is_no_sign_that_webhooks_are_missing(
    kapso_sandbox: Sandbox,
) -> None:
    know(first_seen=timedelta(0), last_active=timedelta(0))
    know(first_seen=timedelta(0), last_active=timedelta(days=3))
    assert "webhooks-silent" not in codes(network=False)


def test_a_message_of_which_no_delivery_can_be_on_record_any_more_is_no_sign_either(
    kapso_sandbox: Sandbox,
) -> None:
    know(first_seen=timedelta(days=30), last_active=timedelta(days=8))
    assert "webhooks-silent" not in codes(network=False)
    know(first_seen=timedelta(days=30), last_active=timedelta(days=6))
    assert "webhooks-silent" in codes(network=False)


def test_the_doctor_finds_refused_signatures_until_one_is_accepted(post: Post) -> None:
    post("whatsapp.message.received", about(1), secret="wrong")
    found = codes(network=False)
    assert "webhook-signatures-refused" in found
    post("whatsapp.message.received", about(1))
    assert "webhook-signatures-refused" not in codes(network=False)


def test_the_doctor_tells_of_events_that_are_not_recognised(post: Post) -> None:
    post("whatsapp.call.started", {"call": "14155550123", "secret_field": 1})
    what = codes(network=False)["webhook-not-recognised"]
    assert "whatsapp.call.started" in what
    assert "call, secret_field" in what
    assert "14155550123" not in what
