"""The demo whose API a front end on another origin may call."""

from tests.browser.settings import *  # noqa: F403
from tests.browser.settings import MIDDLEWARE

MIDDLEWARE = ["tests.browser.cors.allow_the_front_end", *MIDDLEWARE]
