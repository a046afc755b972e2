"""Conversations, messages, contacts, assignments and webhooks, as the sandbox's API tells them."""

from __future__ import annotations

import json
import uuid

import pytest

from kapso_inbox.kapso import KapsoClient, NotFoundError, UncertainError
from kapso_inbox.sandbox.embeds import from_iso
from kapso_inbox.sandbox.engine import Answer

from .conftest import API_KEY

CONVERSATIONS = "/whatsapp/conversations"
RECEIVED, HANDOFF = "whatsapp.message.received", "workflow.execution.handoff"


def data(answer):
    status, body = answer
    assert status == 200, body
    return body["data"]


# --- lists with cursors ---


def test_cursors_lead_through_the_whole_list_and_back(project, call):
    expected = sorted(
        project.conversations, key=lambda row: (row["last_active_at"], row["id"]), reverse=True
    )
    found, pages, query = [], [], {}
    while True:
        _, body = call("GET", CONVERSATIONS, limit="10", **query)
        found += [row["id"] for row in body["data"]]
        pages.append(body)
        if not body["paging"]["next"]:
            break
        assert body["paging"]["next"] == body["paging"]["cursors"]["after"]
        query = {"after": body["paging"]["next"]}
    assert found == [row["id"] for row in expected]
    assert pages[0]["paging"]["previous"] is None
    assert pages[-1]["paging"]["cursors"]["after"] is not None
    before = pages[2]["paging"]["cursors"]["before"]
    assert call("GET", CONVERSATIONS, limit="10", before=before)[1] == pages[1]


def test_a_list_holds_twenty_and_at_most_a_hundred(sandbox, project, call):
    for number in range(100):
        project.customer_writes(f"+1202555{number:04d}", "Hello")
    assert len(data(call("GET", CONVERSATIONS))) == 20
    assert len(data(call("GET", CONVERSATIONS, limit="500"))) == 100
    assert len(data(call("GET", CONVERSATIONS, limit="x"))) == 20
    sandbox.max_per_page = 3
    assert len(data(call("GET", CONVERSATIONS, limit="500"))) == 3


def test_a_new_message_between_two_pages_repeats_and_skips_nothing_else(project, call):
    _, first = call("GET", CONVERSATIONS, limit="5")
    project.customer_writes("+12025550999", "Hello")
    _, second = call("GET", CONVERSATIONS, limit="5", after=first["paging"]["next"])
    ids = [row["id"] for row in first["data"] + second["data"]]
    assert len(set(ids)) == 10


@pytest.mark.parametrize("query", [{"after": "%"}, {"before": "x"}, {"page": "51"}])
def test_an_invalid_cursor_and_a_page_too_far_are_refused(call, query):
    status, body = call("GET", CONVERSATIONS, **query)
    assert (status, body["error"]["code"]) == (400, "bad_request")


def test_these_lists_also_have_numbered_pages(call):
    _, body = call("GET", CONVERSATIONS, page="2", per_page="5")
    assert (body["meta"]["page"], len(body["data"])) == (2, 5)


# --- conversations ---


def test_a_conversation_has_the_fields_that_kapso_documents(project, call):
    [row] = [row for row in project.conversations if row["contact_name"] == "Marcus Oyelaran"][:1]
    shown = data(call("GET", f"{CONVERSATIONS}/{row['id']}"))
    number = project.phone_numbers[0]
    last = row["messages"][-1]
    assert shown == {
        "id": row["id"],
        "phone_number": "12025550114",
        "business_scoped_user_id": None,
        "username": None,
        "status": "active",
        "last_active_at": row["last_active_at"],
        "created_at": row["messages"][0]["timestamp"],
        "updated_at": row["last_active_at"],
        "metadata": {},
        "phone_number_id": number["phone_number_id"],
        "kapso": {
            "contact_name": "Marcus Oyelaran",
            "messages_count": 6,
            "last_message_id": last["id"],
            "last_message_type": "text",
            "last_message_timestamp": last["timestamp"],
            "last_message_text": last["text"],
            "last_inbound_at": last["timestamp"],
            "last_outbound_at": row["messages"][-2]["timestamp"],
        },
    }


def test_conversations_are_filtered(project, call):
    number, user = project.phone_numbers[1], project.users[1]["user_id"]

    def found(**query):
        ids = {one["id"] for one in data(call("GET", CONVERSATIONS, limit="100", **query))}
        return [row for row in project.conversations if row["id"] in ids]

    def rows(fits):
        return [row for row in project.conversations if fits(row)]

    assert found(phone_number_id=number["phone_number_id"]) == rows(
        lambda row: row["whatsapp_config_id"] == number["internal_id"]
    )
    assert found(status="ended") == rows(lambda row: row["status"] == "ended")
    assert found(assigned_user_id=user) == rows(lambda row: row["assigned_user_id"] == user)
    assert found(unassigned="true") == rows(lambda row: not row["assigned_user_id"])
    assert found(phone_number="+34 600") == rows(lambda row: row["phone"].startswith("+34600"))
    moment = sorted(row["last_active_at"] for row in project.conversations)[10]
    assert found(last_active_after=moment) == rows(lambda row: row["last_active_at"] > moment)
    assert found(last_active_before=moment) == rows(lambda row: row["last_active_at"] < moment)
    assert found(created_after=moment) == rows(lambda row: row["created_at"] > moment)
    assert found(created_before=moment) == rows(lambda row: row["created_at"] < moment)
    assert found(phone_number="99999") == []


@pytest.mark.parametrize(
    "query", [{"unassigned": "true", "assigned_user_id": "x"}, {"last_active_after": "soon"}]
)
def test_filters_that_make_no_sense_are_refused(call, query):
    assert call("GET", CONVERSATIONS, **query)[0] == 400


def test_a_conversation_is_ended(project, call):
    row = project.conversations[0]
    path = f"{CONVERSATIONS}/{row['id']}"
    change = {"whatsapp_conversation": {"status": "ended"}}
    assert data(call("PATCH", path, change))["status"] == "ended"
    assert row["status"] == "ended"
    assert call("PATCH", path, {"whatsapp_conversation": {"status": "gone"}})[0] == 422
    assert call("PATCH", path, {"status": "ended"})[0] == 400
    assert call("PATCH", f"{CONVERSATIONS}/{uuid.uuid4()}", change)[0] == 404


# --- messages and contacts ---


def test_messages_are_listed_the_newest_first_with_times_in_seconds(project, call):
    rows = data(call("GET", "/whatsapp/messages", limit="100"))
    times = [int(row["timestamp"]) for row in rows]
    assert times == sorted(times, reverse=True)
    newest = max(
        (message for row in project.conversations for message in row["messages"]),
        key=lambda message: message["timestamp"],
    )
    assert rows[0]["timestamp"] == str(int(from_iso(newest["timestamp"]).timestamp()))


def test_messages_are_filtered(project, call):
    row = project.conversations[1]

    def found(**query):
        return data(call("GET", "/whatsapp/messages", limit="100", **query))

    ids = {message["id"] for message in row["messages"]}
    assert {one["id"] for one in found(conversation_id=row["id"])} == ids
    assert {one["phone_number"] for one in found(phone_number="12025550114")} == {"12025550114"}
    assert {one["kapso"]["direction"] for one in found(direction="inbound")} == {"inbound"}
    assert {one["kapso"]["status"] for one in found(status="delivered")} == {"delivered"}
    assert {one["type"] for one in found(message_type="image")} == {"image"}
    number = project.phone_numbers[2]["phone_number_id"]
    assert {one["kapso"]["phone_number_id"] for one in found(phone_number_id=number)} == {number}
    assert found(business_scoped_user_id="US.1") == []


def test_each_person_is_one_contact(project, call):
    rows = data(call("GET", "/whatsapp/contacts", limit="100"))
    assert {row["wa_id"] for row in rows} == {row["phone"][1:] for row in project.conversations}
    assert len(rows) == 24
    customer = project.customers[0]["id"]
    ours = data(call("GET", "/whatsapp/contacts", customer_id=customer))
    assert ours == [row for row in rows if row["customer_id"] == customer]
    assert "Lucía Ferrer" in {row["profile_name"] for row in ours}


# --- assignments ---


def test_a_conversation_is_assigned_to_one_person_at_a_time(project, call):
    row = next(one for one in project.conversations if one["assigned_user_id"])
    path = f"{CONVERSATIONS}/{row['id']}/assignments"
    [first] = data(call("GET", path))
    assert (first["user_id"], first["active"]) == (row["assigned_user_id"], True)
    user = project.users[3]["user_id"]
    status, body = call("POST", path, {"assignment": {"user_id": user, "notes": "Call her"}})
    assert (status, body["data"]["notes"]) == (201, "Call her")
    assert [one["active"] for one in data(call("GET", path))] == [False, True]
    assert row["assigned_user_id"] == user
    assignment = f"{path}/{body['data']['id']}"
    assert data(call("PATCH", assignment, {"assignment": {"active": False}}))["active"] is False
    assert row["assigned_user_id"] is None
    assert call("POST", path, {"assignment": {"user_id": "nobody"}})[0] == 404
    assert call("PATCH", f"{path}/other", {"assignment": {"active": False}})[0] == 404


# --- webhooks ---


def webhook(**settings):
    return {
        "whatsapp_webhook": {
            "kind": "kapso",
            "url": "https://crm.example.com/hook/",
            "secret_key": "s3cret",
            "events": [HANDOFF],
            **settings,
        }
    }


def test_webhooks_are_created_read_changed_and_deleted(call):
    status, body = call("POST", "/whatsapp/webhooks", webhook(headers={"X-Own": "1"}))
    assert status == 201
    assert body["data"] == {
        "id": body["data"]["id"],
        "kind": "kapso",
        "url": "https://crm.example.com/hook/",
        "secret_key": "s3cret",  # told again, as Kapso does
        "events": [HANDOFF],
        "active": True,
        "headers": {"X-Own": "1"},
        "payload_version": "v2",
        "buffer_enabled": False,
        "inactivity_minutes": 60,
        "phone_number_id": None,
        "created_at": "2026-11-05T09:30:00.000Z",
        "updated_at": "2026-11-05T09:30:00.000Z",
    }
    path = f"/whatsapp/webhooks/{body['data']['id']}"
    assert data(call("GET", path)) == body["data"]
    assert data(call("GET", "/whatsapp/webhooks")) == [body["data"]]
    changed = data(call("PATCH", path, {"whatsapp_webhook": {"active": False, "id": "other"}}))
    assert changed == {**body["data"], "active": False}
    assert call("DELETE", path) == (204, None)
    assert call("GET", path)[0] == 404
    assert data(call("GET", "/whatsapp/webhooks")) == []


def test_the_webhooks_of_a_number_are_its_own(project, call):
    first, second = (one["phone_number_id"] for one in project.phone_numbers[:2])
    path = f"/whatsapp/phone_numbers/{first}/webhooks"
    status, body = call("POST", path, webhook(events=[RECEIVED]))
    assert (status, body["data"]["phone_number_id"]) == (201, first)
    assert data(call("GET", path)) == [body["data"]]
    assert data(call("GET", f"/whatsapp/phone_numbers/{second}/webhooks")) == []
    assert data(call("GET", "/whatsapp/webhooks")) == []
    assert call("GET", f"/whatsapp/webhooks/{body['data']['id']}")[0] == 404
    assert call("GET", "/whatsapp/phone_numbers/1/webhooks") == (
        404,
        {"error": "Phone number not found"},
    )


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"kind": "meta"}, "kind"),
        ({"url": "crm.example.com"}, "url"),
        ({"url": "ftp://crm.example.com"}, "url"),
        ({"url": "https://["}, "url"),
        ({"url": None}, "url"),
        ({"secret_key": " "}, "secret_key"),
        ({"secret_key": None}, "secret_key"),
        ({"events": []}, "events"),
        ({"events": "all"}, "events"),
        ({"events": [RECEIVED]}, "events"),
        ({"events": ["whatsapp.message.imagined"]}, "events"),
        ({"active": "yes"}, "active"),
        ({"headers": []}, "headers"),
        ({"payload_version": "v3"}, "payload_version"),
        ({"buffer_enabled": 1}, "buffer_enabled"),
    ],
)
def test_settings_of_a_webhook_that_kapso_would_refuse_are_reported(call, settings, field):
    status, body = call("POST", "/whatsapp/webhooks", webhook(**settings))
    assert (status, list(body["errors"])) == (422, [field])
    _, body = call("POST", "/whatsapp/webhooks", webhook())
    path = f"/whatsapp/webhooks/{body['data']['id']}"
    assert call("PATCH", path, {"whatsapp_webhook": settings})[0] == 422
    assert data(call("GET", path)) == body["data"]


def test_a_webhook_can_be_tested_with_any_of_its_events(project, call):
    number = project.phone_numbers[0]["phone_number_id"]
    below = f"/whatsapp/phone_numbers/{number}/webhooks"
    path = f"{below}/{call('POST', below, webhook(events=[RECEIVED]))[1]['data']['id']}/test"
    for event in (RECEIVED, "whatsapp.message.failed", "whatsapp.conversation.ended"):
        assert call("POST", path, event_type=event)[0] == 200
    assert [one.event for one in project.deliveries] == [
        RECEIVED,
        "whatsapp.message.failed",
        "whatsapp.conversation.ended",
    ]
    known = {row["id"] for row in project.conversations}
    assert json.loads(project.deliveries[0].body)["conversation"]["id"] not in known
    assert call("POST", path, event_type=HANDOFF)[0] == 422
    assert call("POST", path)[0] == 422
    own = call("POST", "/whatsapp/webhooks", webhook())[1]["data"]["id"]
    failed = "workflow.execution.failed"
    assert call("POST", f"/whatsapp/webhooks/{own}/test", event_type=failed)[0] == 200
    assert json.loads(project.deliveries[-1].body)["event"] == failed


# --- with the app's own client ---


@pytest.fixture
def client(settings, request):
    settings.KAPSO_INBOX = {"API_KEY": API_KEY}
    request.getfixturevalue("kapso_sandbox")
    return KapsoClient(API_KEY)


def test_the_client_reads_all_conversations(client, kapso_sandbox):
    kapso_sandbox.max_per_page = 7
    project = kapso_sandbox.project()
    listed = {one.id: one for one in client.conversations.list()}
    assert set(listed) == {row["id"] for row in project.conversations}
    row = project.conversations[0]
    moment = from_iso(row["messages"][-1]["timestamp"])
    assert listed[row["id"]].last_inbound_at == moment
    assert listed[row["id"]].phone_number == row["phone"][1:]
    later = client.conversations.list(last_active_after=moment)
    assert row["id"] not in {one.id for one in later}


def test_the_client_manages_webhooks(client, kapso_sandbox):
    project = kapso_sandbox.project()
    number = project.phone_numbers[0]["phone_number_id"]
    made = client.webhooks.create(
        number, url="http://localhost/hook/", secret_key="s3cret", events=[RECEIVED]
    )
    assert list(client.webhooks.list(number)) == [made]
    assert client.webhooks.update(made.id, {"active": False}, number).active is False
    client.webhooks.test(made.id, RECEIVED, number)
    assert len(project.deliveries) == 1
    client.webhooks.delete(made.id, number)
    assert list(client.webhooks.list(number)) == []
    with pytest.raises(NotFoundError):
        client.webhooks.delete(made.id, number)


def test_a_list_that_is_answered_with_another_page_is_uncertain(client, kapso_sandbox):
    answer = Answer(
        200, {"data": [{"id": "1"}], "paging": {"next": "c", "cursors": {"after": "c"}}}
    )
    kapso_sandbox.fail_next(answer=answer, times=9)
    with pytest.raises(UncertainError):
        list(client.conversations.list())
