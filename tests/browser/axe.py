"""Accessibility checks by axe-core. Install it with `npm install --prefix tests/browser`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Frame, Page

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"


def violations(page: Page | Frame, within: str | None = None) -> list[str]:
    """Return what axe-core finds wrong: rule, element and explanation of each violation.

    Args:
        page: the page. Frames of its own site are checked with it, but not Kapso's inbox.
        within: a selector of the part to check; None for the whole page.
    """
    if not AXE.exists():
        reason = "axe-core is not installed: npm install --prefix tests/browser"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    top: Frame = getattr(page, "main_frame", page)
    site = urlsplit(top.url)[:2]
    frames = [] if within else [one for one in top.child_frames if urlsplit(one.url)[:2] == site]
    return [wrong for frame in (top, *frames) for wrong in _violations(frame, within)]


def _violations(frame: Frame, within: str | None) -> list[str]:
    frame.evaluate(AXE.read_text())
    # One document at a time: axe waits half a second for every frame without axe in it.
    found = frame.evaluate(
        "within => axe.run(within || document, {resultTypes: ['violations'], iframes: false})",
        within,
    )
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
