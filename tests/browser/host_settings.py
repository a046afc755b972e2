"""The demo with one more page: whatever a test wants a host's template to be. See `hosts.py`."""

from pathlib import Path

from tests.browser.settings import *  # noqa: F403

BROWSER_TESTS = Path(__file__).parent
ROOT_URLCONF = "tests.browser.hosts"
STATICFILES_DIRS = [
    ("host", BROWSER_TESTS / "host_static"),
    *(
        (name, path)
        for name, path in (
            ("htmx", BROWSER_TESTS / "node_modules/htmx.org/dist"),
            ("turbo", BROWSER_TESTS / "node_modules/@hotwired/turbo/dist"),
        )
        # Absent where nobody ran npm: those tests skip.
        if path.exists()
    ),
]
