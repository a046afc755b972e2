"""A front end on another origin signs in to the CRM's API and shows an inbox by ticket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import pytest
import requests

from .conftest import PASSWORD, Demo, enter, expect, running_demo

if TYPE_CHECKING:
    from playwright.sync_api import FrameLocator, Page

    NewPage = Callable[..., Page]

pytestmark = pytest.mark.browser

# A conversation in the sandbox's inbox
ROW = "[data-conversation]"

PAGE = b"""<!doctype html><html lang="en"><title>Another front end</title>
<iframe title="Inbox" width="900" height="600"></iframe></html>"""


def launch_address(crm: Demo, username: str, slug: str = "sales") -> str:
    """Return the launch address that the CRM's API gives to a front end that signs in by token."""
    with requests.Session() as session:
        session.trust_env = False

        def post(path: str, **options: Any) -> Any:
            answer = session.post(f"{crm.url}/api/{path}", timeout=10, **options)
            answer.raise_for_status()
            return answer.json()

        token = post("token/", json={"username": username, "password": PASSWORD})["token"]
        session.headers["Authorization"] = f"Token {token}"
        ticket = post(f"kapso-inbox/embeds/{slug}/launch/", json={"mode": "dark"})
    return urljoin(crm.url, ticket["url"])


class FrontEnd(BaseHTTPRequestHandler):
    """One page with an empty frame."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Serve the other front end, and return its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), FrontEnd) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Demo]:
    """Run a demo whose inboxes the other front end may frame as well."""
    with running_demo(tmp_path_factory.mktemp("demo")) as demo:
        for embed in demo.embeds():
            origins = [*embed["allowed_origins"], *(f"http://{host}:{port}" for host in HOSTS)]
            demo.at_kapso(
                "PATCH",
                f"/platform/v1/inbox_embeds/{embed['id']}",
                json={"inbox_embed": {"allowed_origins": origins}},
            )
        yield demo


#: One host on another site than the CRM, and one on the CRM's own site, which gets its cookies.
HOSTS = ("127.0.0.1", "localhost")


def frame_of(page: Page) -> FrameLocator:
    return page.frame_locator("iframe")


def show(page: Page, address: str) -> None:
    """Lead the page's frame to an address, as its script does with the API's answer."""
    page.locator("iframe").evaluate("(frame, address) => { frame.src = address }", address)


def expect_refusal(page: Page, text: str = "Open the inbox again") -> None:
    """Check that the frame shows our message, and is not blank."""
    alert = frame_of(page).get_by_role("alert")
    expect(alert).to_be_visible()
    expect(alert).to_contain_text(text)


def expect_inbox(page: Page, crm: Demo) -> None:
    expect(frame_of(page).locator(ROW).first).to_be_visible()
    [frame] = [frame for frame in page.frames if frame.url.startswith(crm.inbox_origin)]
    assert "mode=dark" in frame.url


@pytest.mark.parametrize("host", HOSTS)
def test_a_page_of_another_origin_shows_the_inbox_and_the_address_works_once(
    crm: Demo, port: int, new_page: NewPage, host: str
) -> None:
    page = new_page()
    page.goto(f"http://{host}:{port}/")
    address = launch_address(crm, "ana")
    show(page, address)
    expect_inbox(page, crm)
    assert page.locator("iframe").get_attribute("src") == address
    assert page.context.cookies() == []

    page.locator("iframe").evaluate("frame => { frame.src = frame.src }")
    expect_refusal(page)
    show(page, launch_address(crm, "ana"))
    expect_inbox(page, crm)


def test_whoever_is_signed_in_to_the_crm_as_somebody_else_opens_nothing(
    crm: Demo, port: int, new_page: NewPage
) -> None:
    page = new_page()
    enter(page, crm, "bruno")
    page.goto(f"http://localhost:{port}/")
    show(page, launch_address(crm, "ana"))
    expect_refusal(page, "You are signed in to the CRM as somebody else")


def test_a_script_that_fetches_the_address_reads_nothing_and_uses_it_up(
    crm: Demo, port: int, new_page: NewPage
) -> None:
    for origin in (f"http://127.0.0.1:{port}/", f"{crm.url}/sign-in/"):
        page = new_page()
        page.goto(origin)
        address = launch_address(crm, "ana")
        read = page.evaluate(
            """address => fetch(address).then(
                async answer => [answer.url, await answer.text()].join(), error => ""
            )""",
            address,
        )
        assert not any(token in read for token in crm.tokens())
        page.goto(f"http://127.0.0.1:{port}/")
        show(page, address)
        expect_refusal(page)


def test_a_page_of_another_origin_shows_nothing_without_a_ticket(
    crm: Demo, port: int, new_page: NewPage
) -> None:
    page = new_page()
    enter(page, crm, "ana")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"http://localhost:{port}/")
    with page.expect_response("**/launch/") as answer:
        show(page, f"{crm.url}/kapso-inbox/sales/launch/")
    assert answer.value.status == 403
    assert not any(url.startswith(crm.inbox_origin) for url in asked)
