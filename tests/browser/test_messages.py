"""Our own pages in the frame, in Chromium: what they say, how they look, and where they lead."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from .axe import violations
from .conftest import PASSWORD, Demo, enter, expect, running_demo

if TYPE_CHECKING:
    from playwright.sync_api import Frame, FrameLocator, Page

    NewPage = Callable[..., Page]

pytestmark = pytest.mark.browser

ROW = "[data-conversation]"
PHONE = {"width": 390, "height": 844}
TABLES = ("kapso_inbox_inboxembed", "kapso_inbox_accesslink")

#: The readers: an agent of Sales, and an administrator of everything.
AGENT, ADMIN = "ana", "admin"

#: Outcome -> the SQL that causes it in the CRM's database, and the query of the frame's address.
BROKEN: dict[str, tuple[str, str]] = {
    "revoked": ("UPDATE kapso_inbox_accesslink SET state = 'revoked'", ""),
    "expired": ("UPDATE kapso_inbox_inboxembed SET expires_at = '2026-01-01 00:00:00'", ""),
    "not_ready": ("UPDATE kapso_inbox_inboxembed SET current_link_id = NULL", ""),
    "secret_lost": (
        "UPDATE kapso_inbox_accesslink SET state = 'secret_lost', sealed_url = ''",
        "",
    ),
    "wrong_origin": (
        "UPDATE kapso_inbox_inboxembed SET allowed_origins = '[\"https://crm.example.com\"]'",
        "",
    ),
    "not_available": ("UPDATE kapso_inbox_inboxembed SET personal_to = 'nobody'", ""),
    "bad_parameter": ("SELECT 1", "?mode=pink"),
    "not_recorded": (
        "CREATE TRIGGER full BEFORE INSERT ON kapso_inbox_launchattempt "
        "BEGIN SELECT RAISE(ABORT, 'disk full'); END",
        "",
    ),
    "signed_out": ("SELECT 1", ""),
}


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Run a demo for this module alone, since its tests break it."""
    with running_demo(tmp_path_factory.mktemp("demo")) as demo:
        yield demo


@contextmanager
def broken(crm: Demo, outcome: str) -> Iterator[None]:
    """Cause an outcome, and repair at the end what was broken for it."""
    statement, _asked = BROKEN[outcome]
    path = crm.data_dir / "sandbox.sqlite3"
    with closing(sqlite3.connect(path, timeout=20)) as database:
        kept = {
            table: database.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608
            for table in TABLES
        }
        database.execute(statement)
        database.commit()
    at_kapso = crm.embeds()
    if outcome == "wrong_origin":
        allow_at_kapso(crm, {embed["id"]: ["https://crm.example.com"] for embed in at_kapso})
    try:
        yield
    finally:
        with closing(sqlite3.connect(path, timeout=20)) as database:
            database.execute("DROP TRIGGER IF EXISTS full")
            for table, rows in kept.items():
                for row in rows:
                    marks = ", ".join("?" * len(row))
                    database.execute(f"REPLACE INTO {table} VALUES ({marks})", row)  # noqa: S608
            database.commit()
        if outcome == "wrong_origin":
            allow_at_kapso(crm, {embed["id"]: embed["allowed_origins"] for embed in at_kapso})


def allow_at_kapso(crm: Demo, origins: dict[str, list[str]]) -> None:
    for key, allowed in origins.items():
        changes = {"inbox_embed": {"allowed_origins": allowed}}
        crm.at_kapso("PATCH", f"/platform/v1/inbox_embeds/{key}", json=changes)


def frame_of(page: Page) -> FrameLocator:
    return page.frame_locator(".kapso-inbox iframe")


def our_frame(page: Page) -> Frame:
    frame = page.locator(".kapso-inbox iframe").element_handle().content_frame()
    assert frame is not None
    return frame


@pytest.fixture(scope="module")
def readers(crm: Demo, browser: Any) -> Iterator[Callable[[str, str], Page]]:
    """Return a function for the page of a signed-in reader. Pages stay open, which saves time."""
    pages: dict[tuple[str, str], tuple[Page, Any]] = {}

    def page_of(username: str, language: str) -> Page:
        if (username, language) not in pages:
            context = browser.new_context(locale=language)
            enter(context.new_page(), crm, username)
            pages[username, language] = (context.pages[0], context.cookies())
        page, cookies = pages[username, language]
        page.context.add_cookies(cookies)
        return page

    yield page_of
    for page, _cookies in pages.values():
        page.context.close()


def sign_in(crm: Demo, new_page: NewPage, username: str, language: str, **options: object) -> Page:
    page = new_page(**options)
    enter(page, crm, username)
    page.context.set_extra_http_headers({"Accept-Language": language})
    return page


def ask(page: Page, asked: str) -> None:
    """Lead the frame to the launch of Sales, with a query."""
    load(page, f"/kapso-inbox/sales/launch/{asked}")


def load(page: Page, address: str) -> None:
    """Lead the frame to another address of ours, and wait until it has loaded."""
    page.locator(".kapso-inbox iframe").evaluate(
        "(frame, address) => new Promise((loaded) => {"
        " frame.addEventListener('load', loaded, {once: true}); frame.src = address; })",
        address,
    )


def show(page: Page, crm: Demo, outcome: str, theme: str) -> FrameLocator:
    """Open a page with the frame while something is broken, and return the frame."""
    page.goto(f"{crm.url}/teams/sales/")
    if outcome == "signed_out":
        page.context.clear_cookies(name="sessionid")
    return show_again(page, outcome, theme)


def show_again(page: Page, outcome: str, theme: str) -> FrameLocator:
    """Load the frame of the open page again, and return it."""
    _statement, asked = BROKEN[outcome]
    ask(page, asked or f"?mode={theme}")
    frame = frame_of(page)
    expect(frame.locator(f"main[data-outcome={outcome}]")).to_be_visible()
    return frame


def is_dark(frame: FrameLocator) -> bool:
    body = frame.locator("body")
    colour = body.evaluate("body => getComputedStyle(body).backgroundColor")
    red, green, blue = map(int, re.findall(r"\d+", colour)[:3])
    return red + green + blue < 3 * 128


def fits(page: Page) -> bool:
    """Return whether the frame is wide enough for everything in it."""
    return bool(
        our_frame(page).evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
    )


def axe(page: Page) -> list[str]:
    return violations(our_frame(page))


@pytest.mark.parametrize("language", ["en", "es", "pt-BR"])
@pytest.mark.parametrize("outcome", BROKEN)
def test_each_page_is_readable_in_every_theme_size_and_language(
    crm: Demo, readers: Callable[[str, str], Page], outcome: str, language: str
) -> None:
    wide = ({"width": 1280, "height": 800}, "light")
    small = (PHONE, "dark")
    looks = {AGENT: [wide, small], ADMIN: [wide, small]}
    if language != "en":  # only the words differ
        looks = {AGENT: [small], ADMIN: [wide]}
    with broken(crm, outcome):
        for username, sizes in looks.items():
            page = readers(username, language)
            frame = show(page, crm, outcome, "light")
            for viewport, theme in sizes:
                page.set_viewport_size(viewport)  # type: ignore[arg-type]
                frame = show_again(page, outcome, theme)
                expect(frame.get_by_role("alert")).to_contain_text(re.compile(r"\w"))
                expect(frame.locator("html")).to_have_attribute(
                    "lang", re.compile(language, re.IGNORECASE)
                )
                if language == "en":  # axe does not depend on the words
                    assert axe(page) == []
                assert fits(page)
                if outcome != "bad_parameter":
                    assert is_dark(frame) == (theme == "dark")


def test_they_fit_into_the_narrowest_column(crm: Demo, new_page: NewPage) -> None:
    page = sign_in(crm, new_page, ADMIN, "en")
    for outcome in BROKEN:
        with broken(crm, outcome):
            show(page, crm, outcome, "light")
            page.locator(".kapso-inbox iframe").evaluate(
                "frame => { frame.style.cssText = 'inline-size: 200px; flex: none' }"
            )
            assert fits(page), outcome


def test_a_user_who_signs_in_in_another_tab_goes_on_where_they_were(
    crm: Demo, new_page: NewPage
) -> None:
    page = sign_in(crm, new_page, AGENT, "en")
    frame = show(page, crm, "signed_out", "light")
    with page.context.expect_page() as opened:
        frame.get_by_role("link", name="Sign in").click()
    tab = opened.value
    tab.get_by_label("Username").fill(AGENT)
    tab.get_by_label("Password").fill(PASSWORD)
    tab.get_by_role("button", name="Sign in", exact=True).click()
    expect(tab.get_by_role("heading", name="You are signed in")).to_be_visible()
    assert violations(tab) == []
    tab.close()
    again = frame.get_by_role("link", name="Try again")
    if again.is_visible():  # unless our script was faster
        again.click()
    expect(frame.locator(ROW).first).to_be_visible()


def test_an_administrator_is_led_from_the_frame_to_the_fix(crm: Demo, new_page: NewPage) -> None:
    page = sign_in(crm, new_page, ADMIN, "en")
    with broken(crm, "revoked"):
        frame = show(page, crm, "revoked", "light")
        with page.context.expect_page() as opened:
            frame.get_by_role("link", name="Open it in the admin").click()
        expect(opened.value).to_have_url(re.compile(r"/admin/kapso_inbox/inboxembed/\d+/change/"))
    frame.get_by_role("link", name="Try again").click()
    expect(frame.locator(ROW).first).to_be_visible()


# The settings


@pytest.mark.parametrize(
    ("viewport", "theme"), [({"width": 1280, "height": 800}, "light"), (PHONE, "dark")]
)
def test_preferences_are_set_in_the_frame_by_keyboard_and_lead_back_into_the_inbox(
    crm: Demo, new_page: NewPage, viewport: dict[str, int], theme: str
) -> None:
    page = sign_in(crm, new_page, AGENT, "en", viewport=viewport)
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.goto(f"{crm.url}/teams/sales/")
    load(page, f"/kapso-inbox/sales/settings/?mode={theme}")
    frame = frame_of(page)
    expect(frame.get_by_role("heading", name="Your settings for this inbox")).to_be_visible()
    expect(frame.get_by_role("group", name="Appearance")).to_be_visible()
    expect(frame.get_by_text("This page is set to")).to_be_visible()
    assert is_dark(frame) == (theme == "dark")
    assert axe(page) == []
    assert fits(page)
    frame.get_by_label("Conversations", exact=True).select_option("Ended")
    frame.get_by_label("Only unread").check()
    frame.get_by_role("button", name="Save").press("Enter")
    page.wait_for_timeout(200)
    [inbox] = wait_for_inbox(page, crm)
    assert "status=ended" in inbox
    assert "unread=1" in inbox
    assert f"mode={theme}" in inbox
    # And remove the choices again.
    load(page, "/kapso-inbox/sales/settings/")
    expect(frame.get_by_label("Only unread")).to_be_checked()
    frame.get_by_label("Only unread").uncheck()
    frame.get_by_label("Conversations", exact=True).select_option("Default")
    frame.get_by_role("button", name="Save").click()
    [inbox] = wait_for_inbox(page, crm)
    assert "unread" not in inbox
    assert [text for text in said if text.startswith("error")] == []


def wait_for_inbox(page: Page, crm: Demo) -> list[str]:
    expect(frame_of(page).locator("main[data-outcome], form[method=post]")).to_have_count(0)
    expect(frame_of(page).locator("body")).to_be_visible()
    return [frame.url for frame in page.frames if frame.url.startswith(crm.inbox_origin)]
