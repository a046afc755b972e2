"""How a running sandbox delivers to webhooks, over real HTTP."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest
import requests

from kapso_inbox.sandbox.engine import Sandbox
from kapso_inbox.sandbox.server import SandboxServer

SECRET = "s3cret"
RECEIVED, SENT, DELIVERED = (
    f"whatsapp.message.{name}" for name in ("received", "sent", "delivered")
)


def wait_for(fact, seconds=5):
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


class Receiver(ThreadingHTTPServer):
    """Receives webhooks, and answers with the statuses that it is given."""

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        self.received, self.statuses, self.hold = [], [], None
        super().__init__(("127.0.0.1", 0), Answering)
        self.url = f"http://127.0.0.1:{self.server_port}/hook/"
        Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


class Answering(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, self.headers, body))
        if self.server.hold:
            self.server.hold.wait(5)
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.send_header("Location", "/elsewhere/")
        self.end_headers()

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.shutdown()
    receiver.server_close()


@pytest.fixture
def now():
    return {"moved": timedelta(0)}


@pytest.fixture
def sandbox(now):
    sandbox = Sandbox(clock=lambda: datetime.now(timezone.utc) + now["moved"])
    sandbox.add_project("key")
    return sandbox


@pytest.fixture
def project(sandbox):
    return sandbox.project()


@pytest.fixture
def lines():
    return []


@pytest.fixture
def server(sandbox, lines):
    with SandboxServer(sandbox, log=lines.append) as server:
        yield server


def hook(project, url, *events):
    settings = {"url": url, "secret_key": SECRET, "events": list(events or (RECEIVED,))}
    for number in project.phone_numbers:
        project.webhooks.create(settings, number["phone_number_id"])


def test_a_message_is_posted_at_once_and_signed(server, project, receiver, lines):
    hook(project, receiver.url)
    project.customer_writes("+12025550777", "¿Sí?")
    wait_for(lambda: receiver.received)
    [(path, headers, body)] = receiver.received
    assert path == "/hook/"
    expected = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert headers["X-Webhook-Signature"] == expected
    assert headers["X-Webhook-Event"] == RECEIVED
    assert json.loads(body)["message"]["text"]["body"] == "¿Sí?"
    wait_for(lambda: lines)
    assert lines == [f"webhook {RECEIVED} 200"]
    assert project.deliveries[0].state == "delivered"


def test_a_redirect_is_a_failure_and_is_tried_again(server, project, receiver, now):
    receiver.statuses = [302]
    hook(project, receiver.url)
    project.customer_writes("+12025550777", "Hello")
    wait_for(lambda: project.deliveries[0].statuses == [302])
    assert [path for path, *_ in receiver.received] == ["/hook/"]
    now["moved"] += timedelta(seconds=10)
    wait_for(lambda: project.deliveries[0].statuses == [302, 200])
    keys = {headers["X-Idempotency-Key"] for _, headers, _ in receiver.received}
    assert len(keys) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://nowhere.invalid/", "http://a..b/"])
def test_where_nobody_answers_it_goes_on(server, project, receiver, lines, url):
    hook(project, url)
    project.customer_writes("+12025550777", "Hello")
    wait_for(lambda: project.deliveries[0].statuses == [0])
    hook(project, receiver.url)
    project.customer_writes("+12025550778", "Hello")
    wait_for(lambda: receiver.received)


def test_a_slow_receiver_holds_up_neither_other_conversations_nor_the_end(
    sandbox, project, receiver
):
    receiver.hold = Event()
    with SandboxServer(sandbox):
        hook(project, receiver.url)
        project.customer_writes("+12025550777", "1")
        project.customer_writes("+12025550777", "2")
        project.customer_writes("+12025550778", "3")
        wait_for(lambda: len(receiver.received) == 2)
        bodies = [json.loads(body)["message"]["text"]["body"] for *_, body in receiver.received]
        assert set(bodies) == {"1", "3"}
        started = time.monotonic()
    assert time.monotonic() - started < 2
    receiver.hold.set()


def test_an_answer_in_the_page_is_sent_and_arrives(server, project, receiver, now):
    hook(project, receiver.url, SENT, DELIVERED)
    embed = project.create({"name": "Desk", "scope_type": "project"})
    row = project.conversations[0]
    answer = requests.post(
        f"{embed['embed_url']}/conversations",
        json={"event": "agent_writes", "conversation": row["id"], "text": "Hi"},
        timeout=5,
    )
    assert answer.json()["conversations"][0]["messages"][-1]["text"] == "Hi"
    wait_for(lambda: len(receiver.received) == 1)
    now["moved"] += timedelta(seconds=2)
    wait_for(lambda: len(receiver.received) == 2)
    events = [headers["X-Webhook-Event"] for _, headers, _ in receiver.received]
    assert events == [SENT, DELIVERED]
    assert row["messages"][-1]["status"] == "delivered"


def test_the_log_shows_no_token_of_a_page_that_asks(server, project, lines):
    embed = project.create({"name": "Desk", "scope_type": "project"})
    requests.get(f"{embed['embed_url']}/conversations?version=0", timeout=5)
    assert lines == ["GET /embed/… 200"]


def test_in_a_busy_sandbox_customers_write_by_themselves(sandbox, project):
    before = project.version
    with SandboxServer(sandbox, busy=True):
        wait_for(lambda: project.version > before)


def test_a_busy_sandbox_without_conversations_goes_on(sandbox, project, receiver):
    project.conversations.clear()
    hook(project, receiver.url)
    with SandboxServer(sandbox, busy=True):
        time.sleep(0.2)
        project.customer_writes("+12025550777", "Hello")
        wait_for(lambda: receiver.received)


def test_whatever_happens_in_a_busy_sandbox_is_told(project, receiver):
    hook(project, receiver.url, RECEIVED)
    project.webhooks.create(
        {"url": receiver.url, "secret_key": SECRET, "events": ["workflow.execution.handoff"]}
    )
    for _ in range(200):
        project.something_happens()
    assert {one.event for one in project.deliveries} == {RECEIVED, "workflow.execution.handoff"}
    assert any(json.loads(one.body).get("is_new_conversation") for one in project.deliveries)


def test_a_sandbox_that_is_not_busy_is_quiet(server, project):
    before = project.version
    time.sleep(0.3)
    assert project.version == before
