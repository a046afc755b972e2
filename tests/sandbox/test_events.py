"""What people do in the sandbox's conversations, and what its webhooks are told of it."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import timedelta

import pytest

from kapso_inbox.sandbox.embeds import from_iso
from kapso_inbox.sandbox.seed import CONTACTS
from kapso_inbox.sandbox.webhooks import NUMBER_EVENTS, PROJECT_EVENTS
from kapso_inbox.sandbox.wire import RefusedRequestError

URL = "https://crm.example.com/hook/"


@pytest.fixture
def hook(project):
    """Subscribe to everything of all numbers and of the project, and return the function."""

    def hook(**settings):
        settings = {"url": URL, "secret_key": "s3cret", **settings}
        for number in project.phone_numbers:
            project.webhooks.create(
                {"events": list(NUMBER_EVENTS), **settings}, number["phone_number_id"]
            )
        project.webhooks.create({**settings, "events": list(PROJECT_EVENTS)})

    return hook


@pytest.fixture
def told(project, hook):
    """Return a function that returns the events that were queued since its last call."""
    hook()
    seen = []

    def told():
        new = project.deliveries[len(seen) :]
        seen.extend(new)
        return [(one.event, json.loads(one.body)) for one in new]

    return told


def listed(call, conversation_id):
    return call("GET", f"/whatsapp/conversations/{conversation_id}")[1]["data"]


def test_a_customer_goes_on_with_an_active_conversation(project, call, told, clock):
    row = next(one for one in project.conversations if one["contact_name"] == "Marcus Oyelaran")
    clock.advance(minutes=1)
    assert project.customer_writes("Marcus Oyelaran", "Any news?") is row
    [(event, body)] = told()
    assert event == "whatsapp.message.received"
    message = row["messages"][-1]
    assert body == {
        "message": {
            "id": message["id"],
            "timestamp": str(int(clock().timestamp())),
            "type": "text",
            "text": {"body": "Any news?"},
            "kapso": {
                "direction": "inbound",
                "status": "received",
                "processing_status": "completed",
                "origin": "cloud_api",
                "has_media": False,
                "content": "Any news?",
            },
        },
        "conversation": {
            **{
                key: value
                for key, value in listed(call, row["id"]).items()
                if key not in ("business_scoped_user_id", "username")
            },
            "phone_number": "+12025550114",
        },
        "is_new_conversation": False,
        "phone_number_id": project.phone_numbers[0]["phone_number_id"],
    }
    shown = listed(call, row["id"])
    assert shown["kapso"]["last_inbound_at"] == shown["last_active_at"] == message["timestamp"]


def test_somebody_new_begins_a_conversation_with_the_number_that_is_named(project, call, told):
    row = project.customer_writes("+1 202 555 0777", "Hello", number="Support", name="Mo")
    (created, first), (received, second) = told()
    assert (created, received) == ("whatsapp.conversation.created", "whatsapp.message.received")
    assert first["conversation"]["id"] == second["conversation"]["id"] == row["id"]
    assert second["is_new_conversation"] is True
    assert second["phone_number_id"] == project.phone_numbers[1]["phone_number_id"]
    shown = listed(call, row["id"])
    assert (shown["phone_number"], shown["kapso"]["contact_name"]) == ("12025550777", "Mo")
    assert shown["kapso"]["last_outbound_at"] is None


def test_who_writes_after_the_end_begins_another_conversation(project, told):
    row = project.customer_writes("+12025550777", "Hello", name="Mo")
    project.end(row["id"])
    again = project.customer_writes("12025550777", "Me again")
    assert again["id"] != row["id"]
    assert again["contact_name"] == "Mo"
    assert [event for event, _ in told()] == [
        "whatsapp.conversation.created",
        "whatsapp.message.received",
        "whatsapp.conversation.ended",
        "whatsapp.conversation.created",
        "whatsapp.message.received",
    ]


def test_a_person_without_a_shown_number_has_an_id_and_perhaps_a_username(project, call, told):
    row = project.customer_writes("US.1a2B3c", "Hi", username="quietfox")
    assert project.customer_writes("US.1a2B3c", "Hi again") is row
    _, (_, body), _ = told()
    assert body["conversation"]["phone_number"] is None
    assert body["conversation"]["business_scoped_user_id"] == "US.1a2B3c"
    assert body["conversation"]["username"] == "quietfox"
    assert body["message"]["from_user_id"] == "US.1a2B3c"
    shown = listed(call, row["id"])
    assert (shown["phone_number"], shown["username"]) == (None, "quietfox")


def test_a_contact_of_the_seeds_writes(project):
    contact = CONTACTS[1]
    assert project.customer_writes(contact, "Hi")["contact_name"] == contact.name
    stranger = contact._replace(phone="+12025550777", name="Mo")
    assert project.customer_writes(stranger, "Hi")["contact_name"] == "Mo"


def test_nobody_of_an_unknown_name_writes_and_nobody_to_an_unknown_number(project):
    with pytest.raises(LookupError, match="Nobody"):
        project.customer_writes("Nobody", "Hello")
    with pytest.raises(LookupError, match="no number"):
        project.customer_writes("Marcus Oyelaran", "Hello", number="Nowhere")


def test_an_agent_answers(project, call, told, clock):
    row = project.customer_writes("+12025550777", "Hello")
    told()
    clock.advance(seconds=1)
    message = project.agent_writes(row["id"], "Hi!")
    [(event, body)] = told()
    assert event == "whatsapp.message.sent"
    assert body["message"]["kapso"]["direction"] == "outbound"
    assert body["message"]["kapso"]["origin"] == "cloud_api"
    shown = listed(call, row["id"])["kapso"]
    assert shown["last_outbound_at"] == message["timestamp"] > shown["last_inbound_at"]
    assert row["unread_count"] == 0
    with pytest.raises(RefusedRequestError):
        project.agent_writes("nowhere", "Hi!")


def test_a_message_arrives_is_read_and_fails(project, told):
    row = project.customer_writes("+12025550777", "Hello")
    message = project.agent_writes(row["id"], "Hi!")
    told()
    project.set_status(message["id"], "delivered")
    project.set_status(message["id"], "read")
    project.message_fails(message["id"], "Number is blocked")
    (delivered, first), (read, second), (failed, third) = told()
    assert [delivered, read, failed] == [
        "whatsapp.message.delivered",
        "whatsapp.message.read",
        "whatsapp.message.failed",
    ]
    assert "kapso" not in first["conversation"]
    assert "kapso" in second["conversation"]
    assert "kapso" not in third["conversation"]
    [status] = third["message"]["kapso"]["statuses"]
    assert status["errors"][0]["title"] == "Number is blocked"
    with pytest.raises(LookupError):
        project.set_status("wamid.none", "read")


def test_a_reaction_is_no_message(project, call, told, clock):
    row = project.customer_writes("+12025550777", "Hello")
    message = project.agent_writes(row["id"], "Hi!")
    before = listed(call, row["id"])["kapso"]
    told()
    clock.advance(seconds=5)
    project.reacts(row["id"], "👍")
    [(event, body)] = told()
    assert event == "whatsapp.message.received"
    assert body["message"]["type"] == "reaction"
    assert body["message"]["reaction"] == {"emoji": "👍", "message_id": message["id"]}
    after = listed(call, row["id"])["kapso"]
    assert after["last_inbound_at"] == before["last_inbound_at"]
    assert row["unread_count"] == 0


def test_history_is_old(project, call, told, clock):
    row = project.customer_writes("+12025550777", "Hello")
    before = listed(call, row["id"])
    told()
    project.history_sync(row["id"], "Long ago", clock() - timedelta(days=90))
    [(event, body)] = told()
    assert event == "whatsapp.message.received"
    assert body["message"]["kapso"]["origin"] == "history_sync"
    assert int(body["message"]["timestamp"]) == int(clock().timestamp()) - 90 * 86400
    after = listed(call, row["id"])
    assert after["kapso"]["last_inbound_at"] == before["kapso"]["last_inbound_at"]
    assert after["last_active_at"] == before["last_active_at"]


def test_a_hand_off_is_told_to_the_project_as_in_production(project, told):
    row = project.conversations[3]
    project.hand_off(row["id"], "Wants to talk to somebody")
    [(event, body)] = told()
    assert event == body["event"] == "workflow.execution.handoff"
    assert body["whatsapp_conversation_id"] == row["id"]
    assert body["handoff"]["reason"] == "Wants to talk to somebody"
    assert (body["status"], body["channel"]) == ("handoff", "whatsapp")
    assert not {"tracking_id", "phone_number_id", "whatsapp_config"} & set(body)
    assert row["handoff"] is True


def test_what_kapso_tells_nobody_is_told_to_nobody(project, told):
    row = project.conversations[0]
    project.agent_reads(row["id"])
    project.end_handoff(row["id"])
    project.assign(row["id"], project.users[0]["user_id"], {})
    assert told() == []
    assert (row["unread_count"], row["handoff"]) == (0, False)


def test_an_end_is_told_once(project, told):
    row = project.conversations[0]
    project.end(row["id"])
    project.end(row["id"])
    [(event, body)] = told()
    assert (event, body["conversation"]["status"]) == ("whatsapp.conversation.ended", "ended")


def test_somebody_who_is_not_waiting_writes_within_the_scope_of_an_embed(project, created):
    user = project.users[1]["user_id"]
    embed = project.find(created(assigned_user_id=user)["id"])
    for _ in range(5):
        row = project.somebody_writes(embed)
        assert row["assigned_user_id"] == user
        assert row["messages"][-1]["direction"] == "inbound"
    project.conversations.clear()
    with pytest.raises(LookupError):
        project.somebody_writes(embed)


def test_every_change_has_a_new_version(project):
    row = project.conversations[0]
    versions = [project.version]
    for change in (
        lambda: project.customer_writes("+12025550777", "Hello"),
        lambda: project.agent_writes(row["id"], "Hi"),
        lambda: project.hand_off(row["id"]),
        lambda: project.agent_reads(row["id"]),
        lambda: project.end(row["id"]),
        project.reset,
    ):
        change()
        versions.append(project.version)
    assert len(set(versions)) == len(versions)


# --- bodies ---


def test_old_bodies_have_other_names(project, hook, clock):
    hook(payload_version="v1")
    row = project.customer_writes("+12025550777", "Hello")
    created, received = project.deliveries
    body = json.loads(received.body)
    assert body["message"] == {
        "id": row["messages"][0]["id"],
        "message_type": "text",
        "content": "Hello",
        "direction": "inbound",
        "status": "received",
        "whatsapp_message_id": row["messages"][0]["id"],
        "created_at": "2026-11-05T09:30:00.000Z",
    }
    assert body["conversation"]["phone_number"] == "+12025550777"
    assert "phone_number_id" not in body
    config = body["whatsapp_config"]
    assert config["phone_number_id"] == project.phone_numbers[0]["phone_number_id"]
    assert received.headers["X-Webhook-Payload-Version"] == "v1"
    assert json.loads(created.body)["conversation"]["id"] == row["id"]


def test_the_signature_is_of_the_body_as_it_is_sent(project, hook):
    hook(headers={"X-Own": "1", "X-Webhook-Event": "mine"})
    project.customer_writes("Lucía Ferrer", "¿Sí? ✓")
    [one] = project.deliveries
    expected = hmac.new(b"s3cret", one.body, hashlib.sha256).hexdigest()
    assert one.headers["X-Webhook-Signature"] == expected
    assert one.headers["X-Webhook-Event"] == "whatsapp.message.received"
    assert one.headers["X-Own"] == "1"
    # Who signs what was parsed and written again is wrong.
    assert json.dumps(json.loads(one.body)).encode() != one.body
    assert "✓".encode() in one.body


def test_only_events_that_are_subscribed_to_are_sent(project):
    number = project.phone_numbers[0]["phone_number_id"]
    settings = {"url": URL, "secret_key": "s", "events": ["whatsapp.message.sent"]}
    project.webhooks.create(settings, number)
    off = project.webhooks.create({**settings, "active": False}, number)
    row = project.customer_writes("Marcus Oyelaran", "Hello")
    project.agent_writes(row["id"], "Hi")
    project.customer_writes("+12025550777", "Hello", number="Support")
    assert [one.event for one in project.deliveries] == ["whatsapp.message.sent"]
    assert off["id"] not in {one.webhook_id for one in project.deliveries}


def test_a_time_of_a_message_is_its_time_in_the_list(project, hook):
    hook()
    row = project.customer_writes("+12025550777", "Hello")
    body = json.loads(project.deliveries[-1].body)
    moment = from_iso(body["conversation"]["kapso"]["last_inbound_at"])
    assert int(moment.timestamp()) == int(body["message"]["timestamp"])
    assert row["last_active_at"] == body["conversation"]["last_active_at"]
