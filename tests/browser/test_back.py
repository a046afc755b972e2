"""Back, Forward and location changes: whenever a page is shown, its inbox asks the launch."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
import requests

from .conftest import PASSWORD, Demo, enter, expect, launch_options, running_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FrameLocator, Page

    NewPage = Callable[..., Page]

pytestmark = pytest.mark.browser

LINK = '{% kapso_inbox_link "sales" contact="+55 11 98765-4321" text="Write" %}'

#: Way to the inbox -> the body of its page, and the name of what opens it.
INBOXES = {
    "panel": ('{% kapso_inbox "sales" views=1 settings=1 %}', ""),
    "drawer": ('{% kapso_inbox "sales" variant="drawer" title="WhatsApp" %}', "WhatsApp"),
    "floating": ('{% kapso_inbox "sales" variant="floating" title="WhatsApp" %}', "WhatsApp"),
    "link": (LINK + '{% kapso_inbox "sales" variant="drawer" title="WhatsApp" %}', "Write"),
}


@pytest.fixture(scope="module", params=[True, False], ids=["bfcache", "no-bfcache"])
def bfcache(request: pytest.FixtureRequest) -> bool:
    """Return whether Chromium keeps alive the pages that it leaves, in its back/forward cache."""
    return bool(request.param)


@pytest.fixture(scope="module")
def browser(bfcache: bool) -> Iterator[Browser]:
    """Start Chromium with or without its back/forward cache."""
    with running_chromium(is_whole=bfcache) as running:
        yield running


def execute(crm: Demo, statement: str) -> None:
    """Change the CRM's database."""
    with closing(sqlite3.connect(crm.data_dir / "sandbox.sqlite3", timeout=20)) as database:
        database.execute(statement)
        database.commit()


def withdraw(crm: Demo, page: Page) -> None:
    """Make the inbox of Sales somebody else's own."""
    execute(crm, "UPDATE kapso_inbox_inboxembed SET personal_to = 'nobody' WHERE slug = 'sales'")


def give_back(crm: Demo) -> None:
    execute(crm, "UPDATE kapso_inbox_inboxembed SET personal_to = '' WHERE slug = 'sales'")


def switch_user(crm: Demo, page: Page) -> None:
    """Sign another user in, who may not open this inbox."""
    page.context.clear_cookies()
    enter(page.context.new_page(), crm, "bruno")


def rotate(crm: Demo) -> None:
    """Rotate the link of Sales, by the REST API."""
    with requests.Session() as session:
        session.trust_env = False
        api = f"{crm.url}/api/"
        login = {"username": "admin", "password": PASSWORD}
        answer = session.post(f"{api}token/", json=login, timeout=20)
        session.headers["Authorization"] = f"Token {answer.json()['token']}"
        session.post(f"{api}kapso-inbox/embeds/sales/rotate/", timeout=20).raise_for_status()


@pytest.fixture
def page(crm: Demo, agent: Page) -> Iterator[Page]:
    """Return a page of a signed-in agent."""
    yield agent
    give_back(crm)


def address(crm: Demo, body: str, **query: str) -> str:
    body = f'<main><h1>Page</h1><div class="place">{body}</div></main>'
    return f"{crm.url}/host/?{urlencode({'body': body, **query})}"


def open_inbox(page: Page, way: str) -> None:
    """Press what opens the inbox, unless it is open."""
    name = INBOXES[way][1]
    if name and not page.locator("kapso-inbox iframe").is_visible():
        page.get_by_role("link" if way == "link" else "button", name=name).click()


def frame_of(page: Page) -> FrameLocator:
    return page.frame_locator("kapso-inbox iframe")


def expect_inbox(page: Page) -> None:
    expect(page.locator("kapso-inbox")).to_have_attribute("data-state", "ready")
    expect(frame_of(page).get_by_role("searchbox")).to_be_visible()


def expect_message(page: Page, text: str) -> None:
    """Check what our own page in the frame says."""
    # Playwright does not see the frames that a page from the back/forward cache adds.
    expect(page.get_by_role("status")).to_contain_text(text)
    shown = page.locator("kapso-inbox iframe").evaluate(
        "frame => frame.contentDocument?.body.innerText ?? ''"
    )
    assert text in shown


REFUSAL = "not available to you"


def go(page: Page, steps: int) -> None:
    """Go through the browser's history, as its buttons do."""
    # Playwright's go_back() waits for a load, which a page from the back/forward cache lacks.
    page.evaluate("steps => { setTimeout(() => history.go(steps)) }", steps)
    page.wait_for_timeout(1000)


@contextmanager
def away(page: Page, crm: Demo, bfcache: bool, how: str = "Back") -> Iterator[None]:
    """Leave the page; do what the caller does; come back through the browser's history."""
    # A browser keeps a page that waits for nothing. An inbox asks its host, in a hidden frame.
    expect(page.locator("iframe:not([name])")).to_have_count(0)
    page.evaluate("window.kept = true")
    if how == "Back":
        page.evaluate("address => { location.href = address }", address(crm, "Elsewhere"))
        page.wait_for_timeout(1000)
    else:
        go(page, -1)
    assert page.locator("kapso-inbox").count() == 0
    yield
    go(page, -1 if how == "Back" else 1)
    if how == "Back":  # Forward to a page of the same site, Chromium 156 makes the page anew
        assert bool(page.evaluate("window.kept")) is bfcache


def used(crm: Demo) -> dict[str, str]:
    """Return when each secret address was last asked for, as Kapso has it."""
    return {one["token"]: one["last_used_at"] for one in crm.embeds()}


def marked(page: Page) -> list[str]:
    """Return the quick views that are marked as the current one."""
    return page.locator("[aria-current]").all_inner_texts()


@pytest.mark.parametrize(
    ("way", "how", "change", "cache"),
    [
        ("panel", "Back", withdraw, ""),
        ("panel", "Back", switch_user, ""),
        ("panel", "Forward", withdraw, ""),
        ("panel", "Back", switch_user, "max-age=600"),
        ("drawer", "Back", withdraw, "max-age=600"),
        ("floating", "Forward", switch_user, "max-age=600"),
        ("link", "Back", withdraw, "max-age=600"),
    ],
)
def test_back_and_forward_show_nothing_to_somebody_who_may_not_open_it_any_more(
    crm: Demo,
    page: Page,
    bfcache: bool,
    way: str,
    how: str,
    change: Callable[[Demo, Page], None],
    cache: str,
) -> None:
    page.goto(address(crm, "Before"))
    page.goto(address(crm, INBOXES[way][0], cache=cache))
    open_inbox(page, way)
    expect_inbox(page)
    before = used(crm)
    with away(page, crm, bfcache, how):
        change(crm, page)
    open_inbox(page, way)
    expect_message(page, REFUSAL)
    assert used(crm) == before


def test_back_shows_the_inbox_by_its_new_link(crm: Demo, page: Page, bfcache: bool) -> None:
    page.goto(address(crm, INBOXES["panel"][0]))
    expect_inbox(page)
    with away(page, crm, bfcache):
        rotate(crm)
        before = used(crm)
    expect(page.locator("kapso-inbox")).to_have_attribute("data-state", "ready")
    [token] = [token for token, time in used(crm).items() if time != before[token]]
    [asked] = [one for one in crm.embeds() if one["token"] == token]
    assert asked["status"] == "active"
    assert asked["name"].startswith("Sales")


def test_back_shows_each_user_their_own_inbox(crm: Demo, page: Page, bfcache: bool) -> None:
    page.goto(address(crm, "{% kapso_my_inbox %}"))
    page.wait_for_timeout(500)
    setup = frame_of(page).get_by_role("button", name="Set up my inbox")
    if setup.is_visible():
        setup.click()
    expect_inbox(page)
    before = used(crm)
    with away(page, crm, bfcache):
        switch_user(crm, page)
    expect_message(page, "not set up yet")
    assert used(crm) == before


def test_one_back_leaves_the_page_after_quick_views_settings_and_another_try(
    crm: Demo, page: Page
) -> None:
    page.goto(address(crm, "Before"))
    page.goto(address(crm, INBOXES["panel"][0]))
    expect_inbox(page)
    length = page.evaluate("history.length")
    for view in ("Unread", "Waiting for a human", "All"):
        page.get_by_role("link", name=view, exact=True).click()
        expect_inbox(page)
    page.get_by_role("link", name="Inbox settings").click()
    frame_of(page).get_by_role("link", name="Back").click()
    expect_inbox(page)
    withdraw(crm, page)
    page.get_by_role("link", name="Unread").click()
    expect_message(page, REFUSAL)
    give_back(crm)
    frame_of(page).get_by_role("link", name="Try again").click()
    expect_inbox(page)
    assert marked(page) == ["Unread"]
    assert page.evaluate("history.length") == length
    go(page, -1)
    expect(page.get_by_text("Before")).to_be_visible()


def test_the_frame_stays_when_the_page_goes_through_states_of_its_own(
    crm: Demo, page: Page
) -> None:
    page.goto(address(crm, INBOXES["panel"][0]))
    expect_inbox(page)
    page.evaluate("history.pushState({}, '', '#second')")
    page.get_by_role("link", name="Unread").click()
    expect_inbox(page)
    before = used(crm)
    for steps in (-1, 1):
        go(page, steps)
        assert page.url.endswith("#second") is (steps > 0)
        assert marked(page) == ["Unread"]
        assert [frame.url for frame in page.frames if "&unread=1" in frame.url]
    assert used(crm) == before


def test_forward_from_saved_settings_asks_the_launch(crm: Demo, page: Page) -> None:
    page.goto(address(crm, INBOXES["panel"][0]))
    expect_inbox(page)
    page.get_by_role("link", name="Inbox settings").click()
    save = frame_of(page).get_by_role("button", name="Save")
    save.click()
    expect_inbox(page)
    go(page, -1)
    expect(save).to_be_visible()
    withdraw(crm, page)
    go(page, 1)
    expect_message(page, REFUSAL)


def test_a_restored_session_asks_the_launch(
    crm: Demo, browser: Browser, page: Page, bfcache: bool, tmp_path: Path
) -> None:
    if not bfcache:
        return  # only a whole browser restores sessions
    chromium = browser.browser_type
    cookies: Any = [{**one, "expires": time.time() + 3600} for one in page.context.cookies()]
    url = address(crm, INBOXES["panel"][0])
    launch = launch_options(chromium, "--restore-last-session", is_whole=True)
    with chromium.launch_persistent_context(tmp_path, **launch) as context:
        context.add_cookies(cookies)
        page = context.pages[0]
        page.goto(url)
        expect_inbox(page)
        page.wait_for_timeout(3000)  # until Chromium has written the session to its file
    withdraw(crm, page)
    before = used(crm)
    with chromium.launch_persistent_context(tmp_path, **launch) as context:
        context.pages[0].wait_for_timeout(3000)
        [page] = [one for one in context.pages if one.url == url]
        expect_message(page, REFUSAL)
    assert used(crm) == before
