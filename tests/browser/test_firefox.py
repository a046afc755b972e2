"""The inbox in Firefox: each way to show it, a setting that is saved, Back and Forward."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from .conftest import PASSWORD, Demo, running_demo
from .firefox import ESCAPE, Document, running_firefox, until

pytestmark = pytest.mark.browser

STATE = "document.querySelector('kapso-inbox').dataset.state"
IS_OPEN = "document.querySelector('[popover]').matches(':popover-open')"
HAS_CONVERSATIONS = "document.querySelectorAll('[data-conversation]').length > 1"


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Run the demo with the pages of hosts."""
    directory = tmp_path_factory.mktemp("crm")
    with running_demo(directory, DJANGO_SETTINGS_MODULE="tests.browser.host_settings") as demo:
        yield demo


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Document]:
    with running_firefox(tmp_path_factory.mktemp("firefox"), pages_kept=8) as tab:
        yield tab


@pytest.fixture(autouse=True)
def _signed_in(crm: Demo, tab: Document) -> None:
    sign_in(crm, tab, "ana")


def sign_in(crm: Demo, tab: Document, username: str) -> None:
    """Sign a user in, in place of whoever was."""
    tab.send("storage.deleteCookies")
    tab.open(f"{crm.url}/sign-in/")
    for field, text in (("username", username), ("password", PASSWORD)):
        tab.evaluate(f"document.querySelector('[name={field}]').focus()")
        tab.type(text)
    tab.click("button", "Sign in")
    until(lambda: tab.evaluate("location.pathname") == "/")


def show(crm: Demo, tab: Document, arguments: str) -> None:
    """Open a host's page with an inbox."""
    body = f'<h1>Page</h1>{{% kapso_inbox "sales" title="WhatsApp" {arguments} %}}'
    tab.open(f"{crm.url}/host/?{urlencode({'body': body})}")


def expect_inbox(tab: Document) -> None:
    until(lambda: tab.evaluate(STATE) == "ready")
    until(lambda: tab.frame().evaluate(HAS_CONVERSATIONS))


def test_the_panel_shows_the_inbox(crm: Demo, tab: Document) -> None:
    show(crm, tab, "")
    expect_inbox(tab)


def test_the_drawer_opens_and_closes_and_gives_the_focus_back(crm: Demo, tab: Document) -> None:
    show(crm, tab, 'variant="drawer"')
    assert tab.evaluate(IS_OPEN) is False
    tab.click("button", "WhatsApp")
    assert tab.evaluate(IS_OPEN)
    expect_inbox(tab)
    tab.type(ESCAPE)
    assert tab.evaluate(IS_OPEN) is False
    assert tab.evaluate("document.activeElement.textContent.trim()") == "WhatsApp"


def test_the_floating_inbox_opens_and_closes(crm: Demo, tab: Document) -> None:
    show(crm, tab, 'variant="floating"')
    tab.click("button", "WhatsApp")
    assert tab.evaluate(IS_OPEN)
    expect_inbox(tab)
    tab.click("button", "Close")
    assert tab.evaluate(IS_OPEN) is False


def test_a_theme_is_saved_in_the_settings(crm: Demo, tab: Document) -> None:
    for theme in ("Dark", "Light"):
        show(crm, tab, "settings=1")
        expect_inbox(tab)
        tab.click("link", "Inbox settings")
        until(lambda: tab.frame().evaluate("document.forms[0].mode.focus() || true"))
        tab.frame().type(theme)
        tab.frame().click("button", "Save")
        expect_inbox(tab)
        mode = "new URL(location).searchParams.get('mode')"
        assert tab.frame().evaluate(mode) == theme.lower()
        show(crm, tab, "")
        expect_inbox(tab)
        assert tab.frame().evaluate(mode) == theme.lower()


def test_back_and_forward_ask_the_launch(crm: Demo, tab: Document) -> None:
    go_back_and_forward(crm, tab, is_kept=True)


def test_back_and_forward_ask_the_launch_where_firefox_keeps_no_page(
    crm: Demo, tmp_path: Path
) -> None:
    with running_firefox(tmp_path, pages_kept=0) as tab:
        sign_in(crm, tab, "ana")
        go_back_and_forward(crm, tab, is_kept=False)


def go_back_and_forward(crm: Demo, tab: Document, *, is_kept: bool) -> None:
    tab.open(f"{crm.url}/host/?body=Before")
    show(crm, tab, "views=1")
    expect_inbox(tab)
    length = tab.evaluate("history.length")
    tab.click("link", "Unread")
    expect_inbox(tab)
    assert tab.evaluate("history.length") == length

    leave(crm, tab)
    go(tab, -1, "WhatsApp")
    expect_inbox(tab)
    assert tab.evaluate("window.kept ?? false") is is_kept

    leave(crm, tab)
    sign_in(crm, tab.tab(), "bruno")
    go(tab, -1, "WhatsApp")
    until(lambda: tab.evaluate(STATE) == "not_available")
    go(tab, -1, "Before")
    go(tab, 1, "WhatsApp")
    until(lambda: tab.evaluate(STATE) == "not_available")


def go(tab: Document, steps: int, text: str) -> None:
    """Go through the history, to a page with this text."""
    tab.go(steps)
    until(lambda: text in tab.evaluate("document.body.innerHTML"))


def leave(crm: Demo, tab: Document) -> None:
    """Go on to another page, having left a mark in this one."""
    tab.evaluate("window.kept = true")
    tab.open(f"{crm.url}/host/?body=Elsewhere")
