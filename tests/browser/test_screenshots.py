"""The pictures of the documents: `SCREENSHOTS=docs/images pytest tests/browser -k screenshots`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .conftest import Demo, expect
from .test_crm import ROW, frame_of, open_contact

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def browser_options() -> list[str]:
    # The emulated factor alone does not reach a frame of another site: it comes out blurred.
    return ["--force-device-scale-factor=2"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_shows_its_inbox_in_each_theme_and_size(
    demo: Demo, sign_in: Callable[..., Page], tmp_path: Path, theme: str, size: str
) -> None:
    directory = Path(os.environ.get("SCREENSHOTS") or tmp_path)
    directory.mkdir(parents=True, exist_ok=True)
    page = sign_in(
        "admin",
        viewport=SIZES[size],
        device_scale_factor=2,
        color_scheme=theme,
        is_mobile=size == "phone",
        has_touch=size == "phone",
    )

    def shoot(name: str) -> None:
        page.screenshot(path=directory / f"{name}-{theme}-{size}.png")

    def shoot_with_inbox(name: str) -> None:
        expect(frame_of(page).locator(ROW).first).to_be_visible()
        # For the transitions of what the filters just selected
        page.wait_for_timeout(400)
        shoot(name)

    shoot("contacts")
    open_contact(page, demo, "Priya Raman")
    shoot_with_inbox("contact")
    page.goto(f"{demo.url}/inbox/")
    shoot_with_inbox("inbox")
    page.goto(f"{demo.url}/teams/support/")
    shoot_with_inbox("team")
    page.context.clear_cookies()
    page.goto(f"{demo.url}/")
    shoot("sign-in")
