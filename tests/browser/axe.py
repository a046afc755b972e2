"""Accessibility, as axe-core sees it: `npm install --prefix tests/browser`."""

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
    """What axe-core finds wrong: rule, element, and what it says; [] for nothing.

    Args:
        page: with what it frames from its own site; an inbox is Kapso's to mend.
        within: a selector of the part to look at; None = the whole page.
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
    # Each document on its own: axe waits half a second for every frame that it is not in.
    found = frame.evaluate(
        "within => axe.run(within || document, {resultTypes: ['violations'], iframes: false})",
        within,
    )
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
