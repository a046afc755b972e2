"""Findings about the settings and the site around the app."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core import checks as django_checks
from django.test import override_settings

from kapso_inbox.models import InboxEmbed

from .helpers import INBOX, OTHER_KEY, SITE, ChangeSettings, codes, diagnose, the

pytestmark = pytest.mark.django_db


def test_the_system_checks_come_first_by_their_ids(
    sales: InboxEmbed, change_settings: ChangeSettings
) -> None:
    assert not [code for code in codes() if code.startswith("kapso_inbox.")]
    change_settings(TIMEOUT=3, NONSENSE=1)
    with override_settings(ROOT_URLCONF="tests.urls_without_inbox"):
        found = diagnose()[:3]
    assert [(one.code, one.level) for one in found] == [
        ("kapso_inbox.W001", "warning"),
        ("kapso_inbox.E007", "error"),
        ("kapso_inbox.E016", "error"),
    ]


def test_secret_addresses_in_pages_are_found(
    sales: InboxEmbed, change_settings: ChangeSettings
) -> None:
    assert "delivery-direct" not in codes()
    change_settings(DELIVERY="direct", REQUIRE_FETCH_METADATA=False)
    assert the("delivery-direct").level == "warning"
    assert "fetch-metadata-off" not in codes(), "there is no launch"


def test_a_launch_without_fetch_metadata_is_found(
    sales: InboxEmbed, change_settings: ChangeSettings
) -> None:
    assert "fetch-metadata-off" not in codes()
    change_settings(REQUIRE_FETCH_METADATA=False)
    assert the("fetch-metadata-off").level == "warning"


@pytest.mark.parametrize(
    "told",
    [
        {"SECURE_SSL_REDIRECT": True},
        {"SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https")},
        {"DEBUG": True},
    ],
)
def test_settings_that_do_not_mention_https_are_found(told: dict[str, Any], settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = False
    assert the("https-unknown", network=False).level == "info"
    with override_settings(**told):
        assert "https-unknown" not in codes(network=False)


CSP_MIDDLEWARE = "django.middleware.csp.ContentSecurityPolicyMiddleware"
BLOCKING: list[tuple[dict[str, Any], str]] = [
    ({"SECURE_CSP": {"frame-src": ["'self'"]}}, INBOX),
    ({"SECURE_CSP": {"frame-src": [INBOX]}}, "'self'"),
    ({"SECURE_CSP": {"frame-src": ["'none'"]}}, f"'self', {INBOX}"),
    ({"SECURE_CSP": {"child-src": "'self'", "default-src": "*"}}, INBOX),
    ({"SECURE_CSP": {"default-src": {"'self'"}}}, INBOX),
    ({"SECURE_CSP": {"frame-src": ["'self'", "https://kapso.ai"]}}, INBOX),
    ({"SECURE_CSP": {"frame-src": ["'self'", "http://inbox.kapso.ai:8080"]}}, INBOX),
    ({"SECURE_CSP": {"frame-src": True}}, f"'self', {INBOX}"),
    ({"CONTENT_SECURITY_POLICY": {"DIRECTIVES": {"frame-src": ["'self'"]}}}, INBOX),
    ({"CONTENT_SECURITY_POLICY": {"DIRECTIVES": {"img-src": ["*"]}}}, INBOX),
    ({"CONTENT_SECURITY_POLICY": {"DIRECTIVES": {"frame-src": []}}}, f"'self', {INBOX}"),
    ({"CONTENT_SECURITY_POLICY": {"EXCLUDE_URL_PREFIXES": ["/admin"]}}, INBOX),
    ({"CSP_FRAME_SRC": ("'self'",)}, INBOX),
    ({"CSP_DEFAULT_SRC": (INBOX,)}, "'self'"),
    ({"CSP_SCRIPT_SRC": ("'self'",)}, INBOX),
]


@pytest.mark.parametrize(("policy", "missing"), BLOCKING)
def test_a_blocking_content_security_policy_is_found_with_the_missing_sources(
    policy: dict[str, Any], missing: str, settings: Any
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, CSP_MIDDLEWARE]
    with override_settings(**policy):
        found = the("csp-blocks", network=False)
        assert "csp-allows" not in codes(network=False)
    assert found.level == "error"
    assert f"lacks {missing}." in found.what
    assert found.hint.endswith(f"'self' {INBOX}")


@pytest.mark.parametrize(
    "policy",
    [
        {"SECURE_CSP": {"frame-src": ["'self'", INBOX]}},
        {"SECURE_CSP": {"frame-src": f"'self' {INBOX}/"}},
        {"SECURE_CSP": {"frame-src": ["'self'", "https://*.kapso.ai:*"]}},
        {"SECURE_CSP": {"frame-src": ["'self'", "HTTP://Inbox.Kapso.ai"]}},
        {"SECURE_CSP": {"frame-src": [SITE, "inbox.kapso.ai:443"]}},
        {"SECURE_CSP": {"frame-src": ["https:"]}},
        {"SECURE_CSP": {"frame-src": "*", "default-src": ["'none'"]}},
        {"SECURE_CSP": {"frame-src": [], "child-src": None, "default-src": False}},
        {"SECURE_CSP": {"script-src": ["'self'"]}},
        {"CONTENT_SECURITY_POLICY": {"DIRECTIVES": {"frame-src": ["'self'", INBOX]}}},
        {"CONTENT_SECURITY_POLICY": {"DIRECTIVES": {"default-src": None}}},
        {"CSP_FRAME_SRC": ("'self'", INBOX), "CSP_DEFAULT_SRC": ("'none'",)},
        {"CSP_CHILD_SRC": ("'self'", INBOX)},
    ],
)
def test_a_content_security_policy_that_allows_the_inbox_is_fine(policy: dict[str, Any]) -> None:
    with override_settings(**policy):
        found = codes(network=False)
    assert "csp-allows" in found
    assert "csp-blocks" not in found


def test_without_a_content_security_policy_there_is_no_finding_about_it() -> None:
    assert not [code for code in codes(network=False) if code.startswith("csp-")]


def test_a_policy_that_no_middleware_sends_is_only_a_warning() -> None:
    with override_settings(SECURE_CSP={"default-src": ["'self'"]}):
        assert the("csp-blocks", network=False).level == "warning"


def test_addresses_in_the_page_do_not_need_the_site_itself_in_the_policy(
    change_settings: ChangeSettings,
) -> None:
    change_settings(DELIVERY="direct")
    with override_settings(SECURE_CSP={"frame-src": [INBOX]}):
        assert "csp-allows" in codes(network=False)


def test_the_policy_must_hold_the_inbox_origins_of_every_project(
    change_settings: ChangeSettings,
) -> None:
    own = {"API_KEY": OTHER_KEY, "INBOX_ORIGINS": ["https://inbox.example"]}
    change_settings(PROJECTS={"clinic": own})
    with override_settings(SECURE_CSP={"frame-src": ["'self'", INBOX]}):
        assert "lacks https://inbox.example." in the("csp-blocks", network=False).what


@pytest.mark.parametrize(
    "policy",
    [
        {"SECURE_CSP_REPORT_ONLY": {"frame-src": ["'self'"]}},
        {"CONTENT_SECURITY_POLICY_REPORT_ONLY": {"DIRECTIVES": {}, "REPORT_PERCENTAGE": 1}},
        {"CSP_FRAME_SRC": "'self'", "CSP_REPORT_ONLY": True},
    ],
)
def test_a_policy_on_trial_that_would_block_is_found(policy: dict[str, Any]) -> None:
    with override_settings(**policy):
        assert the("csp-would-block", network=False).level == "warning"
        assert not {"csp-blocks", "csp-allows"} & set(codes(network=False))
    with override_settings(SECURE_CSP_REPORT_ONLY={"frame-src": ["'self'", INBOX]}):
        assert not [code for code in codes(network=False) if code.startswith("csp-")]


@pytest.mark.parametrize("value", ["require-corp", "credentialless; report-to=x"])
def test_an_embedder_policy_is_found(value: str, settings: Any) -> None:
    assert "coep-blocks" not in codes(network=False)
    settings.SECURE_CROSS_ORIGIN_EMBEDDER_POLICY = value
    assert the("coep-blocks", network=False).level == "warning"
    settings.SECURE_CROSS_ORIGIN_EMBEDDER_POLICY = "unsafe-none"
    assert "coep-blocks" not in codes(network=False)


@pytest.mark.parametrize(
    ("policy", "withheld"),
    [
        ({"microphone": []}, "microphone"),
        ({"microphone": "none", "fullscreen": "self"}, "microphone, fullscreen"),
        ({"clipboard-write": [INBOX]}, "clipboard-write"),
        ({"fullscreen": ["self", "https://elsewhere.example"]}, "fullscreen"),
        ({"microphone": ["self", INBOX], "fullscreen": "*", "geolocation": []}, ""),
        ({"microphone": [SITE, "https://*.kapso.ai"]}, ""),
        ({}, ""),
    ],
)
def test_a_permissions_policy_that_withholds_what_the_inbox_needs_is_found(
    policy: dict[str, Any], withheld: str, settings: Any
) -> None:
    settings.PERMISSIONS_POLICY = policy
    found = [one for one in diagnose(network=False) if one.code == "permissions-policy-withholds"]
    assert [f"{withheld}. Voice messages" in one.what for one in found] == [True] * bool(withheld)


@pytest.mark.parametrize("policy", ["no-referrer", "same-origin", None])
def test_the_sites_referrer_policy_does_not_matter(policy: str | None, sales: InboxEmbed) -> None:
    before = codes()
    with override_settings(SECURE_REFERRER_POLICY=policy, X_FRAME_OPTIONS="DENY"):
        assert codes() == before


# As system checks


QUICKSTART = django_settings.KAPSO_INBOX


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, []),
        ({"KAPSO_INBOX": {**django_settings.KAPSO_INBOX, "DELIVERY": "direct"}}, ["W002"]),
        (
            {"KAPSO_INBOX": {**django_settings.KAPSO_INBOX, "REQUIRE_FETCH_METADATA": False}},
            ["W003"],
        ),
        ({"SECURE_CSP": {"default-src": ["'self'"]}}, ["W004"]),
        ({"SECURE_CSP_REPORT_ONLY": {"default-src": ["'self'"]}}, ["W005"]),
        ({"SECURE_CROSS_ORIGIN_EMBEDDER_POLICY": "require-corp"}, ["W006"]),
        ({"PERMISSIONS_POLICY": {"microphone": []}}, ["W020"]),
    ],
)
def test_findings_without_network_are_also_deployment_checks(
    changed: dict[str, Any], expected: list[str], django_assert_num_queries: Any
) -> None:
    with override_settings(**changed), django_assert_num_queries(0):
        deployed = django_checks.run_checks(tags=["kapso_inbox"], include_deployment_checks=True)
        assert django_checks.run_checks(tags=["kapso_inbox"]) == []
    assert [message.id for message in deployed] == [f"kapso_inbox.{number}" for number in expected]
    assert all(message.hint for message in deployed)


def test_a_read_only_deployment_is_said_to_be_one(change_settings: ChangeSettings) -> None:
    assert "read-only" not in codes(network=False)
    change_settings(READ_ONLY=True)
    found = the("read-only", network=False)
    assert (found.level, "READ_ONLY" in found.what) == ("info", True)
