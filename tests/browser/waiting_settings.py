"""The pages of hosts, with a secret for webhooks, and without numbers from a cache."""

from tests.browser.host_settings import *  # noqa: F403
from tests.browser.host_settings import KAPSO_INBOX

KAPSO_INBOX = {
    **KAPSO_INBOX,
    "WEBHOOK_SECRETS": {"default": "webhook-secret-of-the-tests-0123456789"},
}
# A page that is built starts without a number, whatever a test before has counted.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
