"""An administrator's work in Django's admin, in Chromium: without a UUID or a secret."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import pictures
from .axe import violations
from .conftest import Demo, enter, expect, running_demo

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    SignIn = Callable[..., Page]
    NewPage = Callable[..., Page]

pytestmark = pytest.mark.browser

ROW = "[data-conversation]"
# A choice that the search for a number or a customer found.
OPTION = "#id_scope_id_list [role=option]"
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
LIST = "/admin/kapso_inbox/inboxembed/"

#: The pages an administrator sees, by the name of their picture.
PAGES = {
    "list": LIST,
    "add": f"{LIST}add/",
    "change": f"{LIST}1/change/",
    "preview": f"{LIST}1/preview/",
    "health": f"{LIST}health/",
    "rotate": f"{LIST}verbs/rotate/?id=1&id=2",
    "expiry": f"{LIST}verbs/extend/?id=1",
    "history": f"{LIST}1/history/",
    "openings": "/admin/kapso_inbox/launchattempt/",
    "changes": "/admin/kapso_inbox/inboxchange/",
}


def alive(demo: Demo) -> list[dict[str, object]]:
    """Return the embeds that are active at Kapso."""
    return [embed for embed in demo.embeds() if embed["status"] == "active"]


def act_on_all(page: Page, demo: Demo, label: str) -> None:
    """Select every row of the list, and confirm an action. Check that both pages are accessible."""
    page.goto(f"{demo.url}{LIST}")
    page.locator("#action-toggle").check()
    page.get_by_label("Action:").select_option(label=label)
    page.locator("button[name=index]").click()  # "Go", and "Run" since Django 6.1
    expect(page.get_by_role("button", name=label)).to_be_visible()
    assert violations(page) == [], f"what will happen: {label}"
    page.get_by_role("button", name=label).click()
    expect(page.get_by_role("link", name="Back to the list")).to_be_visible()
    assert violations(page) == [], f"what happened: {label}"


def press_until(page: Page, key: str, focused: str) -> None:
    """Press a key until an element that fits the selector has the focus."""
    for _press in range(60):
        if page.evaluate("selector => document.activeElement.matches(selector)", focused):
            return
        page.keyboard.press(key)
    pytest.fail(f"{focused} was never reached by {key}")


def test_from_an_empty_list_to_an_embed_that_is_rotated_and_revoked(
    own_demo: Demo, new_page: NewPage
) -> None:
    page = new_page()
    enter(page, own_demo, "admin")

    # Many at once: the seed's two are revoked, at the second try, then deleted.
    refusal = {"status": 422, "body": {"error": "Not today"}}
    fault = {"method": "DELETE", "times": 2, "answer": refusal}
    own_demo.at_kapso("POST", "/_sandbox/faults", json=fault)
    act_on_all(page, own_demo, "Revoke")
    expect(page.get_by_role("cell", name="Not today")).to_have_count(2)
    assert len(alive(own_demo)) == 2
    act_on_all(page, own_demo, "Revoke")
    expect(page.get_by_role("cell", name="It is revoked.")).to_have_count(2)
    assert alive(own_demo) == []
    act_on_all(page, own_demo, "Delete the record")
    expect(page.get_by_role("cell", name="It is deleted.")).to_have_count(2)
    page.get_by_role("link", name="Back to the list").click()
    expect(page.get_by_text("0 inbox embeds")).to_be_visible()

    # Add an embed by keyboard alone, and pick the number by its name.
    page.goto(f"{own_demo.url}{LIST}add/")
    page.keyboard.type("Front desk")
    press_until(page, "Tab", "#id_slug")
    expect(page.locator("#id_slug")).to_have_value("front-desk")
    press_until(page, "Tab", "[name=scope_type]")
    press_until(page, "Tab", "#id_scope_id")
    page.keyboard.type("supp")
    expect(page.locator(OPTION).filter(has_text="Support")).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(OPTION).first).to_be_hidden()
    press_until(page, "Tab", "[name=groups]")
    page.keyboard.press("Space")
    press_until(page, "Tab", "[name=_save]")
    page.keyboard.press("Enter")
    expect(page.get_by_text("“Front desk” is ready.")).to_be_visible()
    expect(page.locator("#kapso-tag")).to_have_text(
        '{% load kapso_inbox %}{% kapso_inbox "front-desk" %}'
    )
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    inbox = page.frame_locator(".kapso-inbox iframe")
    expect(inbox.locator(ROW).first).to_be_visible()
    [first] = alive(own_demo)
    assert first["scope_type"] == "phone_number"
    preview = page.url

    # Rotate it: a reload does nothing, and a double click after going back leaves one link.
    page.get_by_role("link", name="Rotate the link").click()
    page.get_by_role("button", name="Rotate the link").click()
    expect(page.get_by_text("It has a new link, and the old one is revoked.")).to_be_visible()
    [second] = alive(own_demo)
    assert second["id"] != first["id"]
    assert page.url == preview
    page.reload()
    expect(page.get_by_text("It has a new link")).to_have_count(0)
    page.go_back()
    page.get_by_role("button", name="Rotate the link").dblclick()
    expect(page.locator(".messagelist")).to_be_visible()
    made = len(own_demo.embeds())
    assert len(alive(own_demo)) == 1
    page.goto(preview)
    expect(inbox.locator(ROW).first).to_be_visible()
    assert len(own_demo.embeds()) == made

    # Revoke it: the frame, the list, the health page and the audit trail say so.
    page.get_by_role("link", name="Revoke").click()
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("“Front desk”: It is revoked.")).to_be_visible()
    assert alive(own_demo) == []
    page.goto(preview)
    expect(inbox.get_by_role("heading", name="This inbox was closed")).to_be_visible()
    page.goto(f"{own_demo.url}{LIST}")
    expect(page.locator(".kapso-state")).to_have_text("Revoked")
    page.get_by_role("link", name="Health").click()
    expect(page.get_by_text("The inbox “Front desk” is revoked")).to_be_visible()
    page.get_by_role("link", name="Rotate the link").click()
    expect(page.get_by_role("button", name="Rotate the link")).to_be_visible()
    page.goto(f"{own_demo.url}/admin/kapso_inbox/launchattempt/")
    expect(page.get_by_role("cell", name="Opened", exact=True).first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("CSV")).click()
    assert "front-desk" in Path(download.value.path()).read_text()

    tokens = own_demo.tokens()
    for path in (LIST, f"{LIST}health/", "/admin/kapso_inbox/inboxchange/"):
        page.goto(f"{own_demo.url}{path}")
        assert not any(token in page.content() for token in tokens)


def test_what_became_of_several_can_be_reloaded_and_gone_back_to(
    demo: Demo, sign_in: SignIn
) -> None:
    page = sign_in("admin")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.method))
    filtered = f"{demo.url}{LIST}?q=inbox&scope_type__exact=phone_number"
    page.goto(filtered)
    assert page.locator("#result_list tbody tr").count() >= 2
    page.locator("#action-toggle").check()
    page.get_by_label("Action:").select_option(label="Refresh from Kapso")
    page.locator("button[name=index]").click()
    page.get_by_role("button", name="Refresh from Kapso").click()
    done = page.get_by_role("cell", name="It is up to date.")
    expect(done.first).to_be_visible()
    count = done.count()
    results = page.url
    assert "/results/" in results
    # Reloading it sends no form, and neither does coming back to it.
    asked.clear()
    page.reload()
    expect(done).to_have_count(count)
    page.locator(".kapso-results a").first.click()
    expect(page.locator(".kapso-panel")).to_be_visible()
    page.go_back()
    expect(done).to_have_count(count)
    assert page.url == results
    page.get_by_role("link", name="Back to the list").click()
    assert page.url == filtered
    assert "POST" not in asked


def test_the_filters_of_the_list_are_kept_on_every_way_back(demo: Demo, sign_in: SignIn) -> None:
    page = sign_in("admin")
    filtered = f"{demo.url}{LIST}?q=support"
    page.goto(filtered)
    page.get_by_role("link", name="Support inbox").click()
    changed = page.url
    page.get_by_role("link", name="Preview").click()
    preview = page.url
    page.get_by_role("link", name="Refresh from Kapso").click()
    page.get_by_role("link", name="No, take me back").click()
    assert page.url == preview
    page.get_by_role("link", name="Settings").click()
    assert page.url == changed
    page.get_by_role("link", name="Refresh from Kapso").click()
    page.get_by_role("button", name="Refresh from Kapso").click()
    expect(page.get_by_text("“Support inbox”: It is up to date.")).to_be_visible()
    assert page.url == changed
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was changed successfully")).to_be_visible()
    assert page.url == filtered


def primary(page: Page) -> Locator:
    """Return the one button of the panel that stands out. Check that the panel is accessible."""
    button = page.locator(".kapso-panel").locator(".kapso-button--primary, .kapso-button--danger")
    expect(button).to_have_count(1)
    page.locator(".kapso-panel details").evaluate("details => { details.open = true }")
    assert violations(page) == []
    return button


def mend(page: Page, label: str) -> None:
    """Press the primary button of the panel, and confirm it."""
    expect(primary(page)).to_have_text(label)
    primary(page).click()
    page.get_by_role("button", name=label).click()
    expect(page.locator(".messagelist")).to_be_visible()


@pytest.mark.parametrize(("size", "theme"), [("desktop", "light"), ("phone", "dark")])
def test_one_button_stands_out_in_each_state_and_mends_it(
    own_demo: Demo, new_page: NewPage, size: str, theme: str
) -> None:
    page = new_page(viewport=SIZES[size], color_scheme=theme)
    enter(page, own_demo, "admin")
    page.goto(f"{own_demo.url}{LIST}1/change/")
    tag = page.locator("#kapso-tag")

    def fail_once(method: str) -> None:
        fault = {"method": method, "answer": {"status": 500, "body": {"error": "Oops"}}}
        own_demo.at_kapso("POST", "/_sandbox/faults", json=fault)

    expect(primary(page)).to_have_text("Preview")
    expect(primary(page)).to_have_css("text-decoration-line", "none")
    expect(tag).to_be_visible()
    # It works, and an older link waits to be revoked.
    fail_once("DELETE")
    page.get_by_role("link", name="Rotate the link").click()
    page.get_by_role("button", name="Rotate the link").click()
    expect(page.locator(".messagelist .error")).to_contain_text("The old one is not revoked yet")
    expect(tag).to_be_visible()
    mend(page, "Find out what became of it")
    expect(primary(page)).to_have_text("Preview")
    # It expires soon.
    page.get_by_role("link", name="Change the expiry").click()
    page.get_by_label("Expires:").select_option(label="in 7 days")
    page.get_by_role("button", name="Change the expiry").click()
    expect(page.get_by_text("After that nobody can open it.")).to_be_visible()
    mend(page, "Change the expiry")
    # It waits to be revoked, and then it is revoked: its tag would show nothing.
    fail_once("DELETE")
    page.get_by_role("link", name="Revoke").click()
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("Kapso has not confirmed yet that it is revoked.")).to_be_visible()
    expect(tag).to_have_count(0)
    mend(page, "Find out what became of it")
    expect(page.get_by_text("It was revoked, so nobody can open it.")).to_be_visible()
    fail_once("POST")
    mend(page, "Rotate the link")
    expect(page.locator(".messagelist .error")).to_contain_text("Kapso may have done it")
    page.get_by_role("link", name="Find out what became of it").click()
    page.get_by_role("button", name="Find out what became of it").click()
    # Whatever Kapso says of the lost one, the embed gets a link again.
    page.goto(f"{own_demo.url}{LIST}1/change/")
    page.get_by_role("link", name="Rotate the link").click()
    page.get_by_role("button", name="Rotate the link").click()
    expect(page.get_by_text("It has a new link, and opens again.")).to_be_visible()
    expect(tag).to_be_visible()

    # The one way to delete an inbox offers to revoke it only.
    page.goto(f"{own_demo.url}{LIST}2/change/")
    page.locator("a.deletelink").click()  # In Django 6.1 it has the role of a button.
    expect(page.get_by_role("link", name="Only revoke it")).to_be_visible()
    assert violations(page) == []
    page.get_by_role("button", name="Revoke it and delete the record").click()
    expect(page.get_by_text("was deleted successfully.")).to_be_visible()
    page.goto(f"{own_demo.url}{LIST}2/preview/")
    expect(page.get_by_text("Perhaps it was deleted?")).to_be_visible()
    assert page.url == f"{own_demo.url}/admin/"


@pytest.mark.pictures
@pytest.mark.parametrize(("size", "theme"), pictures.LOOKS)
def test_every_page_is_accessible_and_keeps_its_look(
    demo: Demo, sign_in: SignIn, theme: str, size: str
) -> None:
    page = sign_in("admin", viewport=SIZES[size], color_scheme=theme)
    found = {}
    for name, path in PAGES.items():
        page.goto(f"{demo.url}{path}")
        if name == "preview":
            expect(page.frame_locator(".kapso-inbox iframe").locator(ROW).first).to_be_visible()
        if name == "add":
            page.get_by_label("Name:").fill("Front desk")
            page.locator("#id_scope_id").fill("s")
            expect(page.locator(OPTION).first).to_be_visible()
        trail = page.locator(".breadcrumbs").first
        found_look = trail.evaluate("trail => getComputedStyle(trail).backgroundColor")
        assert found_look != "rgba(0, 0, 0, 0)", f"{name} has lost the look of its breadcrumbs"
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= SIZES[size]["width"], f"{name} scrolls sideways"
        pictures.keep(page, f"admin-{name}-{theme}-{size}", full_page=True)
        if wrong := violations(page):
            found[name] = wrong
    assert found == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_results_and_form_errors_are_accessible(demo: Demo, sign_in: SignIn, theme: str) -> None:
    page = sign_in("admin", color_scheme=theme)

    def look(what: str) -> None:
        assert violations(page) == [], what

    page.goto(f"{demo.url}{LIST}verbs/refresh/?id=1&id=2")
    page.get_by_role("button", name="Refresh from Kapso").click()
    expect(page.get_by_role("link", name="Back to the list")).to_be_visible()
    look("results")
    page.goto(f"{demo.url}{LIST}verbs/delete/?id=1")
    look("a record that cannot be deleted")
    for address, field in ((f"{LIST}add/", "Name:"), (f"{LIST}1/change/", "Name:")):
        page.goto(f"{demo.url}{address}")
        # Send what a browser would refuse to send.
        page.locator("form[novalidate], #inboxembed_form").first.evaluate(
            "form => { form.noValidate = true }"
        )
        page.get_by_label(field).fill("")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_text("This field is required.").first).to_be_visible()
        look(f"errors of {address}")


@pytest.mark.pictures
@pytest.mark.parametrize("admin_theme", ["unfold", "jazzmin"])
def test_it_works_under_the_admin_themes_that_teams_use(
    tmp_path: Path, new_page: NewPage, admin_theme: str
) -> None:
    with running_demo(tmp_path, CRM_ADMIN_THEME=admin_theme) as themed:
        page = new_page()
        failures: list[str] = []
        page.on("pageerror", lambda error: failures.append(str(error)))
        enter(page, themed, "admin")
        for name in ("list", "add", "change", "health", "rotate"):
            page.goto(f"{themed.url}{PAGES[name]}")
            # Not the full page: bars that stick to the window would cover its middle.
            pictures.keep(page, f"admin-{name}-{admin_theme}")
        page.goto(f"{themed.url}{LIST}add/")
        page.locator("#id_name").press_sequentially("Front desk")
        expect(page.locator("#id_slug")).to_have_value("front-desk")
        # The theme marks a required field, or we do: never both.
        for field in ("name", "scope_id"):
            label = page.locator(f"label[for=id_{field}]")
            ours = label.evaluate("label => getComputedStyle(label, '::after').content")
            assert f"{label.inner_text()}{ours}".count("*") == 1, field
        if admin_theme == "jazzmin":
            page.get_by_role("tab", name="What it shows").click()
        page.locator("#id_scope_id").fill("supp")
        page.locator(OPTION).filter(has_text="Support").click()
        page.locator("[name=_save]").first.click()
        expect(page.frame_locator(".kapso-inbox iframe").locator(ROW).first).to_be_visible()
        page.get_by_role("link", name="Rotate the link").click()
        page.get_by_role("button", name="Rotate the link").click()
        expect(page.get_by_text("It has a new link, and the old one is revoked.")).to_be_visible()
        assert failures == []
