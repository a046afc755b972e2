"""Addresses that lead into an inbox: from a mail, to one conversation, to one contact."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from .axe import violations
from .conftest import PASSWORD, Demo, expect
from .test_component import address, expect_conversations, frame_of, inbox, inbox_query

if TYPE_CHECKING:
    from playwright.sync_api import Page

    NewPage = Callable[..., Page]

pytestmark = pytest.mark.browser

CONVERSATION = "3f0a4a54-91d6-4f7d-9d2b-1c3c5d5f5a10"


def test_a_link_in_a_mail_keeps_its_filter_through_the_login(crm: Demo, new_page: NewPage) -> None:
    page = new_page()
    page.goto(f"{crm.url}/kapso-inbox/sales/?search=%2B12025550162&status=all&utm_source=mail")
    expect(page).to_have_title(re.compile("Sign in"))
    page.get_by_label("Username").fill("ana")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect_conversations(page)
    asked = inbox_query(page, crm)
    assert (asked["search"], asked["status"]) == ("+12025550162", "all")
    assert "utm_source" not in asked


def test_one_conversation_and_an_assignee_are_passed_on(agent: Page, crm: Demo) -> None:
    arguments = f'conversation="{CONVERSATION}" assignee="unassigned"'
    agent.goto(address(crm, inbox("panel", arguments)))
    expect(frame_of(agent).locator("html")).to_have_attribute("data-theme", re.compile("."))
    asked = inbox_query(agent, crm)
    assert asked["conversation_id"] == CONVERSATION
    assert asked["assignee"] == "unassigned"


@pytest.mark.parametrize(
    ("contact", "told"),
    [
        ("US.13491208655302741918", "WhatsApp does not show the phone number of this contact."),
        ("@ana.shop", "WhatsApp does not show the phone number of this contact."),
        ("", "The phone number is missing."),
        ("Ask at the shop", "“Ask at the shop” is not a phone number."),
    ],
)
def test_a_contact_without_a_number_is_told_and_never_an_inbox_without_a_filter(
    agent: Page, crm: Demo, contact: str, told: str
) -> None:
    agent.goto(address(crm, inbox("panel", f'contact="{contact}"')))
    expect(agent.get_by_text(told)).to_be_visible()
    expect(agent.locator("iframe")).to_have_count(0)
    assert violations(agent) == []


@pytest.mark.parametrize(
    ("contact", "searched"),
    [
        ("+54 9 11 2345-6789", "5491123456789"),
        ("+52 1 55 5555 0107", "5215555550107"),
        ("+55 31 8765-4321", "553187654321"),
    ],
)
def test_whatsapps_own_forms_of_a_number_are_searched_for(
    agent: Page, crm: Demo, contact: str, searched: str
) -> None:
    agent.goto(address(crm, inbox("panel", f'contact="{contact}"')))
    expect(frame_of(agent).locator("html")).to_have_attribute("data-theme", re.compile("."))
    assert inbox_query(agent, crm)["search"] == searched


@pytest.mark.parametrize("slug", ["support", "nowhere"])
def test_an_inbox_that_one_may_not_open_is_a_friendly_page_that_was_not_found(
    agent: Page, crm: Demo, slug: str
) -> None:
    answer = agent.goto(f"{crm.url}/kapso-inbox/{slug}/")
    assert answer is not None
    assert answer.status == 404
    expect(agent.get_by_role("heading", name="This inbox is not available to you")).to_be_visible()
    assert violations(agent) == []


@pytest.mark.parametrize("slug", ["sales", "mine"])
def test_a_wrong_parameter_can_be_left_out(agent: Page, crm: Demo, slug: str) -> None:
    agent.goto(f"{crm.url}/kapso-inbox/{slug}/?mode=pink&status=all")
    expect(agent.get_by_text("mode: must be one of system, light, dark")).to_be_visible()
    assert violations(agent) == []
    agent.get_by_role("link", name="Open the inbox without it").click()
    expect(agent).to_have_url(f"{crm.url}/kapso-inbox/{slug}/?status=all")
    expect(agent.locator("kapso-inbox")).to_be_visible()
