"""A launch that the site around the app answers: middleware, URLconf, headers, static files."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.conf.urls.i18n import i18n_patterns
from django.core.exceptions import MiddlewareNotUsed, PermissionDenied
from django.core.signals import got_request_exception
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import URLPattern, include, path, re_path
from django.utils import timezone, translation
from django.utils.decorators import async_only_middleware
from django.utils.deprecation import MiddlewareMixin

from kapso_inbox import urls
from kapso_inbox.diagnosis import Finding
from kapso_inbox.models import InboxEmbed, LaunchAttempt
from tests.hosts.people import User

from .helpers import TOKEN, ChangeSettings, diagnose

pytestmark = pytest.mark.django_db

GetResponse = Callable[[HttpRequest], HttpResponse]
LAUNCH = ("launch-answers", "launch-answered-by-another", "launch-fails")


def found_by_request(*wanted: str) -> list[Finding]:
    """Return the findings of a diagnosis that sends a launch, without those of other checks."""
    found = diagnose(network=False, sends_launch=True)
    return [one for one in found if one.code.startswith(wanted or "launch-")]


# Middleware of hosts


class LoginRequired(MiddlewareMixin):
    """Redirects to a login page of another kind than Django's own."""

    def process_view(self, request: HttpRequest, *args: Any) -> HttpResponse | None:
        if request.user.is_authenticated:
            return None
        return HttpResponseRedirect(f"/accounts/login/?next={request.path}&token={TOKEN}")


def forbidden_json(get_response: GetResponse) -> GetResponse:
    return lambda request: JsonResponse({"detail": "no"}, status=403)


def organisation_picker(get_response: GetResponse) -> GetResponse:
    def middleware(request: HttpRequest) -> HttpResponse:
        if "organisation" not in request.COOKIES:
            return HttpResponseRedirect("https://crm.example.com/organisations/?next=1")
        return get_response(request)

    return middleware


class Maintenance:
    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("<h1>We are back soon</h1>", status=503)


class SecondFactor(MiddlewareMixin):
    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        return HttpResponseRedirect("/account/two_factor/setup/")


class Refuses(MiddlewareMixin):
    def process_request(self, request: HttpRequest) -> None:
        raise PermissionDenied(TOKEN)


class ErrorPages(MiddlewareMixin):
    """Puts a page of its own in place of each refusal."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        return HttpResponse("<h1>Sorry</h1>") if response.status_code >= 400 else response


@async_only_middleware
def asynchronous(get_response: Callable[[HttpRequest], Awaitable[HttpResponse]]) -> Any:
    async def middleware(request: HttpRequest) -> HttpResponse:
        return await get_response(request)

    return middleware


@async_only_middleware
def asynchronous_refusal(get_response: Callable[[HttpRequest], Awaitable[HttpResponse]]) -> Any:
    async def middleware(request: HttpRequest) -> HttpResponse:
        return HttpResponse("no", status=418)

    return middleware


def not_used(get_response: GetResponse) -> GetResponse:
    raise MiddlewareNotUsed


def always_gzip(get_response: GetResponse) -> GetResponse:
    """Compresses for everybody, and shortens HTML."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.content = gzip.compress(response.content.replace(b'"', b""))
        response["Content-Encoding"] = "gzip"
        return response

    return middleware


def fails(get_response: GetResponse) -> GetResponse:
    def middleware(request: HttpRequest) -> HttpResponse:
        raise LookupError(TOKEN)

    return middleware


class FailsAfterwards(MiddlewareMixin):
    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        raise LookupError(TOKEN)


class FailsBeforeTheView(MiddlewareMixin):
    def process_view(self, request: HttpRequest, *args: Any) -> None:
        raise LookupError(TOKEN)


def returns_nothing(get_response: GetResponse) -> Any:
    return lambda request: None


def changes_headers(**headers: str) -> Callable[[GetResponse], GetResponse]:
    def factory(get_response: GetResponse) -> GetResponse:
        def middleware(request: HttpRequest) -> HttpResponse:
            response = get_response(request)
            for name, value in headers.items():
                response[name.replace("_", "-")] = value
            return response

        return middleware

    return factory


deny_frames = changes_headers(X_Frame_Options="DENY")
deny_ancestors = changes_headers(
    Content_Security_Policy="default-src 'self'; frame-ancestors 'none'"
)
cache_all = changes_headers(Cache_Control="max-age=600")
no_referrer = changes_headers(Referrer_Policy="no-referrer")
isolates = changes_headers(Cross_Origin_Embedder_Policy="require-corp; report-to=x")
no_microphone = changes_headers(
    Permissions_Policy="geolocation=(), microphone=(), fullscreen=(self), clipboard-write=*"
)
own_policy = changes_headers(
    X_Frame_Options="SAMEORIGIN",
    Content_Security_Policy="frame-ancestors https://crm.example.com",
    Cache_Control="no-store",
    Referrer_Policy="no-referrer, origin",
    Permissions_Policy='microphone=(self "https://inbox.kapso.ai")',
)


class SignsIn(MiddlewareMixin):
    """Signs everybody in, as some sites do in development."""

    def process_request(self, request: HttpRequest) -> None:
        request.user = User.objects.get_by_natural_key("ana")


def writes(get_response: GetResponse) -> GetResponse:
    def middleware(request: HttpRequest) -> HttpResponse:
        InboxEmbed.objects.update(name="changed")
        return get_response(request)

    return middleware


def leaves_things_behind(get_response: GetResponse) -> GetResponse:
    def middleware(request: HttpRequest) -> HttpResponse:
        translation.activate("pt-br")
        timezone.activate("Asia/Tokyo")
        return get_response(request)

    return middleware


def failing_context(request: HttpRequest) -> dict[str, Any]:
    raise LookupError(TOKEN)


@pytest.fixture
def use(settings: Any) -> Callable[..., None]:
    """Return a function that puts middleware of this file around the others, or at the end."""

    def put(*names: str, at_end: bool = False) -> None:
        own = [name if "." in name else f"{__name__}.{name}" for name in names]
        others = django_settings.MIDDLEWARE
        settings.MIDDLEWARE = [*others, *own] if at_end else [*own, *others]

    return put


# A site that does not stand in the way


def test_a_launch_that_reaches_the_app_is_fine() -> None:
    [found] = found_by_request()
    assert (found.code, found.level) == ("launch-answers", "info")


def test_no_launch_is_sent_unless_asked_for(use: Callable[..., None]) -> None:
    use("fails")
    found = diagnose(network=False)
    assert not [one for one in found if one.code in LAUNCH]


@pytest.mark.parametrize(
    "names",
    [
        ["not_used", "asynchronous", "not_used"],
        ["always_gzip"],
        ["django.middleware.gzip.GZipMiddleware", "django.middleware.locale.LocaleMiddleware"],
        ["django.contrib.auth.middleware.LoginRequiredMiddleware"],
        ["own_policy"],
    ],
)
@pytest.mark.parametrize("at_end", [True, False])
def test_middleware_that_passes_on_or_compresses_is_fine(
    names: list[str], at_end: bool, use: Callable[..., None]
) -> None:
    is_login = "LoginRequired" in names[0]
    use(*names, at_end=at_end or is_login)
    assert {one.code for one in found_by_request("launch", "coep", "perm")} == {"launch-answers"}


def test_no_middleware_at_all_is_fine(settings: Any) -> None:
    settings.MIDDLEWARE = []
    assert [one.code for one in found_by_request()] == ["launch-answers"]


@pytest.mark.parametrize(
    "changed",
    [
        {"ALLOWED_HOSTS": ["*"]},
        {"ALLOWED_HOSTS": [".example.com"]},
        {"ALLOWED_HOSTS": [], "DEBUG": True},
        {"ALLOWED_HOSTS": ["10.0.0.1"], "CSRF_TRUSTED_ORIGINS": ["https://elsewhere.example.com"]},
        {"SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https")},
        {"PREPEND_WWW": True, "ALLOWED_HOSTS": ["example.com", "www.example.com"]},
        {"FORCE_SCRIPT_NAME": "/crm"},
        {"DEBUG": True},
    ],
)
def test_the_launch_is_sent_to_a_host_that_the_site_answers_to(
    changed: dict[str, Any], settings: Any
) -> None:
    for name, value in changed.items():
        setattr(settings, name, value)
    assert [one.code for one in found_by_request()] == ["launch-answers"]


class _InEnglish:
    urlpatterns = i18n_patterns(path("kapso-inbox/", include("kapso_inbox.urls")))


def test_a_launch_whose_address_begins_with_a_language_is_fine(
    use: Callable[..., None], settings: Any
) -> None:
    use("django.middleware.locale.LocaleMiddleware")
    settings.ROOT_URLCONF = _InEnglish
    for language in ("en", "es"):
        with translation.override(language):
            assert [one.code for one in found_by_request()] == ["launch-answers"]


# Somebody else answers


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("LoginRequired", "302 → /accounts/login/"),
        ("forbidden_json", "403 application/json"),
        ("organisation_picker", "302 → crm.example.com/organisations/"),
        ("Maintenance", "503 text/html"),
        ("SecondFactor", "302 → /account/two_factor/setup/"),
        ("ErrorPages", "200 text/html"),
        ("asynchronous_refusal", "418 text/html"),
    ],
)
def test_middleware_that_answers_in_place_of_the_app_is_named(
    name: str, answer: str, at_end: bool, use: Callable[..., None]
) -> None:
    is_last = at_end or name == "LoginRequired"
    use("not_used", name, "asynchronous", at_end=is_last)
    [found] = found_by_request()
    assert (found.code, found.level) == ("launch-answered-by-another", "error")
    assert f"The middleware {__name__}.{name} answers" in found.what
    assert found.what.endswith(f": {answer}.")
    assert "/kapso-inbox/" in found.hint
    assert TOKEN not in found.what


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("fails", "LookupError"),
        ("FailsAfterwards", "LookupError"),
        ("FailsBeforeTheView", "LookupError"),
        ("Refuses", "PermissionDenied"),
        ("returns_nothing", "TypeError"),
    ],
)
def test_middleware_that_fails_is_named_with_the_line(
    name: str,
    kind: str,
    use: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    signalled: list[Any] = []

    def note(**kwargs: Any) -> None:
        signalled.append(kwargs)

    use(name)
    got_request_exception.connect(note)
    try:
        [found] = found_by_request()
    finally:
        got_request_exception.disconnect(note)
    assert (found.code, found.level) == ("launch-fails", "error")
    assert f"in the middleware {__name__}.{name}: {kind}" in found.what
    assert "diagnosis/test_host.py:" in found.what or name == "returns_nothing"
    assert (caplog.records, signalled) == ([], []), "nobody was refused an inbox"


def test_a_context_processor_that_fails_is_named_with_its_line(settings: Any) -> None:
    [templates] = settings.TEMPLATES
    processors = [*templates["OPTIONS"]["context_processors"], f"{__name__}.failing_context"]
    settings.TEMPLATES = [{**templates, "OPTIONS": {"context_processors": processors}}]
    [found] = found_by_request()
    assert found.code == "launch-fails"
    assert "LookupError diagnosis/test_host.py:" in found.what


def test_middleware_that_cannot_be_loaded_is_found(use: Callable[..., None]) -> None:
    use("no.such.Middleware")
    [found] = found_by_request()
    assert found.code == "launch-fails"
    assert "cannot be loaded: ModuleNotFoundError" in found.what


def catch_all(request: HttpRequest, rest: str = "") -> HttpResponse:
    return HttpResponse("<h1>A page of the CMS</h1>")


def refuse(view: Any) -> Any:
    return lambda request, **kwargs: HttpResponse("no", status=403)


OURS = path("kapso-inbox/", include("kapso_inbox.urls"))


class _CatchAll:
    urlpatterns = [re_path(r"^(?P<rest>.*)$", catch_all), OURS]


def test_a_pattern_that_takes_every_address_is_named(settings: Any) -> None:
    settings.ROOT_URLCONF = _CatchAll
    [found] = found_by_request()
    assert found.code == "launch-answered-by-another"
    assert f"{__name__}.catch_all, by the pattern “^(?P<rest>.*)$”: 200 text/html." in found.what


class _Elsewhere:
    urlpatterns = [path("", catch_all)]


def other_urlconf(get_response: GetResponse) -> GetResponse:
    def middleware(request: HttpRequest) -> HttpResponse:
        request.urlconf = _Elsewhere  # type: ignore[attr-defined]
        return get_response(request)

    return middleware


def test_a_urlconf_of_a_middleware_without_the_app_is_found(use: Callable[..., None]) -> None:
    use("other_urlconf")
    [found] = found_by_request()
    assert found.code == "launch-answered-by-another"
    assert "No pattern of the URLconf takes the address of a launch: 404" in found.what


class _Decorated:
    _views = [
        path(str(one.pattern), refuse(one.callback), name=one.name)
        for one in urls.urlpatterns
        if isinstance(one, URLPattern)
    ]
    urlpatterns = [path("kapso-inbox/", include((_views, "kapso_inbox")))]


def test_a_decorator_around_the_view_is_found(settings: Any) -> None:
    settings.ROOT_URLCONF = _Decorated
    [found] = found_by_request()
    assert found.code == "launch-answered-by-another"
    assert "Something around this app's own view answers" in found.what


# What the doctor leaves alone


def test_a_launch_of_the_doctor_changes_nothing(
    use: Callable[..., None], sales: InboxEmbed, make_agent: Callable[..., User]
) -> None:
    make_agent("ana")
    use("SignsIn", "writes", "leaves_things_behind", at_end=True)
    before = (translation.get_language(), timezone.get_current_timezone_name())
    [found] = found_by_request()
    assert found.code == "launch-answers", "the app answers to those who are signed in as well"
    assert not LaunchAttempt.objects.exists()
    assert InboxEmbed.objects.get().name == "Sales"
    assert (translation.get_language(), timezone.get_current_timezone_name()) == before


def test_no_launch_is_sent_if_the_pages_hold_the_addresses(
    change_settings: ChangeSettings,
) -> None:
    change_settings(DELIVERY="direct")
    assert found_by_request() == []


# Headers


@pytest.mark.parametrize(
    ("name", "header", "level"),
    [
        ("deny_frames", "X-Frame-Options", "warning"),
        ("deny_ancestors", "Content-Security-Policy", "warning"),
        ("cache_all", "Cache-Control", "error"),
        ("no_referrer", "Referrer-Policy", "error"),
    ],
)
def test_middleware_that_changes_a_header_of_the_app_is_named(
    name: str, header: str, level: str, use: Callable[..., None]
) -> None:
    use("asynchronous", name)
    [fine, found] = found_by_request()
    assert fine.code == "launch-answers"
    assert (found.code, found.level) == ("launch-header-changed", level)
    assert f"The middleware {__name__}.{name} changes the header {header}" in found.what


def test_an_embedder_policy_of_a_middleware_is_found_once(
    use: Callable[..., None], settings: Any
) -> None:
    use("isolates")
    [found] = found_by_request("coep-")
    assert f"{__name__}.isolates sends the header" in found.what
    settings.CROSS_ORIGIN_EMBEDDER_POLICY = "require-corp"
    [found] = found_by_request("coep-")
    assert found.what.startswith("CROSS_ORIGIN_EMBEDDER_POLICY is")


def test_a_permissions_policy_of_a_middleware_is_found(use: Callable[..., None]) -> None:
    use("no_microphone")
    [found] = found_by_request("permissions-")
    assert (found.code, found.level) == ("permissions-policy-withholds", "warning")
    assert f"of {__name__}.no_microphone withholds" in found.what
    assert "microphone, fullscreen." in found.what
    assert found.hint.endswith(
        'microphone=(self "https://inbox.kapso.ai"), fullscreen=(self "https://inbox.kapso.ai")'
    )
