"""Badges, the page's title and notifications follow what webhooks tell, without a reload."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests

from tests.conversations.conftest import about, handoff, sign

from . import pictures
from .axe import violations
from .conftest import Demo, enter, expect, running_chromium, running_demo
from .test_component import PHONE, turbo

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route

    Open = Callable[..., Page]

pytestmark = pytest.mark.browser

RECEIVED, SENT = "whatsapp.message.received", "whatsapp.message.sent"
HANDOFF = "workflow.execution.handoff"

LOAD = "{% load kapso_conversations %}"
SALES = LOAD + '<nav><a href="/">Inbox {% kapso_waiting "sales" title=1 %}</a></nav>'

#: A page of which the test says whether it is visible and has the focus. It collects what is said
#: to screen readers, and the notifications.
ACTOR = """
  window.isHidden = false;
  window.isElsewhere = false;
  Object.defineProperty(document, "visibilityState",
    {get: () => window.isHidden ? "hidden" : "visible"});
  document.hasFocus = () => !window.isHidden && !window.isElsewhere;
  window.told = [];
  new MutationObserver((changes) => changes.forEach(({target}) => {
    if (target.role === "status" && target.textContent) window.told.push(target.textContent);
  })).observe(document, {subtree: true, childList: true, characterData: true});
  window.shown = [];
  if (window.Notification) window.Notification = class extends Notification {
    constructor(...given) { super(...given); window.shown.push(this); }
  };
"""


def execute(crm: Demo, statement: str) -> list[Any]:
    """Run a statement in the CRM's database."""
    with closing(sqlite3.connect(crm.data_dir / "sandbox.sqlite3", timeout=20)) as database:
        rows = database.execute(statement).fetchall()
        database.commit()
    return rows


class Crm(Demo):
    """The demo, to which Kapso's webhooks deliver."""

    def deliver(self, event: str, body: dict[str, Any]) -> None:
        """Deliver an event about a conversation of Sales."""
        [(number,)] = execute(
            self, "SELECT scope_id FROM kapso_inbox_inboxembed WHERE slug = 'sales'"
        )
        body["phone_number_id"] = number
        body.get("conversation", {})["phone_number_id"] = number
        raw = json.dumps(body).encode()
        headers = {
            "Content-Type": "application/json",
            "X-Webhook-Event": event,
            "X-Webhook-Signature": sign(raw),
            "X-Idempotency-Key": str(uuid.uuid4()),
        }
        with requests.Session() as session:
            session.trust_env = False
            address = f"{self.url}/kapso-inbox/webhooks/default/"
            session.post(address, raw, headers=headers, timeout=20).raise_for_status()

    def write(self, conversation: str = "c-1", minute: float = 1) -> None:
        """Let a customer write."""
        self.deliver(RECEIVED, about(minute, conversation))

    def answer(self, conversation: str = "c-1", minute: float = 5) -> None:
        """Let an agent answer."""
        self.deliver(SENT, about(minute, conversation))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start a whole Chromium: without windows it has no notifications and no back/forward cache."""
    with running_chromium(is_whole=True) as running:
        yield running


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    directory = tmp_path_factory.mktemp("waiting")
    with running_demo(directory, DJANGO_SETTINGS_MODULE="tests.browser.waiting_settings") as demo:
        yield demo


@pytest.fixture
def crm(running: Demo) -> Crm:
    """Return the demo, where nothing waits."""
    execute(running, "DELETE FROM kapso_conversations_conversation")
    return Crm(running.process, running.ports, running.data_dir, running.console)


@pytest.fixture(scope="module")
def session(running: Demo, browser: Any) -> Any:
    """Return the cookies of an agent of Sales."""
    context = browser.new_context()
    enter(context.new_page(), running, "ana")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def said() -> list[str]:
    """Collect the browser's complaints. A test that expects some must clear the list."""
    return []


@pytest.fixture
def show(crm: Crm, new_page: Open, session: Any, said: list[str]) -> Iterator[Open]:
    """Open a host's page as an agent of Sales. The browser must have no complaint at the end."""

    def open_page(
        body: str = SALES, *, beside: Page | None = None, head: str = "", **options: Any
    ) -> Page:
        if beside:
            page = beside.context.new_page()
        else:
            page = new_page(**{"storage_state": session, **options})
            page.context.add_init_script(ACTOR)
        page.on("console", lambda m: said.append(m.text) if m.type != "log" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.clock.install()
        page.goto(address(crm, body, head=head), wait_until="load")
        return page

    yield open_page
    harmless = ("allow-scripts and allow-same-origin", "Autofocus processing was blocked")
    assert [text for text in said if not any(one in text for one in harmless)] == []


def address(crm: Demo, body: str, **query: str) -> str:
    return f"{crm.url}/host/?{urlencode({'body': body, **query})}"


def badge(page: Page, slug: str = "sales") -> Locator:
    return page.locator(f"kapso-waiting[data-slugs='{slug}'] [data-number]")


def asked(page: Page) -> list[list[str]]:
    """Return a list that fills with the requests of all tabs from now on: the slugs of each."""
    seen: list[list[str]] = []

    def note(request: Any) -> None:
        url = urlsplit(request.url)
        if url.path.endswith("/waiting/"):
            seen.append(parse_qs(url.query)["slug"])

    page.context.on("request", note)
    return seen


def settle(page: Page) -> None:
    """Wait for what has been started, such as a request."""
    page.wait_for_timeout(400)


def pass_seconds(seconds: float, page: Page) -> None:
    """Let time pass in all tabs of a page's context, which have one clock."""
    page.clock.run_for(seconds * 1000)
    settle(page)


def hide(page: Page) -> None:
    page.evaluate("isHidden = true; document.dispatchEvent(new Event('visibilitychange'))")


def come_back(page: Page) -> None:
    page.evaluate("isHidden = false; document.dispatchEvent(new Event('visibilitychange'))")


def test_a_number_appears_in_badge_and_title_without_a_reload_and_goes_with_the_answer(
    crm: Crm, show: Open
) -> None:
    page = show()
    settle(page)
    expect(badge(page)).to_be_hidden()
    expect(page).to_have_title("A host")
    crm.write("c-1")
    crm.write("c-2")
    pass_seconds(21, page)
    expect(badge(page)).to_have_text("2")
    expect(page).to_have_title("(2) A host")
    name = "Inbox 2 conversations wait for an answer"
    expect(page.get_by_role("link", name=name)).to_be_visible()
    crm.answer("c-1")
    crm.answer("c-2")
    pass_seconds(21, page)
    expect(badge(page)).to_be_hidden()
    expect(page).to_have_title("A host")


def test_a_page_that_is_opened_shows_the_number_at_once(crm: Crm, show: Open) -> None:
    crm.write()
    page = show()
    expect(badge(page)).to_have_text("1")
    assert page.evaluate("told") == []


def test_what_another_team_waits_for_is_not_shown(
    crm: Crm, show: Open, browser: Any, new_page: Open
) -> None:
    crm.write()
    page = new_page()
    enter(page, crm, "bruno")
    page.goto(address(crm, SALES))
    settle(page)
    expect(badge(page)).to_be_hidden()


def test_screen_readers_are_told_once_of_each_growth(crm: Crm, show: Open) -> None:
    body = SALES + '<p>{% kapso_waiting "sales" %}</p>'
    page = show(body)
    settle(page)
    crm.write()
    pass_seconds(21, page)
    pass_seconds(21, page)
    assert page.evaluate("told") == ["1 conversation waits for an answer"]
    crm.write("c-2")
    pass_seconds(21, page)
    crm.answer("c-2")
    pass_seconds(21, page)
    crm.write("c-2", minute=9)
    pass_seconds(21, page)
    assert page.evaluate("told") == [
        "1 conversation waits for an answer",
        *["2 conversations wait for an answer"] * 2,
    ]
    assert page.locator("[role=status]").count() == 1


def test_one_request_is_for_all_badges_and_asks_with_the_etag(crm: Crm, show: Open) -> None:
    body = SALES + '{% kapso_waiting "mine" %}{% kapso_waiting "sales" kind="handoff" %}'
    page = show("<p>Nothing</p>")
    seen = asked(page)
    answers: list[Any] = []
    page.on("response", lambda one: answers.append(one) if "/waiting/" in one.url else None)
    page.goto(address(crm, body))
    settle(page)
    assert seen == [["mine", "sales"]]
    pass_seconds(21, page)
    assert seen == [["mine", "sales"]] * 2
    assert answers[1].request.all_headers()["if-none-match"] == answers[0].headers["etag"]
    crm.deliver(HANDOFF, handoff(1))
    crm.write()
    pass_seconds(21, page)
    expect(page.locator("[data-kind=handoff] [data-number]")).to_have_text("1")


def test_of_two_tabs_one_asks_for_both(crm: Crm, show: Open) -> None:
    first = show()
    second = show(LOAD + '{% kapso_waiting "mine" %}{% kapso_waiting "sales" %}', beside=first)
    settle(first)
    first.clock.pause_at(first.evaluate("new Date(Date.now() + 1000).toISOString()"))
    seen = asked(first)
    crm.write()
    for _ in range(3):
        pass_seconds(20.5, first)
    assert seen == [["mine", "sales"]] * 3
    for page in (first, second):
        expect(badge(page)).to_have_text("1")


def test_without_https_each_tab_asks_for_itself(crm: Crm, show: Open) -> None:
    """There, browsers have no Web Locks."""
    first = show()
    first.context.add_init_script("Object.defineProperty(navigator, 'locks', {value: undefined})")
    first.reload()
    second = show(LOAD + '{% kapso_waiting "mine" %}', beside=first)
    settle(first)
    seen = asked(first)
    crm.write()
    pass_seconds(21, first)
    expect(badge(first)).to_have_text("1")
    assert sorted(seen) == [["mine"], ["sales"]]
    expect(badge(second, "mine")).to_be_hidden()


def test_when_the_tab_that_asks_is_closed_or_hidden_another_takes_over(
    crm: Crm, show: Open
) -> None:
    first, second = show(), None
    second = show(beside=first)
    third = show(beside=first)
    settle(first)
    third.close()
    hide(second)
    seen = asked(first)
    crm.write()
    pass_seconds(22, first)
    expect(badge(first)).to_have_text("1")
    assert len(seen) == 1
    # The hidden one has listened.
    expect(badge(second)).to_have_text("1")


def test_a_hidden_tab_asks_nothing_until_it_is_visible_again(crm: Crm, show: Open) -> None:
    page = show()
    settle(page)
    hide(page)
    seen = asked(page)
    pass_seconds(300, page)
    assert seen == []
    crm.write()
    come_back(page)
    expect(badge(page)).to_have_text("1")
    assert len(seen) == 1


def test_it_asks_at_once_when_the_browser_is_online_again(crm: Crm, show: Open) -> None:
    page = show()
    settle(page)
    crm.write()
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(badge(page)).to_have_text("1")


def test_a_server_that_fails_is_asked_less_often_until_it_answers(
    crm: Crm, show: Open, said: list[str]
) -> None:
    page = show()
    settle(page)
    seen = asked(page)
    page.route("**/waiting/*", lambda route: route.fulfill(status=500))
    waits = []
    for _ in range(7):
        waited, before = 0, len(seen)
        while len(seen) == before:
            page.clock.run_for(10_000)
            page.wait_for_timeout(50)
            waited += 10
        settle(page)
        waits.append(waited)
    assert [round(wait, -1) for wait in waits] == [20, 40, 80, 160, 300, 300, 300]
    page.unroute("**/waiting/*")
    crm.write()
    pass_seconds(300, page)
    expect(badge(page)).to_have_text("1")
    before = len(seen)
    pass_seconds(21, page)
    assert len(seen) == before + 1
    assert {text for text in said if "500" not in text} == set()
    said.clear()


def test_a_login_page_in_place_of_the_numbers_is_a_failure(
    crm: Crm, show: Open, said: list[str]
) -> None:
    page = show()
    crm.write()
    expect(badge(page)).to_be_hidden()

    def lead_to_login(route: Route) -> None:
        route.fulfill(status=302, headers={"Location": "/login/"})

    page.route("**/waiting/*", lead_to_login)
    pass_seconds(21, page)
    page.unroute("**/waiting/*")
    seen = asked(page)
    pass_seconds(21, page)
    assert seen == []
    pass_seconds(21, page)
    expect(badge(page)).to_have_text("1")
    said.clear()


def test_it_stops_for_whoever_is_signed_out(crm: Crm, show: Open, said: list[str]) -> None:
    crm.write()
    page = show()
    expect(badge(page)).to_have_text("1")
    cookies = page.context.cookies()
    page.context.clear_cookies()
    pass_seconds(21, page)
    expect(badge(page)).to_be_hidden()
    expect(page).to_have_title("A host")
    seen = asked(page)
    pass_seconds(300, page)
    hide(page)
    come_back(page)
    settle(page)
    assert seen == []
    # Somebody signs in in another tab.
    page.context.add_cookies(cookies)
    show(beside=page)
    expect(badge(page)).to_have_text("1")
    pass_seconds(22, page)
    assert len(seen) == 2
    assert [text for text in said if "403" not in text] == []
    said.clear()


# Pages that change


def test_a_badge_that_comes_later_shows_what_is_known_or_asks(crm: Crm, show: Open) -> None:
    crm.write()
    page = show()
    expect(badge(page)).to_have_text("1")
    seen = asked(page)
    copy = """slug => {
      const copy = document.querySelector("kapso-waiting").cloneNode(true);
      copy.dataset.slugs = slug;
      copy.querySelector("[data-number]").textContent = "";
      document.body.append(copy);
    }"""
    page.evaluate(copy, "sales")
    expect(badge(page).nth(1)).to_have_text("1")
    settle(page)
    assert seen == []
    page.evaluate(copy, "mine")
    settle(page)
    assert seen == [["mine", "sales"]]
    page.evaluate("document.querySelectorAll('kapso-waiting').forEach(one => one.remove())")
    pass_seconds(60, page)
    assert len(seen) == 1
    expect(page).to_have_title("A host")


def test_turbo_swaps_pages_around_it(crm: Crm, show: Open, said: list[str]) -> None:
    crm.write()
    to = address(crm, f"<h1>After</h1>{SALES}", head=turbo())
    page = show(f'<h1>Before</h1><a href="{to}">Go</a>{SALES}', head=turbo())
    expect(page).to_have_title("(1) A host")
    page.get_by_role("link", name="Go").click()
    expect(page.get_by_role("heading", name="After")).to_be_visible()
    expect(badge(page)).to_have_text("1")
    expect(page).to_have_title("(1) A host")
    crm.write("c-2")
    pass_seconds(21, page)
    expect(badge(page)).to_have_text("2")
    assert page.evaluate("told") == ["2 conversations wait for an answer"]
    page.go_back()
    expect(page.get_by_role("heading", name="Before")).to_be_visible()
    expect(page).to_have_title("(2) A host")
    # The style of Turbo's own progress bar.
    assert [text for text in said if "inline style" not in text] == []
    said.clear()


def test_back_shows_the_current_number(crm: Crm, new_page: Open, session: Any) -> None:
    page = new_page(storage_state=session)
    page.goto(address(crm, SALES))
    settle(page)
    page.evaluate("window.mark = 1")
    page.goto(address(crm, "<p>Elsewhere</p>"))
    crm.write()
    page.go_back(wait_until="commit")
    expect(badge(page)).to_have_text("1")
    # It holds nothing open, so the browser has kept it.
    assert page.evaluate("window.mark") == 1
    crm.write("c-2")
    expect(badge(page)).to_have_text("2", timeout=30_000)


# In an inbox


@pytest.mark.parametrize(("size", "theme"), pictures.LOOKS)
@pytest.mark.parametrize("variant", ["drawer", "floating"])
def test_the_button_of_an_inbox_shows_the_number(
    crm: Crm, show: Open, variant: str, size: str, theme: str
) -> None:
    crm.write()
    crm.write("c-2")
    crm.deliver(HANDOFF, handoff(3))
    inbox = f'{{% kapso_inbox "sales" variant="{variant}" views=1 waiting=1 title="WhatsApp" %}}'
    options: dict[str, Any] = {"color_scheme": theme}
    if size == "phone":
        options["viewport"] = PHONE
    page = show(f"<main><h1>Customers</h1><div>{inbox}</div></main>", **options)
    button = page.get_by_role("button", name="WhatsApp 2 conversations wait for an answer")
    expect(button).to_be_visible()
    pictures.keep(page, f"waiting-{variant}-{theme}-{size}")
    assert violations(page, "kapso-inbox") == []
    button.click()
    name = "Waiting for a human 1 conversation waits for a human"
    expect(page.get_by_role("link", name=name)).to_be_visible()
    pictures.keep(page, f"waiting-{variant}-open-{theme}-{size}")


@pytest.mark.parametrize(("size", "theme"), pictures.LOOKS)
def test_a_badge_fits_into_a_navigation(crm: Crm, show: Open, size: str, theme: str) -> None:
    for number in range(12):
        crm.write(f"c-{number}")
    crm.deliver(HANDOFF, handoff(3))
    body = LOAD + (
        '<nav><a href="/">Contacts</a> <a href="/">Inbox {% kapso_waiting "sales" %}</a> '
        '<a href="/">Humans {% kapso_waiting "sales" kind="handoff" %}</a></nav>'
        '<h1>Inbox {% kapso_waiting "sales" %}</h1>'
    )
    options: dict[str, Any] = {"color_scheme": theme}
    if size == "phone":
        options["viewport"] = PHONE
    page = show(body, **options)
    expect(badge(page).first).to_have_text("12")
    assert violations(page, "kapso-waiting") == []
    pictures.keep(page, f"waiting-navigation-{theme}-{size}")


# Notifications

SETTINGS = '<main><h1>Customers</h1><div class="place">{% kapso_inbox "sales" settings=1 %}</div>'
SWITCH = "Tell me when conversations wait"


def switch(page: Page) -> Locator:
    """Open the settings in the frame, and return the switch."""
    page.get_by_role("link", name="Inbox settings").click()
    return page.frame_locator("kapso-inbox iframe").get_by_label(SWITCH)


def switch_on(context: BrowserContext) -> None:
    context.grant_permissions(["notifications"])
    context.add_init_script("localStorage.setItem('kapso-inbox-notifications', '1')")


def notifications(page: Page) -> Any:
    return page.evaluate("shown.map(({title, body, tag}) => [title, body, tag])")


def test_a_switch_in_the_frame_asks_for_the_permission_on_a_click_alone(
    crm: Crm, show: Open
) -> None:
    page = show(SETTINGS)
    page.context.add_init_script(
        "window.requests = 0; const ask = Notification.requestPermission;"
        "Notification.requestPermission = () => { requests++; return ask.call(Notification) }"
    )
    page.context.grant_permissions(["notifications"])
    box = switch(page)
    expect(box).not_to_be_checked()
    [frame] = [one for one in page.frames if one.url.endswith("/settings/")]
    assert frame.evaluate("requests") == 0
    box.check()
    # It is kept when the browser has shown what they look like.
    page.wait_for_function("localStorage.getItem('kapso-inbox-notifications') === '1'")
    assert frame.evaluate("requests") == 1
    assert frame.evaluate("shown.length") == 1
    expect(box).to_be_checked()
    assert violations(frame) == []
    pictures.keep(page, "waiting-settings")
    page.get_by_role("link", name="Reload").click()
    box = switch(page)
    expect(box).to_be_checked()
    box.uncheck()
    assert page.evaluate("localStorage.getItem('kapso-inbox-notifications')") is None


def test_a_browser_that_blocks_them_is_said(crm: Crm, show: Open) -> None:
    page = show(SETTINGS)
    page.context.grant_permissions([])  # and so none
    box = switch(page)
    box.click()
    blocked = page.frame_locator("kapso-inbox iframe").get_by_text("This browser blocks")
    expect(blocked).to_be_visible()
    expect(box).not_to_be_checked()
    pictures.keep(page, "waiting-settings-denied")


def test_a_notification_tells_who_looks_elsewhere_how_many_wait(crm: Crm, show: Open) -> None:
    page = show()
    switch_on(page.context)
    page.reload()
    settle(page)
    crm.write()
    # Whoever looks at the page sees the badge.
    pass_seconds(21, page)
    assert notifications(page) == []
    hide(page)
    crm.write("c-2")
    pass_seconds(61, page)
    pass_seconds(1, page)
    assert notifications(page) == [
        ["2 conversations wait for an answer", "", "kapso-waiting both sales"]
    ]


def test_nobody_is_notified_who_looks_at_another_tab_of_the_site(crm: Crm, show: Open) -> None:
    first = show()
    switch_on(first.context)
    first.reload()
    second = show(beside=first)
    settle(first)
    hide(first)
    settle(first)
    crm.write()
    pass_seconds(22, second)
    expect(badge(first)).to_have_text("1")
    pass_seconds(1, first)
    assert notifications(first) + notifications(second) == []
    # The window is behind others.
    second.evaluate("isElsewhere = true")
    crm.write("c-2")
    pass_seconds(21, second)
    pass_seconds(1, first)
    # Both have one tag, so the browser shows one.
    shown = [*notifications(first), *notifications(second)]
    assert {tag for _title, _body, tag in shown} == {"kapso-waiting both sales"}


def test_a_click_on_a_notification_opens_the_inbox(crm: Crm, show: Open) -> None:
    page = show()
    switch_on(page.context)
    page.reload()
    settle(page)
    hide(page)
    crm.write()
    pass_seconds(61, page)
    pass_seconds(1, page)
    with page.context.expect_page() as opened:
        page.evaluate("shown[0].onclick()")
    opened.value.wait_for_load_state("domcontentloaded")
    assert urlsplit(opened.value.url).path == "/kapso-inbox/sales/"


def test_a_click_on_a_notification_opens_the_drawer_of_its_page(crm: Crm, show: Open) -> None:
    page = show('<main>{% kapso_inbox "sales" variant="drawer" waiting=1 %}</main>')
    switch_on(page.context)
    page.reload()
    settle(page)
    hide(page)
    crm.write()
    pass_seconds(61, page)
    pass_seconds(1, page)
    page.evaluate("shown[0].onclick()")
    expect(page.locator("kapso-inbox [popover]")).to_be_visible()
    assert len(page.context.pages) == 1
