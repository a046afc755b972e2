"""The demo with a host's own code that stands in the way of the inbox. See `hindering.py`."""

from tests.browser.host_settings import *  # noqa: F403
from tests.browser.host_settings import KAPSO_INBOX, MIDDLEWARE

MIDDLEWARE = ["tests.browser.hindering.hinder", *MIDDLEWARE]
KAPSO_INBOX = {**KAPSO_INBOX, "ACCESS_POLICY": "tests.browser.hindering.Policy"}
