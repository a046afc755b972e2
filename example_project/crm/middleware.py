"""The CRM's Content Security Policy."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

GetResponse = Callable[[HttpRequest], HttpResponse]


def content_security_policy(get_response: GetResponse) -> GetResponse:
    """Send a strict policy with every page that has no policy of its own.

    `frame-src` names both addresses of a launch: this site, and the inbox that it redirects to.
    Django 6.0 has this built in (`SECURE_CSP`); the example runs on 5.2 too.
    """
    policy = "; ".join(
        (
            "default-src 'self'",
            "img-src 'self' data:",
            " ".join(("frame-src 'self'", *settings.KAPSO_INBOX["INBOX_ORIGINS"])),
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "object-src 'none'",
        )
    )

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Content-Security-Policy", policy)
        return response

    return middleware
