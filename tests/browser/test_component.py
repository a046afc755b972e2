"""The component in pages of hosts: each variant and state, with scripts and without."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from . import pictures
from .axe import violations
from .conftest import Demo, enter, expect

if TYPE_CHECKING:
    from playwright.sync_api import FrameLocator, Locator, Page, Route

    NewPage = Callable[..., Page]
    Show = Callable[..., Page]

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 800}
ROW = "[data-conversation]"
TURBO = Path(__file__).parent / "node_modules/@hotwired/turbo/dist/turbo.es2017-umd.js"

#: Parameters of a host's page, see `hosts.py`.
QUERY = ("head", "frames", "reported", "direction")

IN_PLACE = (
    """<main><h1>Customers</h1><div class="place">{% kapso_inbox "sales" ARGS %}</div></main>"""
)
ON_DEMAND = """<main><h1>Customers</h1><div class="place">{% kapso_inbox "sales" ARGS %}
<p>Some text</p></div></main>"""
BODIES = {
    "panel": IN_PLACE,
    "page": '<main><h1 class="unseen">Customers</h1>{% kapso_inbox "sales" ARGS %}</main>',
    "drawer": ON_DEMAND,
    "floating": ON_DEMAND,
}


def inbox(variant: str = "panel", arguments: str = "") -> str:
    """Return the body of a page with an inbox."""
    return BODIES[variant].replace("ARGS", f'variant="{variant}" title="WhatsApp" {arguments}')


@pytest.fixture(scope="module")
def session(crm: Demo, browser: Any) -> Any:
    """Return the cookies of a signed-in user."""
    context = browser.new_context()
    enter(context.new_page(), crm, "ana")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def said() -> list[str]:
    """Collect the browser's complaints. A test that expects some must clear the list."""
    return []


@pytest.fixture
def show(crm: Demo, new_page: NewPage, session: Any, said: list[str]) -> Iterator[Show]:
    """Open a host's page as a signed-in user. The browser must have no complaint at the end."""

    def open_page(body: str, *, page: Page | None = None, **options: Any) -> Page:
        query = {k: options.pop(k) for k in QUERY if k in options}
        if page is None:
            page = new_page(**{"storage_state": session, "viewport": DESKTOP, **options})
            page.on("console", lambda m: said.append(m.text) if m.type != "log" else None)
            page.on("pageerror", lambda error: said.append(str(error)))
        # Our script has run by then, but the frame may still be loading.
        page.goto(address(crm, body, **query), wait_until="domcontentloaded")
        return page

    yield open_page
    # Harmless: the first, since the policy of our own pages in the frame forbids every script; the
    # second, since the panel must get the focus when it opens, and not when the page loads.
    harmless = ("allow-scripts and allow-same-origin", "Autofocus processing was blocked")
    assert [text for text in said if not any(one in text for one in harmless)] == []


def address(crm: Demo, body: str, **query: str) -> str:
    return f"{crm.url}/host/?{urlencode({'body': body, **query})}"


def component(page: Page) -> Locator:
    return page.locator("kapso-inbox")


def frame_of(page: Page) -> FrameLocator:
    return page.frame_locator("kapso-inbox iframe")


def expect_conversations(page: Page) -> None:
    expect(frame_of(page).locator(ROW).first).to_be_visible()


def expect_state(page: Page, state: str) -> None:
    expect(component(page)).to_have_attribute("data-state", state)


def inbox_query(page: Page, crm: Demo) -> dict[str, str]:
    """Return the filters that the inbox was opened with."""
    [frame] = [frame for frame in page.frames if frame.url.startswith(crm.inbox_origin)]
    query = {name: values[0] for name, values in parse_qs(urlsplit(frame.url).query).items()}
    return {name: value for name, value in query.items() if name not in ("mode", "language")}


def launches(page: Page) -> list[dict[str, str]]:
    """Return a list that fills with the page's launches from now on: the parameters of each."""
    seen: list[dict[str, str]] = []

    def note(request: Any) -> None:
        url = urlsplit(request.url)
        if url.path.endswith("/launch/"):
            seen.append({k: v[0] for k, v in parse_qs(url.query).items()})

    page.on("request", note)
    return seen


def mark(page: Page) -> None:
    """Leave a mark in the document of the inbox, like a half-written message."""
    expect_conversations(page)
    frame_of(page).locator("body").evaluate("body => { body.dataset.mark = 'here' }")


def is_marked(page: Page) -> bool:
    expect_conversations(page)
    return frame_of(page).locator("body").get_attribute("data-mark") == "here"


def scrolls(page: Page) -> bool:
    """Return whether anything around the frame scrolls or is wider than the window."""
    return bool(
        page.evaluate(
            """[document.documentElement, ...document.querySelectorAll("main, .place, kapso-inbox, "
               + ".kapso-inbox__panel, .kapso-inbox__place")].some((one) =>
               one.scrollHeight > one.clientHeight || one.scrollWidth > one.clientWidth)"""
        )
    )


# ------------------------------------------------------------------------------------------ looks


@pytest.mark.pictures
@pytest.mark.parametrize(("size", "theme"), pictures.LOOKS)
@pytest.mark.parametrize("variant", BODIES)
def test_each_variant_fills_its_place(show: Show, variant: str, size: str, theme: str) -> None:
    viewport = PHONE if size == "phone" else DESKTOP
    body = inbox(variant, f'views=1 settings=1 mode="{theme}"')
    page = show(body, viewport=viewport, color_scheme=theme)
    if variant in ("drawer", "floating"):
        expect(component(page).locator("iframe")).to_be_hidden()
        page.get_by_role("button", name="WhatsApp").click()
        expect(page.get_by_role("dialog", name="WhatsApp")).to_be_focused()
    expect_conversations(page)
    expect_state(page, "ready")
    # Wait for the transition of the panel.
    page.wait_for_timeout(250)
    pictures.keep(page, f"component-{variant}-{theme}-{size}")
    box = component(page).locator(".kapso-inbox__panel").bounding_box()
    assert box is not None
    if size == "phone":
        assert (box["x"], box["width"]) == (0, PHONE["width"])
    if variant in ("page", "drawer"):
        assert (box["y"], box["height"]) == (0, viewport["height"])
        assert box["x"] + box["width"] == viewport["width"]
    if variant == "panel":
        assert box["y"] + box["height"] == viewport["height"]
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= viewport["height"]
    assert not scrolls(page)
    assert violations(page) == []


@pytest.mark.parametrize("size", [(320, 480), (320, 256), (3840, 2160)])
def test_nothing_around_the_frame_scrolls_at_any_size(show: Show, size: tuple[int, int]) -> None:
    page = show(
        inbox("panel", "views=1 settings=1"), viewport={"width": size[0], "height": size[1]}
    )
    expect_conversations(page)
    assert not scrolls(page)


#: What a window of 1440 x 900 and of 1280 x 800 has at 200 %, and one of 1280 x 1920 at 400 %.
ZOOMED = [(720, 450), (640, 400), (320, 480)]


@pytest.mark.pictures
@pytest.mark.parametrize("size", ZOOMED)
@pytest.mark.parametrize("variant", BODIES)
def test_a_zoomed_page_leaves_everything_to_be_pressed(
    show: Show, variant: str, size: tuple[int, int]
) -> None:
    width, height = size
    page = show(
        inbox(variant, "views=1 settings=1"),
        viewport={"width": width, "height": height},
        device_scale_factor=2,
    )
    if variant in ("drawer", "floating"):
        page.get_by_role("button", name="WhatsApp").click()
    expect_conversations(page)
    expect_state(page, "ready")
    page.wait_for_timeout(250)
    pictures.keep(page, f"component-zoomed-{variant}-{width}")
    bar = component(page).locator(".kapso-inbox__bar")
    for control in bar.locator("a, button").all():
        # Nothing covers its edges, and it needs no scrolling.
        assert control.evaluate(
            """(one) => {
              const { left, right, top, bottom } = one.getBoundingClientRect();
              const [x, y] = [(left + right) / 2, (top + bottom) / 2];
              return [[left + 2, y], [right - 2, y], [x, top + 2], [x, bottom - 2]].every(
                (point) => one.contains(document.elementFromPoint(...point)));
            }"""
        ), control.inner_text()
    frame = component(page).locator("iframe").bounding_box()
    assert frame is not None
    assert frame["height"] >= 300
    assert frame["y"] + frame["height"] <= height
    assert not scrolls(page)
    if variant in ("drawer", "floating"):
        page.get_by_role("button", name="Close").click()
        expect(component(page).locator("iframe")).to_be_hidden()


def test_in_a_place_without_a_height_the_frame_has_the_minimum(show: Show) -> None:
    page = show('<h1>Customers</h1><div>{% kapso_inbox "sales" %}</div>')
    expect_conversations(page)
    box = component(page).bounding_box()
    assert box is not None
    assert box["height"] == 480


def test_in_a_right_to_left_page_the_drawer_comes_from_the_left(show: Show) -> None:
    page = show(inbox("drawer"), direction="rtl")
    page.get_by_role("button", name="WhatsApp").click()
    expect_conversations(page)
    page.wait_for_timeout(250)
    box = component(page).locator("[popover]").bounding_box()
    assert box is not None
    assert box["x"] == 0
    assert box["width"] == 512


#: Custom properties of a page, its direction -> where the button's centre is, from which edges.
PLACES = [
    ({}, "ltr", ("right", 44, 44)),
    ({}, "rtl", ("left", 44, 44)),
    ({"block-end": "5rem", "inline-end": "3rem"}, "ltr", ("right", 76, 108)),
    ({"inline-start": "2rem", "inline-end": "auto"}, "ltr", ("left", 60, 44)),
    ({"inline-start": "2rem", "inline-end": "auto"}, "rtl", ("right", 60, 44)),
]


@pytest.mark.parametrize(("properties", "direction", "place"), PLACES)
def test_a_page_places_the_floating_button_and_the_panel_above_it(
    show: Show, properties: dict[str, str], direction: str, place: tuple[str, int, int]
) -> None:
    page = show(inbox("floating"), direction=direction)
    for name, value in properties.items():
        page.evaluate(
            "([name, value]) => document.documentElement.style.setProperty(name, value)",
            [f"--kapso-inbox-floating-{name}", value],
        )
    button = page.get_by_role("button", name="WhatsApp")
    button.click()
    page.wait_for_timeout(250)
    round_one = button.bounding_box()
    panel = component(page).locator("[popover]").bounding_box()
    assert round_one is not None
    assert panel is not None
    side, across, up = place
    x = round_one["x"] + 28
    assert (x if side == "left" else DESKTOP["width"] - x) == across
    assert DESKTOP["height"] - round_one["y"] - 28 == up
    if side == "left":
        assert panel["x"] == round_one["x"]
    else:
        assert panel["x"] + panel["width"] == round_one["x"] + 56
    assert panel["y"] + panel["height"] == round_one["y"] - 16
    assert panel["y"] >= 24
    assert not scrolls(page)


@pytest.mark.pictures
def test_reduced_motion_and_forced_colours_are_respected(show: Show) -> None:
    page = show(inbox("drawer", "views=1"), reduced_motion="reduce", forced_colors="active")
    button = page.get_by_role("button", name="WhatsApp")
    button.click()
    panel = component(page).locator("[popover]")
    assert panel.evaluate("one => getComputedStyle(one).transitionDuration") == "0s"
    expect_conversations(page)
    pictures.keep(page, "component-forced-colors")
    lines = [
        page.get_by_role("link", name=name, exact=True).evaluate(
            "one => getComputedStyle(one).borderBlockEndColor"
        )
        for name in ("All", "Unread")
    ]
    assert lines[0] != lines[1]


# --------------------------------------------------------------------------- without JavaScript


@pytest.mark.parametrize("variant", ["panel", "drawer", "floating"])
def test_without_javascript_it_shows_opens_closes_and_filters(show: Show, variant: str) -> None:
    page = show(inbox(variant, "views=1"), java_script_enabled=False)
    if variant != "panel":
        page.get_by_role("button", name="WhatsApp").click()
    # The sandbox's inbox needs a script to show its list. It is enough that it was loaded.
    frame = component(page).locator("iframe").element_handle().content_frame()
    assert frame is not None
    frame.wait_for_url("**/embed/**")
    expect(component(page).locator(".kapso-inbox__notice").first).to_be_hidden()
    page.get_by_role("link", name="Unread").click()
    frame.wait_for_url("**/embed/*unread=1")
    if variant != "panel":
        page.get_by_role("button", name="Close").click()
        expect(component(page).locator("iframe")).to_be_hidden()
        page.get_by_role("button", name="WhatsApp").click()
        expect(component(page).locator("iframe")).to_be_visible()


def test_without_javascript_the_link_leads_to_the_whole_page(show: Show, crm: Demo) -> None:
    link = '{% kapso_inbox_link "sales" contact="+55 11 98765-4321" text="Write" %}'
    page = show(f"{link}{inbox('drawer')}", java_script_enabled=False)
    page.get_by_role("link", name="Write").click()
    page.wait_for_url(f"{crm.url}/kapso-inbox/sales/?search=5511987654321&unread=0&handoff=0")


# --------------------------------------------------------------------------- hidden and shown


def test_a_lazy_inbox_loads_once_it_is_shown_and_then_stays(show: Show) -> None:
    page = show(f"<h1>A</h1><details><summary>Chat</summary>{inbox(arguments='lazy=1')}</details>")
    seen = launches(page)
    expect_state(page, "idle")
    page.wait_for_timeout(300)
    assert seen == []
    summary = page.get_by_text("Chat")
    summary.click()
    mark(page)
    summary.click()
    expect(component(page)).to_be_hidden()
    summary.click()
    assert is_marked(page)
    assert len(seen) == 1


def test_an_inbox_in_a_hidden_tab_keeps_its_state(show: Show) -> None:
    page = show(inbox())
    mark(page)
    for hidden in (True, False):
        page.locator(".place").evaluate("(one, hidden) => { one.hidden = hidden }", hidden)
        page.wait_for_timeout(50)
    assert is_marked(page)


def test_a_drawer_keeps_its_state_and_gives_the_focus_back(show: Show) -> None:
    page = show(inbox("drawer"))
    seen = launches(page)
    button = page.get_by_role("button", name="WhatsApp")
    button.focus()
    page.keyboard.press("Enter")
    mark(page)
    page.keyboard.press("Escape")
    expect(component(page).locator("iframe")).to_be_hidden()
    expect(button).to_be_focused()
    button.click()
    assert is_marked(page)
    assert len(seen) == 1
    page.mouse.click(5, 400)
    expect(component(page).locator("iframe")).to_be_hidden()


@pytest.mark.parametrize("how", ["Escape", "Close"])
def test_a_floating_inbox_gives_the_focus_back(show: Show, how: str) -> None:
    link = '{% kapso_inbox_link "sales" contact="+55 11 98765-4321" text="Write" %}'
    page = show(link + inbox("floating"))
    button = page.get_by_role("button", name="WhatsApp")
    for opener in (button, page.get_by_role("link", name="Write")):
        opener.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog", name="WhatsApp")).to_be_focused()
        if how == "Escape":
            page.keyboard.press("Escape")
        else:
            page.get_by_role("button", name="Close").click()
        expect(component(page).locator("iframe")).to_be_hidden()
        expect(opener).to_be_focused()


def test_a_floating_inbox_opened_before_its_script_loads_closes_like_any_other(
    show: Show, crm: Demo
) -> None:
    page = show("<h1>Before</h1>")
    held: list[Route] = []
    page.route("**/kapso_inbox*.js", lambda route: held.append(route))
    page.goto(address(crm, inbox("floating")), wait_until="commit")
    button = page.get_by_role("button", name="WhatsApp")
    button.click()
    expect(page.get_by_role("dialog", name="WhatsApp")).to_be_focused()
    assert held
    held[0].continue_()
    expect_conversations(page)
    expect_state(page, "ready")
    page.get_by_role("dialog", name="WhatsApp").press("Escape")
    expect(component(page).locator("iframe")).to_be_hidden()
    expect(button).to_be_focused()


def test_closing_a_floating_inbox_does_not_move_the_focus_from_elsewhere(show: Show) -> None:
    page = show(inbox("floating") + '<label>Note <input name="note"></label>')
    page.get_by_role("button", name="WhatsApp").click()
    note = page.get_by_label("Note")
    note.focus()
    page.keyboard.press("Escape")
    expect(component(page).locator("iframe")).to_be_visible()
    page.locator("[popover]").evaluate("one => one.hidePopover()")
    expect(note).to_be_focused()


# --------------------------------------------------------------------------- htmx and Turbo


def test_the_same_inbox_in_a_fragment_and_in_the_page_work_independently(
    show: Show,
) -> None:
    page = show(f'<div id="it"></div>{inbox("drawer", "views=1")}')
    body = inbox("floating", "views=1")
    page.evaluate(
        """async (address) => {
          const answer = await fetch(address);
          document.querySelector("#it").innerHTML = await answer.text();
        }""",
        f"/host/?{urlencode({'bare': 1, 'body': body})}",
    )
    for variant in ("floating", "drawer"):
        one = page.locator(f".kapso-inbox--{variant}")
        one.get_by_role("button", name="WhatsApp").click()
        expect(one).to_have_attribute("data-state", "ready")
        with page.expect_request(re.compile("/launch/.*unread=1")) as asked:
            one.get_by_role("link", name="Unread").click()
        expect(one).to_have_attribute("data-state", "ready")
        frame = one.locator("iframe").element_handle().content_frame()
        assert asked.value.frame == frame
        one.get_by_role("button", name="Close").click()
        expect(one.locator("iframe")).to_be_hidden()


@pytest.mark.parametrize(("arguments", "kept"), [('id="chat"', True), ("", False)])
def test_htmx_swaps_the_page_around_an_inbox_that_has_an_id(
    show: Show, crm: Demo, arguments: str, kept: bool
) -> None:
    head = """<meta name="htmx-config" content='{"includeIndicatorStyles":false,"allowEval":false}'>
    <script src="{% static "django_htmx/htmx-2.min.js" %}" defer></script>"""
    tag = f'{{% kapso_inbox "sales" {arguments} %}}'
    after = f"/host/?{urlencode({'bare': 1, 'body': f'<h1>After</h1>{tag}'})}"
    page = show(
        f'<button hx-get="{after}" hx-target="#it">Go</button><div id="it"><h1>A</h1>{tag}</div>',
        head=head,
    )
    mark(page)
    page.get_by_role("button", name="Go").click()
    expect(page.get_by_role("heading")).to_have_text("After")
    assert is_marked(page) is kept
    expect_state(page, "ready")
    assert component(page).count() == 1


def turbo(meta: str = "") -> str:
    if not TURBO.exists():
        # Of the packages on PyPI, some have Turbo 7.1, and none has 8, which morphs pages.
        reason = "Turbo is not installed: npm install --prefix tests/browser"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return f"""<meta name="turbo-prefetch" content="false">{meta}
    <script src="{{% static "turbo/turbo.es2017-umd.js" %}}" defer></script>"""


CHAT = '<div>{% kapso_inbox "sales" id="chat" %}</div>'


def test_turbo_frames_leave_an_inbox_beside_them_alone(show: Show, said: list[str]) -> None:
    after = f"/host/?{urlencode({'body': '<turbo-frame id=it><h1>After</h1></turbo-frame>'})}"
    page = show(
        f'<turbo-frame id="it"><h1>Before</h1><a href="{after}">Go</a></turbo-frame>{CHAT}',
        head=turbo(),
    )
    mark(page)
    page.get_by_role("link", name="Go").click()
    expect(page.get_by_role("heading")).to_have_text("After")
    assert is_marked(page)
    said.clear()  # Turbo's own progress bar has an inline style


def test_turbo_morphs_a_page_around_an_inbox_that_stays(show: Show, said: list[str]) -> None:
    page = show(
        f"<h1>A</h1><p>{{% now 'u' %}}</p>{CHAT}",
        head=turbo('<meta name="turbo-refresh-method" content="morph">'),
    )
    mark(page)
    before = page.locator("p").first.inner_text()
    page.evaluate("Turbo.visit(location.href, {action: 'replace'})")
    expect(page.locator("p").first).not_to_have_text(before)
    assert is_marked(page)
    said.clear()


def test_a_visit_of_turbo_drive_loads_the_inbox_again(
    show: Show, crm: Demo, said: list[str]
) -> None:
    """Turbo takes permanent elements out of the page and puts them back, so frames reload."""
    after = address(crm, f"<h1>After</h1>{CHAT}", head=turbo())
    page = show(f'<h1>Before</h1><a href="{after}">Go</a>{CHAT}', head=turbo())
    mark(page)
    seen = launches(page)
    page.get_by_role("link", name="Go").click()
    expect(page.get_by_role("heading")).to_have_text("After")
    assert not is_marked(page)
    expect_state(page, "ready")
    assert len(seen) == 1
    said.clear()


# --------------------------------------------------------------------------- states


@pytest.mark.pictures
def test_it_says_that_loading_takes_long_and_offers_another_try(show: Show) -> None:
    page = show("<h1>Before</h1>", color_scheme="dark")
    held: list[Route] = []
    page.route(
        "**/launch/",
        lambda route: route.continue_() if held else held.append(route),
    )
    page.clock.install()
    show(inbox(), page=page)
    expect_state(page, "loading")
    pictures.keep(page, "component-loading")
    page.clock.fast_forward(8_000)
    expect_state(page, "slow")
    expect(page.get_by_role("status")).to_contain_text("takes longer than usual")
    assert not scrolls(page)
    assert violations(page) == []
    pictures.keep(page, "component-slow")
    page.get_by_role("link", name="Try again").click()
    expect(component(page).locator("iframe")).to_be_focused()
    expect_state(page, "ready")
    expect(page.get_by_role("link", name="Try again")).to_be_hidden()
    expect_conversations(page)


@pytest.mark.pictures
def test_it_tells_a_signed_out_user_and_comes_back_after_the_login(
    show: Show, crm: Demo, said: list[str]
) -> None:
    page = show("<h1>Before</h1>")
    cookies: Any = page.context.cookies()
    page.context.clear_cookies()
    show(inbox(arguments="views=1"), page=page)
    expect_state(page, "signed_out")
    expect(page.get_by_role("status")).to_contain_text("You are signed out")
    assert violations(page) == []
    pictures.keep(page, "component-signed-out")
    page.context.add_cookies(cookies)
    # Chromium without a window never hides a page.
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect_state(page, "ready")
    expect(page.get_by_role("status")).to_be_empty()
    expect_conversations(page)
    said.clear()  # the answer 403


def test_without_a_network_it_says_so_and_comes_back_to_what_was_asked_for(
    show: Show, said: list[str]
) -> None:
    page = show(inbox(arguments="views=1"))
    expect_conversations(page)
    page.context.set_offline(True)
    page.get_by_role("link", name="Unread", exact=True).click()
    expect_state(page, "offline")
    expect(page.get_by_role("status")).to_contain_text("You are offline.")
    page.context.set_offline(False)
    expect_conversations(page)
    expect_state(page, "ready")
    said.clear()  # the missing network


def test_it_announces_what_our_own_page_in_the_frame_says(show: Show, said: list[str]) -> None:
    page = show('<main><h1>A</h1><div class="place">{% kapso_inbox "support" %}</div></main>')
    expect_state(page, "not_available")
    expect(page.get_by_role("status")).to_contain_text("not available to you")
    assert violations(page) == []
    said.clear()  # the answer 404


@pytest.mark.pictures
@pytest.mark.parametrize("frames", ["'none'", "'self'"])
def test_a_page_whose_policy_forbids_the_inbox_says_so(
    show: Show, crm: Demo, said: list[str], frames: str
) -> None:
    page = show(inbox(), frames=frames)
    expect_state(page, "blocked")
    needed = f"frame-src 'self' {crm.inbox_origin}"
    expect(page.get_by_role("status")).to_contain_text(needed)
    expect(component(page).get_by_text(needed).first).to_be_visible()
    assert violations(page) == []
    pictures.keep(page, "component-blocked")
    assert len(said) > 0
    said.clear()


@pytest.mark.parametrize("reported", ["'none'", "'self'"])
def test_a_policy_that_only_reports_leaves_the_inbox_visible(
    show: Show, said: list[str], reported: str
) -> None:
    page = show(inbox(), reported=reported)
    expect_conversations(page)
    page.wait_for_timeout(300)
    expect_state(page, "ready")
    expect(component(page).locator("iframe")).to_be_visible()
    assert any("frame-src" in text for text in said), "the browser did report it"
    said.clear()


def test_a_forbidden_frame_of_another_kind_does_not_concern_the_inbox(
    show: Show, said: list[str]
) -> None:
    foreign = '<iframe src="https://elsewhere.example/" title="Elsewhere"></iframe>'
    page = show(foreign + inbox())
    expect_conversations(page)
    page.wait_for_timeout(300)
    expect_state(page, "ready")
    expect(component(page).locator("iframe")).to_be_visible()
    assert any("frame-src" in text for text in said), "the browser did forbid it"
    said.clear()


def with_service_worker(show: Show, first: str = "") -> Page:
    """Return a page with a service worker of the host, whose fetch handler begins with `first`."""
    page = show("<h1>Before</h1>")
    page.evaluate(
        """async (address) => {
          await navigator.serviceWorker.register(address);
          await navigator.serviceWorker.ready;
        }""",
        f"/worker.js?{urlencode({'first': first})}",
    )
    return show(inbox(), page=page)


LEAVE_FRAMES_ALONE = 'if (event.request.destination === "iframe") return;'


@pytest.mark.pictures
def test_a_service_worker_that_answers_frames_is_named(show: Show, said: list[str]) -> None:
    page = with_service_worker(show)
    expect_state(page, "not_in_frame")
    expect(frame_of(page).get_by_role("alert")).to_contain_text("service worker")
    expect(frame_of(page).get_by_text(LEAVE_FRAMES_ALONE)).to_be_visible()
    assert violations(page) == []
    pictures.keep(page, "component-service-worker")
    said.clear()  # the answer 403


def test_a_service_worker_that_leaves_frames_alone_does_no_harm(show: Show) -> None:
    page = with_service_worker(show, LEAVE_FRAMES_ALONE)
    expect_conversations(page)
    expect_state(page, "ready")
    # The question to the inbox's host is over: the worker would complain that it is cut off.
    expect(page.locator("iframe")).to_have_count(1)


@pytest.mark.pictures
def test_a_wrong_number_is_reported_in_place_of_the_inbox(show: Show) -> None:
    body = inbox(arguments='contact="nobody"')
    page = show(body)
    expect(page.get_by_text("“nobody” is not a phone number.")).to_be_visible()
    assert violations(page) == []
    pictures.keep(page, "component-no-number")


# --------------------------------------------------------------------------- theme and filters


def switch(page: Page, *themes: str) -> None:
    """Switch the page's theme, as a theme switch of the CRM does."""
    page.evaluate(
        "themes => themes.forEach((theme) => { document.documentElement.dataset.theme = theme })",
        list(themes),
    )


def test_it_follows_the_pages_theme_and_loads_once_per_change(show: Show) -> None:
    page = show("<h1>Before</h1>")
    seen = launches(page)
    show(inbox(arguments='theme_source="html[data-theme]" mode="light" views=1'), page=page)
    mark(page)
    switch(page, "light")
    page.wait_for_timeout(250)
    assert is_marked(page)
    page.get_by_role("link", name="Unread").click()
    expect(frame_of(page).locator("body[data-mark]")).to_have_count(0)
    mark(page)
    switch(page, "dark", "light", "dark")
    expect(frame_of(page).locator("body[data-mark]")).to_have_count(0)
    mark(page)
    page.wait_for_timeout(250)
    assert is_marked(page)
    light, dark = {"mode": "light"}, {"mode": "dark"}
    unread = {"unread": "1", "handoff": "0"}
    everything = {"unread": "0", "handoff": "0"}
    assert seen == [light | everything, light | unread, dark | unread]
    page.get_by_role("link", name="All", exact=True).click()
    expect_conversations(page)
    expect_state(page, "ready")
    assert seen[3:] == [dark | everything]


def test_the_first_launch_has_a_theme_that_only_the_page_knows(show: Show) -> None:
    page = show("<h1>Before</h1>")
    seen = launches(page)
    head = '<script src="{% static "host/theme.js" %}"></script>'
    show(inbox(arguments='theme_source="html[data-theme]"'), page=page, head=head)
    expect_conversations(page)
    expect_state(page, "ready")
    assert seen[-1] == {"mode": "dark"}
    assert len(seen) <= 2


def test_a_page_whose_class_does_not_say_dark_is_light(show: Show) -> None:
    page = show("<h1>Before</h1>")
    seen = launches(page)
    show(inbox(arguments='theme_source="body[class]" mode="dark"'), page=page)
    expect_state(page, "ready")
    with page.expect_request("**/launch/?mode=dark"):
        page.evaluate("document.body.className = 'wide dark'")
    expect_state(page, "ready")
    assert [one["mode"] for one in seen] == ["dark", "light", "dark"]


def test_quick_views_act_inside_the_frame_and_mark_the_current_one(show: Show, crm: Demo) -> None:
    page = show(inbox(arguments="views=1"))
    expect_conversations(page)
    before, queries = page.url, []
    for name in ("Unread", "Waiting for a human", "All"):
        link = page.get_by_role("link", name=name, exact=True)
        expect(link).not_to_have_attribute("aria-current", "true")
        link.click()
        expect(link).to_have_attribute("aria-current", "true")
        expect_state(page, "ready")
        expect(page.locator("[aria-current]")).to_have_count(1)
        queries.append(inbox_query(page, crm))
    assert queries == [{"unread": "1"}, {"handoff": "1"}, {}]
    assert page.url == before


@pytest.mark.pictures
def test_the_settings_are_a_page_in_the_frame_and_lead_back(show: Show) -> None:
    page = show(inbox(arguments="views=1 settings=1"))
    expect_conversations(page)
    page.get_by_role("link", name="Unread").click()
    expect_state(page, "ready")
    seen = launches(page)
    page.get_by_role("link", name="Inbox settings").click()
    expect(frame_of(page).get_by_role("button", name="Save")).to_be_visible()
    assert violations(page) == []
    expect_state(page, "ready")
    pictures.keep(page, "component-settings")
    frame_of(page).get_by_role("link", name="Back").click()
    expect_conversations(page)
    assert seen == [{"unread": "1", "handoff": "0"}]


@pytest.mark.pictures
@pytest.mark.parametrize("variant", ["panel", "drawer"])
def test_saved_settings_are_said_to_be_saved(show: Show, variant: str) -> None:
    page = show(inbox(variant, "views=1 settings=1"))
    if variant == "drawer":
        page.get_by_role("button", name="WhatsApp").click()
    expect_conversations(page)
    page.get_by_role("link", name="Unread").click()
    expect_state(page, "ready")
    page.get_by_role("link", name="Inbox settings").click()
    frame = frame_of(page)
    expect(frame.get_by_text("For now, this page or its tab decides.")).to_have_count(2)
    frame.get_by_role("button", name="Save").click()
    expect_conversations(page)
    expect_state(page, "saved")
    saved = component(page).locator("[data-notice=saved]")
    expect(saved).to_have_text("Your settings are saved.")
    expect(saved).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("Your settings are saved.")
    assert violations(page, "kapso-inbox") == []
    assert not scrolls(page)
    pictures.keep(page, f"component-saved-{variant}")
    expect(page.get_by_role("link", name="Unread")).to_have_attribute("aria-current", "true")
    expect_state(page, "ready")
    expect(saved).to_be_hidden()
    # The inbox loads itself again, and that saves nothing.
    [one] = [one for one in page.frames if "/embed/" in one.url]
    one.evaluate("location.reload()")
    page.wait_for_timeout(500)
    expect_state(page, "ready")


def test_settings_that_are_left_by_back_are_not_said_to_be_saved(show: Show) -> None:
    page = show(inbox(arguments="settings=1"))
    expect_conversations(page)
    page.get_by_role("link", name="Inbox settings").click()
    frame_of(page).get_by_role("link", name="Back").click()
    expect_conversations(page)
    expect_state(page, "ready")


def test_the_tab_the_list_and_the_address_of_the_whole_page_agree(show: Show, crm: Demo) -> None:
    page = show("<h1>Before</h1>")
    before = page.url
    whole = f"{crm.url}/kapso-inbox/sales/"

    def expect_view(name: str, filters: dict[str, str]) -> None:
        expect(page.locator("[aria-current]")).to_have_text(name)
        expect_state(page, "ready")
        assert inbox_query(page, crm) == filters

    page.goto(f"{whole}?unread=1")
    expect_view("Unread", {"unread": "1"})
    page.get_by_role("link", name="All", exact=True).click()
    expect_view("All", {})
    assert page.url == f"{whole}?unread=0&handoff=0"
    page.reload()
    expect_view("All", {})
    page.get_by_role("link", name="Waiting for a human").click()
    expect_view("Waiting for a human", {"handoff": "1"})
    page.goto(before)
    page.go_back()
    expect_view("Waiting for a human", {"handoff": "1"})
    page.reload()
    expect_view("Waiting for a human", {"handoff": "1"})
    page.go_back()
    expect(page).to_have_url(before)


def test_the_address_of_another_page_does_not_follow_the_tabs(show: Show) -> None:
    page = show(inbox("page", "views=1"))
    before = page.url
    page.get_by_role("link", name="Unread").click()
    expect_state(page, "ready")
    assert page.url == before
    page.reload()
    expect_conversations(page)
    expect(page.locator("[aria-current]")).to_have_text("All")


def test_a_link_that_names_a_view_opens_the_tab_of_the_drawer(show: Show, crm: Demo) -> None:
    links = """<p>{% kapso_inbox_link "sales" text="Chats" %}</p>
    <p>{% kapso_inbox_link "sales" unread=1 text="New ones" %}</p>"""
    page = show(f"{links}{inbox('drawer', 'views=1')}")
    for link, tab, filters in (("New ones", "Unread", {"unread": "1"}), ("Chats", "All", {})):
        page.get_by_role("link", name=link).click()
        expect_conversations(page)
        expect_state(page, "ready")
        expect(page.locator("[aria-current]")).to_have_text(tab)
        assert inbox_query(page, crm) == filters
        page.keyboard.press("Escape")


def test_what_was_opened_without_a_wrong_parameter_stays_so_after_a_reload(
    show: Show, said: list[str]
) -> None:
    page = show(inbox(arguments="views=1"))
    expect_conversations(page)
    page.get_by_role("link", name="Unread").evaluate("link => { link.search += '&mode=pink' }")
    page.get_by_role("link", name="Unread").click()
    frame_of(page).get_by_role("link", name="Open the inbox without it").click()
    expect_state(page, "ready")
    seen = launches(page)
    page.get_by_role("link", name="Reload").click()
    expect_conversations(page)
    assert seen == [{"unread": "1", "handoff": "0"}]
    said.clear()  # the answer 400


def test_a_link_opens_the_drawer_with_a_search_for_the_number(show: Show, crm: Demo) -> None:
    links = "".join(
        f'<p>{{% kapso_inbox_link "sales" contact="{number}" text="{name}" status="all" %}}</p>'
        for name, number in (("First", "+55 11 98765-4321"), ("Second", "+55 11 98765-4322"))
    )
    page = show(f"{links}{inbox('drawer')}")
    seen = launches(page)
    before = page.url
    for name in ("First", "Second", "Second"):
        page.get_by_role("link", name=name).click()
        expect(page.get_by_role("dialog", name="WhatsApp")).to_be_focused()
        expect_state(page, "ready")
        page.keyboard.press("Escape")
        expect(page.get_by_role("link", name=name)).to_be_focused()
    assert page.url == before
    numbers = [one["search"] for one in seen]
    assert numbers == ["5511987654321", "5511987654322"]
    assert seen[0]["status"] == "all"
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="First").click(modifiers=["Control"])
    # The new tab is reported before it has left about:blank.
    opened.value.wait_for_url(lambda url: url.startswith(crm.url))
    query = parse_qs(urlsplit(opened.value.url).query)
    assert (query["status"], query["search"]) == (["all"], ["5511987654321"])


def test_loading_the_script_twice_does_no_harm(show: Show) -> None:
    page = show(inbox())
    expect_conversations(page)
    page.evaluate(
        """() => new Promise((resolve) => {
          const again = document.createElement("script");
          again.src = document.querySelector("script[src*=kapso_inbox]").src + "?again";
          again.onload = resolve;
          document.body.append(again);
        })"""
    )
    expect_state(page, "ready")
