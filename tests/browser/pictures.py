"""Pictures of the pages that the tests open: `docs/contributing.md` has the command."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: The folder that pictures go to. Without it, none are taken.
FOLDER = os.environ.get("SCREENSHOTS")

#: Each size and each theme once. The other two pairs are only for people to look at.
LOOKS = [("desktop", "light"), ("phone", "dark")]
LOOKS += [("desktop", "dark"), ("phone", "light")] if FOLDER else []


def keep(page: Page, name: str, **options: Any) -> None:
    """Keep a picture of the page, if pictures are wanted."""
    if FOLDER:
        # Images, fonts and transitions of a frame have no event to wait for.
        page.wait_for_timeout(500)
        folder = Path(FOLDER)
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{name}.png", **options)
