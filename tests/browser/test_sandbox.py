"""The sandbox's inbox page: customers write in it, and what is answered there is sent."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from kapso_inbox.sandbox.engine import Sandbox
from kapso_inbox.sandbox.project import SandboxProject
from kapso_inbox.sandbox.server import SandboxServer

from .conftest import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

EVENTS = ["whatsapp.message.received", "whatsapp.message.sent", "whatsapp.message.delivered"]


@pytest.fixture
def project() -> Iterator[SandboxProject]:
    sandbox = Sandbox()
    project = sandbox.add_project("key")
    with SandboxServer(sandbox):
        yield project


@pytest.fixture
def received(project: SandboxProject) -> Iterator[list[tuple[str, Any]]]:
    """Subscribe to everything, and return the list of what is received."""
    received: list[tuple[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.headers["X-Webhook-Event"], json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    settings = {"url": f"http://127.0.0.1:{server.server_port}/", "secret_key": "s"}
    for number in project.phone_numbers:
        project.webhooks.create({**settings, "events": EVENTS}, number["phone_number_id"])
    project.webhooks.create({**settings, "events": ["workflow.execution.handoff"]})
    yield received
    server.shutdown()
    server.server_close()


@pytest.fixture
def inbox(project: SandboxProject, new_page: Callable[..., Page]) -> Callable[..., Page]:
    """Return a function that opens the inbox of the project, without an error in its console."""

    def open_inbox(query: str = "", **options: Any) -> Page:
        page = new_page(**options)
        page.on("console", lambda said: pytest.fail(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: pytest.fail(str(error)))
        embed = project.create({"name": "Desk", "scope_type": "project"})
        page.goto(f"{embed['embed_url']}{query}")
        return page

    return open_inbox


def row_of(page: Page, conversation_id: str) -> Any:
    return page.locator(f'[data-conversation="{conversation_id}"]')


def one_event(received: list[tuple[str, Any]], name: str) -> Any:
    """Wait for an event and return its body; there is only one."""
    deadline = time.monotonic() + 10
    while not (bodies := [body for event, body in received if event == name]):
        assert time.monotonic() < deadline, f"{name} was not received"
        time.sleep(0.05)
    [body] = bodies
    return body


def test_an_answer_is_sent_to_the_customer_and_told_to_the_webhooks(
    project: SandboxProject, received: list[tuple[str, Any]], inbox: Callable[..., Page]
) -> None:
    page = inbox()
    conversation = project.conversations[4]
    row_of(page, conversation["id"]).click()
    page.get_by_label("Write a message").fill("On my way")
    page.get_by_role("button", name="Send").click()
    bubble = page.locator(".bubble.outbound").last
    expect(bubble).to_contain_text("On my way")
    expect(bubble.get_by_label("Delivered")).to_be_visible()
    body = one_event(received, "whatsapp.message.sent")
    assert body["message"]["text"] == {"body": "On my way"}
    assert body["conversation"]["id"] == conversation["id"]
    page.reload()
    expect(row_of(page, conversation["id"])).to_contain_text("On my way")


def test_a_customer_writes_at_the_press_of_a_button(
    project: SandboxProject, received: list[tuple[str, Any]], inbox: Callable[..., Page]
) -> None:
    page = inbox("?status=all")
    page.get_by_role("button", name="A customer writes").click()
    first = page.locator("[data-conversation]").first
    expect(first.locator("time")).to_have_text("now")
    body = one_event(received, "whatsapp.message.received")
    expect(first).to_have_attribute("data-conversation", body["conversation"]["id"])
    expect(first).to_contain_text(body["message"]["text"]["body"])
    assert first.locator(".badge").count() == 1


def test_the_customer_of_a_conversation_writes_and_is_handed_off(
    project: SandboxProject, received: list[tuple[str, Any]], inbox: Callable[..., Page]
) -> None:
    page = inbox()
    conversation = next(
        row for row in project.conversations if row["status"] == "active" and not row["handoff"]
    )
    row_of(page, conversation["id"]).click()
    page.get_by_label("Write a message").fill("Half an answ")
    page.get_by_role("button", name="This customer writes").click()
    text = page.locator(".bubble.inbound p").last
    wait_for = page.locator(".row[aria-current] time")
    expect(wait_for).to_have_text("now")
    expect(text).to_have_text(conversation["messages"][-1]["text"])
    # What is open is read, and what is being written stays.
    expect(row_of(page, conversation["id"]).locator(".badge")).to_have_count(0)
    expect(page.get_by_label("Write a message")).to_have_value("Half an answ")
    page.get_by_role("button", name="Hand off to a human").click()
    expect(row_of(page, conversation["id"]).locator(".tag")).to_be_visible()
    expect(page.get_by_role("button", name="Handed off")).to_be_visible()
    body = one_event(received, "workflow.execution.handoff")
    assert body["whatsapp_conversation_id"] == conversation["id"]
    assert conversation["handoff"] is True


def test_what_happens_elsewhere_appears_by_itself(
    project: SandboxProject, inbox: Callable[..., Page]
) -> None:
    page = inbox()
    conversation = project.conversations[2]
    row_of(page, conversation["id"]).click()
    project.same_customer_writes(conversation["id"], "Are you still there?")
    expect(page.locator(".bubble.inbound").last).to_contain_text("Are you still there?")
    project.reacts(conversation["id"], "👍")
    expect(page.locator(".bubble.inbound").last).to_contain_text("👍")
    project.end(conversation["id"])
    expect(page.get_by_text("This conversation has ended")).to_be_visible()


def test_somebody_who_shows_no_number_is_in_the_list(
    project: SandboxProject, inbox: Callable[..., Page]
) -> None:
    page = inbox()
    row = project.customer_writes("US.1a2b3c", "Hello", username="quietfox")
    nameless = project.customer_writes("US.9z", "Hello")
    row_of(page, row["id"]).click()
    expect(page.locator("#contact")).to_have_text("quietfox")
    expect(page.locator(".contact p")).to_contain_text("@quietfox")
    row_of(page, nameless["id"]).click()
    expect(page.locator("#contact")).to_have_text("Somebody")
    expect(page.locator(".contact p")).to_contain_text("Shows no number")


def test_a_page_whose_sandbox_is_gone_says_that_nothing_was_sent(
    project: SandboxProject, new_page: Callable[..., Page]
) -> None:
    page = new_page()
    embed = project.create({"name": "Desk", "scope_type": "project"})
    page.goto(embed["embed_url"])
    row_of(page, project.conversations[4]["id"]).click()
    project.revoke(embed["id"])
    page.get_by_label("Write a message").fill("On my way")
    page.get_by_label("Write a message").press("Enter")
    expect(page.locator(".bubble.outbound").last.get_by_label("Not delivered")).to_be_visible()
