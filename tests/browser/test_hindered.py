"""Hosts that stand in the way of the inbox, in Chromium: what the page says in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from .axe import violations
from .conftest import Demo, enter, expect, running_demo

if TYPE_CHECKING:
    from playwright.sync_api import FrameLocator, Page

    NewPage = Callable[..., Page]

pytestmark = pytest.mark.browser

ROW = "[data-conversation]"
INBOX = '<main><h1>Customers</h1><div class="place">{% kapso_inbox "sales" %}</div></main>'
#: A name for this machine that browsers do not trust as they trust localhost.
UNTRUSTED = "crm.test"


@pytest.fixture(scope="module")
def browser_options() -> list[str]:
    return [f"--host-resolver-rules=MAP {UNTRUSTED} 127.0.0.1"]


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Run the demo with a host's own code that hinders."""
    directory = tmp_path_factory.mktemp("hindered")
    with running_demo(
        directory,
        DJANGO_SETTINGS_MODULE="tests.browser.hindering_settings",
        ALLOWED_HOSTS=f"localhost,127.0.0.1,{UNTRUSTED}",
    ) as demo:
        yield demo


def address(crm: Demo, body: str = INBOX, **query: str) -> str:
    return f"{crm.url}/host/?{urlencode({'body': body, **query})}"


def hinder(page: Page, crm: Demo, how: str) -> None:
    page.context.add_cookies([{"name": "hinder", "value": how, "url": crm.url}])


def stop_hindering(page: Page) -> None:
    page.context.clear_cookies(name="hinder")


def expect_state(page: Page | FrameLocator, state: str) -> None:
    expect(page.locator("kapso-inbox")).to_have_attribute("data-state", state)


def frame_of(page: Page | FrameLocator) -> FrameLocator:
    return page.frame_locator("kapso-inbox iframe")


def notices(page: Page) -> list[str]:
    """Return the texts of the notices that can be seen."""
    shown = page.locator("[data-notice]").filter(visible=True)
    return [" ".join(text.split()) for text in shown.all_inner_texts()]


@pytest.mark.parametrize("how", ["forbid", "choose", "maintain"])
def test_a_middleware_that_answers_in_our_place_is_told(agent: Page, crm: Demo, how: str) -> None:
    hinder(agent, crm, how)
    agent.goto(address(crm))
    expect_state(agent, "failed")
    said = (
        "Something else in the CRM answered in place of the inbox. If this continues, tell "
        "an administrator."
    )
    assert notices(agent) == [f"{said} Try again"]
    expect(agent.get_by_role("status")).to_contain_text(said)
    assert violations(agent, "kapso-inbox") == []
    stop_hindering(agent)
    agent.get_by_role("link", name="Try again").click()
    expect(frame_of(agent).locator(ROW).first).to_be_visible()
    expect_state(agent, "ready")
    assert notices(agent) == []


def test_who_did_in_another_tab_what_the_site_asked_for_sees_the_inbox_on_return(
    agent: Page, crm: Demo
) -> None:
    hinder(agent, crm, "second factor")
    agent.goto(address(crm))
    expect_state(agent, "not_admitted")
    frame = frame_of(agent)
    expect(frame.get_by_role("heading")).to_have_text(
        "This site asks for more before it opens the inbox"
    )
    assert violations(agent) == []
    stop_hindering(agent)
    agent.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(frame.locator(ROW).first).to_be_visible()


def test_a_mistake_in_the_hosts_policy_is_told_in_the_frame(agent: Page, crm: Demo) -> None:
    hinder(agent, crm, "mistake")
    agent.goto(address(crm))
    expect_state(agent, "failed")
    frame = frame_of(agent)
    expect(frame.get_by_role("heading")).to_contain_text("because of an error in the CRM")
    expect(frame.locator("code")).to_have_text("LookupError: no organisation")
    assert notices(agent) == []
    assert violations(agent) == []
    stop_hindering(agent)
    frame.get_by_role("link", name="Try again").click()
    expect(frame.locator(ROW).first).to_be_visible()
    expect_state(agent, "ready")


def test_the_settings_in_the_frame_are_known_as_ours(agent: Page, crm: Demo) -> None:
    agent.goto(address(crm, INBOX.replace('"sales"', '"sales" settings=1')))
    expect_state(agent, "ready")
    agent.get_by_role("link", name="Inbox settings").click()
    expect(frame_of(agent).get_by_role("button", name="Save")).to_be_visible()
    expect_state(agent, "ready")
    assert notices(agent) == []


# A page that browsers do not let show an inbox


@pytest.mark.parametrize("policy", ["require-corp", "credentialless"])
def test_a_page_with_an_embedder_policy_says_that_it_shows_no_inbox(
    agent: Page, crm: Demo, policy: str
) -> None:
    agent.goto(address(crm, embedder=policy))
    expect_state(agent, "isolated")
    assert notices(agent) == [
        "This page does not allow the inbox to be shown. Tell an administrator: it must be sent "
        "without the header Cross-Origin-Embedder-Policy"
    ]
    assert violations(agent) == []


def test_on_plain_http_the_frame_says_that_the_inbox_needs_https(
    crm: Demo, new_page: NewPage
) -> None:
    untrusted = f"http://{UNTRUSTED}:{crm.ports[0]}"
    setting = 'KAPSO_INBOX["REQUIRE_FETCH_METADATA"] = False'
    for username, is_told in (("ana", False), ("admin", True)):
        page = new_page()
        enter(page, crm, username)
        cookies = [
            {"name": one["name"], "value": one["value"], "url": untrusted}
            for one in page.context.cookies(crm.url)
        ]
        page.context.add_cookies(cookies)
        page.goto(address(crm).replace(crm.url, untrusted))
        expect_state(page, "not_in_frame")
        frame = frame_of(page)
        expect(frame.get_by_role("heading")).to_have_text("The inbox needs https")
        assert (setting in frame.locator("main").inner_text()) is is_told
        assert violations(page) == []


def test_a_crm_in_a_page_of_another_site_is_not_asked_to_sign_in_again_and_again(
    agent: Page, crm: Demo
) -> None:
    inner = address(crm, framable="1")
    outer = f"http://127.0.0.1:{crm.ports[0]}/host/?" + urlencode(
        {"body": f'<iframe class="place" title="CRM" src="{inner}"></iframe>', "frames": crm.url}
    )
    agent.goto(outer)
    around = agent.frame_locator("iframe")
    expect_state(around, "signed_out")
    frame = frame_of(around)
    expect(frame.get_by_role("heading")).to_have_text("The browser does not say who you are")
    expect(frame.get_by_role("link", name="Sign in")).to_have_count(0)
    with agent.context.expect_page() as opened:
        frame.get_by_role("link", name="Open the inbox in a tab").click()
    expect(frame_of(opened.value).locator(ROW).first).to_be_visible()


# Without our files


def without_files(page: Page, *names: str) -> None:
    for name in names:
        page.route(f"**/kapso_inbox/{name}*", lambda route: route.fulfill(status=404))


@pytest.mark.parametrize(
    "missing",
    [
        ["kapso_inbox.css"],
        ["kapso_inbox.js"],
        ["kapso_inbox.css", "kapso_inbox.js"],
    ],
    ids=" and ".join,
)
def test_without_our_files_a_page_says_nothing_that_is_false(
    agent: Page, crm: Demo, missing: list[str]
) -> None:
    without_files(agent, *missing)
    arguments = '"sales" views=1 settings=1'
    agent.goto(address(crm, INBOX.replace('"sales"', arguments)))
    if "kapso_inbox.js" not in missing:
        expect_state(agent, "ready")
    agent.wait_for_load_state("networkidle")
    assert notices(agent) == []
    if missing != ["kapso_inbox.js"]:
        expect(frame_of(agent).locator(ROW).first).to_be_visible()
        box = agent.locator("kapso-inbox iframe").bounding_box()
        assert box is not None
        assert box["width"] > 600
        assert box["height"] >= 400
        icon = agent.locator("kapso-inbox svg").first.bounding_box()
        assert icon is not None
        assert icon["width"] < 30


def test_without_our_stylesheet_a_slow_inbox_is_told_as_with_it(agent: Page, crm: Demo) -> None:
    held: list[Any] = []
    without_files(agent, "kapso_inbox.css")
    agent.clock.install()
    agent.route("**/sales/launch/*", lambda route: held.append(route))
    agent.goto(address(crm), wait_until="domcontentloaded")
    expect_state(agent, "loading")
    agent.clock.fast_forward(9000)
    expect_state(agent, "slow")
    assert notices(agent) == ["The inbox takes longer than usual. Check your connection. Try again"]
