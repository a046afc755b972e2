"""The scripts of docs/another-origin.md show an inbox in a front end on another origin."""

from __future__ import annotations

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

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class FrontEndHandler(BaseHTTPRequestHandler):
    """Answers with the front end's pages."""

    server: FrontEnd

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
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
def scripts(crm: Demo, front_end: FrontEnd) -> str:
    """Return the document's scripts for this demo, with the token of an agent."""
    with requests.Session() as session:
        session.trust_env = False
        credentials = {"username": "ana", "password": PASSWORD}
        token = session.post(f"{crm.url}/api/token/", json=credentials, timeout=10).json()["token"]
    shown = [block.code for block in blocks(DOCS / "another-origin.md") if block.language == "js"]
    script = "\n".join([f'const token = "{token}";', *shown])
    for name, here in {
        "https://crm.example.com": crm.url,
        "https://inbox.kapso.ai": crm.inbox_origin,
        "/embeds/support/": "/embeds/sales/",
    }.items():
        assert name in script
        script = script.replace(name, here)
    front_end.script = script
    return script


def test_a_front_end_on_another_origin_shows_the_inbox_and_again_after_back(
    crm: Demo, front_end: FrontEnd, scripts: str, new_page: NewPage
) -> None:
    page = new_page()
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
    crm: Demo, front_end: FrontEnd, scripts: str, new_page: NewPage
) -> None:
    page = new_page()
    with page.expect_event("pageerror") as error:
        page.goto(front_end.origin.replace("127.0.0.1", "localhost"))
    assert "Failed to fetch" in error.value.message
    assert page.locator("iframe").count() == 0
