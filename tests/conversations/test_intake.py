"""Webhooks are taken in once each, whatever they hold and however they arrive."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from django.conf import settings
from django.test import Client, override_settings

from kapso_inbox.conversations.models import Conversation, WebhookDelivery
from kapso_inbox.conversations.signals import (
    conversation_ended,
    handoff_requested,
    message_failed,
    message_received,
    message_sent,
)

from .conftest import NUMBER, Post, about, at, ended, handoff, sign

pytestmark = pytest.mark.django_db

RECEIVED, SENT, FAILED = (f"whatsapp.message.{one}" for one in ("received", "sent", "failed"))
ENDED = "whatsapp.conversation.ended"
HANDOFF = "workflow.execution.handoff"


@pytest.fixture
def told() -> Any:
    """Collect what the host is told."""
    signals = (
        message_received,
        message_sent,
        message_failed,
        conversation_ended,
        handoff_requested,
    )
    events: list[Any] = []

    def receive(sender: Any, event: Any, **kwargs: Any) -> None:
        events.append(event)

    for signal in signals:
        signal.connect(receive)
    yield events
    for signal in signals:
        signal.disconnect(receive)


def test_a_message_makes_a_conversation_that_is_unanswered(post: Post, told: list[Any]) -> None:
    answer = post(RECEIVED, about(1, text="Is the shop open?"))
    assert (answer.status_code, answer.content) == (200, b"")
    row = Conversation.objects.get()
    assert (row.kapso_id, row.phone, row.name) == ("c-1", "14155550123", "Lucía Ferrer")
    assert (row.phone_number_id, row.status, row.unanswered) == (NUMBER, "active", True)
    [event] = told
    assert (event.text, event.person.phone, event.conversation_id) == (
        "Is the shop open?",
        "14155550123",
        "c-1",
    )
    assert event.at == at(1)
    assert "shop" not in repr(event)


def test_no_text_is_stored_unless_the_host_asks_for_it(post: Post) -> None:
    post(RECEIVED, about(1, text="secret matter"))
    assert Conversation.objects.get().last_text == ""
    with override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "STORE_TEXT": True}):
        post(RECEIVED, about(2, text="secret matter"))
        post(RECEIVED, about(1.5, text="an older one"))
    assert Conversation.objects.get().last_text == "secret matter"


@pytest.mark.parametrize("signature", ["", "0" * 64, "señal", "sha256=", "sha256=" + "0" * 64])
def test_a_wrong_signature_is_refused_without_a_word(
    post: Post, told: list[Any], signature: str
) -> None:
    answer = post(RECEIVED, about(1), X_Webhook_Signature=signature)
    assert (answer.status_code, answer.content) == (401, b"")
    assert not Conversation.objects.exists()
    assert told == []


def test_a_signature_may_name_its_method(post: Post) -> None:
    body = json.dumps(about(1)).encode()
    answer = post(RECEIVED, body, X_Webhook_Signature=f"sha256={sign(body)}")
    assert answer.status_code == 200


def test_what_another_project_signed_is_refused(post: Post) -> None:
    secrets = {"default": "a" * 20, "brand": ["b" * 20, "c" * 20]}
    with override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "WEBHOOK_SECRETS": secrets}):
        assert post(RECEIVED, about(1), secret="b" * 20).status_code == 401
        assert post(RECEIVED, about(1), project="brand", secret="a" * 20).status_code == 401
        assert post(RECEIVED, about(1), project="brand", secret="b" * 20).status_code == 200
        assert post(RECEIVED, about(2), project="brand", secret="c" * 20).status_code == 200
        assert post(RECEIVED, about(1), project="nobody", secret="").status_code == 401


def test_an_empty_secret_opens_nothing(post: Post) -> None:
    with override_settings(
        KAPSO_INBOX={**settings.KAPSO_INBOX, "WEBHOOK_SECRETS": {"default": ""}}
    ):
        assert post(RECEIVED, about(1), secret="").status_code == 401


def test_a_refused_signature_is_remembered_but_not_each_one(post: Post) -> None:
    for _ in range(3):
        post(RECEIVED, about(1), secret="wrong")
    assert [row.outcome for row in WebhookDelivery.objects.all()] == ["refused"]


def test_a_body_of_more_than_a_mebibyte_is_not_read(post: Post) -> None:
    assert post(RECEIVED, b" " * (1024 * 1024 + 1)).status_code == 413
    with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=100):
        assert post(RECEIVED, about(1)).status_code == 413


def test_it_needs_no_csrf_token_and_no_login(post: Post) -> None:
    assert post(RECEIVED, about(1), via=Client(enforce_csrf_checks=True)).status_code == 200


def test_it_works_behind_middleware_that_requires_a_login(post: Post, settings: Any) -> None:
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    assert post(RECEIVED, about(1)).status_code == 200


def test_a_get_is_not_allowed(client: Client) -> None:
    assert client.get("/kapso-inbox/webhooks/default/").status_code == 405


@pytest.mark.parametrize("same", ["key", "message", "both"])
def test_a_repetition_changes_nothing_and_is_told_once(
    post: Post, told: list[Any], same: str
) -> None:
    key = "3f0e" if same != "message" else ""
    message_id = "wamid.1" if same != "key" else ""
    for _ in range(3):
        assert post(RECEIVED, about(1, message_id=message_id), key=key).status_code == 200
    assert len(told) == 1
    assert WebhookDelivery.objects.count() == 1


def test_a_message_of_a_batch_that_comes_again_singly_is_known(post: Post, told: list[Any]) -> None:
    one, two = about(1, message_id="wamid.1"), about(2, message_id="wamid.2")
    body = {"type": RECEIVED, "batch": True, "data": [one, two], "batch_info": {"size": 2}}
    post(RECEIVED, body, X_Webhook_Batch="true")
    post(RECEIVED, two)
    post(RECEIVED, {**body, "data": [two, about(3, message_id="wamid.3")]})
    assert [event.message_id for event in told] == ["wamid.1", "wamid.2", "wamid.3"]


def test_a_batch_of_one_and_a_batch_without_a_header_are_read(post: Post, told: list[Any]) -> None:
    post("", {"type": RECEIVED, "batch": True, "data": [about(1)]})
    assert len(told) == 1


@pytest.mark.parametrize(
    "moment",
    [str(int(at(1).timestamp())), int(at(1).timestamp()), at(1).timestamp(), at(1).isoformat()],
    ids=["text", "integer", "number", "iso"],
)
def test_a_time_is_read_in_every_form(post: Post, told: list[Any], moment: Any) -> None:
    body = about(1)
    body["message"]["timestamp"] = moment
    post(RECEIVED, body)
    assert told[0].at == at(1)


def test_a_time_in_the_future_is_now(post: Post, told: list[Any]) -> None:
    post(RECEIVED, about(100_000))
    assert told[0].at <= datetime.now(timezone.utc)


def test_an_old_body_is_read(post: Post, told: list[Any]) -> None:
    body = {
        "message": {
            "id": "9d2f",
            "message_type": "text",
            "content": "Hola",
            "created_at": at(1).isoformat(),
        },
        "conversation": {"id": "c-1", "phone_number": "+14155550123"},
        "whatsapp_config": {"phone_number_id": NUMBER},
    }
    post(RECEIVED, body)
    assert (told[0].text, told[0].at, told[0].phone_number_id) == ("Hola", at(1), NUMBER)
    assert Conversation.objects.get().unanswered


def test_a_person_without_a_number_is_known_by_their_id(post: Post, told: list[Any]) -> None:
    hidden = {"phone_number": None, "business_scoped_user_id": "US.13491", "username": "lu"}
    post(RECEIVED, about(1, talk=hidden))
    row = Conversation.objects.get()
    assert (row.phone, row.business_scoped_user_id, row.username) == ("", "US.13491", "lu")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[1, 2]",
        b"null",
        b"[" * 100_000,
        b'{"message": "text", "conversation": {"id": "c"}, "password": "hunter2"}',
        b'{"message": {"id": "m"}, "conversation": null}',
        b'{"batch": true, "data": "none"}',
        b'{"batch": true, "data": [1, null, {"message": {}}]}',
        b'{"\\ud800": 1}',
        b'{"message": {"id": "m", "timestamp": 1e400}, "conversation": {"id": ""}}',
        b'{"message": {"id": "m"}, "conversation": {"id": "' + b"9" * 65 + b'"}}',
    ],
)
def test_what_cannot_be_read_is_answered_and_counted(post: Post, body: bytes) -> None:
    assert post(RECEIVED, body).status_code == 200
    rows = WebhookDelivery.objects.all()
    assert {row.outcome for row in rows} == {"unrecognised"}
    assert not any("hunter2" in row.keys for row in rows)


def test_long_and_odd_values_are_stored_as_far_as_they_fit(post: Post) -> None:
    odd = {
        "phone_number": "+" + "1" * 99,
        "username": "@" + "u" * 500,
        "business_scoped_user_id": "US." + "9" * 500,
        "status": "s" * 99,
        "kapso": {"contact_name": "\x00\ud800" + "N" * 999},
    }
    body = {**about(1, talk=odd), "phone_number_id": "8" * 99}
    assert post(RECEIVED, body, key="k" * 500).status_code == 200
    assert Conversation.objects.get().name.endswith("N")
    assert post(RECEIVED, about(1, talk=odd), key="k" * 500).status_code == 200
    assert WebhookDelivery.objects.count() == 1


def test_an_event_that_nobody_knows_is_kept_by_the_names_of_its_fields(post: Post) -> None:
    post("whatsapp.call.started", {"call": {"from": "14155550123"}, "phone_number_id": NUMBER})
    row = WebhookDelivery.objects.get()
    assert (row.event, row.outcome) == ("whatsapp.call.started", "unrecognised")
    assert row.keys == "call, phone_number_id"


@pytest.mark.parametrize("event", ["whatsapp.message.delivered", "whatsapp.message.read"])
def test_a_status_is_no_message(post: Post, told: list[Any], event: str) -> None:
    post(event, about(1))
    assert WebhookDelivery.objects.get().outcome == "ignored"
    assert not Conversation.objects.exists()
    assert told == []


def test_a_reaction_is_no_message(post: Post, told: list[Any]) -> None:
    post(RECEIVED, about(1))
    post(SENT, about(2))
    post(RECEIVED, about(3, kind="reaction"))
    assert not Conversation.objects.get().unanswered
    assert len(told) == 2


def test_an_imported_history_wakes_nobody(post: Post, told: list[Any]) -> None:
    post(RECEIVED, about(1, origin="history_sync"))
    assert told == []
    assert not Conversation.objects.unanswered().exists()


def test_an_answer_answers(post: Post) -> None:
    post(RECEIVED, about(1))
    post(SENT, about(2))
    assert not Conversation.objects.get().unanswered


def test_late_events_never_go_back_in_time(post: Post) -> None:
    post(SENT, about(5))
    post(RECEIVED, about(1, talk={"kapso": {"contact_name": "An old name"}}))
    row = Conversation.objects.get()
    assert not row.unanswered
    assert row.name == "Lucía Ferrer"
    post(ENDED, ended(9))
    post(RECEIVED, about(8))
    assert Conversation.objects.get().status == "ended"
    post(RECEIVED, about(10))
    assert Conversation.objects.get().status == "active"


def test_a_handoff_waits_for_a_human(post: Post, told: list[Any]) -> None:
    post(HANDOFF, handoff(1))
    assert Conversation.objects.waiting_for_human().count() == 1
    assert told[-1].reason == "asked for a person"


@pytest.mark.parametrize(("event", "body"), [(SENT, about(2)), (ENDED, ended(2))])
@pytest.mark.parametrize("order", [1, -1])
def test_a_handoff_ends_with_an_answer_or_the_conversation(
    post: Post, event: str, body: Any, order: int
) -> None:
    for name, what in [(HANDOFF, handoff(1)), (event, body)][::order]:
        post(name, what)
    assert not Conversation.objects.waiting_for_human().exists()


def test_a_handoff_ends_after_a_day(post: Post) -> None:
    post(HANDOFF, handoff(-24 * 60))
    assert not Conversation.objects.waiting_for_human().exists()


def test_a_message_that_the_workflow_sent_before_does_not_end_its_handoff(post: Post) -> None:
    post(SENT, about(1))
    post(HANDOFF, handoff(1))
    assert Conversation.objects.waiting_for_human().exists()


@pytest.mark.parametrize("name", ["whatsapp_conversation_id", "conversation_id", "conversation"])
def test_a_handoff_is_found_under_every_name(post: Post, name: str) -> None:
    body = handoff(1)
    value = body.pop("whatsapp_conversation_id")
    body[name] = {"id": value} if name == "conversation" else value
    post("", body)
    assert Conversation.objects.waiting_for_human().get().kapso_id == "c-1"


def test_an_ended_conversation_is_not_unanswered(post: Post, told: list[Any]) -> None:
    post(RECEIVED, about(1))
    post(ENDED, ended(2))
    assert not Conversation.objects.unanswered().exists()
    assert type(told[-1]).__name__ == "ConversationEnded"


def test_a_failed_message_is_told_with_its_reasons(post: Post, told: list[Any]) -> None:
    body = about(1, statuses=[{"errors": [{"code": 131026, "title": "Undeliverable"}]}])
    del body["conversation"]["kapso"]
    post(FAILED, body)
    assert told[0].errors == ("Undeliverable (131026)",)


def test_a_receiver_that_fails_changes_nothing(post: Post) -> None:
    def fail(**kwargs: Any) -> None:
        raise RuntimeError("the host's own")

    message_received.connect(fail)
    try:
        assert post(RECEIVED, about(1)).status_code == 200
    finally:
        message_received.disconnect(fail)
    assert Conversation.objects.exists()
