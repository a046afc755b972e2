"""Whether browsers get this app's stylesheets and script."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import FileSystemStorage
from django.templatetags.static import static
from django.utils.translation import gettext as _

from kapso_inbox.csp import STYLESHEET

from .findings import Finding, error, info, list_in_words, warning
from .tracing import TracingHandler

#: What pages with an inbox load, and the pages in the frame.
FILES = (STYLESHEET, "kapso_inbox/kapso_inbox.js", "kapso_inbox/reach.js", "kapso_inbox/pages.css")
#: What badges and the switch for notifications load, with `kapso_inbox.conversations`.
CONVERSATION_FILES = (
    "kapso_inbox/waiting.css",
    "kapso_inbox/waiting.js",
    "kapso_inbox/notifications.js",
)


def static_findings(handler: TracingHandler | None, host: str) -> Iterator[Finding]:
    """Check that the static files can be found, and whether this site serves them. No request.

    Args:
        handler: asked for a file as well, if it is given.
        host: the host to ask it as.
    """
    files: tuple[str, ...] = FILES
    if apps.is_installed("kapso_inbox.conversations"):
        files += CONVERSATION_FILES
    try:
        addresses = [static(name) for name in files]
    except (ValueError, ImproperlyConfigured) as failure:
        # A manifest lacks the file, or STATIC_URL is missing.
        yield error(
            "static-files-missing",
            _("Pages with an inbox fail: its stylesheet has no address (%(kind)s).")
            % {"kind": type(failure).__name__},
            _("Run manage.py collectstatic after each installation, and look at STATIC_URL."),
        )
        return
    if handler is not None and all(_is_served(handler, one, host) for one in addresses):
        return
    if not apps.is_installed("django.contrib.staticfiles"):
        yield warning(
            "staticfiles-not-installed",
            _(
                "django.contrib.staticfiles is not in INSTALLED_APPS, so nothing collects or "
                "serves the stylesheet and the script of the inbox."
            ),
            _("Add it, or serve the folder “static” of the package kapso_inbox at %(address)s.")
            % {"address": settings.STATIC_URL},
        )
        return
    try:
        missing = [name for name in files if not _is_found(name)]
    except ImproperlyConfigured:
        yield warning(
            "static-files-missing",
            _("STATIC_ROOT is not set, so there are no static files to serve in production."),
            _("Set STATIC_ROOT, and run manage.py collectstatic."),
        )
        return
    if missing:
        hint = (
            _("Put AppDirectoriesFinder back into STATICFILES_FINDERS.")
            if settings.DEBUG
            else _("Run manage.py collectstatic after each installation.")
        )
        yield warning(
            "static-files-missing",
            _("These static files cannot be found: %(files)s. The inbox has no layout then.")
            % {"files": list_in_words(missing)},
            hint,
        )
    elif handler is not None and not urlsplit(addresses[0]).netloc:
        yield info(
            "static-files-elsewhere",
            _(
                "No middleware and no URL of this site serves %(address)s. In development "
                "runserver does; elsewhere the web server has to."
            )
            % {"address": addresses[0]},
            _("Open that address in a browser. If it is not found, the inbox has no layout."),
        )


def _is_served(handler: TracingHandler, address: str, host: str) -> bool:
    """Return whether this site itself answers with the file."""
    parts = urlsplit(address)
    if parts.netloc not in ("", host):
        return False
    answer = handler.send(parts.path, host).final
    return answer.status == 200 and not answer.headers.get("content-type", "").startswith(
        "text/html"
    )


def _is_found(name: str) -> bool:
    """Return whether a file is where it is served from. Nobody is asked over the network.

    Raises:
        ImproperlyConfigured: STATIC_ROOT is missing.
    """
    if settings.DEBUG or getattr(settings, "WHITENOISE_USE_FINDERS", False):
        return finders.find(name) is not None
    if not isinstance(staticfiles_storage, FileSystemStorage):
        return True
    # A manifest's name for it holds a digest.
    stored_name = getattr(staticfiles_storage, "stored_name", str)
    return staticfiles_storage.exists(stored_name(name))
