"""An agent sets up an inbox of their own in Chromium, and works in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from kapso_inbox.failures import REMEMBERED_FOR

from .axe import violations
from .conftest import Demo, enter, expect, running_demo

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

ROW = "[data-conversation]"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Run a demo for this module alone, since the inboxes made here would disturb other tests."""
    with running_demo(tmp_path_factory.mktemp("mine")) as running:
        yield running


def page_of(demo: Demo, page: Page, username: str) -> Page:
    enter(page, demo, username)
    page.goto(f"{demo.url}/kapso-inbox/mine/")
    return page


def fault(demo: Demo, **fields: object) -> None:
    demo.at_kapso("POST", "/_sandbox/faults", json={"method": "POST", **fields})


def wait_until_kapso_is_asked_again(page: Page) -> None:
    """Wait until a failure of Kapso's is no longer remembered."""
    page.wait_for_timeout(1000 * REMEMBERED_FOR + 500)


def says(page: Page, heading: str) -> None:
    alert = page.frame_locator("kapso-inbox iframe").get_by_role("alert")
    expect(alert.get_by_role("heading", name=heading)).to_be_visible()
    assert violations(page) == []


def test_one_press_in_the_frame_shows_the_agents_own_conversations(
    demo: Demo, new_page: Callable[..., Page]
) -> None:
    page = page_of(demo, new_page(), "bruno")
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    frame = page.frame_locator("kapso-inbox iframe")
    expect(frame.get_by_role("heading", name="not set up yet")).to_be_visible()
    assert violations(page) == []
    fault(demo, answer={"status": 422, "body": {"error": "No more embeds"}})
    frame.get_by_role("button", name="Set up my inbox").click()
    says(page, "Your inbox could not be set up")
    # The page says what an agent can do, and has no link to the admin.
    expect(frame.get_by_text("If this continues, tell an administrator.")).to_be_visible()
    expect(frame.get_by_role("link")).to_have_count(0)
    complaints.clear()
    wait_until_kapso_is_asked_again(page)
    frame.get_by_role("button", name="Try again").click()
    expect(frame.locator(ROW).first).to_be_visible()
    assert not [text for text in complaints if "Content Security Policy" in text]

    def of_bruno() -> int:
        members = [one["assigned_user_name"] for one in demo.embeds()]
        return members.count("Bruno Salgado")

    assert of_bruno() == 1
    page.reload()
    expect(frame.locator(ROW).first).to_be_visible()
    assert of_bruno() == 1


def test_it_works_without_javascript_and_on_a_phone(
    demo: Demo, new_page: Callable[..., Page]
) -> None:
    page = new_page(java_script_enabled=False, viewport={"width": 390, "height": 844})
    frame = page_of(demo, page, "ana").frame_locator("kapso-inbox iframe")
    frame.get_by_role("button", name="Set up my inbox").click()
    # The inbox itself needs JavaScript, so the test can only see that it was requested.
    page.wait_for_timeout(500)
    assert [frame.url for frame in page.frames if frame.url.startswith(demo.inbox_origin)]


def give_admin(demo: Demo, email: str) -> None:
    """Change the administrator's e-mail address, as their profile page would."""
    with closing(sqlite3.connect(demo.data_dir / "sandbox.sqlite3", timeout=20)) as database:
        database.execute("UPDATE crm_user SET email = ? WHERE username = 'admin'", (email,))
        database.commit()


def test_a_failed_setup_is_shown_announced_and_can_be_tried_again(
    demo: Demo, new_page: Callable[..., Page]
) -> None:
    page = page_of(demo, new_page(), "admin")
    frame = page.frame_locator("kapso-inbox iframe")

    give_admin(demo, "nobody@example.com")
    frame.get_by_role("button", name="Set up my inbox").click()
    says(page, "It is not clear who you are at Kapso")
    expect(frame.get_by_text("No team member at Kapso has your e-mail")).to_be_visible()
    give_admin(demo, "bruno@example.com")
    frame.get_by_role("button", name="Try again").click()
    expect(frame.get_by_text("Another account of this site has your e-mail")).to_be_visible()
    assert violations(page) == []
    give_admin(demo, "carla@example.com")
    fault(demo, answer={"status": 422, "body": {"error": "No more embeds"}})
    frame.get_by_role("button", name="Try again").click()
    says(page, "Your inbox could not be set up")
    fault(demo, drop="after")
    wait_until_kapso_is_asked_again(page)
    frame.get_by_role("button", name="Try again").click()
    says(page, "Your inbox is not ready yet")
    expect(frame.get_by_role("link", name="Health of the inboxes")).to_be_visible()
    with page.expect_response("**/mine/launch/"):
        frame.get_by_role("link", name="Try again").click()
    says(page, "Your inbox is not ready yet")
