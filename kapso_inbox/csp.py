"""What a page must allow so that an inbox loads in it: CSP sources and features of the frame."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from django.apps import apps
from django.templatetags.static import static

from kapso_inbox.exceptions import ConfigurationError

from . import conf

STYLESHEET = "kapso_inbox/kapso_inbox.css"

FRAME_FEATURES = ("microphone", "clipboard-write", "fullscreen")


def csp_sources() -> dict[str, list[str]]:
    """Return the sources that a Content Security Policy must allow on a page with an inbox.

    Browsers check a frame on both hops of a launch: against this site and against the inbox's
    origin (measured in Chromium 156). The script and the stylesheet come from where the site's
    static files are.

    Returns:
        The name of each directive and its sources.

    Raises:
        ConfigurationError: the settings are still being read, and so unknown.
    """
    if not apps.apps_ready:
        raise ConfigurationError(
            "csp_sources() cannot be called in the settings, which it reads. Write the sources "
            "there: 'self' and https://inbox.kapso.ai (or your INBOX_ORIGINS) in frame-src, and "
            "'self' (or where STATIC_URL is) in script-src and style-src."
        )
    parts = urlsplit(static(STYLESHEET))
    scheme = f"{parts.scheme}://" if parts.scheme else ""
    files = f"{scheme}{parts.netloc}" if parts.netloc else "'self'"
    return {
        "frame-src": ["'self'", *conf.inbox_origins()],
        "script-src": [files],
        "style-src": [files],
        # The badges ask this site how many conversations wait.
        **({"connect-src": ["'self'"]} if apps.is_installed("kapso_inbox.conversations") else {}),
    }


def frame_permissions(origins: Iterable[str]) -> str:
    """Return the `allow` attribute of the iframe.

    It names the inbox origins. After the launch's redirect, the default would still be the CRM's
    own origin (measured in Chromium 156).

    Args:
        origins: the origins that inboxes may live at.
    """
    named = " ".join(origins)
    return "; ".join(f"{feature} {named}" for feature in FRAME_FEATURES)
