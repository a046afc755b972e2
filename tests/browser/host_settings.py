"""The demo with one more page, whose template each test writes itself. See `hosts.py`."""

from pathlib import Path

from tests.browser.settings import *  # noqa: F403
from tests.browser.settings import INSTALLED_APPS

BROWSER_TESTS = Path(__file__).parent
ROOT_URLCONF = "tests.browser.hosts"
STATICFILES_DIRS = [("host", BROWSER_TESTS / "host_static")]
INSTALLED_APPS = [*INSTALLED_APPS, "django_htmx"]  # for its copy of htmx
TURBO = BROWSER_TESTS / "node_modules/@hotwired/turbo/dist"
if TURBO.exists():  # Otherwise the tests with Turbo are skipped.
    STATICFILES_DIRS.append(("turbo", TURBO))
