"""An agent is never stuck: reload, offline and back, and what is behind the drawer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from . import pictures
from .axe import violations
from .conftest import Demo, expect
from .test_component import address, component, expect_conversations, expect_state, inbox

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, FrameLocator, Page, Route

    NewPage = Callable[..., Page]

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    ("variant", "arguments"), [("panel", ""), ("panel", "views=1"), ("page", ""), ("drawer", "")]
)
def test_each_inbox_can_be_reloaded(agent: Page, crm: Demo, variant: str, arguments: str) -> None:
    launches: list[str] = []
    agent.on("request", lambda one: launches.append(one.url) if "/launch/" in one.url else None)
    agent.goto(address(crm, inbox(variant, arguments)))
    if variant == "drawer":
        agent.get_by_role("button", name="WhatsApp").click()
    expect_state(agent, "ready")
    expect_conversations(agent)
    before = len(launches)
    agent.get_by_role("link", name="Reload").click()
    expect_state(agent, "ready")
    expect_conversations(agent)
    assert len(launches) == before + 1
    assert violations(agent) == []


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
@pytest.mark.parametrize("size", [{"width": 390, "height": 844}, {"width": 1280, "height": 800}])
def test_the_reload_of_a_bare_panel_covers_no_corner_of_the_inbox(
    agent: Page, crm: Demo, size: dict[str, int], direction: str
) -> None:
    """There an inbox has its own buttons, such as those beside the text of an answer."""
    agent.set_viewport_size(size)  # type: ignore[arg-type]
    agent.goto(address(crm, f'<div dir="{direction}" style="height: 80vh">{inbox()}</div>'))
    expect_conversations(agent)
    covered = (
        component(agent)
        .locator(".kapso-inbox__place")
        .evaluate(
            """place => {
            const box = place.getBoundingClientRect();
            const at = (x, y) => document.elementFromPoint(x, y).tagName;
            return [box.left + 20, box.right - 20].flatMap((x) =>
                [box.top + 20, box.bottom - 20].map((y) => at(x, y)));
        }"""
        )
    )
    assert covered == ["IFRAME"] * 4
    target = agent.get_by_role("link", name="Reload").bounding_box()
    assert target is not None
    assert min(target["width"], target["height"]) >= 24
    assert violations(agent) == []


def test_an_inbox_that_is_offline_says_so_and_comes_back_by_itself(agent: Page, crm: Demo) -> None:
    agent.goto(address(crm, inbox()))
    expect_conversations(agent)
    agent.context.set_offline(True)
    agent.get_by_role("link", name="Reload").click()
    expect_state(agent, "offline")
    expect(agent.get_by_text("You are offline.").first).to_be_visible()
    assert violations(agent, "kapso-inbox") == []
    agent.context.set_offline(False)
    expect_conversations(agent)
    expect_state(agent, "ready")
    expect(component(agent).locator("[data-notice]").filter(visible=True)).to_have_count(0)


def test_a_click_beside_the_drawer_closes_it_and_does_nothing_else(agent: Page, crm: Demo) -> None:
    body = inbox("drawer").replace(
        "<p>Some text</p>", '<p><a href="#gone" class="behind">Another contact</a></p>'
    )
    agent.goto(address(crm, body))
    link = agent.get_by_role("link", name="Another contact")
    box = link.bounding_box()
    assert box is not None
    agent.get_by_role("button", name="WhatsApp").click()
    panel = component(agent).locator("[popover]")
    expect(panel).to_be_visible()
    agent.mouse.click(box["x"] + 5, box["y"] + 5)
    expect(panel).to_be_hidden()
    expect(agent).not_to_have_url(re.compile("#gone"))
    link.click()
    expect(agent).to_have_url(re.compile("#gone"))


@contextmanager
def down(page: Page, crm: Demo) -> Iterator[None]:
    """Let the host of the inbox refuse each connection: playwright's routes see no redirect."""
    devtools = page.context.new_cdp_session(page)

    def refuse(paused: dict[str, str]) -> None:
        refusal = {"requestId": paused["requestId"], "errorReason": "ConnectionRefused"}
        devtools.send("Fetch.failRequest", refusal)

    devtools.on("Fetch.requestPaused", refuse)
    devtools.send("Fetch.enable", {"patterns": [{"urlPattern": f"{crm.inbox_origin}/*"}]})
    yield
    devtools.send("Fetch.disable")


def open_an_inbox_that_answers(page: Page, crm: Demo) -> None:
    """Open an inbox, and wait until its host was asked."""
    page.goto(address(crm, inbox()))
    expect_conversations(page)
    expect(page.locator("iframe")).to_have_count(1)


def complaints(page: Page) -> list[str]:
    """Return a list that fills with what the browser has to complain about."""
    said: list[str] = []
    page.on("console", lambda one: said.append(one.text) if one.type == "error" else None)
    return said


AWAY = "Kapso, which holds the inbox, does not answer at the moment."


@pytest.mark.pictures
@pytest.mark.parametrize("variant", ["panel", "drawer"])
def test_an_inbox_whose_host_does_not_answer_says_so_and_can_be_reloaded(
    agent: Page, crm: Demo, variant: str
) -> None:
    open_an_inbox_that_answers(agent, crm)
    notice = component(agent).locator("[data-notice=unreachable]")
    with down(agent, crm):
        agent.goto(address(crm, inbox(variant, "views=1")))
        if variant == "drawer":
            agent.get_by_role("button", name="WhatsApp").click()
        expect_state(agent, "unreachable")
        expect(notice).to_contain_text(AWAY)
        expect(agent.get_by_role("status")).to_contain_text(AWAY)
        assert [one.url for one in agent.frames[1:]] == ["chrome-error://chromewebdata/"]
        pictures.keep(agent, f"component-unreachable-{variant}")
        assert violations(agent, "kapso-inbox") == []
        with agent.expect_request("**/launch/?*unread=1*"):
            agent.get_by_role("link", name="Unread").click()
        expect_state(agent, "unreachable")
    notice.get_by_role("link", name="Reload").click()
    expect_conversations(agent)
    expect_state(agent, "ready")
    expect(notice).to_be_hidden()
    expect(agent.get_by_role("link", name="Unread")).to_have_attribute("aria-current", "true")
    expect(agent.locator("iframe")).to_have_count(1)


def test_an_inbox_comes_back_by_itself_once_its_host_does(agent: Page, crm: Demo) -> None:
    open_an_inbox_that_answers(agent, crm)
    with down(agent, crm):
        agent.reload()
        expect_state(agent, "unreachable")
    # As when the reader comes back to the tab.
    agent.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect_conversations(agent)
    expect_state(agent, "ready")


def test_an_inbox_whose_host_answers_is_never_called_away(agent: Page, crm: Demo) -> None:
    said = complaints(agent)
    agent.goto(address(crm, inbox()))
    expect_conversations(agent)
    expect(agent.locator("iframe")).to_have_count(1)
    agent.wait_for_timeout(4000)
    expect_state(agent, "ready")
    # The page's own policy allows connections to its own site alone.
    assert said == []


@pytest.mark.parametrize("missing", ["**/reach/", "**/reach*.js", "policy"])
def test_where_the_host_cannot_be_asked_nothing_is_said_of_it(
    agent: Page, crm: Demo, missing: str
) -> None:
    open_an_inbox_that_answers(agent, crm)
    if missing == "policy":
        agent.route("**/reach/", with_another_policy)
    else:
        agent.route(missing, lambda route: route.abort())
    agent.goto(address(crm, inbox()))
    expect_conversations(agent)
    agent.wait_for_timeout(4000)
    expect_state(agent, "ready")


def test_a_browser_that_keeps_nothing_for_the_site_is_no_error(agent: Page, crm: Demo) -> None:
    errors: list[str] = []
    agent.on("pageerror", lambda error: errors.append(str(error)))
    # As Chromium does where site data is blocked. The frame stays, as in a page that is being left:
    # of a frame that is gone, a browser reports no error.
    agent.add_init_script(
        """if (location.pathname.endsWith("/reach/")) Object.defineProperty(window, "localStorage",
            { get() { throw new DOMException("Access is denied", "SecurityError"); } });
        else HTMLIFrameElement.prototype.remove = () => {};"""
    )
    with agent.expect_response("**/reach*.js"):
        agent.goto(address(crm, inbox()))
    expect_state(agent, "ready")
    agent.wait_for_timeout(500)
    assert errors == []


def test_a_host_that_never_lets_itself_be_asked_is_not_called_away(agent: Page, crm: Demo) -> None:
    """Such as one that answers with Cross-Origin-Resource-Policy, which pages cannot tell."""
    agent.route("**/favicon.ico", lambda route: route.abort("blockedbyresponse"))
    agent.goto(address(crm, inbox()))
    expect_conversations(agent)
    expect(agent.locator("iframe")).to_have_count(1)
    expect_state(agent, "ready")


def with_another_policy(route: Route) -> None:
    """Answer as a proxy does that adds its own policy."""
    answer = route.fetch()
    headers = {**answer.headers, "content-security-policy": "connect-src 'none'"}
    route.fulfill(response=answer, headers=headers)


# What the inbox itself offers, within the frame's sandbox

#: Who got a document in the demo, and its name.
DOCUMENT = ("Marcus Oyelaran", "Quote-2291-cedar-planters.pdf")


def open_conversation(page: Page, crm: Demo, name: str, variant: str = "panel") -> FrameLocator:
    """Open somebody's conversation in the frame, and return the frame."""
    page.goto(address(crm, inbox(variant, 'status="all"')))
    if variant == "drawer":
        page.get_by_role("button", name="WhatsApp").click()
    frame = page.frame_locator("kapso-inbox iframe")
    frame.get_by_role("button", name=name).click()
    return frame


@pytest.mark.parametrize("variant", ["panel", "drawer"])
def test_a_link_in_the_inbox_opens_a_tab(agent: Page, crm: Demo, variant: str) -> None:
    body = "<script>document.title = origin</script>"
    agent.context.route(
        "https://wa.me/**", lambda route: route.fulfill(content_type="text/html", body=body)
    )
    frame = open_conversation(agent, crm, "Priya Raman", variant)
    with agent.context.expect_page() as opened:
        frame.get_by_title("Open in WhatsApp").click()
    # Its scripts run, and it has its own origin.
    expect(opened.value).to_have_title("https://wa.me")
    expect_state(agent, "ready")


def test_a_document_in_the_inbox_can_be_downloaded(agent: Page, crm: Demo) -> None:
    frame = open_conversation(agent, crm, DOCUMENT[0])
    with agent.expect_download() as started:
        frame.get_by_role("link", name=DOCUMENT[1]).click()
    assert started.value.suggested_filename == DOCUMENT[1]
    assert started.value.path().read_bytes().startswith(b"%PDF-")
    expect_state(agent, "ready")


@pytest.mark.parametrize(
    ("answer", "name"), [("accept", "Rafael Lacerda"), ("dismiss", "Priya Raman")]
)
def test_the_inbox_can_ask_whether_a_conversation_shall_end(
    agent: Page, crm: Demo, answer: str, name: str
) -> None:
    asked: list[str] = []

    def reply(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.accept() if answer == "accept" else dialog.dismiss()

    agent.on("dialog", reply)
    frame = open_conversation(agent, crm, name)
    frame.get_by_role("button", name="End the conversation").click()
    ended = frame.get_by_text("This conversation has ended")
    expect(ended).to_have_count(1 if answer == "accept" else 0)
    assert asked == ["End this conversation?"]


def test_the_browser_warns_of_the_frames_sandbox_only_for_our_own_pages(
    agent: Page, crm: Demo
) -> None:
    """They are of this site, and their policy allows no script but the one for notifications."""
    warnings: list[str] = []
    agent.on("console", lambda one: warnings.append(one.text) if one.type == "warning" else None)
    agent.goto(address(crm, inbox(arguments="settings=1")))
    expect_conversations(agent)
    assert warnings == []
    with agent.expect_response("**/settings/") as answer:
        agent.get_by_role("link", name="Inbox settings").click()
    frame = agent.frame_locator("kapso-inbox iframe")
    expect(frame.get_by_role("button", name="Save")).to_be_visible()
    assert [text for text in warnings if "can escape its sandboxing" not in text] == []
    policy = answer.value.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
