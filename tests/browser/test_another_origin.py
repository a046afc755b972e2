"""The scripts and the policy of docs/another-origin.md, in a front end on another origin."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
import requests

from tests.documents import DOCS, blocks

from .conftest import PASSWORD, Demo, expect, running_demo
from .test_tickets import ROW, frame_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

    NewPage = Callable[..., Page]

pytestmark = pytest.mark.browser


class FrontEnd(ThreadingHTTPServer):
    """A server of two pages: one with the scripts of the document, and one that says goodbye."""

    script = ""
    policy = ""

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class FrontEndHandler(BaseHTTPRequestHandler):
    """Answers with the front end's pages."""

    server: FrontEnd

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Security-Policy", self.server.policy)
        self.end_headers()
        page = "<p>Goodbye"
        if self.path == "/":
            page = f'<div id="inbox"></div><script>{self.server.script}</script>'
        self.wfile.write(f'<!doctype html><html lang="en"><title>App</title>{page}'.encode())

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def front_end() -> Iterator[FrontEnd]:
    """Serve the front end."""
    with FrontEnd(("127.0.0.1", 0), FrontEndHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory, front_end: FrontEnd) -> Iterator[Demo]:
    """Run a demo that lets the front end call its API and show its inboxes."""
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.browser.cors_settings",
        "FRONT_END_ORIGIN": front_end.origin,
    }
    with running_demo(tmp_path_factory.mktemp("demo"), **environment) as demo:
        for embed in demo.embeds():
            settings = {"allowed_origins": [*embed["allowed_origins"], front_end.origin]}
            path = f"/platform/v1/inbox_embeds/{embed['id']}"
            demo.at_kapso("PATCH", path, json={"inbox_embed": settings})
        yield demo


@pytest.fixture
def front_end_of_the_document(crm: Demo, front_end: FrontEnd) -> FrontEnd:
    """Return the front end with the document's scripts and policy, and an agent's token."""
    with requests.Session() as session:
        session.trust_env = False
        credentials = {"username": "ana", "password": PASSWORD}
        token = session.post(f"{crm.url}/api/token/", json=credentials, timeout=10).json()["token"]
    document = DOCS / "another-origin.md"
    shown = [block.code for block in blocks(document) if block.language == "js"]
    sources = re.findall(r"`((?:connect|frame)-src [^`]+)`", document.read_text())
    assert (len(shown), len(sources)) == (2, 2)

    def here(text: str) -> str:
        text = text.replace("https://crm.example.com", crm.url)
        return text.replace("https://inbox.kapso.ai", crm.inbox_origin)

    script = here("\n".join([f'const token = "{token}";', *shown]))
    front_end.script = script.replace("/embeds/support/", "/embeds/sales/")
    front_end.policy = here(
        "; ".join(["default-src 'none'", "script-src 'unsafe-inline'", *sources])
    )
    return front_end


def test_a_front_end_on_another_origin_shows_the_inbox_and_again_after_back(
    crm: Demo, front_end_of_the_document: FrontEnd, new_page: NewPage
) -> None:
    front_end, page = front_end_of_the_document, new_page()
    launches: list[str] = []
    page.on("request", lambda one: launches.append(one.url) if "ticket=" in one.url else None)
    page.goto(front_end.origin)
    expect(frame_of(page).locator(ROW).first).to_be_visible()
    assert page.context.cookies() == []
    assert not any(token in page.content() for token in crm.tokens())

    page.goto(f"{front_end.origin}/goodbye/")
    page.go_back()
    expect(frame_of(page).locator(ROW).first).to_be_visible()
    assert len(launches) == len(set(launches)) == 2


def test_an_origin_that_the_api_does_not_name_gets_no_ticket(
    front_end_of_the_document: FrontEnd, new_page: NewPage
) -> None:
    page = new_page()
    with page.expect_event("pageerror") as error:
        page.goto(front_end_of_the_document.origin.replace("127.0.0.1", "localhost"))
    assert "Failed to fetch" in error.value.message
    assert page.locator("iframe").count() == 0
