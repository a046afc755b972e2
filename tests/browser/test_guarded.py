"""A CRM in which every page requires a login, and one in which other views take our addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from .axe import violations
from .conftest import PASSWORD, Demo, enter, expect, running_demo
from .test_hindered import address, expect_state, frame_of, notices

if TYPE_CHECKING:
    from playwright.sync_api import Page

    NewPage = Callable[..., Page]

pytestmark = pytest.mark.browser

ROW = "[data-conversation]"
OTHER = '<main><h1>Customers</h1><div class="place">{% kapso_inbox "support" %}</div></main>'


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    directory = tmp_path_factory.mktemp("guarded")
    with running_demo(directory, DJANGO_SETTINGS_MODULE="tests.browser.guarded_settings") as demo:
        yield demo


@pytest.fixture
def agent(crm: Demo, new_page: NewPage) -> Page:
    page = new_page()
    enter(page, crm, "admin")
    return page


def test_behind_a_login_for_everything_the_inbox_opens_and_asks_to_sign_in_again(
    agent: Page, crm: Demo
) -> None:
    agent.goto(address(crm))
    expect(frame_of(agent).locator(ROW).first).to_be_visible()
    agent.context.clear_cookies()
    agent.get_by_role("link", name="Reload").click()
    expect_state(agent, "signed_out")
    with agent.context.expect_page() as opened:
        frame_of(agent).get_by_role("link", name="Sign in").click()
    tab = opened.value
    tab.get_by_label("Username").fill("admin")
    tab.get_by_label("Password").fill(PASSWORD)
    tab.get_by_role("button", name="Sign in", exact=True).click()
    expect(tab.get_by_role("heading", name="You are signed in")).to_be_visible()
    agent.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(frame_of(agent).locator(ROW).first).to_be_visible()


def test_a_view_that_takes_our_address_is_told(agent: Page, crm: Demo) -> None:
    agent.goto(address(crm, OTHER))
    expect_state(agent, "failed")
    assert len(notices(agent)) == 1
    assert violations(agent, "kapso-inbox") == []
