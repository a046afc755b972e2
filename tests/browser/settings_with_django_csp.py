"""The example CRM under django-csp, with the policy of docs/security.md and what its pages need."""

from csp.constants import NONE, SELF

from tests.browser.settings import *  # noqa: F403
from tests.browser.settings import INSTALLED_APPS, KAPSO_INBOX, MIDDLEWARE

INSTALLED_APPS = [*INSTALLED_APPS, "csp"]
MIDDLEWARE = [
    "csp.middleware.CSPMiddleware",
    *(name for name in MIDDLEWARE if name != "crm.middleware.content_security_policy"),
]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "connect-src": [SELF],
        "frame-src": [SELF, *KAPSO_INBOX["INBOX_ORIGINS"]],
        # For the CRM's own pictures and forms. Nobody may frame its pages.
        "img-src": [SELF, "data:"],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}
