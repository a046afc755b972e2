"""Every page in every state is accessible, fits, and is in the reader's language, light and dark.

Other tests say what a page does. This one visits all of them, and does no more than look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.test_translations import Visible, catalogue, pairs

from .axe import violations
from .conditions import CONDITIONS, make
from .conftest import PAGE_SECONDS, Demo, enter, expect, running_demo

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Frame, Page

pytestmark = pytest.mark.browser

LIST = "/admin/kapso_inbox/inboxembed/"
WEBHOOKS = "/admin/kapso_conversations/webhookdelivery/webhooks/"
VERBS = ("rotate", "adopt", "revoke", "extend", "refresh", "resolve", "delete")
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


class Reader(NamedTuple):
    """Somebody who reads a language, in a window of a size, in a theme.

    Between them they have each language, theme and size, which are not all combined: it takes long.

    Attributes:
        language: as a browser asks for it, and as pages declare it.
        viewport: the size of the window.
        color_scheme: the theme.
        locale: the catalogue of the language; "" for English, which needs none.
    """

    language: str
    viewport: dict[str, int]
    color_scheme: str
    locale: str = ""


READERS = (
    Reader("en", WIDE, "light"),
    Reader("es", NARROW, "dark", "es"),
    Reader("pt-br", WIDE, "dark", "pt_BR"),
)

LOADING = "kapso-inbox:is([data-state=loading], [data-state=idle]):has(iframe)"


class Visit(NamedTuple):
    """A page to look at.

    Attributes:
        path: its address. Words in braces stand for the primary keys of embeds, by their slugs.
        act: what is done there before it is looked at.
        is_the_crms: whether it is a page of the CRM, whose own texts are English for everybody.
        username: who looks; "" = somebody who is not signed in.
    """

    path: str
    act: Callable[[Page], object] = lambda page: None
    is_the_crms: bool = False
    username: str = "admin"


def wait_for_inboxes(page: Page) -> None:
    """Wait until no inbox that can be seen is loading."""
    expect(page.locator(LOADING).locator("iframe").filter(visible=True)).to_have_count(0)


def press(selector: str) -> Callable[[Page], None]:
    return lambda page: page.locator(selector).first.click()


def follow(selector: str) -> Callable[[Page], None]:
    def act(page: Page) -> None:
        with page.expect_navigation():
            page.locator(selector).first.click()

    return act


def send_nothing(page: Page) -> None:
    """Send a form whose first field is empty, as a browser would not by itself."""
    form = page.locator("form").filter(has=page.locator("#id_name"))
    form.evaluate("form => { form.noValidate = true }")
    page.locator("#id_name").fill("")
    page.locator("[name=_save]").click()
    page.locator(".errorlist").first.wait_for()


def search(page: Page) -> None:
    page.locator("#id_scope_id").fill("s")
    page.locator("#id_scope_id_list [role=option]").first.wait_for()


def type_a_refused_address(page: Page) -> None:
    page.locator("[name=site]").fill("crm")
    follow("[name=verb][value=set]")(page)
    page.locator(".errorlist").wait_for()


def refused(slug: str, query: str = "") -> Callable[[Page], None]:
    """Return a function that leads the page's inbox to another launch."""
    lead = f"frame => {{ frame.src = '/kapso-inbox/{slug}/launch/{query}' }}"

    def act(page: Page) -> None:
        wait_for_inboxes(page)
        page.locator("kapso-inbox iframe").evaluate(lead)
        page.frame_locator("kapso-inbox iframe").locator("main[data-outcome]").wait_for()

    return act


def sign_out(page: Page) -> None:
    page.context.clear_cookies(name="sessionid")
    refused("sales")(page)


ALL = "&".join(f"id={{{slug}}}" for slug in CONDITIONS)

VISITS = {
    # The CRM's own
    **{
        name: Visit(path, is_the_crms=True)
        for name, path in {
            "contacts": "/",
            "nobody found": "/?q=nobody",
            "contact": "/contacts/1/",
            "contact without a number": "/contacts/21/",
            "inbox": "/inbox/",
            "own inbox": "/inbox/mine/",
            "team": "/teams/sales/",
        }.items()
    },
    "sign-in": Visit("/", is_the_crms=True, username=""),
    "drawer": Visit("/", press("[data-kapso-inbox-open]"), is_the_crms=True),
    "floating": Visit("/", press(".kapso-inbox--floating > button"), is_the_crms=True),
    "settings": Visit("/inbox/", press("[data-settings]"), is_the_crms=True),
    # An agent's
    "a whole page": Visit("/kapso-inbox/sales/"),
    "own whole page": Visit("/kapso-inbox/mine/"),
    "settings by themselves": Visit("/kapso-inbox/sales/settings/"),
    "own settings": Visit("/kapso-inbox/mine/settings/"),
    "signed in": Visit("/kapso-inbox/sales/signed-in/"),
    "not available": Visit("/kapso-inbox/support/", username="ana"),
    "no such inbox": Visit("/kapso-inbox/nowhere/"),
    "wrong parameter": Visit("/kapso-inbox/sales/?mode=pink"),
    "not in a frame": Visit("/kapso-inbox/sales/launch/"),
    "refused: signed out": Visit("/teams/sales/", sign_out, is_the_crms=True, username="ana"),
    "refused: parameter": Visit("/teams/sales/", refused("sales", "?a=b"), is_the_crms=True),
    **{f"refused: {slug}": Visit(f"/kapso-inbox/{slug}/") for slug in CONDITIONS[1:]},
    # An administrator's
    "list": Visit(LIST),
    "nothing in the list": Visit(f"{LIST}?q=nobody"),
    "add": Visit(f"{LIST}add/"),
    "add: search": Visit(f"{LIST}add/", search),
    "add: errors": Visit(f"{LIST}add/", send_nothing),
    "change: errors": Visit(f"{LIST}{{sales}}/change/", send_nothing),
    "change: unmanaged": Visit(f"{LIST}{{unmanaged}}/change/"),
    **{f"change: {slug}": Visit(f"{LIST}{{{slug}}}/change/") for slug in CONDITIONS},
    "preview": Visit(f"{LIST}{{works}}/preview/"),
    "preview: expired": Visit(f"{LIST}{{expired}}/preview/"),
    **{f"verb: {verb}": Visit(f"{LIST}verbs/{verb}/?{ALL}&id={{unmanaged}}") for verb in VERBS},
    "verb for one": Visit(f"{LIST}verbs/extend/?id={{works}}"),
    "verb for one that it cannot be applied to": Visit(f"{LIST}verbs/delete/?id={{works}}"),
    "result": Visit(
        f"{LIST}verbs/refresh/?id={{works}}", follow("form:has([name=confirmed]) [type=submit]")
    ),
    "results": Visit(
        f"{LIST}verbs/refresh/?{ALL}", follow("form:has([name=confirmed]) [type=submit]")
    ),
    "health": Visit(f"{LIST}health/"),
    "history": Visit(f"{LIST}{{works}}/history/"),
    "launches": Visit("/admin/kapso_inbox/launchattempt/"),
    "changes": Visit("/admin/kapso_inbox/inboxchange/"),
    "conversations": Visit("/admin/kapso_conversations/conversation/"),
    "a conversation": Visit(
        "/admin/kapso_conversations/conversation/", follow("#result_list th.field-person a")
    ),
    "webhook deliveries": Visit("/admin/kapso_conversations/webhookdelivery/"),
    "webhooks": Visit(WEBHOOKS),
    "webhooks with another address": Visit(f"{WEBHOOKS}?project=default&site=http://[::1]:8000"),
    "webhooks with a refused address": Visit(WEBHOOKS, type_a_refused_address),
    "webhooks to remove": Visit(WEBHOOKS, follow("[name=verb][value=remove]")),
}


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Run a demo for this module alone, with embeds in every condition."""
    with running_demo(tmp_path_factory.mktemp("every_page")) as demo:
        yield demo


@pytest.fixture(scope="module")
def keys(crm: Demo) -> dict[str, int]:
    """Return the primary keys of the embeds, by their slugs."""
    made = make(crm)
    [unmanaged] = [key for slug, key in made.items() if slug.startswith("kapso-")]
    return {**made, "unmanaged": unmanaged}


@pytest.fixture(scope="module")
def page_of(crm: Demo, browser: Browser) -> Iterator[Callable[[str, Reader], Page]]:
    """Return a function for the page of a reader who is signed in as somebody. Pages stay open."""
    contexts: dict[tuple[str, str], BrowserContext] = {}

    def open_page(username: str, reader: Reader) -> Page:
        key = (username, reader.language)
        if key not in contexts:
            contexts[key] = browser.new_context(
                locale=reader.language,
                color_scheme=reader.color_scheme,
                viewport=reader.viewport,
                reduced_motion="reduce",
            )
            contexts[key].set_default_timeout(PAGE_SECONDS * 1000)
            contexts[key].new_page()
        [page] = contexts[key].pages
        cookies = {one["name"] for one in contexts[key].cookies()}
        if username and "sessionid" not in cookies:
            enter(page, crm, username)
        return page

    yield open_page
    for context in contexts.values():
        context.close()


@pytest.mark.parametrize("name", VISITS)
def test_every_page_is_accessible_fits_and_speaks_the_readers_language(
    crm: Demo, keys: dict[str, int], page_of: Callable[[str, Reader], Page], name: str
) -> None:
    visit = VISITS[name]
    wrong = {}
    for reader in READERS:
        page = page_of(visit.username, reader)
        page.goto(f"{crm.url}{visit.path.format(**keys)}")
        visit.act(page)
        wait_for_inboxes(page)
        found = [*violations(page), *wrong_languages(page, visit, reader.language)]
        if reader.locale:
            found += [f"in English: {text}" for text in in_english(page, visit, reader.locale)]
        found += [f"scrolls sideways: {one}" for one in too_wide(page)]
        if reader.language == "en":
            page.set_viewport_size(NARROW)  # type: ignore[arg-type]
            found += [f"scrolls sideways where narrow: {one}" for one in too_wide(page)]
            page.set_viewport_size(reader.viewport)  # type: ignore[arg-type]
        if found:
            wrong[reader.language] = found
    assert wrong == {}


def ours(page: Page) -> list[Frame]:
    """Return the page and its frames that people see, without the sandbox's inbox."""
    site = page.url.split("/")[2]
    return [
        frame
        for frame in page.frames
        if frame.url.split("/")[2:3] == [site] and not frame.url.endswith("/reach/")
    ]


def wrong_languages(page: Page, visit: Visit, language: str) -> list[str]:
    """Return the languages that the page, its frames and its inboxes declare, if they are wrong."""
    declared = [frame.locator("html").get_attribute("lang") for frame in ours(page)]
    if visit.is_the_crms:
        assert declared.pop(0) == "en"
    declared += page.locator("kapso-inbox").evaluate_all("all => all.map((one) => one.lang)")
    return [f"lang={one}" for one in declared if one != language]


def in_english(page: Page, visit: Visit, locale: str) -> list[str]:
    """Return our texts that are shown in English although they have a translation."""
    frames = ours(page)
    if visit.is_the_crms:
        frames = frames[1:]
    sources = [frame.content() for frame in frames]
    sources += page.locator("kapso-inbox").evaluate_all("all => all.map((one) => one.outerHTML)")
    return sorted(translated(locale).intersection(Visible("".join(sources)).texts))


@cache
def translated(locale: str) -> frozenset[str]:
    """Return the English texts that a catalogue translates by other words."""
    texts = {pair for entry in catalogue(locale) for pair in pairs(entry)}
    return frozenset(text for text, translation in texts if text != translation)


def too_wide(page: Page) -> list[str]:
    """Return the addresses of the page and its frames, of those that scroll sideways."""
    scrolls = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    return [frame.url for frame in ours(page) if frame.evaluate(scrolls)]
