"""The demo: a customer writes in the sandbox, and whoever may answer learns of it in seconds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from .conftest import Demo, enter, expect, running_demo

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running_demo(
        tmp_path_factory.mktemp("waiting"), DJANGO_SETTINGS_MODULE="crm.settings"
    ) as crm:
        yield crm


def number_of(page: Page, team: str) -> int:
    link = page.locator(".side-nav a", has_text=team)
    badge = link.locator(".kapso-waiting")
    expect(badge).to_have_count(1)
    page.wait_for_timeout(500)
    text = badge.inner_text().split()
    return int(text[0]) if text else 0


def test_a_customer_writes_and_the_badge_appears_and_an_answer_clears_it(
    crm: Demo, new_page: Callable[..., Page]
) -> None:
    admin, ana = new_page(), new_page()
    for page, name in ((admin, "admin"), (ana, "ana")):
        enter(page, crm, name)
    before, others = number_of(admin, "Support"), number_of(ana, "Sales")
    inbox = admin.context.new_page()
    inbox.goto(f"{crm.url}/teams/support/")
    frame = inbox.frame_locator("kapso-inbox iframe")
    answered = frame.get_by_test_id("conversations").locator("li")
    expect(answered.first).to_be_visible()
    frame.get_by_test_id("somebody-writes").click()
    badge = admin.locator(".side-nav a", has_text="Support").locator(".kapso-waiting")
    admin.bring_to_front()
    expect(badge).to_contain_text(str(before + 1), timeout=30_000)
    expect(admin).to_have_title(re.compile(r"^\(\d+\) "))
    # Ana is in the other team.
    ana.bring_to_front()
    ana.wait_for_timeout(2_000)
    assert number_of(ana, "Sales") == others
    assert "Support" not in ana.title()
    # Whoever wrote last is at the top.
    inbox.bring_to_front()
    answered.first.click()
    frame.get_by_test_id("message").fill("Here I am")
    frame.get_by_test_id("send").click()
    admin.bring_to_front()
    expect(badge).to_contain_text(str(before), timeout=30_000)
