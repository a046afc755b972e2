from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any

import django
import pytest
from django.conf import settings
from django.http import HttpRequest, HttpResponse, QueryDict
from django.test import override_settings
from django.utils.module_loading import import_string

from kapso_inbox.csp import csp_sources, frame_permissions
from kapso_inbox.diagnosis import site
from kapso_inbox.inbox.params import (
    PARAMETERS,
    ParameterError,
    clean_params,
    clean_query,
    merge_params,
    with_params,
)

SOME_UUID = "123e4567-e89b-12d3-a456-426614174000"


@pytest.mark.parametrize(
    ("name", "value", "cleaned"),
    [
        ("mode", "dark", "dark"),
        ("mode", "system", "system"),
        ("language", "es", "es"),
        ("status", "ended", "ended"),
        ("search", " +55 11 5555-0101 ", "+55 11 5555-0101"),
        ("search", 5511, "5511"),
        ("whatsapp_config_id", "all", "all"),
        ("whatsapp_config_id", SOME_UUID.upper(), SOME_UUID),
        ("whatsapp_config_id", uuid.UUID(SOME_UUID), SOME_UUID),
        ("unread", "1", "1"),
        ("unread", True, "1"),
        ("unread", "true", "1"),
        ("handoff", 1, "1"),
    ],
)
def test_right_values_become_the_text_that_kapso_expects(
    name: str, value: Any, cleaned: str
) -> None:
    assert clean_params({name: value}) == {name: cleaned}


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("value", [None, ""])
def test_none_and_blank_are_left_out(name: str, value: Any) -> None:
    assert clean_params({name: value}) == {}


@pytest.mark.parametrize("value", [False, "0", "false", 0])
def test_a_false_flag_is_left_out(value: Any) -> None:
    assert clean_params({"unread": value, "handoff": value}) == {}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("mode", "black", "system, light, dark"),
        ("language", "pt", "en, es"),
        ("status", "Active", "active, ended, all"),
        ("search", "x" * 101, "100"),
        ("search", "two\nlines", "one line"),
        ("search", "\ud800", "one line"),
        ("whatsapp_config_id", "123", "UUID"),
        ("unread", "yes", "1, true"),
        ("handoff", 2, "1, true"),
        ("token", "x", "mode"),
        ("Mode", "dark", "mode"),
    ],
)
def test_an_error_names_the_wrong_parameter_and_the_right_values(
    name: str, value: Any, expected: str
) -> None:
    with pytest.raises(ParameterError) as caught:
        clean_params({"status": "all", name: value})
    assert caught.value.name == name
    assert expected in caught.value.expected
    assert str(caught.value).startswith(f"{name}: ")


def test_a_parameter_may_occur_once_in_an_address() -> None:
    assert clean_query(QueryDict("mode=dark&search=%2B1")) == {"mode": "dark", "search": "+1"}
    with pytest.raises(ParameterError, match="mode: may be given only once"):
        clean_query(QueryDict("mode=dark&mode=light"))


def test_the_first_source_that_has_a_parameter_decides_it() -> None:
    assert merge_params({"mode": "dark"}, {"mode": "light", "unread": "1"}, {"status": "all"}) == {
        "mode": "dark",
        "unread": "1",
        "status": "all",
    }


@pytest.mark.parametrize(
    ("url", "params", "result"),
    [
        ("https://i.example/embed/t", {}, "https://i.example/embed/t"),
        ("https://i.example/embed/t", {"mode": "dark"}, "https://i.example/embed/t?mode=dark"),
        (
            "https://i.example/embed/t?sig=a%2Fb%20c&flag&mode=light#x",
            {"mode": "dark", "search": "+1 2&3"},
            "https://i.example/embed/t?sig=a%2Fb%20c&flag&mode=dark&search=%2B1+2%263#x",
        ),
        ("https://i.example/embed/t?a=1&a=2", {}, "https://i.example/embed/t?a=1&a=2"),
    ],
)
def test_an_address_keeps_its_query(url: str, params: dict[str, str], result: str) -> None:
    assert with_params(url, params) == result


def test_frame_permissions_name_the_inbox_origin() -> None:
    assert frame_permissions(["https://a.example", "https://b.example"]) == (
        "microphone https://a.example https://b.example; "
        "clipboard-write https://a.example https://b.example; "
        "fullscreen https://a.example https://b.example"
    )


def test_a_policy_must_allow_both_hops_of_the_frame_and_our_own_files() -> None:
    assert csp_sources() == {
        "frame-src": ["'self'", "https://inbox.kapso.ai"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "connect-src": ["'self'"],
    }
    others = [name for name in settings.INSTALLED_APPS if name != "kapso_inbox.conversations"]
    with override_settings(INSTALLED_APPS=others):
        assert "connect-src" not in csp_sources()
    projects = {"clinic": {"API_KEY": "k", "INBOX_ORIGINS": ["https://clinic.example"]}}
    with override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "PROJECTS": projects}):
        assert csp_sources()["frame-src"][1:] == [
            "https://inbox.kapso.ai",
            "https://clinic.example",
        ]


@pytest.mark.parametrize(
    ("static_url", "source"),
    [
        ("/static/", "'self'"),
        ("https://cdn.example.com/static/", "https://cdn.example.com"),
        ("//cdn.example.com:8443/static/", "cdn.example.com:8443"),
    ],
)
def test_our_own_files_come_from_the_origin_of_static_files(static_url: str, source: str) -> None:
    with override_settings(STATIC_URL=static_url):
        assert csp_sources()["script-src"] == csp_sources()["style-src"] == [source]


SECURITY = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
RECIPES = {
    "django.utils.csp": "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "csp.constants": "csp.middleware.CSPMiddleware",
}


@pytest.mark.parametrize("module", RECIPES)
def test_the_documented_policy_allows_the_inbox_and_nothing_more(module: str) -> None:
    if module.startswith("django.") and django.VERSION < (6, 0):
        pytest.skip("Django has no policy of its own before 6.0")
    pytest.importorskip(module)
    blocks = re.findall(r"^```python\n(.*?)^```", SECURITY, re.DOTALL | re.MULTILINE)
    [block] = [block for block in blocks if f"from {module} import" in block]
    names: dict[str, Any] = {"INSTALLED_APPS": [], "MIDDLEWARE": []}
    exec(block, names)  # noqa: S102 (our own document)
    assert names["MIDDLEWARE"] == [RECIPES[module]]
    own = {name: names[name] for name in names if name.endswith(("_CSP", "_POLICY"))}
    with override_settings(**own):
        middleware = import_string(RECIPES[module])(lambda request: HttpResponse())
        sent = middleware(HttpRequest())["Content-Security-Policy"]
        assert [finding.code for finding in site.csp_findings()] == ["csp-allows"]
    directives = dict(directive.split(" ", 1) for directive in sent.split("; "))
    expected = {"default-src": ["'none'"], **csp_sources()}
    assert {name: value.split() for name, value in directives.items()} == expected


def test_a_filter_turned_off_overrides_the_users_own_and_is_not_sent_to_kapso() -> None:
    asked = clean_query(QueryDict("unread=0&handoff=false"))
    assert asked == {"unread": "0", "handoff": "0"}
    assert merge_params(asked, {"unread": "1", "mode": "dark"}) == {"mode": "dark"}
    assert merge_params({}, {"unread": "1"}) == {"unread": "1"}
