"""The list of embeds, in Chromium: what is in sight on each screen, and where names lead."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from . import pictures
from .axe import violations
from .conftest import Demo, enter, expect, running_demo
from .test_admin import LIST

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    NewPage = Callable[..., Page]

pytestmark = pytest.mark.browser

WIDTHS = (390, 768, 1440)
ONE_WORD, MANY_WORDS, SLUG = "A" * 200, "Long name " * 20, "s" * 50


@pytest.fixture(scope="module")
def own_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Run a demo whose embeds these tests change."""
    with running_demo(tmp_path_factory.mktemp("list")) as running:
        yield running


@pytest.fixture(scope="module")
def emptied_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Run a demo whose embeds these tests delete."""
    with running_demo(tmp_path_factory.mktemp("emptied")) as running:
        yield running


def store(demo: Demo, *statements: str) -> None:
    """Change what the demo has stored."""
    [path] = demo.data_dir.glob("*.sqlite3")
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def is_in_sight(what: Locator) -> bool:
    """Return whether all of an element's box can be seen without scrolling sideways."""
    return bool(
        what.evaluate(
            """element => {
                const box = element.getBoundingClientRect();
                const frames = [document.documentElement, element.closest('.results')];
                return frames.every((frame) => {
                    const seen = frame.getBoundingClientRect();
                    return seen.left <= box.left && box.right <= seen.right;
                });
            }"""
        )
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_name_and_state_are_in_sight_however_long_a_name_is(
    own_demo: Demo, new_page: NewPage, width: int, theme: str
) -> None:
    embed = "UPDATE kapso_inbox_inboxembed SET"
    store(
        own_demo,
        f"{embed} name = '{ONE_WORD}' WHERE id = 1",
        f"{embed} name = '{MANY_WORDS}', slug = '{SLUG}', allowed_origins = '[]' WHERE id = 2",
        # The longest state that there is.
        "UPDATE kapso_inbox_accesslink SET differences = 'scope_type=customer' WHERE embed_id = 1",
    )
    page = new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
    enter(page, own_demo, "admin")
    page.goto(f"{own_demo.url}{LIST}")
    headings = page.locator("#result_list thead th")
    assert [one.strip().title() for one in headings.all_inner_texts()][1:3] == ["Name", "State"]
    states = page.locator("#result_list .kapso-state")
    expect(states).to_have_count(2)
    for state in states.all():
        assert is_in_sight(state)
    for name in page.locator("#result_list .field-name a").all():
        assert is_in_sight(name)
    expect(page.get_by_text("On any site")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(page) == []
    pictures.keep(page, f"list-long-{theme}-{width}", full_page=True)
    for address in (f"{LIST}1/preview/", f"{LIST}health/", "/admin/kapso_inbox/inboxchange/"):
        page.goto(f"{own_demo.url}{address}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address


@pytest.mark.parametrize("language", ["en", "es", "pt-BR"])
def test_all_columns_are_in_sight_beside_sidebar_and_filter(
    demo: Demo, new_page: NewPage, language: str
) -> None:
    page = new_page(viewport={"width": 1440, "height": 900}, locale=language)
    enter(page, demo, "admin")
    page.goto(f"{demo.url}{LIST}")
    for heading in page.locator("#result_list thead th").all():
        assert is_in_sight(heading), heading.inner_text()


@pytest.mark.parametrize(
    "model",
    [
        "kapso_inbox/inboxembed",
        "kapso_inbox/inboxchange",
        "kapso_inbox/launchattempt",
        "kapso_conversations/conversation",
        "kapso_conversations/webhookdelivery",
    ],
)
def test_on_a_tablet_the_filter_takes_no_room_from_the_list(
    own_demo: Demo, new_page: NewPage, model: str
) -> None:
    # In the language with the longest names of actions.
    page = new_page(viewport={"width": 768, "height": 1024}, locale="pt-BR")
    enter(page, own_demo, "admin")
    page.goto(f"{own_demo.url}/admin/{model}/")
    assert page.evaluate("document.documentElement.scrollWidth") <= 768
    expect(page.locator("#changelist-filter")).to_be_visible()
    for inner in ("#changelist-form", "#changelist-filter"):
        [width, whole] = page.evaluate(
            """inner => [inner, "#content-main"].map(
                (one) => document.querySelector(one).getBoundingClientRect().width)""",
            inner,
        )
        assert width == pytest.approx(whole, abs=1)


@pytest.mark.parametrize(("size", "theme"), [("390", "dark"), ("768", "light"), ("1440", "light")])
def test_an_empty_list_leads_to_what_lives_at_kapso(
    emptied_demo: Demo, new_page: NewPage, size: str, theme: str
) -> None:
    page = new_page(viewport={"width": int(size), "height": 900}, color_scheme=theme)
    enter(page, emptied_demo, "admin")
    for place in ("", "health/"):
        store(
            emptied_demo,
            "DELETE FROM kapso_inbox_inboxembed_groups",
            "DELETE FROM kapso_inbox_accesslink",
            "DELETE FROM kapso_inbox_inboxembed",
        )
        page.goto(f"{emptied_demo.url}{LIST}{place}")
        expect(page.get_by_text("There may be inboxes at Kapso")).to_be_visible()
        expect(page.get_by_text("Nothing is wrong")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") <= int(size)
        assert violations(page) == [], place
        pictures.keep(page, f"list-empty-{place[:-1]}-{theme}-{size}", full_page=True)
        page.get_by_role("button", name="Look for inboxes at Kapso").click()
        expect(page.get_by_text("Found 2 inboxes at Kapso")).to_be_visible()
        assert page.url == f"{emptied_demo.url}{LIST}{place}"
        assert violations(page) == [], place
        pictures.keep(page, f"list-found-{place[:-1]}-{theme}-{size}", full_page=True)
        page.get_by_role("button", name="Look for inboxes at Kapso").click()
        expect(page.get_by_text("Found no inbox at Kapso that is not listed")).to_be_visible()
    page.get_by_role("heading", name="Several inboxes").wait_for()
    page.goto(f"{emptied_demo.url}{LIST}")
    expect(page.locator("#result_list .kapso-state")).to_have_text(["Unmanaged", "Unmanaged"])
