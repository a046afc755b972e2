"""Staff with few permissions, and embeds that are not like others, in the admin in Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from .axe import violations
from .conftest import PASSWORD, Demo, enter, expect, running_demo
from .test_admin import LIST, ROW

if TYPE_CHECKING:
    from playwright.sync_api import Page

    NewPage = Callable[..., Page]

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def own_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Run a demo with staff who may only view embeds, and others who may only add them."""
    with running_demo(tmp_path_factory.mktemp("staff")) as running:
        running.run(f"""
from django.contrib.auth.models import Permission
from crm.models import User
for name in ("view", "add"):
    user = User.objects.create_user(name, password="{PASSWORD}", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename=f"{{name}}_inboxembed"))
""")
        yield running


def test_who_may_only_view_reads_words_and_is_offered_nothing_to_press(
    own_demo: Demo, new_page: NewPage
) -> None:
    page = new_page()
    enter(page, own_demo, "view")
    page.goto(f"{own_demo.url}{LIST}")
    page.get_by_role("link", name="Sales inbox").click()
    for words in ("Phone number: Sales", "Same as the device", own_demo.url, "Sales"):
        expect(page.locator(".readonly").filter(has_text=words).first).to_be_visible()
    assert '["' not in page.locator("#content").inner_text()
    panel = page.locator(".kapso-panel")
    expect(panel.get_by_role("link", name="Preview")).to_be_visible()
    for label in ("Rotate the link", "Revoke", "Change the expiry"):
        expect(panel.get_by_role("link", name=label)).to_have_count(0)
    expect(page.get_by_role("button", name="Save")).to_have_count(0)
    assert violations(page) == []
    page.goto(f"{own_demo.url}{LIST}health/")
    expect(page.get_by_role("heading", name="Health")).to_be_visible()
    expect(page.locator("main a.kapso-button, main button.kapso-button")).to_have_count(1)
    assert violations(page) == []


def test_who_may_only_add_lands_where_they_may_be_and_is_told_what_was_added(
    own_demo: Demo, new_page: NewPage
) -> None:
    page = new_page()
    enter(page, own_demo, "add")
    page.goto(f"{own_demo.url}{LIST}add/")
    page.get_by_label("Name:").fill("Front desk")
    page.get_by_label("Whole project").check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("The inbox embed “Front desk” was added successfully.")).to_be_visible()
    assert page.url == f"{own_demo.url}/admin/"
    # The same where Kapso's answer is lost: whoever can look is named, and nothing is forbidden.
    own_demo.at_kapso("POST", "/_sandbox/faults", json={"method": "POST", "drop": "after"})
    page.goto(f"{own_demo.url}{LIST}add/")
    page.get_by_label("Name:").fill("Lost")
    page.get_by_label("Whole project").check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("ask somebody who may change inboxes")).to_be_visible()
    assert page.url == f"{own_demo.url}/admin/"
    assert violations(page) == []


def test_an_adopted_embed_says_that_this_site_may_not_show_it_and_how_to_change_that(
    own_demo: Demo, new_page: NewPage
) -> None:
    settings = {"name": "Theirs", "scope_type": "project", "allowed_origins": ["https://a.example"]}
    own_demo.at_kapso("POST", "/platform/v1/inbox_embeds", json={"inbox_embed": settings})
    page = new_page()
    enter(page, own_demo, "admin")
    page.goto(f"{own_demo.url}{LIST}")
    page.get_by_role("button", name="Look for inboxes at Kapso").click()
    expect(page.get_by_text("Found 1 inbox at Kapso that was not known here.")).to_be_visible()
    page.get_by_role("link", name="Theirs").click()
    tag = page.locator("#kapso-tag")
    expect(tag).to_have_count(0)
    page.get_by_role("link", name="Adopt").click()
    page.get_by_role("button", name="Adopt").click()
    expect(page.get_by_text("this site is not among its allowed origins")).to_be_visible()
    expect(tag).to_have_count(0)
    page.get_by_role("link", name="Change its origins").click()
    expect(page.get_by_label("Allowed origins:")).to_be_focused()
    page.get_by_label("Allowed origins:").fill(own_demo.url)
    page.get_by_role("button", name="Save and continue editing").click()
    expect(tag).to_be_visible()
    page.get_by_role("link", name="Preview").click()
    expect(page.frame_locator(".kapso-inbox iframe").locator(ROW).first).to_be_visible()


def test_somebodys_own_inbox_is_described_by_their_name(own_demo: Demo, new_page: NewPage) -> None:
    agent = new_page()
    enter(agent, own_demo, "ana")
    agent.goto(f"{own_demo.url}/kapso-inbox/mine/")
    agent.frame_locator("kapso-inbox iframe").get_by_role("button", name="Set up my inbox").click()
    expect(agent.frame_locator("kapso-inbox iframe").locator(ROW).first).to_be_visible()
    page = new_page()
    enter(page, own_demo, "admin")
    page.goto(f"{own_demo.url}{LIST}?q=mine-")
    expect(page.get_by_role("cell", name="Only Ana Reyes", exact=True)).to_be_visible()
    page.locator("#result_list .field-name a").click()
    expect(page.locator(".readonly").get_by_text("Only Ana Reyes")).to_be_visible()
    expect(page.locator("[name=groups], [name=slug]")).to_have_count(0)
    expect(page.locator("#kapso-tag")).to_contain_text("{% kapso_my_inbox %}")
    assert violations(page) == []
    page.get_by_role("link", name="Preview").click()
    expect(page.get_by_text("Only Ana Reyes can open it: it is their own inbox.")).to_be_visible()
    expect(page.locator(".kapso-inbox iframe")).to_have_count(0)
    assert violations(page) == []
