"""The doctor: each thing that can be wrong is found, is not found where it is right, and no finding
holds a secret.
"""

from __future__ import annotations

import inspect
import io
import json
import re
import socket
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from datetime import timezone as zone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core import checks as django_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import OperationalError
from django.db.migrations.executor import MigrationExecutor
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation
from requests import exceptions

from kapso_inbox import conf, diagnosis
from kapso_inbox.diagnosis import Finding, findings, origins, site, stored
from kapso_inbox.encryption import generate_key
from kapso_inbox.lifecycle import create_embed
from kapso_inbox.management.commands.kapso_doctor import Command
from kapso_inbox.models import AccessLink, InboxEmbed
from kapso_inbox.sandbox.engine import Answer, Sandbox
from kapso_inbox.sandbox.server import SandboxServer
from tests.documents import rows
from tests.hosts.database import connection

pytestmark = pytest.mark.django_db

SITE = "https://crm.example.com"
INBOX = "https://inbox.kapso.ai"
TOKEN = "token-that-nobody-may-see"
OTHER_KEY = "kapso-key-of-a-clinic-0123456789"
State = AccessLink.State

Tune = Callable[..., None]


@pytest.fixture(autouse=True)
def a_site_in_production(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["crm.example.com", "localhost"]
    settings.SECURE_SSL_REDIRECT = True


@pytest.fixture
def tune(settings: Any) -> Tune:
    """Change keys of KAPSO_INBOX."""

    def tune(**values: Any) -> None:
        settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, **values}

    return tune


def secrets() -> list[str]:
    configured = django_settings.KAPSO_INBOX or {}
    projects = configured.get("PROJECTS") or {}
    keys = configured.get("ENCRYPTION_KEYS") or {}
    found = [
        TOKEN,
        OTHER_KEY,
        configured.get("API_KEY"),
        *(own.get("API_KEY") for own in projects.values()),
        *keys.values(),
    ]
    return [secret for secret in found if isinstance(secret, str) and len(secret) > 7]


def diagnose(*projects: str, network: bool = True) -> list[Finding]:
    """As `diagnosis.diagnose`; every test looks for every secret in all that is found."""
    found = diagnosis.diagnose(projects or None, network=network)
    for secret in [*secrets(), "/embed/"]:
        assert not any(secret in repr(finding) for finding in found), "a secret leaked"
    for finding in found:
        assert finding.what
        assert finding.mend or finding.level == "info"
    return found


def codes(*projects: str, network: bool = True) -> list[str]:
    return [finding.code for finding in diagnose(*projects, network=network)]


def the(code: str, *projects: str, network: bool = True) -> Finding:
    """The one finding of that code."""
    [finding] = [one for one in diagnose(*projects, network=network) if one.code == code]
    return finding


def store(
    slug: str = "sales",
    *,
    state: AccessLink.State = State.ACTIVE,
    current: bool = True,
    project: str = "default",
    embed: dict[str, Any] | None = None,
    **fields: Any,
) -> AccessLink:
    """An embed and a link as they are in the database, without Kapso."""
    values = {"name": slug, "project": project, "allowed_origins": [SITE], **(embed or {})}
    row, _ = InboxEmbed.objects.get_or_create(slug=slug, defaults=values)
    link = AccessLink(embed=row, state=state, **{"kapso_id": str(uuid.uuid4()), **fields})
    if state in (State.ACTIVE, State.SECRET_LOST):
        link.store_url(f"{INBOX}/embed/{TOKEN}")
    link.save()
    if current:
        InboxEmbed.objects.filter(pk=row.pk).update(current_link=link)
    return link


@pytest.fixture
def sales(kapso_sandbox: Sandbox) -> InboxEmbed:
    """An inbox with which all is well."""
    return create_embed(slug="sales", name="Sales", allowed_origins=[SITE])


def ago(**time: float) -> Any:
    return timezone.now() - timedelta(**time)


# As a whole


def test_where_all_is_well_it_says_so(sales: InboxEmbed) -> None:
    found = diagnose()
    assert {finding.level for finding in found} == {"info"}
    assert [finding.code for finding in found] == [
        "api-key-accepted",
        "rate-limit-left",
        "secrets-open",
    ]


def test_nothing_is_asked_of_kapso_offline(kapso_sandbox: Sandbox, sales: InboxEmbed) -> None:
    kapso_sandbox.requests.clear()
    assert codes(network=False) == ["secrets-open"]
    assert kapso_sandbox.requests == []


@pytest.mark.parametrize("wrong", [{}, {"path": "inbox_embeds"}, {"drop": "before"}])
def test_a_project_costs_at_most_two_requests(
    kapso_sandbox: Sandbox, sales: InboxEmbed, wrong: dict[str, Any]
) -> None:
    if wrong.get("path"):
        kapso_sandbox.fail_next(answer=Answer(404, {"error": "Not found"}), **wrong)
    elif wrong:
        kapso_sandbox.fail_next(**wrong, times=9)
    kapso_sandbox.requests.clear()
    diagnose()
    assert len(kapso_sandbox.requests) == (2 if "path" in wrong else 1)
    assert {request.method for request in kapso_sandbox.requests} == {"GET"}


def test_the_number_of_queries_does_not_grow_with_the_embeds() -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            diagnose(network=False)
        reads = re.compile(r"\s*(SELECT|PRAGMA|DECLARE|SHOW)\b", re.IGNORECASE)
        assert all(reads.match(query["sql"]) for query in captured), "it writes nothing"
        return len(captured)

    for number in range(3):
        store(f"inbox-{number}")
    few = queries()
    for number in range(3, 30):
        store(f"inbox-{number}")
    assert queries() == few


def test_of_many_alike_a_few_are_told_and_how_many_more() -> None:
    for number in range(findings.MANY + 3):
        store(f"inbox-{number:02}", embed={"allowed_origins": []})
    found = [one for one in diagnose(network=False) if one.code == "origins-none"]
    assert len(found) == findings.MANY + 1
    assert (found[-1].what, found[-1].embed) == ("And 3 more like these.", "")
    assert found[0].embed == "inbox-00"


def test_only_the_projects_that_are_asked_for_are_looked_at(
    kapso_sandbox: Sandbox, tune: Tune
) -> None:
    store("sales", embed={"allowed_origins": []})
    store("clinic", project="clinic", embed={"allowed_origins": []})
    found = diagnose("clinic")
    assert {finding.project for finding in found} == {"clinic"}
    assert {finding.embed for finding in found} == {"", "clinic"}


def test_findings_are_in_the_language_of_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "_", lambda text: "¡Ay!" if "no inbox" in text else text)
    with translation.override("es"):
        assert the("no-embeds", network=False).what == "¡Ay!"


def test_a_check_that_fails_itself_is_a_finding_and_stops_no_other(
    sales: InboxEmbed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert "check-failed" not in codes()

    def https() -> Iterator[Finding]:
        raise RuntimeError(f"{TOKEN} {conf.value('API_KEY')}")
        yield

    monkeypatch.setattr(site, "https", https)
    found = the("check-failed")
    assert "RuntimeError in test_doctor.py:" in found.what
    assert "secrets-open" in codes()
    assert TOKEN not in caplog.text
    assert conf.value("API_KEY") not in caplog.text


@pytest.mark.parametrize(
    "values",
    [
        {"API_KEY": None},
        {"API_KEY": b"kapso-key"},
        {"API_KEY": "two words"},
        {"ENCRYPTION_KEYS": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"},
        {"PROJECTS": ["a"]},
        {"PROJECTS": {"a": None, 7: {}, (): ()}},
        {"PROJECTS": {OTHER_KEY: {"API_KEY": OTHER_KEY}}},
        {"BASE_URL": f"https://{OTHER_KEY}@api.kapso.ai"},
        {"INBOX_ORIGINS": None},
        {"INBOX_ORIGINS": 7},
        {"TIMEOUT": None},
        {"TIMEOUT": (0, 0)},
        {"PROXIES": "proxy"},
        {"RENEW_BEFORE": "soon"},
        {"DELIVERY": object()},
        {OTHER_KEY: "pasted"},
    ],
)
def test_no_wrong_setting_stops_it(
    kapso_sandbox: Sandbox, tune: Tune, values: dict[Any, Any]
) -> None:
    store("sales", embed={"expires_at": ago(days=-3)})
    configured = {**django_settings.KAPSO_INBOX, **values}
    with override_settings(KAPSO_INBOX=configured):
        found = diagnosis.diagnose()
    assert any(one.level == "error" for one in found) or OTHER_KEY in values
    if OTHER_KEY not in values:  # a name of a setting is not known for a key
        assert OTHER_KEY not in repr(found)


# Settings and the site


def test_the_system_checks_come_first_by_their_ids(sales: InboxEmbed, tune: Tune) -> None:
    assert not [code for code in codes() if code.startswith("kapso_inbox.")]
    tune(TIMEOUT=3, NONSENSE=1)
    with override_settings(ROOT_URLCONF="tests.urls_without_inbox"):
        found = diagnose()[:3]
    assert [(one.code, one.level) for one in found] == [
        ("kapso_inbox.W001", "warning"),
        ("kapso_inbox.E007", "error"),
        ("kapso_inbox.E016", "error"),
    ]


def test_addresses_that_stand_in_pages_are_found(sales: InboxEmbed, tune: Tune) -> None:
    assert "delivery-direct" not in codes()
    tune(DELIVERY="direct", REQUIRE_FETCH_METADATA=False)
    assert the("delivery-direct").level == "warning"
    assert "fetch-metadata-off" not in codes(), "there is no launch"


def test_a_launch_for_whoever_asks_is_found(sales: InboxEmbed, tune: Tune) -> None:
    assert "fetch-metadata-off" not in codes()
    tune(REQUIRE_FETCH_METADATA=False)
    assert the("fetch-metadata-off").level == "warning"


@pytest.mark.parametrize(
    "told",
    [
        {"SECURE_SSL_REDIRECT": True},
        {"SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https")},
        {"DEBUG": True},
    ],
)
def test_settings_that_do_not_tell_of_https_are_found(told: dict[str, Any], settings: Any) -> None:
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
def test_a_content_security_policy_that_blocks_is_found_with_what_it_lacks(
    policy: dict[str, Any], missing: str, settings: Any
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, CSP_MIDDLEWARE]
    with override_settings(**policy):
        found = the("csp-blocks", network=False)
        assert "csp-allows" not in codes(network=False)
    assert found.level == "error"
    assert f"lacks {missing}." in found.what
    assert found.mend.endswith(f"'self' {INBOX}")


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
def test_a_content_security_policy_that_lets_it_load_is_in_order(policy: dict[str, Any]) -> None:
    with override_settings(**policy):
        found = codes(network=False)
    assert "csp-allows" in found
    assert "csp-blocks" not in found


def test_without_a_known_content_security_policy_nothing_is_said_of_it() -> None:
    assert not [code for code in codes(network=False) if code.startswith("csp-")]


def test_a_policy_that_no_middleware_sends_is_only_a_warning() -> None:
    with override_settings(SECURE_CSP={"default-src": ["'self'"]}):
        assert the("csp-blocks", network=False).level == "warning"


def test_addresses_in_the_page_do_not_need_the_site_itself_in_the_policy(tune: Tune) -> None:
    tune(DELIVERY="direct")
    with override_settings(SECURE_CSP={"frame-src": [INBOX]}):
        assert "csp-allows" in codes(network=False)


def test_every_projects_inbox_has_to_be_in_the_policy(tune: Tune) -> None:
    own = {"API_KEY": OTHER_KEY, "INBOX_ORIGINS": ["https://inbox.example"]}
    tune(PROJECTS={"clinic": own})
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


@pytest.mark.parametrize("policy", ["no-referrer", "same-origin", None])
def test_the_sites_referrer_policy_does_not_matter(policy: str | None, sales: InboxEmbed) -> None:
    before = codes()
    with override_settings(SECURE_REFERRER_POLICY=policy, X_FRAME_OPTIONS="DENY"):
        assert codes() == before


# The API key


def test_a_project_without_a_key_is_found_by_the_inboxes_it_has(
    kapso_sandbox: Sandbox, tune: Tune
) -> None:
    store("clinic", project="clinic")
    found = the("api-key-missing")
    assert (found.level, found.project) == ("error", "clinic")
    assert "1 inbox belongs" in found.what
    tune(PROJECTS={"clinic": {"API_KEY": OTHER_KEY}})
    kapso_sandbox.add_project(OTHER_KEY)
    assert "api-key-missing" not in codes()


def test_a_key_that_cannot_be_one_is_found(kapso_sandbox: Sandbox, tune: Tune) -> None:
    assert "api-key-malformed" not in codes()
    tune(API_KEY="kapso key\nof-the-tests")
    assert the("api-key-malformed").level == "error"
    assert kapso_sandbox.requests[1:] == []


def test_a_project_that_nobody_configured_is_found() -> None:
    found = the("project-unknown", "clinic", network=False)
    assert (found.level, found.mend) == ("error", "There are: default.")
    assert "project-unknown" not in codes("default", network=False)


@pytest.mark.parametrize("values", [{"BASE_URL": "http://api.kapso.ai"}, {"TIMEOUT": 3}])
def test_a_project_whose_settings_are_wrong_is_not_asked(
    kapso_sandbox: Sandbox, tune: Tune, values: dict[str, Any]
) -> None:
    assert "project-misconfigured" not in codes()
    tune(**values)
    assert the("project-misconfigured").level == "error"
    assert len(kapso_sandbox.requests) == 1


def test_a_key_that_kapso_refuses_is_found(kapso_sandbox: Sandbox, sales: InboxEmbed) -> None:
    assert "api-key-refused" not in codes()
    kapso_sandbox.projects.clear()
    found = the("api-key-refused")
    assert (found.level, found.project) == ("error", "default")
    assert "api-key-accepted" not in codes()


def test_a_key_that_kapso_accepts_is_said_so_with_the_numbers_it_sees(
    kapso_sandbox: Sandbox,
) -> None:
    found = the("api-key-accepted")
    for number in kapso_sandbox.project().phone_numbers:
        assert number["display_phone_number"] in found.what
    kapso_sandbox.project().phone_numbers.clear()
    assert "these numbers: none." in the("api-key-accepted").what


def test_the_key_of_another_project_is_found_and_its_numbers_are_listed(
    kapso_sandbox: Sandbox, sales: InboxEmbed, tune: Tune
) -> None:
    assert "api-key-of-another-project" not in codes()
    kapso_sandbox.add_project(OTHER_KEY)
    tune(API_KEY=OTHER_KEY)
    found = the("api-key-of-another-project")
    assert (found.level, found.embed) == ("error", "sales")
    assert kapso_sandbox.project(OTHER_KEY).phone_numbers[0]["display_phone_number"] in found.what
    assert "api-key-accepted" not in codes()
    assert "api-key-changed" not in codes()


def test_a_name_at_kapso_cannot_write_on_the_terminal_or_show_a_key(
    kapso_sandbox: Sandbox,
) -> None:
    number = kapso_sandbox.project().phone_numbers[0]
    number["name"] = f"\x1b[2J\n{conf.value('API_KEY')}"
    found = the("api-key-accepted")
    assert "[2J [secret]" in found.what
    assert "\x1b" not in found.what


def test_the_key_of_another_project_is_found_where_it_says_no_more(
    kapso_sandbox: Sandbox, sales: InboxEmbed
) -> None:
    kapso_sandbox.project().embeds.clear()
    kapso_sandbox.fail_next(path="phone_numbers", answer=Answer(500))
    assert "Kapso did not say" in the("api-key-of-another-project").what


def test_links_that_another_key_made_are_found_unless_kapso_knows_them(
    kapso_sandbox: Sandbox, sales: InboxEmbed
) -> None:
    assert "api-key-changed" not in codes(network=False)
    AccessLink.objects.update(key_fingerprint="0" * 12)
    assert the("api-key-changed", network=False).level == "warning"
    assert "api-key-changed" not in codes(), "Kapso knows it under the key of now"
    kapso_sandbox.fail_next(drop="before")
    assert "api-key-changed" in codes()


def test_of_all_links_the_newest_of_another_key_is_asked_for(kapso_sandbox: Sandbox) -> None:
    own = conf.project().key_fingerprint
    store("a", key_fingerprint=own, created_at=ago(days=9))
    doubtful = store("b", key_fingerprint="0" * 12, created_at=ago(days=8))
    store("c", key_fingerprint=own, created_at=ago(days=7))
    diagnose()
    assert kapso_sandbox.requests[0].path == f"/inbox_embeds/{doubtful.kapso_id}"


def test_a_refusal_by_cloudflare_is_not_taken_for_one_of_the_key(kapso_sandbox: Sandbox) -> None:
    assert "refused-by-cloudflare" not in codes()
    kapso_sandbox.fail_next(answer=Answer(403, "<html>error code: 1010</html>"), times=2)
    assert "cloudflare-1010" in the("refused-by-cloudflare").what
    assert "api-key-refused" not in codes()


def test_a_rate_limit_that_is_used_up_is_found(kapso_sandbox: Sandbox) -> None:
    assert "rate-limit-used-up" not in codes()
    kapso_sandbox.rate_limit = 0
    assert the("rate-limit-used-up").level == "warning"
    assert not {"rate-limit-low", "rate-limit-left"} & set(codes())


def test_what_is_left_of_the_rate_limit_is_told(kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.rate_limit = 100
    assert "99 of 100" in the("rate-limit-left").what
    assert "rate-limit-low" not in codes()
    answer = {"data": []}
    kapso_sandbox.fail_next(answer=Answer(200, answer, {"X-RateLimit-Remaining": "3"}), times=2)
    assert "3 of ?" in the("rate-limit-low").what
    assert "rate-limit-left" not in codes()
    kapso_sandbox.fail_next(answer=Answer(200, answer))
    assert not [code for code in codes() if code.startswith("rate-limit")]


def test_a_wrong_base_url_is_found(kapso_sandbox: Sandbox, sales: InboxEmbed, tune: Tune) -> None:
    assert "base-url-wrong" not in codes()
    tune(BASE_URL=f"{conf.value('BASE_URL')}/v2")
    assert the("base-url-wrong").level == "error"
    assert "api-key-of-another-project" not in codes()


@pytest.mark.parametrize("error", [exceptions.ConnectTimeout(), exceptions.InvalidURL()])
def test_a_kapso_that_cannot_be_reached_is_found(kapso_sandbox: Sandbox, error: Exception) -> None:
    assert "kapso-unreachable" not in codes()
    kapso_sandbox.fail_next(error=error)
    assert the("kapso-unreachable").level == "error"


@pytest.mark.parametrize(
    "fault",
    [
        {"drop": "after"},
        {"answer": Answer(500, "<h1>500</h1>")},
        {"answer": Answer(302, None, {"Location": "https://evil.example"})},
        {"answer": Answer(200, "<h1>Hello</h1>")},
        {"answer": Answer(200, {"data": "?"})},
        {"answer": Answer(400, {"error": "?"})},
        {"answer": Answer(418, {"error": OTHER_KEY})},
    ],
)
def test_an_answer_that_cannot_be_used_is_found(
    kapso_sandbox: Sandbox, fault: dict[str, Any]
) -> None:
    assert "kapso-answer-unclear" not in codes()
    kapso_sandbox.fail_next(**fault)
    assert the("kapso-answer-unclear").level == "error"


@pytest.mark.parametrize(
    ("seconds", "words"), [(-90, r"9\d seconds ahead"), (95, "seconds behind"), (30, ""), (-30, "")]
)
def test_a_clock_that_goes_wrong_is_found(kapso_sandbox: Sandbox, seconds: int, words: str) -> None:
    date = format_datetime(datetime.now(zone.utc) + timedelta(seconds=seconds))
    kapso_sandbox.fail_next(answer=Answer(401, {"error": "no"}, {"Date": date}), times=2)
    if words:
        assert re.search(words, the("clock-wrong").what)
        assert "clock-right" not in codes()
    else:
        assert the("clock-right").level == "info"
        assert "clock-wrong" not in codes()


def test_a_link_that_was_revoked_in_kapso_is_found(
    kapso_sandbox: Sandbox, sales: InboxEmbed
) -> None:
    assert "link-revoked-at-kapso" not in codes()
    [record] = kapso_sandbox.project().active_embeds()
    kapso_sandbox.project().revoke(record["id"])
    assert the("link-revoked-at-kapso").embed == "sales"


# The database


def test_a_database_without_the_tables_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not-migrated" not in codes(network=False)
    monkeypatch.setattr(type(connection.introspection), "table_names", lambda *args: [])
    assert the("not-migrated", network=False).level == "error"


def test_a_database_of_an_older_version_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MigrationExecutor, "migration_plan", lambda *args: ["0002"])
    found = codes(network=False)
    assert "not-migrated" in found
    assert "no-embeds" not in found, "what cannot be read is not said to be empty"


@pytest.mark.parametrize("error", [OperationalError, ImproperlyConfigured])
def test_a_database_that_does_not_answer_is_found(
    kapso_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    assert "database-unreachable" not in codes()

    def fail(*args: Any) -> None:
        raise error(f"password={TOKEN}")

    monkeypatch.setattr(type(connection.introspection), "table_names", fail)
    assert the("database-unreachable").level == "error"
    assert "api-key-accepted" in codes(), "Kapso is asked all the same"


# Encryption keys


def test_a_secret_whose_key_is_gone_is_found(tune: Tune) -> None:
    store()
    assert "encryption-key-missing" not in codes(network=False)
    tune(ENCRYPTION_KEYS={"new": generate_key()})
    found = the("encryption-key-missing", network=False)
    assert (found.level, found.embed) == ("error", "sales")
    assert "“test”" in found.what
    assert "secrets-open" not in codes(network=False)


def test_a_secret_that_does_not_open_is_found(tune: Tune) -> None:
    store()
    assert "secret-unreadable" not in codes(network=False)
    tune(ENCRYPTION_KEYS={"test": generate_key()})
    assert the("secret-unreadable", network=False).embed == "sales"
    AccessLink.objects.update(sealed_url="v9.nonsense")
    assert the("secret-unreadable", network=False).level == "error"


def test_a_secret_that_opens_again_is_told(tune: Tune) -> None:
    store()
    assert "secret-readable-again" not in codes(network=False)
    AccessLink.objects.update(state=State.SECRET_LOST)
    assert the("secret-readable-again", network=False).level == "info"


def test_a_secret_that_is_lost_is_found(tune: Tune) -> None:
    link = store()
    assert "secret-lost" not in codes(network=False)
    link.move(State.SECRET_LOST, expected=[State.ACTIVE], sealed_url="")
    found = the("secret-lost", network=False)
    assert (found.level, found.embed) == ("error", "sales")


def test_secrets_under_an_older_key_are_counted(tune: Tune) -> None:
    old = conf.value("ENCRYPTION_KEYS")["test"]
    store("a")
    store("b")
    assert "encryption-key-old" not in codes(network=False)
    tune(ENCRYPTION_KEYS={"new": generate_key(), "test": old})
    found = the("encryption-key-old", network=False)
    assert found.level == "info"
    assert "2 secret addresses are still under the encryption key “test”" in found.what


def test_secrets_that_all_open_are_told_and_without_any_nothing_is() -> None:
    assert "secrets-open" not in codes(network=False)
    store("a")
    store("b")
    assert "All 2 stored" in the("secrets-open", network=False).what


def test_keys_that_cannot_be_used_are_one_finding_and_not_one_for_each_link(tune: Tune) -> None:
    store("a")
    store("b")
    assert "secrets-unchecked" not in codes(network=False)
    tune(ENCRYPTION_KEYS={})
    assert the("secrets-unchecked", network=False).level == "error"
    assert "secrets-open" not in codes(network=False)


# Links


@pytest.mark.parametrize(
    ("code", "state", "level"),
    [
        ("revocation-stuck", State.REVOKING, "error"),
        ("creation-stuck", State.CREATING, "warning"),
    ],
)
def test_a_link_that_does_not_get_on_is_found(
    code: str, state: AccessLink.State, level: str
) -> None:
    link = store(state=state, state_changed_at=ago(minutes=9))
    assert code not in codes(network=False)
    AccessLink.objects.update(state_changed_at=ago(minutes=11))
    found = the(code, network=False)
    assert (found.level, found.embed) == (level, "sales")
    assert str(link) in found.mend


@pytest.mark.parametrize(
    ("code", "state"), [("link-unknown", State.UNKNOWN), ("link-unmanaged", State.UNMANAGED)]
)
def test_a_link_that_may_work_for_somebody_is_found(code: str, state: AccessLink.State) -> None:
    link = store()
    assert code not in codes(network=False)
    link.move(state, expected=[State.ACTIVE])
    found = the(code, network=False)
    assert (found.level, found.embed) == ("warning", "sales")
    assert "embed-without-link" not in codes(network=False)


def test_a_link_of_elsewhere_that_is_not_revoked_yet_is_told_by_its_id() -> None:
    link = store(state=State.UNMANAGED)
    link.move(State.REVOKING, expected=[State.UNMANAGED])
    AccessLink.objects.update(state_changed_at=ago(minutes=11))
    assert f"Its id there is {link.kapso_id}" in the("revocation-stuck", network=False).mend


def test_somebodys_own_inbox_that_is_not_narrowed_any_more_is_found() -> None:
    store(embed={"personal_to": "7", "assigned_user_id": str(uuid.uuid4())})
    assert "embed-not-narrowed" not in codes(network=False)
    InboxEmbed.objects.update(assigned_user_id="")
    found = the("embed-not-narrowed", network=False)
    assert (found.level, found.embed) == ("error", "sales")


def test_a_link_that_has_expired_is_found() -> None:
    store(embed={"expires_at": ago(minutes=1)})
    found = the("link-expired", network=False)
    assert (found.level, found.embed) == ("warning", "sales")
    assert "link-expires-soon" not in codes(network=False)
    InboxEmbed.objects.update(expires_at=None)
    assert "link-expired" not in codes(network=False)


def test_a_link_that_expires_soon_is_found() -> None:
    store(embed={"expires_at": ago(days=-6)})
    assert the("link-expires-soon", network=False).level == "warning"
    assert "link-expired" not in codes(network=False)
    InboxEmbed.objects.update(expires_at=ago(days=-8))
    assert "link-expires-soon" not in codes(network=False)


def test_a_link_that_is_going_to_be_renewed_is_not_said_to_expire(tune: Tune) -> None:
    store(embed={"expires_at": ago(days=-6)})
    tune(RENEW_BEFORE=24 * 60 * 60)
    assert "link-expires-soon" not in codes(network=False)
    InboxEmbed.objects.update(expires_at=ago(hours=-23))
    assert "kapso_sync should have renewed it" in the("link-expires-soon", network=False).mend


def test_a_site_without_time_zones_is_looked_at_too(settings: Any) -> None:
    settings.USE_TZ = False
    store(embed={"expires_at": timezone.now() - timedelta(days=1)})
    assert "link-expired" in codes(network=False)


def test_an_inbox_without_a_link_is_found() -> None:
    link = store(current=False)
    assert the("embed-without-link", network=False).embed == "sales"
    InboxEmbed.objects.update(current_link=link)
    assert "embed-without-link" not in codes(network=False)
    AccessLink.objects.update(state=State.FAILED)
    assert the("embed-without-link", network=False).level == "error"


def test_an_inbox_that_is_revoked_is_told() -> None:
    store()
    assert "embed-revoked" not in codes(network=False)
    AccessLink.objects.update(state=State.REVOKED, sealed_url="")
    assert the("embed-revoked", network=False).level == "info"


def test_that_there_is_no_inbox_yet_is_told() -> None:
    assert the("no-embeds", network=False).level == "info"
    store()
    assert "no-embeds" not in codes(network=False)


def test_a_synchronisation_that_does_not_run_is_found() -> None:
    link = store(created_at=ago(hours=23))
    assert "sync-not-running" not in codes(network=False), "it may be new"
    AccessLink.objects.update(created_at=ago(hours=25))
    assert the("sync-not-running", network=False).project == "default"
    AccessLink.objects.update(seen_at=ago(hours=23))
    assert "sync-not-running" not in codes(network=False)
    store("clinic", created_at=ago(days=9), seen_at=ago(days=8))
    assert "sync-not-running" not in codes(network=False), "another one was seen"
    AccessLink.objects.filter(pk=link.pk).update(seen_at=ago(hours=25))
    assert the("sync-not-running", network=False).level == "warning"


# Allowed origins


def allow(*allowed: Any) -> None:
    InboxEmbed.objects.update(allowed_origins=list(allowed))


def test_origins_that_let_any_page_show_an_inbox_are_found() -> None:
    store()
    assert not [code for code in codes(network=False) if code.startswith("origins-")]
    allow()
    assert the("origins-none", network=False).level == "warning"
    allow(SITE, "*")
    assert the("origins-any", network=False).level == "warning"
    assert "origins-none" not in codes(network=False)


def test_what_is_not_a_list_counts_as_none() -> None:
    store()
    InboxEmbed.objects.update(allowed_origins={"a": 1})
    assert "origins-none" in codes(network=False)


@pytest.mark.parametrize(
    "local", ["http://localhost:8000", "127.0.0.1", "http://[::1]:8000", "http://crm.localhost"]
)
def test_this_machine_among_the_origins_is_found_in_production(local: str, settings: Any) -> None:
    store()
    assert "origins-local" not in codes(network=False)
    allow(SITE, local)
    assert the("origins-local", network=False).level == "warning"
    settings.DEBUG = True
    assert "origins-local" not in codes(network=False)


@pytest.mark.parametrize(
    "allowed",
    [
        "https://crm.example.com",
        "crm.example.com",
        "*.example.com",
        "https://*.example.com",
        "HTTPS://CRM.example.com:443",
        "http://crm.example.com:8443",
    ],
)
def test_origins_that_cover_this_site_are_in_order(allowed: str) -> None:
    store()
    allow("https://other.example", allowed)
    assert "origins-miss-site" not in codes(network=False)


@pytest.mark.parametrize(
    "allowed", ["https://example.com", "https://crm.example.com.evil.example", "*.crm.example.com"]
)
def test_origins_of_which_none_covers_this_site_are_found(allowed: str) -> None:
    store()
    allow(allowed)
    found = the("origins-miss-site", network=False)
    assert (found.level, found.embed) == ("error", "sales")
    assert allowed in found.what
    assert "crm.example.com" in found.what


@pytest.mark.parametrize(
    ("trusted", "allowed", "covered"),
    [
        ("https://crm.example.com", "https://crm.example.com", True),
        ("https://crm.example.com", "http://crm.example.com", True),
        ("https://crm.example.com:8443", "https://crm.example.com:8443", True),
        ("https://crm.example.com:8443", "https://crm.example.com:*", True),
        ("https://crm.example.com:8443", "https://crm.example.com", False),
        ("http://crm.example.com", "https://crm.example.com", False),
        ("https://[2001:db8::1]", "https://[2001:db8::1]", True),
    ],
)
def test_scheme_and_port_count_where_the_site_tells_them(
    trusted: str, allowed: str, covered: bool, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    settings.CSRF_TRUSTED_ORIGINS = [trusted]
    store()
    allow(allowed)
    assert ("origins-miss-site" not in codes(network=False)) is covered


def test_a_site_that_does_not_tell_where_it_lives_is_told_and_not_guessed(settings: Any) -> None:
    store()
    assert "site-unknown" not in codes(network=False)
    settings.ALLOWED_HOSTS = ["*", ".example.com", "localhost", "127.0.0.1"]
    settings.CSRF_TRUSTED_ORIGINS = ["https://*.example.com"]
    assert the("site-unknown", network=False).level == "info"
    assert "origins-miss-site" not in codes(network=False)
    allow("https://other.example")
    assert "origins-miss-site" not in codes(network=False)


def test_in_development_this_machine_is_the_site(settings: Any) -> None:
    settings.DEBUG, settings.ALLOWED_HOSTS = True, []
    store()
    assert "http://localhost" not in the("origins-miss-site", network=False).what
    allow("http://localhost:8000")
    assert not [code for code in codes(network=False) if code.startswith("origins-")]


def test_the_sites_framework_is_asked_where_it_is_installed(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Rows(list[str]):
        objects: Any

        def values_list(self, *args: Any, **kwargs: Any) -> Rows:
            return self

    Rows.objects = Rows(["example.com", "clinic.example"])
    module = type(sys)("django.contrib.sites.models")
    module.Site = Rows  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "django.contrib.sites.models", module)
    monkeypatch.setattr("django.apps.registry.Apps.is_installed", lambda self, name: True)
    assert [str(one) for one in origins.of_this_site()] == ["crm.example.com", "clinic.example"]


# The command


class Terminal(io.TextIOWrapper):
    """A standard output of some encoding."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)

    def text(self) -> str:
        self.flush()
        buffer: Any = self.buffer
        return buffer.getvalue().decode(self.encoding)


def run(*options: str, encoding: str = "utf-8") -> tuple[int, str]:
    """Exit status and output of the command."""
    terminal = Terminal(encoding)
    status = 0
    try:
        call_command("kapso_doctor", *options, stdout=terminal)
    except SystemExit as end:
        status = int(str(end.code))
    output = terminal.text()
    assert not any(secret in output for secret in secrets()), "a secret leaked"
    return status, output


def test_the_command_ends_well_where_nothing_is_wrong(sales: InboxEmbed) -> None:
    status, output = run()
    assert status == 0
    assert output.startswith("Kapso project “default”\n  ✔ Kapso accepts the API key")
    assert output.endswith("Nothing is wrong.\n")


def test_warnings_alone_do_not_make_it_fail() -> None:
    store(embed={"allowed_origins": []})
    status, output = run("--offline")
    assert status == 0
    assert "  ! Any page of the web may show the inbox “sales”" in output
    assert "[origins-none]\n    → Give it the origins" in output
    assert output.endswith("0 errors, 1 warning\n")


def test_an_error_makes_it_fail(settings: Any) -> None:
    store("sales", current=False)
    store("support", current=False)
    settings.SECURE_SSL_REDIRECT = False
    status, output = run("--offline")
    assert status == 1
    assert output.startswith("This site\n  ✔ The settings do not say")
    assert output.count("✘") == 2
    assert output.count("→ Rotate its link, which") == 1, "what is to be done is said once"
    assert output.endswith("2 errors, 0 warnings\n")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_a_terminal_without_such_characters_gets_plain_ones(encoding: str) -> None:
    store("sales", current=False)
    _, output = run("--offline", encoding=encoding)
    assert '  x The inbox "sales" does not open' in output
    assert "    > Rotate" in output


def test_a_program_gets_json(kapso_sandbox: Sandbox) -> None:
    store("sales", current=False)
    status, output = run("--offline", "--json", encoding="ascii")
    told = json.loads(output)
    assert (status, told["ok"]) == (1, False)
    assert [Finding(**one) for one in told["findings"]] == diagnose(network=False)
    assert run("--offline", "--json", "--project", "default")[0] == 1


def test_the_command_looks_at_the_projects_that_are_named(
    kapso_sandbox: Sandbox, tune: Tune
) -> None:
    status, output = run("--project", "default", "--project", "clinic")
    assert status == 1
    assert "“clinic” in the settings. [project-unknown]" in output
    assert [request.path for request in kapso_sandbox.requests] == ["/whatsapp/phone_numbers"]


def test_it_runs_with_settings_that_fail_the_system_checks(settings: Any) -> None:
    assert Command.requires_system_checks == []
    settings.KAPSO_INBOX = None
    settings.ROOT_URLCONF = "no.such.module"
    status, output = run("--offline")
    assert status == 1
    assert "[kapso_inbox.E001]" in output
    assert "The check “addresses” itself failed: ModuleNotFoundError in checks.py:" in output


def test_it_works_with_a_kapso_on_the_wire(tune: Tune) -> None:
    sandbox = Sandbox()
    sandbox.add_project(conf.value("API_KEY"))
    with SandboxServer(sandbox) as server:
        tune(BASE_URL=server.base_url, INBOX_ORIGINS=[server.inbox_origin])
        create_embed(slug="sales", name="Sales", allowed_origins=[SITE])
        status, output = run()
        assert (status, "[clock-right]" in output) == (0, True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        tune(BASE_URL=f"http://127.0.0.1:{free.getsockname()[1]}/platform/v1")
        status, output = run()
    assert (status, "[kapso-unreachable]" in output) == (1, True)


# The documents


def codes_of_the_source() -> set[str]:
    found: set[str] = set()
    for path in Path(inspect.getfile(diagnosis)).parent.glob("*.py"):
        made = r"\b(?:make_)?(?:error|warning|info)\(\s*(\"[a-z-]+\"(?: if \w+ else \"[a-z-]+\")?)"
        calls = re.findall(rf"{made}|\bmake\(\s*(\"[a-z-]+\")", path.read_text())
        for call in calls:
            found |= set(re.findall(r'"([a-z-]+)"', "".join(call)))
    return found


def test_every_code_of_the_source_has_its_tests_and_stands_in_the_document() -> None:
    made = codes_of_the_source()
    assert len(made) > 40
    tests = Path(__file__).read_text()
    assert [code for code in made if f'"{code}"' not in tests] == []
    assert set(rows("doctor.md", "code")) == made
    for meaning, level, mend in rows("doctor.md", "code").values():
        assert meaning
        assert level in ("error", "warning", "info", "error, warning")
        assert mend


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
    ],
)
def test_what_needs_no_network_is_a_check_for_deployment(
    changed: dict[str, Any], expected: list[str], django_assert_num_queries: Any
) -> None:
    with override_settings(**changed), django_assert_num_queries(0):
        deployed = django_checks.run_checks(tags=["kapso_inbox"], include_deployment_checks=True)
        assert django_checks.run_checks(tags=["kapso_inbox"]) == []
    assert [message.id for message in deployed] == [f"kapso_inbox.{number}" for number in expected]
    assert all(message.hint for message in deployed)
