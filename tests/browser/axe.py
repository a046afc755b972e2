"""Accessibility checks by axe-core, which `axe-playwright-python` ships."""

from __future__ import annotations

from importlib.resources import files
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Frame, Page

LIBRARY = "axe_playwright_python"
MISSING = "axe-playwright-python is not installed: pip install -r tests/requirements.txt"


def is_installed() -> bool:
    """Return whether there is an axe-core to check with."""
    return find_spec(LIBRARY) is not None


def violations(page: Page | Frame, within: str | None = None) -> list[str]:
    """Return what axe-core finds wrong: rule, element and explanation of each violation.

    Args:
        page: the page. Frames of its own site are checked with it, but not Kapso's inbox.
        within: a selector of the part to check; None for the whole page.
    """
    top: Frame = getattr(page, "main_frame", page)
    site = urlsplit(top.url)[:2]
    # Not the hidden one that asks for the inbox's host, and is gone in a moment.
    frames = [
        one
        for one in ([] if within else top.child_frames)
        if urlsplit(one.url)[:2] == site and not one.url.endswith("/reach/")
    ]
    return [wrong for frame in (top, *frames) for wrong in _violations(frame, within)]


def _violations(frame: Frame, within: str | None) -> list[str]:
    if not frame.evaluate("'axe' in window"):
        frame.evaluate((files(LIBRARY) / "axe.min.js").read_text())
    # One document at a time: axe waits half a second for every frame without axe in it. Without
    # loading media and stylesheets first, which takes half of the time and no rule here needs.
    options = "{resultTypes: ['violations'], iframes: false, preload: false}"
    found = frame.evaluate(f"within => axe.run(within || document, {options})", within)
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
