"""The preview of an inbox in the admin, in Chromium: it has the theme that the admin shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from . import pictures
from .axe import violations
from .conftest import Demo, expect
from .test_admin import LIST, ROW

if TYPE_CHECKING:
    from playwright.sync_api import Page

    SignIn = Callable[..., Page]

pytestmark = pytest.mark.browser

#: What the device prefers -> the themes that Django's switch comes through, beginning with its own.
CYCLES = {"light": ["auto", "dark", "light"], "dark": ["auto", "light", "dark"]}


@pytest.mark.parametrize("device", CYCLES)
@pytest.mark.parametrize("width", [390, 768, 1440])
def test_it_follows_the_admins_theme_switch(
    demo: Demo, sign_in: SignIn, device: str, width: int
) -> None:
    page = sign_in("admin", viewport={"width": width, "height": 900}, color_scheme=device)
    asked: list[str] = []
    page.on("request", lambda request: asked.extend(re.findall(r"launch/\?(.*)$", request.url)))
    page.goto(f"{demo.url}{LIST}1/preview/")
    inbox = page.frame_locator(".kapso-inbox iframe")
    for theme in CYCLES[device]:
        expect(page.locator("html")).to_have_attribute("data-theme", theme)
        mode = theme.replace("auto", "system")
        expect(inbox.locator("html")).to_have_attribute("data-theme", mode)
        expect(inbox.locator(ROW).first).to_be_visible()
        assert violations(page) == [], theme
        pictures.keep(page, f"preview-{theme}-on-{device}-{width}")
        page.locator(".theme-toggle:visible").first.click()
    assert asked[0] == "mode=system", "it is asked for in the admin's theme from the start"
    # A theme that was chosen before is the one of the first launch.
    page.goto(f"{demo.url}/admin/")
    page.evaluate("localStorage.setItem('theme', 'dark')")
    asked.clear()
    page.goto(f"{demo.url}{LIST}1/preview/")
    expect(inbox.locator("html")).to_have_attribute("data-theme", "dark")
    assert asked == ["mode=dark"]
