"""An agent's day in the CRM, in Chromium: the inbox inside it, and what stays out of reach."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from .conftest import Demo, enter, expect, running_demo

if TYPE_CHECKING:
    from playwright.sync_api import FrameLocator, Page, Request, Response

    SignIn = Callable[..., Page]
    NewPage = Callable[..., Page]

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
# A conversation in the sandbox's inbox
ROW = "[data-conversation]"


def frame_of(page: Page) -> FrameLocator:
    """The inbox, or the app's own page in its place."""
    return page.frame_locator(".kapso-inbox iframe")


def conversations(page: Page) -> list[str]:
    """The names in the inbox's list."""
    frame = frame_of(page)
    expect(frame.locator(ROW).first).to_be_visible()
    return frame.locator(f"{ROW} strong").all_inner_texts()


def inbox_query(page: Page, demo: Demo) -> dict[str, str]:
    """The parameters the inbox was opened with."""
    expect(frame_of(page).locator(ROW).first).to_be_visible()
    [frame] = [frame for frame in page.frames if frame.url.startswith(demo.inbox_origin)]
    return {name: values[0] for name, values in parse_qs(urlsplit(frame.url).query).items()}


def open_contact(page: Page, demo: Demo, name: str) -> None:
    """Find somebody by name, and open their page."""
    page.goto(f"{demo.url}/")
    page.get_by_label("Search").fill(name)
    page.get_by_label("Search").press("Enter")
    page.get_by_role("link", name=name).click()


def test_an_agent_signs_in_and_sees_their_teams_inbox(demo: Demo, sign_in: SignIn) -> None:
    page = sign_in("ana")
    page.get_by_role("link", name="Inbox", exact=True).click()
    assert "Priya Raman" in conversations(page)
    assert "Hannah Whitlock" not in conversations(page)


def test_the_inbox_is_in_the_agents_theme(demo: Demo, sign_in: SignIn) -> None:
    for username, theme in (("ana", "light"), ("bruno", "dark")):
        page = sign_in(username)
        page.goto(f"{demo.url}/inbox/")
        expect(page.locator("html")).to_have_attribute("data-theme", theme)
        assert inbox_query(page, demo)["mode"] == theme
        assert is_dark(page) == (theme == "dark")


def test_switching_the_theme_in_the_crm_switches_the_inboxs(demo: Demo, sign_in: SignIn) -> None:
    page = sign_in("admin", color_scheme="light")
    page.goto(f"{demo.url}/inbox/?unread=1")
    for theme in ("Dark", "Light", "System"):
        page.get_by_role("button", name=f"{theme} theme").click()
        expect(page.locator("html")).to_have_attribute("data-theme", theme.lower())
        assert page.url == f"{demo.url}/inbox/?unread=1"
        assert inbox_query(page, demo)["mode"] == theme.lower()
        assert is_dark(page) == (theme == "Dark")


def is_dark(page: Page) -> bool:
    """Whether the inbox's background is a dark colour."""
    body = frame_of(page).locator("body")
    expect(body).to_be_visible()
    colour = body.evaluate("body => getComputedStyle(body).backgroundColor")
    red, green, blue = map(int, re.findall(r"\d+", colour)[:3])
    return red + green + blue < 3 * 128


def test_the_unread_are_shown_where_they_are_asked_for(demo: Demo, sign_in: SignIn) -> None:
    page = sign_in("ana")
    page.goto(f"{demo.url}/inbox/")
    assert "unread" not in inbox_query(page, demo)
    everybody = conversations(page)
    page.get_by_role("link", name="Unread").click()
    page.wait_for_url("**/inbox/?unread=1")
    assert inbox_query(page, demo)["unread"] == "1"
    unread = conversations(page)
    assert set(unread) == {"Marcus Oyelaran", "Camila Prado"}
    assert len(everybody) > len(unread)


def test_who_waits_for_a_human_is_shown_where_asked_for(demo: Demo, sign_in: SignIn) -> None:
    page = sign_in("bruno")
    page.goto(f"{demo.url}/inbox/")
    assert "handoff" not in inbox_query(page, demo)
    page.get_by_role("link", name="Waiting for a human").click()
    page.wait_for_url("**/inbox/?handoff=1")
    assert inbox_query(page, demo)["handoff"] == "1"
    assert set(conversations(page)) == {"Hannah Whitlock", "Darnell Hughes", "Gustavo Arenas"}


def test_a_contacts_page_searches_the_inbox_for_their_number(demo: Demo, sign_in: SignIn) -> None:
    page = sign_in("ana")
    open_contact(page, demo, "Priya Raman")
    query = inbox_query(page, demo)
    assert query["search"] == "+12025550162"
    assert query["status"] == "all"
    assert conversations(page) == ["Priya Raman"]


def test_a_contact_is_found_by_a_number_however_it_is_written(demo: Demo, sign_in: SignIn) -> None:
    page = sign_in("ana")
    page.get_by_label("Search").fill("(202) 555-0162")
    page.get_by_label("Search").press("Enter")
    expect(page.locator(".row-link")).to_have_text(["Priya Raman"])


def test_the_other_teams_agent_sees_no_conversation(demo: Demo, sign_in: SignIn) -> None:
    page = sign_in("bruno")
    requested = inbox_requests(page, demo)
    page.goto(f"{demo.url}/teams/sales/")
    expect(frame_of(page).get_by_role("alert")).to_contain_text("not available to you")
    expect(frame_of(page).locator(ROW)).to_have_count(0)
    assert requested == []


def test_an_inbox_that_is_not_ours_looks_like_one_that_is_not_there(
    demo: Demo, sign_in: SignIn
) -> None:
    page = sign_in("bruno")
    page.goto(f"{demo.url}/teams/sales/")
    texts = []
    for slug in ("sales", "nowhere"):
        page.locator(".kapso-inbox iframe").evaluate(
            "(frame, slug) => { frame.src = `/kapso-inbox/${slug}/launch/` }", slug
        )
        page.wait_for_timeout(500)
        texts.append(frame_of(page).locator("body").inner_text().replace(slug, "…"))
    assert texts[0] == texts[1]
    assert texts[0].strip()


def test_who_is_signed_out_sees_no_conversation(
    demo: Demo, sign_in: SignIn, new_page: NewPage
) -> None:
    page = sign_in("ana")
    page.goto(f"{demo.url}/contacts/1/")
    requested = inbox_requests(page, demo)
    # Signed out elsewhere, while this page stays open.
    page.context.clear_cookies()
    page.locator(".kapso-inbox iframe").evaluate("frame => { frame.src += '&language=en' }")
    expect(frame_of(page).get_by_role("alert")).to_contain_text("You are signed out")
    assert requested == []

    visitor = new_page()
    requested = inbox_requests(visitor, demo)
    for path in ("/inbox/", "/teams/sales/", "/contacts/1/"):
        visitor.goto(f"{demo.url}{path}")
        expect(visitor).to_have_title(re.compile("Sign in"))
    for path in ("/kapso-inbox/sales/launch/", "/kapso-inbox/sales/"):
        visitor.goto(f"{demo.url}{path}")
        assert not any(token in visitor.content() for token in demo.tokens())
    assert requested == []


def inbox_requests(page: Page, demo: Demo) -> list[str]:
    """A list that fills with what the page asks of the inbox's origin from now on."""
    seen: list[str] = []

    def note(request: Request) -> None:
        if request.url.startswith(demo.inbox_origin):
            seen.append(request.url)

    page.context.on("request", note)
    return seen


@pytest.mark.parametrize("path", ["/inbox/", "/contacts/1/", "/teams/sales/"])
def test_no_script_of_the_page_can_read_the_secret(demo: Demo, sign_in: SignIn, path: str) -> None:
    # Without the CRM's own CSP, so that what holds here also holds in a CRM that has none.
    page = sign_in("admin", bypass_csp=True)
    redirects: list[str] = []

    def note(response: Response) -> None:
        if "/launch/" in response.url and response.status == 302:
            redirects.append(response.headers["location"])

    page.on("response", note)
    page.goto(f"{demo.url}{path}")
    expect(frame_of(page).locator(ROW).first).to_be_visible()
    tokens = demo.tokens()
    # The secret did pass through this browser: what follows does not hold for want of one.
    assert any(token in redirect for token in tokens for redirect in redirects)

    readable = page.evaluate(WHAT_A_SCRIPT_CAN_READ)
    assert readable["location"] == "SecurityError"
    assert readable["document"] == "null"
    assert "/launch/" in readable["src"]
    # Refused outright: not followed to an inbox that a missing CORS header then hid.
    assert {answer.get("status") for answer in readable["answers"]} == {403, 405}

    with page.context.expect_page() as opened:
        page.evaluate("src => { window.opened = window.open(src) }", readable["src"])
    popup = opened.value
    popup.wait_for_load_state()
    assert popup.url.startswith(demo.url)

    held = page.content() + json.dumps(readable) + popup.content() + popup.url
    assert not [token for token in tokens if token in held]


# Every way to the launch address that a script on the page has, and what each of them tells it.
WHAT_A_SCRIPT_CAN_READ = """async () => {
  const frame = document.querySelector(".kapso-inbox iframe");
  const attempt = (read) => { try { return String(read()); } catch (error) { return error.name; } };
  const described = async (answer) => ({
    status: answer.status, url: answer.url, type: answer.type, redirected: answer.redirected,
    headers: [...answer.headers], text: await answer.text(),
  });
  const forged = {
    "Sec-Fetch-Dest": "iframe", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate",
    "X-Sec-Fetch-Dest": "iframe", "X-HTTP-Method-Override": "GET",
  };
  const options = [
    {}, {redirect: "manual"}, {redirect: "error"}, {mode: "no-cors"}, {headers: forged},
    {headers: forged, redirect: "manual"}, {method: "POST"}, {method: "HEAD"},
    {method: "OPTIONS"}, {credentials: "omit"},
  ];
  const answers = [];
  for (const option of options) {
    try {
      answers.push(await described(await fetch(frame.src, option)));
    } catch (error) {
      answers.push({error: String(error)});
    }
  }
  answers.push(await new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("GET", frame.src);
    request.onloadend = () => resolve({
      status: request.status, url: request.responseURL, text: request.responseText,
      headers: request.getAllResponseHeaders(),
    });
    request.send();
  }));
  return {
    src: frame.src,
    attributes: [...frame.attributes].map((one) => [one.name, one.value]),
    location: attempt(() => frame.contentWindow.location.href),
    document: attempt(() => frame.contentDocument),
    entries: JSON.stringify(performance.getEntries()),
    storage: JSON.stringify({...localStorage, ...sessionStorage}) + document.cookie,
    answers,
  };
}"""


def test_no_file_and_no_output_of_the_demo_holds_the_secret(demo: Demo, sign_in: SignIn) -> None:
    page = sign_in("admin")
    for team in ("sales", "support"):
        page.goto(f"{demo.url}/teams/{team}/")
        conversations(page)
    # The sandbox's state is Kapso's side: it knows the tokens it gave.
    files = [
        path
        for path in (*demo.data_dir.rglob("*"), demo.console)
        if path.is_file() and path.name != "sandbox.json"
    ]
    assert "sandbox.sqlite3" in {path.name for path in files}
    assert {"web.log", "sandbox.log", "setup.log", "console.txt"} <= {path.name for path in files}
    tokens = [token.encode() for token in demo.tokens()]
    for path in files:
        content = path.read_bytes()
        assert not [token for token in tokens if token in content], path


def test_a_link_revoked_at_kapso_says_so_in_the_frame(tmp_path: Path, new_page: NewPage) -> None:
    with running_demo(tmp_path, KAPSO_INBOX_VERIFY_AFTER="1") as demo:
        [embed] = [one for one in demo.embeds() if one["name"].startswith("Sales")]
        demo.at_kapso("DELETE", f"/platform/v1/inbox_embeds/{embed['id']}")
        page = new_page()
        enter(page, demo, "ana")
        requested = inbox_requests(page, demo)
        page.goto(f"{demo.url}/inbox/")
        expect(frame_of(page).get_by_role("alert")).to_contain_text("Its link was revoked")
        assert requested == []


def test_seeding_made_each_inbox_in_exactly_one_post(demo: Demo) -> None:
    requests = demo.at_kapso("GET", "/_sandbox/requests")
    created = Counter(
        request["json"]["inbox_embed"]["name"].split(" #")[0]
        for request in requests
        if request["method"] == "POST" and request["path"] == "/inbox_embeds"
    )
    assert created == {"Sales inbox": 1, "Support inbox": 1}
    assert len(demo.embeds()) == 2


def test_the_crm_works_on_a_phone(demo: Demo, sign_in: SignIn) -> None:
    page = sign_in("ana", viewport=PHONE, has_touch=True, is_mobile=True)
    for path in ("/", "/contacts/1/", "/inbox/", "/teams/sales/"):
        page.goto(f"{demo.url}{path}")
        widest = page.evaluate("document.documentElement.scrollWidth")
        assert widest <= PHONE["width"], path
        expect(page.get_by_role("link", name="Inbox", exact=True)).to_be_in_viewport()
        if path != "/":
            box = page.locator(".kapso-inbox iframe").bounding_box()
            assert box is not None
            assert box["width"] == pytest.approx(PHONE["width"], abs=2)
            assert box["height"] > PHONE["height"] / 2
            assert box["y"] + box["height"] <= PHONE["height"]
            # The inbox scrolls within itself, and nothing scrolls around it.
            assert page.evaluate(
                "[document.documentElement, document.querySelector('main')]"
                ".every((one) => one.scrollHeight <= one.clientHeight)"
            )
    page.goto(f"{demo.url}/inbox/")
    expect(frame_of(page).locator(ROW).first).to_be_in_viewport()


def test_no_page_has_an_error_or_a_policy_violation_in_its_console(
    demo: Demo, new_page: NewPage
) -> None:
    page = new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{page.url} {message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"{page.url} {error}"))
    enter(page, demo, "admin")
    for path in ("/", "/contacts/1/", "/inbox/", "/teams/support/", "/kapso-inbox/sales/"):
        page.goto(f"{demo.url}{path}")
        page.wait_for_load_state("networkidle")
    page.goto(f"{demo.url}/admin/")
    page.wait_for_load_state("networkidle")
    assert said == []
