"""Accessibility, as axe-core sees it: `npm install --prefix tests/browser`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"


def violations(page: Page, within: str | None = None) -> list[str]:
    """What axe-core finds wrong: rule, element, and what it says; [] for nothing.

    Args:
        within: a selector of the part to look at; None = the whole page.
    """
    if not AXE.exists():
        reason = "axe-core is not installed: npm install --prefix tests/browser"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    page.evaluate(AXE.read_text())
    found = page.evaluate(
        "within => axe.run(within || document, {resultTypes: ['violations']})", within
    )
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
