"""The example CRM under Django's own CSP, with the policy of docs/security.md (Django 6.0)."""

from django.utils.csp import CSP  # type: ignore[import-not-found, unused-ignore]

from tests.browser.settings import *  # noqa: F403
from tests.browser.settings import KAPSO_INBOX, MIDDLEWARE

MIDDLEWARE = [
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    *(name for name in MIDDLEWARE if name != "crm.middleware.content_security_policy"),
]
SECURE_CSP = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF],
    "style-src": [CSP.SELF],
    "connect-src": [CSP.SELF],
    "frame-src": [CSP.SELF, *KAPSO_INBOX["INBOX_ORIGINS"]],
    # For the CRM's own pictures and forms. Nobody may frame its pages.
    "img-src": [CSP.SELF, "data:"],
    "form-action": [CSP.SELF],
    "frame-ancestors": [CSP.NONE],
    "base-uri": [CSP.NONE],
}
