"""Check whether the URLconf leads to our views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.conf.urls.i18n import is_language_prefix_patterns_used
from django.core.checks import CheckMessage
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, ResolverMatch, get_script_prefix, resolve, reverse
from django.utils import translation

from .wording import make_error, make_warning

#: How our addresses are included -> the name of each view, and the arguments of its address.
_INCLUDED: dict[str, dict[str, dict[str, str]]] = {
    'path("kapso-inbox/", include("kapso_inbox.urls"))': {
        "kapso_inbox:launch": {"slug": "x"},
        "kapso_inbox:inbox": {"slug": "x"},
        "kapso_inbox:settings": {"slug": "x"},
        "kapso_inbox:reach": {"slug": "x"},
        "kapso_inbox:signed_in": {"slug": "x"},
        "kapso_inbox:my_launch": {},
        "kapso_inbox:my_inbox": {},
        "kapso_inbox:my_settings": {},
    },
    'path("api/kapso-inbox/", include("kapso_inbox.api.urls"))': {
        "kapso_inbox_api:embeds": {},
        "kapso_inbox_api:launch": {"slug": "x"},
    },
}


def missing_urls() -> list[CheckMessage]:
    """Return an error if the URLconf lacks the launch address."""
    try:
        is_included = getattr(settings, "ROOT_URLCONF", None) is not None
        is_included = is_included and bool(reverse("kapso_inbox:launch", kwargs={"slug": "x"}))
    except NoReverseMatch:
        is_included = False
    if not is_included:
        hint = 'Add path("kapso-inbox/", include("kapso_inbox.urls")) to urlpatterns.'
        return [make_error("E016", "kapso_inbox.urls is not included in the URLconf.", hint)]
    return []


def address_warnings() -> list[CheckMessage]:
    """Return a warning for each thing that keeps included addresses from doing what they should."""
    found = [*_taken_addresses(), *_api_without_templates()]
    if not _is_in_the_pages_language():
        found.append(_launch_without_a_language())
    if problem := _login_problem():
        hint = (
            "Agents who are not signed in are sent there. Set LOGIN_URL to the address, or to the "
            "name of the view, of your login page. Silence this check if another server answers "
            "at that address."
        )
        found.append(make_warning("W011", f"The setting LOGIN_URL {problem}.", hint))
    return found


def _taken_addresses() -> Iterator[CheckMessage]:
    """Yield a warning for each pattern that takes addresses of ours, since it comes before them."""
    for included, views in _INCLUDED.items():
        taken: dict[tuple[str, str], str] = {}
        for name, arguments in views.items():
            try:
                address = reverse(name, kwargs=arguments)
            except NoReverseMatch:
                continue
            match = _resolved(address)
            if match is not None and match.view_name != name:
                taken.setdefault((str(match.route), _name_of(match.func)), address)
        for (route, view), address in taken.items():
            text = f"{address} is taken by the pattern “{route}” of the URLconf, for {view}."
            yield make_warning("W010", text, f"Put {included} before it.")


def _api_without_templates() -> Iterator[CheckMessage]:
    """Yield a warning if the API's pages for browsers have no templates. JSON needs none."""
    try:
        address = reverse("kapso_inbox_api:embeds")
    except NoReverseMatch:
        return
    options = getattr(settings, "REST_FRAMEWORK", None) or {}
    renderers = options.get("DEFAULT_RENDERER_CLASSES", ["BrowsableAPIRenderer"])
    if apps.is_installed("rest_framework") or "BrowsableAPIRenderer" not in str(renderers):
        return
    text = (
        "kapso_inbox.api.urls is included, but rest_framework is not installed as an app. "
        f"{address} fails in a browser."
    )
    hint = (
        'Add "rest_framework" to INSTALLED_APPS, or name DEFAULT_RENDERER_CLASSES without the '
        "BrowsableAPIRenderer in REST_FRAMEWORK."
    )
    yield make_warning("W016", text, hint)


def _resolved(address: str) -> ResolverMatch | None:
    """Return what an address of this site leads to, or None if that is nothing."""
    prefix = get_script_prefix()
    try:
        return resolve(f"/{address[len(prefix) :]}") if address.startswith(prefix) else None
    except Exception:  # noqa: BLE001 (Resolver404, or a converter of the host that fails)
        return None


def _name_of(view: Any) -> str:
    view = getattr(view, "view_class", view)
    named = view if hasattr(view, "__qualname__") else type(view)
    return f"{named.__module__}.{named.__qualname__}"


def _login_problem() -> str:
    """Return what is wrong with the address that people are sent to for signing in, or ""."""
    try:
        parts = urlsplit(resolve_url(settings.LOGIN_URL))
    except (NoReverseMatch, TypeError, ValueError):
        return "is not an address, and not the name of a view"
    is_elsewhere = parts.scheme or parts.netloc or not parts.path.startswith(get_script_prefix())
    if is_elsewhere or _leads_somewhere(parts.path):
        return ""
    return f"is “{parts.path}”, which leads to no view of this site"


def _leads_somewhere(path: str) -> bool:
    """Return whether a path leads to a view, also after a redirect to a slash or a language."""
    paths = [path, f"{path}/"] if settings.APPEND_SLASH else [path]
    if any(map(_resolved, paths)):
        return True
    if not is_language_prefix_patterns_used(settings.ROOT_URLCONF)[0]:
        return False
    prefix = get_script_prefix()
    for code, _name in settings.LANGUAGES:
        with translation.override(code):
            in_language = [f"{prefix}{code}/{one[len(prefix) :]}" for one in paths]
            if any(map(_resolved, [*paths, *in_language])):
                return True
    return False


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
