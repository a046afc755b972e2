"""The demo with one more page, whose template each test writes itself. See `hosts.py`."""

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
        # Absent unless somebody ran npm: then those tests are skipped.
        if path.exists()
    ),
]
