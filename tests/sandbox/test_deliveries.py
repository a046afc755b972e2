"""The sandbox's queue of deliveries: order, retries, batches and pausing."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from django.http import HttpResponse
from django.test import Client as DjangoClient
from django.urls import path

from kapso_inbox.sandbox import deliveries as module

RECEIVED, SENT = "whatsapp.message.received", "whatsapp.message.sent"
MO, ADA = "+12025550777", "+12025550778"


@pytest.fixture
def outbox(project):
    return project.webhooks.outbox


@pytest.fixture
def hook(project):
    def hook(**settings):
        settings = {
            "url": "https://x.example/",
            "secret_key": "s",
            "events": [RECEIVED],
            **settings,
        }
        return project.webhooks.create(settings, project.phone_numbers[0]["phone_number_id"])

    return hook


def answer(outbox, *statuses):
    """Answer what is due now with these statuses, and return how many were due."""
    due = outbox.due()
    for one, status in zip(due, statuses or [200] * len(due), strict=True):
        outbox.answered(one, status)
    return len(due)


def test_what_is_under_way_is_not_due_again(project, outbox, hook):
    hook()
    project.customer_writes(MO, "1")
    [one] = outbox.due()
    assert outbox.due() == outbox.waiting() == []
    outbox.answered(one, 200)
    assert (one.state, one.statuses) == ("delivered", [200])
    assert outbox.due() == []


@pytest.mark.parametrize("status", [0, 201, 302, 401, 500])
def test_a_failure_is_tried_again_after_10_40_and_90_seconds(project, outbox, hook, clock, status):
    hook()
    project.customer_writes(MO, "1")
    for pause in (10, 40, 90):
        assert answer(outbox, status) == 1
        clock.advance(seconds=pause - 1)
        assert outbox.due() == []
        clock.advance(seconds=1)
    [one] = outbox.due()
    key = one.headers["X-Idempotency-Key"]
    outbox.answered(one, status)
    assert (one.state, one.statuses) == ("failed", [status] * 4)
    clock.advance(days=1)
    assert outbox.due() == []
    project.customer_writes(MO, "2")
    assert outbox.due()[0].headers["X-Idempotency-Key"] != key


def test_a_conversation_is_in_order_for_thirty_seconds_and_others_do_not_wait(
    project, outbox, hook, clock
):
    hook()
    project.customer_writes(MO, "1")
    answer(outbox, 500)
    clock.advance(seconds=1)
    project.customer_writes(MO, "2")
    project.customer_writes(ADA, "3")
    [other] = outbox.due()
    assert json.loads(other.body)["message"]["text"]["body"] == "3"
    clock.advance(seconds=29)
    [first] = outbox.due()
    assert first.statuses == [500]
    clock.advance(seconds=1)
    [second] = outbox.due()
    assert json.loads(second.body)["message"]["text"]["body"] == "2"


def test_messages_are_collected_by_conversation_and_sent_as_a_batch(project, outbox, hook, clock):
    hook(buffer_enabled=True)
    for text in ("1", "2"):
        project.customer_writes(MO, text)
    project.customer_writes(ADA, "3")
    assert outbox.due() == []
    clock.advance(seconds=module.BATCH_WINDOW.seconds)
    first, second = outbox.due()
    body = json.loads(first.body)
    assert (body["type"], body["batch"]) == (RECEIVED, True)
    assert [one["message"]["text"]["body"] for one in body["data"]] == ["1", "2"]
    assert set(body["data"][0]) == {
        "message",
        "conversation",
        "is_new_conversation",
        "phone_number_id",
    }
    assert (first.headers["X-Webhook-Batch"], first.headers["X-Batch-Size"]) == ("true", "2")
    assert second.headers["X-Batch-Size"] == "1", "a batch of one is a batch"
    assert len(json.loads(second.body)["data"]) == 1


def test_a_full_batch_does_not_wait(project, outbox, hook):
    hook(buffer_enabled=True)
    for number in range(module.BATCH_SIZE + 1):
        project.customer_writes(MO, str(number))
    [one] = outbox.due()
    assert one.headers["X-Batch-Size"] == str(module.BATCH_SIZE)


def test_after_its_last_try_a_batch_comes_singly(project, outbox, hook, clock):
    hook(buffer_enabled=True)
    for text in ("1", "2"):
        project.customer_writes(MO, text)
    for pause in (5, 10, 40, 90):
        clock.advance(seconds=pause)
        answer(outbox, 500)
    assert answer(outbox) == 1
    assert answer(outbox) == 1
    bodies = [json.loads(one.body) for one in project.deliveries[1:]]
    assert [body["message"]["text"]["body"] for body in bodies] == ["1", "2"]
    assert "X-Webhook-Batch" not in project.deliveries[1].headers
    assert len({one.headers["X-Idempotency-Key"] for one in project.deliveries}) == 3


def test_a_webhook_that_fails_too_often_is_paused_until_somebody_switches_it_on(
    project, outbox, hook, clock
):
    webhook = hook()
    for number in range(19):
        project.customer_writes(f"+1202555{number:04d}", "Hello")
    answer(outbox, *[500] * 16, *[200] * 3)
    assert webhook["active"] is True
    project.customer_writes(MO, "Hello")
    project.customer_writes(ADA, "Hello")
    first, second = outbox.due()
    outbox.answered(first, 500)
    assert webhook["active"] is False
    outbox.answered(second, 200)
    assert {one.state for one in project.deliveries} == {"delivered", "dropped"}
    project.customer_writes(MO, "Nobody hears this")
    clock.advance(minutes=5)
    assert outbox.due() == []
    project.webhooks.update(webhook["id"], {"active": True}, webhook["phone_number_id"])
    project.customer_writes(MO, "Heard")
    assert answer(outbox, 500) == 1
    assert webhook["active"] is True, "earlier failures no longer count"


def test_failures_of_the_last_quarter_of_an_hour_count(project, outbox, hook, clock):
    webhook = hook()
    for number in range(15):
        project.customer_writes(f"+1202555{number:04d}", "Hello")
    for _ in range(3):
        assert answer(outbox, *[500] * 15) == 15
        clock.advance(minutes=16)
    assert webhook["active"] is True


@pytest.mark.parametrize("end", ["delete", "switch off"])
def test_a_webhook_that_is_gone_or_off_gets_nothing_more(project, outbox, hook, clock, end):
    webhook = hook(buffer_enabled=True)
    project.customer_writes(MO, "1")
    if end == "delete":
        project.webhooks.delete(webhook["id"], webhook["phone_number_id"])
    else:
        project.webhooks.update(webhook["id"], {"active": False}, webhook["phone_number_id"])
    clock.advance(seconds=10)
    assert outbox.due() == []


def test_of_deliveries_that_are_over_the_last_thousand_are_kept(project, outbox, hook):
    hook()
    for number in range(1010):
        project.customer_writes(MO, str(number))
        answer(outbox)
    assert len(project.deliveries) in (1000, 1001)
    assert json.loads(project.deliveries[-1].body)["message"]["text"]["body"] == "1009"


def test_a_reset_forgets_webhooks_and_deliveries(sandbox, project, hook):
    hook()
    project.customer_writes(MO, "1")
    sandbox.reset()
    assert project.deliveries == []
    assert project.webhooks.records == {}
    assert sandbox.due_deliveries() == []


def test_an_answer_that_comes_after_a_reset_is_ignored(sandbox, project, outbox, hook):
    hook()
    project.customer_writes(MO, "1")
    [one] = outbox.due()
    sandbox.reset()
    outbox.answered(one, 500)
    assert project.deliveries == []


def test_a_repr_shows_neither_body_nor_signature(project, hook):
    hook()
    project.customer_writes(MO, "My secret wish")
    [one] = project.deliveries
    assert "wish" not in repr(one)
    assert one.headers["X-Webhook-Signature"] not in repr(one)


# --- in a host's tests ---


class Client:
    """Stands in for Django's test client, and answers with the statuses that it is given."""

    def __init__(self, *statuses):
        self.statuses, self.posts = list(statuses), []

    def post(self, path, **request):
        self.posts.append((path, request))
        status = self.statuses.pop(0) if self.statuses else 200
        if isinstance(status, Exception):
            raise status
        return type("Response", (), {"status_code": status})()


def test_deliver_posts_each_once_to_the_path_of_the_address(sandbox, project, hook):
    hook(url="https://crm.example.com/hook/?a=b", buffer_enabled=True)
    project.customer_writes(MO, "1")
    client = Client()
    [response] = sandbox.deliver(client)
    assert response.status_code == 200
    [(target, request)] = client.posts
    assert target == "/hook/?a=b"
    assert request["secure"] is True
    assert request["content_type"] == "application/json"
    assert request["data"] == project.deliveries[0].body
    assert request["headers"]["X-Webhook-Event"] == RECEIVED
    assert sandbox.deliver(client) == []


def test_deliver_tries_again_what_failed_without_waiting(sandbox, project, hook):
    hook()
    project.customer_writes(MO, "1")
    client = Client(500, 500)
    for expected in (500, 500, 200):
        assert [one.status_code for one in sandbox.deliver(client)] == [expected]
    keys = {request["headers"]["X-Idempotency-Key"] for _, request in client.posts}
    assert len(keys) == 1
    assert sandbox.deliver(client) == []


def test_an_error_of_a_view_counts_as_no_answer_and_the_others_wait(sandbox, project, hook):
    hook()
    for text in ("1", "2"):
        project.customer_writes(MO, text)
    client = Client(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        sandbox.deliver(client)
    assert [one.statuses for one in project.deliveries] == [[0], []]
    assert len(sandbox.deliver(client)) == 2


class Urls:
    """The addresses of a host that checks the signature of what it receives."""

    @staticmethod
    def receive(request):
        signature = hmac.new(b"s", request.body, hashlib.sha256).hexdigest()
        is_right = signature == request.headers["X-Webhook-Signature"]
        is_secure = request.is_secure() and request.GET.dict() == {"a": "b"}
        return HttpResponse(status=200 if is_right and is_secure else 401)


Urls.urlpatterns = [path("hook/", Urls.receive)]


def test_a_hosts_receiver_gets_the_body_as_it_was_signed(sandbox, project, hook, settings):
    settings.ROOT_URLCONF = Urls
    hook(url="https://crm.example.com/hook/?a=b")
    project.customer_writes(MO, "¿Sí? ✓")
    assert [one.status_code for one in sandbox.deliver(DjangoClient())] == [200]
