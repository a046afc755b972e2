"""Where Chromium is, for the tests and for the benchmark of a page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import BrowserType

#: Whole browsers, which have a back/forward cache and restore sessions.
WHOLE = ("chromium", "chromium-browser", "google-chrome")

#: The first is Chromium without windows, which takes two thirds of the time.
NAMES = ("chromium-headless-shell", *WHOLE)

#: The options for both: Chromium shows and fetches nothing beside the pages themselves.
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

MISSING = "Chromium is not installed: set CHROMIUM to its path"


def find(chromium: BrowserType, names: Iterable[str] = NAMES) -> str | None:
    """Return the path in `CHROMIUM`, or one on the PATH, or playwright's own, or None."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    executable = found or chromium.executable_path
    return executable if Path(executable).exists() else None
