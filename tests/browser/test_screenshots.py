"""Every page of the example CRM shows its inbox, is accessible, and can have its picture taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from . import pictures
from .axe import violations
from .conftest import Demo, expect, running_demo
from .test_crm import ROW, frame_of, open_contact

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.pictures]

#: Only pictures that are kept need to be sharp.
SCALE = 2 if pictures.FOLDER else 1
SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def browser_options() -> list[str]:
    # The emulated factor alone does not reach a frame of another site: it comes out blurred.
    return [f"--force-device-scale-factor={SCALE}"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One of its own: inboxes of people's own are made in it."""
    with running_demo(tmp_path_factory.mktemp("pictures")) as demo:
        yield demo


@pytest.mark.parametrize(("size", "theme"), pictures.LOOKS)
def test_every_page_shows_its_inbox_in_each_theme_and_size(
    demo: Demo, sign_in: Callable[..., Page], theme: str, size: str
) -> None:
    page = sign_in(
        "ana",
        viewport=SIZES[size],
        device_scale_factor=SCALE,
        reduced_motion="reduce",
        color_scheme=theme,
        is_mobile=size == "phone",
        has_touch=size == "phone",
    )
    page.get_by_role("button", name=f"{theme} theme").click()
    frame = frame_of(page)
    row = frame.locator(ROW).first

    def shoot(name: str, what: Locator) -> None:
        expect(what).to_be_visible()
        pictures.keep(page, f"{name}-{theme}-{size}")
        assert violations(page) == []

    shoot("contacts", page.get_by_role("heading", name="Contacts"))
    page.get_by_role("link", name="+5531955550119").click()
    shoot("contacts-drawer", row)
    open_contact(page, demo, "Priya Raman")
    shoot("contact", row)
    open_contact(page, demo, "Doris Lindqvist")
    shoot("contact-without-number", page.get_by_text("is not a phone number"))
    page.goto(f"{demo.url}/inbox/")
    shoot("inbox", row)
    page.get_by_role("link", name="Inbox settings").click()
    shoot("inbox-settings", frame.get_by_role("button", name="Save"))
    page.goto(f"{demo.url}/inbox/")
    page.get_by_role("button", name="Español").click()
    shoot("inbox-in-spanish", row)
    page.get_by_role("button", name="English").click()
    page.goto(f"{demo.url}/inbox/mine/")
    set_up = frame.get_by_role("button", name="Set up my inbox")
    expect(set_up.or_(row)).to_be_visible()
    if set_up.is_visible():
        set_up.click()
    shoot("inbox-mine", row)
    page.goto(f"{demo.url}/")
    page.get_by_role("button", name="My conversations").click()
    floating = page.get_by_role("dialog", name="My conversations").locator("iframe").content_frame
    shoot("contacts-floating", floating.locator(ROW).first)
    page.goto(f"{demo.url}/kapso-inbox/sales/")
    shoot("inbox-page", row)
    page.goto(f"{demo.url}/teams/sales/")
    shoot("team", row)
    page.goto(f"{demo.url}/teams/support/")
    shoot("team-of-others", frame.get_by_role("alert"))
    page.context.clear_cookies()
    page.goto(f"{demo.url}/")
    shoot("sign-in", page.get_by_role("heading", name="Sign in to Alameda"))
