"""The demo in which every page requires a login, and another view takes one of our addresses."""

from tests.browser.host_settings import *  # noqa: F403
from tests.browser.host_settings import MIDDLEWARE

MIDDLEWARE = [*MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
ROOT_URLCONF = "tests.browser.guarded"
