"""Check whether the URLconf leads to our views."""

from __future__ import annotations

from django.conf import settings
from django.conf.urls.i18n import is_language_prefix_patterns_used
from django.core.checks import CheckMessage
from django.urls import NoReverseMatch, reverse
from django.utils import translation

from .wording import make_error, make_warning


def missing_urls() -> list[CheckMessage]:
    """Return an error if the URLconf lacks the launch address."""
    try:
        reverse("kapso_inbox:launch", kwargs={"slug": "x"})
    except NoReverseMatch:
        hint = 'Add path("kapso-inbox/", include("kapso_inbox.urls")) to urlpatterns.'
        return [make_error("E016", "kapso_inbox.urls is not included in the URLconf.", hint)]
    return []


def address_warnings() -> list[CheckMessage]:
    """Return a warning if the addresses are there, but lack the language of the page."""
    return [] if _is_in_the_pages_language() else [_launch_without_a_language()]


def _is_in_the_pages_language() -> bool:
    """Return whether a launch is in the language of its page, if addresses begin with one."""
    codes = [code for code, _name in settings.LANGUAGES]
    uses_prefix, _default = is_language_prefix_patterns_used(settings.ROOT_URLCONF)
    if not (settings.USE_I18N and uses_prefix and len(codes) > 1):
        return True
    addresses = set()
    for code in codes:
        with translation.override(code):
            addresses.add(reverse("kapso_inbox:launch", kwargs={"slug": "x"}))
    return len(addresses) > 1


def _launch_without_a_language() -> CheckMessage:
    return make_warning(
        "W007",
        "The addresses of this site begin with a language, but those of kapso_inbox.urls do not. "
        "An inbox is then in the browser's language, not in that of its page.",
        'Put path("kapso-inbox/", include("kapso_inbox.urls")) among your i18n_patterns.',
    )
