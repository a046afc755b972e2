"""The inbox in a CRM with a strict Content Security Policy, by django-csp and by Django itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import django
import pytest

from .conftest import Demo, enter, expect, running_demo

if TYPE_CHECKING:
    from playwright.sync_api import Page

    NewPage = Callable[..., Page]

pytestmark = pytest.mark.browser

#: Settings module of the CRM -> the package that it requires.
HOSTS = {"settings_with_django_csp": "csp", "settings_with_djangos_csp": "django.utils.csp"}


@pytest.fixture(scope="module", params=HOSTS)
def crm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    if HOSTS[request.param].startswith("django.") and django.VERSION < (6, 0):
        pytest.skip("Django has no policy of its own before 6.0")
    pytest.importorskip(HOSTS[request.param])
    settings = f"tests.browser.{request.param}"
    with running_demo(
        tmp_path_factory.mktemp("demo"),
        DJANGO_SETTINGS_MODULE=settings,
        KAPSO_INBOX_VERIFY_AFTER="1",
    ) as demo:
        yield demo


def test_the_inbox_works_and_nothing_violates_the_policy(crm: Demo, new_page: NewPage) -> None:
    page = new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type} {page.url} {message.text}"))
    page.add_init_script(
        "addEventListener('securitypolicyviolation',"
        " event => console.error(`${event.violatedDirective} ${event.blockedURI}`))"
    )
    enter(page, crm, "admin")
    frame = page.frame_locator(".kapso-inbox iframe")
    for path in ("/contacts/1/", "/inbox/", "/teams/sales/", "/kapso-inbox/sales/"):
        answer = page.goto(f"{crm.url}{path}")
        assert answer is not None
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        expect(frame.locator("[data-conversation], [data-empty]").first).to_be_visible()
    for address, seen in {
        "/kapso-inbox/sales/settings/": "form[method=post]",
        "/kapso-inbox/sales/launch/?mode=pink": "main[data-outcome=bad_parameter]",
        "/kapso-inbox/nowhere/launch/": "main[data-outcome=not_available]",
    }.items():
        page.locator(".kapso-inbox iframe").evaluate("(frame, to) => { frame.src = to }", address)
        expect(frame.locator(seen)).to_be_visible()
        colour = frame.locator("body").evaluate("body => getComputedStyle(body).display")
        assert colour == "grid"  # our stylesheet is there
    page.locator(".kapso-inbox iframe").evaluate(
        "frame => { frame.src = '/kapso-inbox/sales/settings/?status=ended' }"
    )
    frame.get_by_role("button", name="Save").click()
    expect(frame.locator("[data-conversation]").first).to_be_visible()
    # Chromium also reports the status of our own pages as an error, but it is not a violation.
    errors = [text for text in said if text.startswith("error") and "status of 40" not in text]
    assert errors == []


def test_a_policy_without_the_inbox_is_a_violation(crm: Demo, new_page: NewPage) -> None:
    """Show that the test above would see a violation."""
    page = new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    enter(page, crm, "ana")
    page.goto(f"{crm.url}/teams/sales/")
    page.locator(".kapso-inbox iframe").evaluate("frame => { frame.src = 'https://example.com' }")
    page.wait_for_timeout(500)
    assert any("frame-src" in text for text in said)
