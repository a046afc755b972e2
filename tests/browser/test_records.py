"""The health page and the records, in Chromium: what is wrong, who did what, and the way there."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from . import pictures
from .axe import violations
from .conftest import Demo, enter, expect, running_demo
from .test_admin import LIST, SIZES

if TYPE_CHECKING:
    from playwright.sync_api import Page

    NewPage = Callable[..., Page]

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def own_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Run a demo whose embeds these tests change."""
    with running_demo(tmp_path_factory.mktemp("records")) as running:
        yield running


def break_inboxes(demo: Demo) -> None:
    """Let one inbox expire, and let any site show both."""
    [path] = demo.data_dir.glob("*.sqlite3")
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE kapso_inbox_inboxembed SET allowed_origins = '[]'")
        database.execute(
            "UPDATE kapso_inbox_inboxembed SET expires_at = '2026-01-02 03:04:05' WHERE id = 1"
        )
        database.commit()


@pytest.mark.parametrize(("size", "theme"), pictures.LOOKS)
def test_the_health_page_and_the_records_are_accessible(
    own_demo: Demo, new_page: NewPage, size: str, theme: str
) -> None:
    page = new_page(viewport=SIZES[size], color_scheme=theme)
    enter(page, own_demo, "admin")
    page.goto(f"{own_demo.url}{LIST}1/change/")
    page.get_by_label("Name:").fill(f"Front desk {size} {theme}")
    page.get_by_role("button", name="Save and continue editing").click()
    break_inboxes(own_demo)
    for name, address in {
        "health": f"{LIST}health/",
        "history": f"{LIST}1/history/",
        "changes": "/admin/kapso_inbox/inboxchange/",
        "openings": "/admin/kapso_inbox/launchattempt/",
    }.items():
        page.goto(f"{own_demo.url}{address}")
        pictures.keep(page, f"record-{name}-{theme}-{size}", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"], name
        assert violations(page) == [], name


def test_an_administrator_goes_from_the_health_page_to_the_inbox_and_its_changes(
    own_demo: Demo, new_page: NewPage
) -> None:
    page = new_page()
    enter(page, own_demo, "admin")
    page.goto(f"{own_demo.url}{LIST}1/change/")
    page.get_by_label("Name:").fill("Reception")
    page.get_by_role("button", name="Save", exact=True).click()
    break_inboxes(own_demo)

    page.goto(f"{own_demo.url}{LIST}health/")
    expect(page.get_by_text("Set its allowed origins to those of this site only")).to_have_count(1)
    expect(page.get_by_text("link-expired", exact=False)).to_be_hidden()
    page.get_by_role("link", name="Check again").click()
    page.get_by_role("heading", name="Reception").get_by_role("link").click()
    expect(page.get_by_label("Name:")).to_have_value("Reception")

    page.goto(f"{own_demo.url}{LIST}1/history/")
    page.get_by_role("link", name="Who changed this inbox").click()
    expect(page.get_by_text("→ Reception").first).to_be_visible()
