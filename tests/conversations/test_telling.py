"""The host is told after the response, or by its own task queue, and never twice."""

from __future__ import annotations

import logging
from threading import Event
from typing import Any

import django
import pytest
import requests
from django.http import HttpRequest
from django.test import Client, RequestFactory

from kapso_inbox.conversations.events import as_json, from_json
from kapso_inbox.conversations.models import Conversation
from kapso_inbox.conversations.signals import message_received
from kapso_inbox.conversations.views import webhook_view
from tests.hosts.database import connection

from .conftest import Post, about, ended, handoff, sign

pytestmark = pytest.mark.django_db

RECEIVED = "whatsapp.message.received"


@pytest.fixture
def received() -> Any:
    events: list[Any] = []

    def receive(sender: Any, event: Any, **kwargs: Any) -> None:
        events.append(event)

    message_received.connect(receive)
    yield events
    message_received.disconnect(receive)


def request_of(body: bytes) -> HttpRequest:
    headers = {"X-Webhook-Event": RECEIVED, "X-Webhook-Signature": sign(body)}
    return RequestFactory().post(
        "/kapso-inbox/webhooks/default/", body, content_type="application/json", headers=headers
    )


def test_receivers_run_once_the_response_is_sent(received: list[Any]) -> None:
    response = webhook_view(request_of(json_of(about(1))), "default")
    assert response.status_code == 200
    assert Conversation.objects.exists()
    assert received == []
    response.close()  # as a server does, once it has sent the response
    response.close()
    assert len(received) == 1


def json_of(body: Any) -> bytes:
    import json

    return json.dumps(body).encode()


@pytest.mark.django_db(transaction=True)
def test_kapso_is_answered_however_long_a_receiver_takes(live_server: Any) -> None:
    answered, ended = Event(), Event()

    def receive(**kwargs: Any) -> None:
        assert answered.wait(20), "the receiver runs before Kapso is answered"
        ended.set()

    message_received.connect(receive)
    try:
        body = json_of(about(1))
        headers = {"X-Webhook-Event": RECEIVED, "X-Webhook-Signature": sign(body)}
        address = f"{live_server.url}/kapso-inbox/webhooks/default/"
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(address, data=body, headers=headers, timeout=15)
        assert answer.status_code == 200
        answered.set()
        assert ended.wait(20)
    finally:
        message_received.disconnect(receive)


def test_a_body_that_a_middleware_has_read_is_still_known() -> None:
    request = request_of(json_of(about(1)))
    assert request.body
    assert request.POST == {}
    assert webhook_view(request, "default").status_code == 200


def test_a_stream_that_a_middleware_has_read_is_said_where_the_developer_looks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    request = request_of(json_of(about(1)))
    request.read()
    assert webhook_view(request, "default").status_code == 400
    assert "a middleware has read the request's stream" in caplog.text


@pytest.mark.parametrize("body", [about(1), ended(2), handoff(3)], ids=["m", "e", "h"])
def test_an_event_survives_a_queue(post: Post, body: Any) -> None:
    from datetime import datetime, timezone

    from kapso_inbox.conversations.events import read_events

    name = {"message": RECEIVED, "event": ""}.get(next(iter(body)), "whatsapp.conversation.ended")
    now = datetime.now(timezone.utc)
    [event] = read_events("default", json_of(body), name, received_at=now)
    assert from_json(as_json(event)) == event  # type: ignore[arg-type]


@pytest.mark.skipif(django.VERSION < (6, 0), reason="Django has tasks from 6.0 on.")
class TestTaskQueue:
    @pytest.fixture(autouse=True)
    def queue(self, settings: Any) -> Any:
        from .queue import Queue

        settings.TASKS = {"default": {"BACKEND": "tests.conversations.queue.Queue"}}
        Queue.queued.clear()
        yield Queue
        Queue.fails = False

    def test_a_worker_runs_the_receivers(self, queue: Any, post: Post, received: list[Any]) -> None:
        post(RECEIVED, about(1, text="Hola"), key="same")
        post(RECEIVED, about(1, text="Hola"), key="same")
        assert received == []
        queue.work()
        assert [event.text for event in received] == ["Hola"]

    def test_a_queue_that_fails_is_said_and_nothing_is_told_twice(
        self, queue: Any, post: Post, received: list[Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        queue.fails = True
        assert post(RECEIVED, about(1, text="secret matter")).status_code == 200
        assert received == []
        assert "task queue failed (ConnectionError)" in caplog.text
        assert "secret matter" not in caplog.text


def test_a_database_that_fails_is_answered_so_that_kapso_tries_again(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    from django.db import OperationalError

    def fail(*args: Any) -> Any:
        raise OperationalError("secret matter")

    with caplog.at_level(logging.ERROR), connection.execute_wrapper(fail):
        assert post(RECEIVED, about(1), via=Client()).status_code == 503
    assert "secret matter" not in caplog.text
