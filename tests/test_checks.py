"""The system checks: one finding for each wrong setting, with what to do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import responses
from django.conf import settings as django_settings
from django.conf.urls.i18n import i18n_patterns
from django.contrib.auth import get_user_model
from django.core import checks as django_checks
from django.core.checks import CheckMessage
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import (
    get_script_prefix,
    include,
    path,
    re_path,
    register_converter,
    reverse_lazy,
    set_script_prefix,
)
from django.urls.converters import REGISTERED_CONVERTERS, get_converters
from django.views import View
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kapso_inbox import checks, conf
from kapso_inbox.checks import check_host, check_presence, check_settings, check_urls
from kapso_inbox.diagnosis.site import host_findings, urlconf_findings
from kapso_inbox.encryption import generate_key

KEY = "kapso-key-that-nobody-may-see"
SECRET = generate_key()
PAGE = path("page/", lambda request: HttpResponse())
OURS = path("kapso-inbox/", include("kapso_inbox.urls"))
pytestmark = pytest.mark.table  # no query is made

NEEDS_REST_FRAMEWORK = pytest.mark.skipif(
    find_spec("rest_framework") is None, reason="It takes the extra api."
)
NEEDS_PHONENUMBERS = pytest.mark.skipif(
    find_spec("phonenumbers") is None, reason="It takes the extra phone."
)

QUICKSTART: dict[str, Any] = {"API_KEY": KEY, "ENCRYPTION_KEYS": {"k": SECRET}}


@pytest.fixture(autouse=True)
def nothing_leaves(django_assert_num_queries: Callable[..., Any], db: None) -> Iterator[None]:
    """No check makes a query or a request."""
    with (
        responses.RequestsMock(assert_all_requests_are_fired=False) as mock,
        django_assert_num_queries(0),
    ):
        yield
    assert len(mock.calls) == 0


def findings(**values: Any) -> list[CheckMessage]:
    with override_settings(KAPSO_INBOX={**QUICKSTART, **values}):
        return list(check_settings())


def host(*urlpatterns: Any, **values: Any) -> Any:
    """Return a context in which the site has these addresses, and a login page elsewhere."""
    urlconf = type("urlconf", (), {"urlpatterns": list(urlpatterns)})
    return override_settings(
        **{"ROOT_URLCONF": urlconf, "LOGIN_URL": "https://sso.example.com/", **values}
    )


def test_the_quickstarts_settings_are_in_order() -> None:
    assert findings() == []


@pytest.mark.parametrize(
    "values",
    [
        {"API_KEY": f"{KEY}\n"},
        {"API_KEY": "", "PROJECTS": {"clinic": {"API_KEY": KEY}}},
        {"ENCRYPTION_KEYS": {"new": SECRET, "old": f" {SECRET}=\n"}},
        {"BASE_URL": "http://localhost:8000/platform/v1"},
        {"INBOX_ORIGINS": ("https://a.example", "http://localhost:8001")},
        {"PROJECTS": {"a-B_1": {"API_KEY": KEY, "BASE_URL": "https://kapso.example"}}},
        {"PROJECTS": {"a": {"API_KEY": KEY, "INBOX_ORIGINS": ["https://inbox.example"]}}},
        {"TIMEOUT": [1, 2.5]},
        {"PROXIES": {"https": "http://ana:secret@proxy.example:3128"}},
        {"CA_BUNDLE": __file__},
        {"CA_BUNDLE": Path(__file__).parent},
        {"ALLOWED_ORIGINS": ["*", "*.example.com", "https://crm.example.com"]},
        {"ALLOWED_ORIGINS": []},
        {"ALLOWED_ORIGINS": None},
        {"DELIVERY": "direct"},
        {"REQUIRE_FETCH_METADATA": False},
        {"USER_PARAMS": "tests.test_checks.findings"},
        pytest.param({"PHONE_REGION": "BR"}, marks=NEEDS_PHONENUMBERS),
        {"TEAM_MEMBER": "tests.test_checks.findings"},
        {"VERIFY_AFTER": 0},
        {"VERIFY_AFTER": None},
        {"AUDIT_RETENTION": timedelta(days=30)},
        {"VERIFY_AFTER": 0.5},
    ],
)
def test_what_the_documents_allow_is_in_order(values: dict[str, Any]) -> None:
    assert findings(**values) == []


MISSING: list[tuple[str, str, Any]] = [
    # the id with --deploy, the words of the message that name the setting, the settings
    ("E002", '["API_KEY"]', {"API_KEY": None}),
    ("E002", '["API_KEY"]', {"API_KEY": ""}),
    ("E002", '["API_KEY"]', {"API_KEY": " \n"}),
    ("E002", '["PROJECTS"]["a"]["API_KEY"]', {"PROJECTS": {"a": {}}}),
    ("E003", '["ENCRYPTION_KEYS"]', {"ENCRYPTION_KEYS": None}),
    ("E003", '["ENCRYPTION_KEYS"]', {"ENCRYPTION_KEYS": {}}),
]
WRONG: list[tuple[str, str, Any]] = [
    # id, the words of the message that name the setting, the settings
    ("E002", '["API_KEY"]', {"API_KEY": f"{KEY} {KEY}"}),
    ("E002", '["API_KEY"]', {"API_KEY": f"{KEY}\n{KEY}"}),
    ("E002", '["API_KEY"]', {"API_KEY": f"{KEY}é"}),
    ("E002", '["API_KEY"]', {"API_KEY": KEY.encode()}),
    ("E002", '["PROJECTS"]["a"]["API_KEY"]', {"PROJECTS": {"a": {"API_KEY": f"{KEY} {KEY}"}}}),
    ("E003", '["ENCRYPTION_KEYS"]', {"ENCRYPTION_KEYS": SECRET}),
    ("E003", '["ENCRYPTION_KEYS"]', {"ENCRYPTION_KEYS": [SECRET]}),
    ("E003", '["ENCRYPTION_KEYS"]', {"ENCRYPTION_KEYS": {SECRET: "k"}}),
    ("E003", '["ENCRYPTION_KEYS"]', {"ENCRYPTION_KEYS": {"k": SECRET[:-2]}}),
    ("E003", '["ENCRYPTION_KEYS"]', {"ENCRYPTION_KEYS": {"k": SECRET, "l": None}}),
    ("E003", '["ENCRYPTION_KEYS"]', {"ENCRYPTION_KEYS": {"k": SECRET, 7: SECRET}}),
    ("E004", '["BASE_URL"]', {"BASE_URL": None}),
    ("E004", '["BASE_URL"]', {"BASE_URL": ""}),
    ("E004", '["BASE_URL"]', {"BASE_URL": "http://api.kapso.ai"}),
    ("E004", '["BASE_URL"]', {"BASE_URL": f"https://{KEY}@api.kapso.ai"}),
    ("E004", '["BASE_URL"]', {"BASE_URL": f"https://api.kapso.ai?key={KEY}"}),
    (
        "E004",
        '["PROJECTS"]["a"]["BASE_URL"]',
        {"PROJECTS": {"a": {"API_KEY": KEY, "BASE_URL": "http://api.kapso.ai"}}},
    ),
    ("E005", '["INBOX_ORIGINS"]', {"INBOX_ORIGINS": []}),
    ("E005", '["INBOX_ORIGINS"]', {"INBOX_ORIGINS": [""]}),
    ("E005", '["INBOX_ORIGINS"]', {"INBOX_ORIGINS": None}),
    ("E005", '["INBOX_ORIGINS"]', {"INBOX_ORIGINS": "https://inbox.kapso.ai"}),
    ("E005", '["INBOX_ORIGINS"]', {"INBOX_ORIGINS": ["https://inbox.kapso.ai/"]}),
    ("E005", '["INBOX_ORIGINS"]', {"INBOX_ORIGINS": ["https://*.kapso.ai"]}),
    ("E005", '["INBOX_ORIGINS"]', {"INBOX_ORIGINS": ["http://inbox.kapso.ai"]}),
    (
        "E005",
        '["PROJECTS"]["a"]["INBOX_ORIGINS"]',
        {"PROJECTS": {"a": {"API_KEY": KEY, "INBOX_ORIGINS": ["*"]}}},
    ),
    ("E006", '["PROJECTS"]', {"PROJECTS": None}),
    ("E006", '["PROJECTS"]', {"PROJECTS": ["a"]}),
    ("E006", '["PROJECTS"]["a"]', {"PROJECTS": {"a": KEY}}),
    ("E006", '["PROJECTS"]["a"]', {"PROJECTS": {"a": {"API_KEY": KEY, "DELIVERY": "launch"}}}),
    ("E006", '["PROJECTS"]["a"]', {"PROJECTS": {"a": {"API_KEY": KEY, 7: 7}}}),
    ("E006", '["PROJECTS"]["a b"]', {"PROJECTS": {"a b": {"API_KEY": KEY}}}),
    ("E006", '["PROJECTS"][""]', {"PROJECTS": {"": {"API_KEY": KEY}}}),
    ("E006", '["PROJECTS"]["7"]', {"PROJECTS": {7: {"API_KEY": KEY}}}),
    ("E006", '["PROJECTS"]["default"]', {"PROJECTS": {"default": {"API_KEY": KEY}}}),
    ("E007", '["TIMEOUT"]', {"TIMEOUT": None}),
    ("E007", '["TIMEOUT"]', {"TIMEOUT": 10}),
    ("E007", '["TIMEOUT"]', {"TIMEOUT": (10,)}),
    ("E007", '["TIMEOUT"]', {"TIMEOUT": (0, 10)}),
    ("E007", '["TIMEOUT"]', {"TIMEOUT": (3, -1)}),
    ("E007", '["TIMEOUT"]', {"TIMEOUT": (3, None)}),
    ("E007", '["TIMEOUT"]', {"TIMEOUT": (3, True)}),
    ("E007", '["TIMEOUT"]', {"TIMEOUT": (3, float("nan"))}),
    ("E007", '["TIMEOUT"]', {"TIMEOUT": ("3", "10")}),
    ("E008", '["PROXIES"]', {"PROXIES": f"http://ana:{KEY}@proxy.example"}),
    ("E008", '["PROXIES"]', {"PROXIES": {"https": None}}),
    ("E008", '["PROXIES"]', {"PROXIES": [f"http://ana:{KEY}@proxy.example"]}),
    ("E009", '["CA_BUNDLE"]', {"CA_BUNDLE": ""}),
    ("E009", '["CA_BUNDLE"]', {"CA_BUNDLE": True}),
    ("E009", '["CA_BUNDLE"]', {"CA_BUNDLE": "/nowhere/at/all.pem"}),
    ("E009", '["CA_BUNDLE"]', {"CA_BUNDLE": "a\0b"}),
    ("E010", '["ALLOWED_ORIGINS"]', {"ALLOWED_ORIGINS": {}}),
    ("E010", '["ALLOWED_ORIGINS"]', {"ALLOWED_ORIGINS": "https://crm.example.com"}),
    ("E010", '["ALLOWED_ORIGINS"]', {"ALLOWED_ORIGINS": ["https://crm.example.com/"]}),
    ("E010", '["ALLOWED_ORIGINS"]', {"ALLOWED_ORIGINS": [None]}),
    ("E011", '["DELIVERY"]', {"DELIVERY": None}),
    ("E011", '["DELIVERY"]', {"DELIVERY": "iframe"}),
    ("E011", '["DELIVERY"]', {"DELIVERY": ["launch"]}),
    ("E012", '["REQUIRE_FETCH_METADATA"]', {"REQUIRE_FETCH_METADATA": None}),
    ("E012", '["REQUIRE_FETCH_METADATA"]', {"REQUIRE_FETCH_METADATA": "False"}),
    ("E012", '["REQUIRE_FETCH_METADATA"]', {"REQUIRE_FETCH_METADATA": 0}),
    ("E013", '["ACCESS_POLICY"]', {"ACCESS_POLICY": None}),
    ("E013", '["ACCESS_POLICY"]', {"ACCESS_POLICY": "kapso_inbox.models.InboxEmbed"}),
    ("E015", '["VERIFY_AFTER"]', {"VERIFY_AFTER": 1e12}),
    ("E017", '["RENEW_BEFORE"]', {"RENEW_BEFORE": -1}),
    ("E017", '["RENEW_BEFORE"]', {"RENEW_BEFORE": "7 days"}),
    ("E018", '["AUDIT_RETENTION"]', {"AUDIT_RETENTION": "a year"}),
    ("E018", '["AUDIT_RETENTION"]', {"AUDIT_RETENTION": 1e12}),
    ("E015", '["VERIFY_AFTER"]', {"VERIFY_AFTER": float("inf")}),
    ("E022", '["TICKETS_FOR_SESSIONS"]', {"TICKETS_FOR_SESSIONS": "yes"}),
    ("E013", '["ACCESS_POLICY"]', {"ACCESS_POLICY": ""}),
    ("E013", '["ACCESS_POLICY"]', {"ACCESS_POLICY": "AccessPolicy"}),
    ("E013", '["ACCESS_POLICY"]', {"ACCESS_POLICY": ".AccessPolicy"}),
    ("E013", '["ACCESS_POLICY"]', {"ACCESS_POLICY": "..AccessPolicy"}),
    ("E013", '["ACCESS_POLICY"]', {"ACCESS_POLICY": "no.such.Policy"}),
    ("E013", '["ACCESS_POLICY"]', {"ACCESS_POLICY": "kapso_inbox.access.NoSuch"}),
    ("E013", '["ACCESS_POLICY"]', {"ACCESS_POLICY": "kapso_inbox.__version__"}),
    ("E013", '["ACCESS_POLICY"]', {"ACCESS_POLICY": "a\0b.Policy"}),
    ("E014", '["USER_PARAMS"]', {"USER_PARAMS": ""}),
    ("E014", '["USER_PARAMS"]', {"USER_PARAMS": "no.such.function"}),
    ("E014", '["USER_PARAMS"]', {"USER_PARAMS": findings}),
    ("E019", '["PHONE_REGION"]', {"PHONE_REGION": ""}),
    ("E019", '["PHONE_REGION"]', {"PHONE_REGION": "br"}),
    ("E019", '["PHONE_REGION"]', {"PHONE_REGION": "UK"}),
    ("E019", '["PHONE_REGION"]', {"PHONE_REGION": "+55"}),
    ("E020", '["TEAM_MEMBER"]', {"TEAM_MEMBER": ""}),
    ("E020", '["TEAM_MEMBER"]', {"TEAM_MEMBER": "no.such.function"}),
    ("E021", '["READ_ONLY"]', {"READ_ONLY": "no"}),
    ("E021", '["READ_ONLY"]', {"READ_ONLY": None}),
    ("E030", '["REAL_USER"]', {"REAL_USER": None}),
    ("E030", '["REAL_USER"]', {"REAL_USER": "kapso_inbox.audit.nobody"}),
    ("E031", '["SHARED_PROJECTS"]', {"SHARED_PROJECTS": "no"}),
    ("E032", '["WEBHOOK_SECRETS"]', {"WEBHOOK_SECRETS": "a secret"}),
    ("E032", '["WEBHOOK_SECRETS"]', {"WEBHOOK_SECRETS": {"default": ""}}),
    ("E032", '["WEBHOOK_SECRETS"]', {"WEBHOOK_SECRETS": {"default": []}}),
    ("E032", '["WEBHOOK_SECRETS"]', {"WEBHOOK_SECRETS": {"default": ["one", None]}}),
    ("E033", '["STORE_TEXT"]', {"STORE_TEXT": 1}),
    ("E034", '["CONVERSATION_RETENTION"]', {"CONVERSATION_RETENTION": "90 days"}),
    ("E034", '["CONVERSATION_RETENTION"]', {"CONVERSATION_RETENTION": -1}),
    ("E015", '["VERIFY_AFTER"]', {"VERIFY_AFTER": timedelta(seconds=-1)}),
    ("E015", '["VERIFY_AFTER"]', {"VERIFY_AFTER": -1}),
    ("E015", '["VERIFY_AFTER"]', {"VERIFY_AFTER": "300"}),
    ("E015", '["VERIFY_AFTER"]', {"VERIFY_AFTER": True}),
    ("E015", '["VERIFY_AFTER"]', {"VERIFY_AFTER": float("nan")}),
    ("W001", '["API_KEYS"]', {"API_KEYS": KEY}),
    ("W001", '["timeout"]', {"timeout": (1, 2)}),
    ("W001", '["7"]', {7: KEY}),
]


@pytest.mark.parametrize(("number", "words", "values"), WRONG)
def test_a_wrong_setting_is_one_finding_with_what_to_do(
    number: str, words: str, values: dict[Any, Any]
) -> None:
    with override_settings(KAPSO_INBOX={**QUICKSTART, **values}):
        [finding] = check_settings()
    assert finding.id == f"kapso_inbox.{number}"
    assert f"KAPSO_INBOX{words}" in finding.msg
    assert len(finding.hint or "") > 10
    assert finding.level == (django_checks.WARNING if number == "W001" else django_checks.ERROR)
    for secret in (KEY, SECRET[:-2], "proxy.example"):
        assert secret not in f"{finding.msg}"
        assert secret == "proxy.example" or secret not in f"{finding.hint}"


CAUSES: list[tuple[dict[str, Any], str]] = [
    # the settings, what the message says about them
    ({"API_KEY": KEY.encode()}, "It is of type bytes."),
    ({"PROJECTS": {"a": KEY}}, "It is of type str."),
    ({"BASE_URL": None}, "It is None."),
    ({"BASE_URL": "http://api.kapso.ai/v1"}, "It is “http://api.kapso.ai…”."),
    ({"BASE_URL": f"https://{KEY}@api.kapso.ai"}, "It has a user name."),
    ({"BASE_URL": f"https://api.kapso.ai?key={KEY}"}, "It has a query or a fragment."),
    ({"INBOX_ORIGINS": "https://inbox.kapso.ai"}, "It is of type str."),
    ({"INBOX_ORIGINS": []}, "It is empty."),
    ({"INBOX_ORIGINS": [f"https://inbox.kapso.ai/embed/{KEY}"]}, "is “https://inbox.kapso.ai…”."),
    ({"ALLOWED_ORIGINS": ["a.example", "b.example/"]}, "Item 2 is “b.example…”."),
    ({"ALLOWED_ORIGINS": [f"https://ana:{KEY}@b.example"]}, "Item 1 has a user name."),
    ({"ALLOWED_ORIGINS": [None]}, "Item 1 is None."),
    ({"PROXIES": [f"http://ana:{KEY}@proxy.example"]}, "It is of type list."),
    ({"PROXIES": {"https": None}}, "It is of type dict."),
    ({"TIMEOUT": (3, -1)}, "It is (3, -1)."),
    ({"CA_BUNDLE": "/nowhere/at/all.pem"}, "It is '/nowhere/at/all.pem'."),
    ({"DELIVERY": "iframe"}, "It is 'iframe'."),
    ({"READ_ONLY": "no"}, "It is 'no'."),
    ({"READ_ONLY": "n" * 200}, "It is of type str."),
    ({"ACCESS_POLICY": "no.such.Policy"}, "It is 'no.such.Policy'. No module named 'no'"),
    ({"ACCESS_POLICY": "kapso_inbox.access.NoSuch"}, 'does not define a "NoSuch"'),
    ({"ACCESS_POLICY": "kapso_inbox.models.InboxEmbed"}, "is not a subclass of AccessPolicy."),
    ({"ACCESS_POLICY": "tests.hosts.broken.Policy"}, "ValueError: This module cannot be imported."),
    ({"USER_PARAMS": "kapso_inbox.__version__"}, "It cannot be called."),
    ({"USER_PARAMS": findings}, "It is of type function."),
    ({"TEAM_MEMBER": "kapso_inbox.nothing"}, 'does not define a "nothing"'),
    ({"VERIFY_AFTER": "300"}, "It is '300'."),
    ({"RENEW_BEFORE": timedelta(seconds=-1)}, "It is datetime.timedelta(days=-1, seconds=86399)."),
    pytest.param(
        {"PHONE_REGION": "UK"},
        "It is 'UK'. The phonenumbers library does not know it.",
        marks=NEEDS_PHONENUMBERS,
    ),
]


@pytest.mark.parametrize(("values", "cause"), CAUSES)
def test_a_message_says_what_is_wrong_with_the_value(values: dict[str, Any], cause: str) -> None:
    [finding] = findings(**values)
    assert cause in finding.msg
    assert KEY not in finding.msg


NAME, MARKS, EXPORT = (
    "the name or ID and the “=” after it",
    "the quotation marks",
    "the word “export”",
)
PASTED = [
    # what was pasted around the key, and what of it must go
    ('"{}"', [MARKS]),
    ("'{}'", [MARKS]),
    ("“{}”", [MARKS]),
    ("{}'", [MARKS]),
    ("KAPSO_API_KEY={}", [NAME]),
    ('KAPSO_API_KEY="{}"', [NAME, MARKS]),
    ("export KAPSO_API_KEY='{}'", [EXPORT, NAME, MARKS]),
    ("2026-11={}", [NAME]),
    ("2026-11={}=", [NAME]),
    ("KAPSO_INBOX_ENCRYPTION_KEYS=2026-11={}", [NAME]),
]


@pytest.mark.parametrize(("around", "removed"), PASTED)
@pytest.mark.parametrize("where", ["API_KEY", "PROJECTS", "ENCRYPTION_KEYS"])
def test_a_key_that_was_pasted_with_its_name_or_with_quotes_is_recognised(
    around: str, removed: list[str], where: str
) -> None:
    key, secret = around.format(KEY), around.format(SECRET)
    [finding] = findings(
        **{
            "API_KEY": {"API_KEY": key},
            "PROJECTS": {"PROJECTS": {"a": {"API_KEY": key}}},
            "ENCRYPTION_KEYS": {"ENCRYPTION_KEYS": {"k": secret}},
        }[where]
    )
    assert finding.id == f"kapso_inbox.{'E003' if where == 'ENCRYPTION_KEYS' else 'E002'}"
    assert f"Remove {' and '.join(removed)}." in finding.msg
    for part in (KEY[:8], SECRET[:8], "KAPSO_API", "2026"):
        assert part not in f"{finding.msg}{finding.hint}"


@pytest.mark.parametrize(("number", "words", "values"), MISSING)
def test_a_missing_secret_is_a_warning_and_an_error_where_one_deploys(
    number: str, words: str, values: dict[str, Any]
) -> None:
    with override_settings(KAPSO_INBOX={**QUICKSTART, **values}):
        [warning], [error] = check_settings(), check_presence()
    assert (warning.id, error.id) == ("kapso_inbox.W008", f"kapso_inbox.{number}")
    assert (warning.level, error.level) == (django_checks.WARNING, django_checks.ERROR)
    assert warning.msg == error.msg == f"KAPSO_INBOX{words} is missing."
    assert len(warning.hint or "") > 10


@pytest.mark.parametrize("setting", [None, ...])
def test_a_setting_that_is_missing_altogether_is_one_warning(setting: Any) -> None:
    with override_settings(KAPSO_INBOX=setting):
        if setting is ...:
            del django_settings.KAPSO_INBOX
        [warning], [error] = check_settings(), check_presence()
    assert (warning.id, error.id) == ("kapso_inbox.W008", "kapso_inbox.E001")
    assert "ENCRYPTION_KEYS" in (warning.hint or "")


def test_no_command_is_stopped_by_secrets_that_are_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with override_settings(KAPSO_INBOX={}):
        call_command("check", databases=[])  # as each command does that runs the checks
    assert "ENCRYPTION_KEYS" in capsys.readouterr().err


def test_a_deployment_is_stopped_by_secrets_that_are_missing() -> None:
    with override_settings(KAPSO_INBOX={}), pytest.raises(SystemCheckError, match="E003"):
        call_command("check", deploy=True, databases=[])


@pytest.mark.parametrize("setting", [[], "text", 7, object()])
def test_a_setting_that_is_no_dictionary_is_one_finding(setting: Any) -> None:
    with override_settings(KAPSO_INBOX=setting):
        [finding] = check_settings()
    assert finding.id == "kapso_inbox.E001"
    assert "KAPSO_INBOX" in finding.msg
    assert "ENCRYPTION_KEYS" in (finding.hint or "")


#: Every check: those of `WRONG`, those of the setting as a whole, and those of the addresses.
IDS = (
    {number for number, _, _ in WRONG}
    | {"E001", "E016", "W007", "W008", "W009", "W010", "W011"}
    | {f"W0{number}" for number in range(12, 18)}
)


def test_every_id_of_the_source_has_a_wrong_setting_here() -> None:
    source = "".join(path.read_text() for path in Path(checks.__file__).parent.glob("*.py"))
    assert set(re.findall(r"\b[EW]0\d\d\b", source)) == IDS


def test_an_id_belongs_to_one_setting_only() -> None:
    settings_of: dict[str, set[str]] = {}
    for number, words, _ in WRONG:
        if number != "W001":
            settings_of.setdefault(number, set()).add(words.split('"')[-2])
    named = {
        number: names - {"a", "a b", "", "7", "default"} for number, names in settings_of.items()
    }
    assert all(len(names) == 1 for names in named.values()), named


def test_every_setting_has_a_check() -> None:
    checked = {words.split('"')[1] for _, words, _ in WRONG}
    assert checked >= {*conf.REQUIRED, *conf.DEFAULTS}


class Strange:
    def __eq__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return 1

    def __repr__(self) -> str:
        raise RuntimeError


#: What comparing, converting, importing and looking up files stumble over.
ODD = ["", "\0", "\ud800", "https://[::1", 10**400, b"bytes", object, object(), lambda: 1]
plain = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9), st.sampled_from(ODD)
)
anything = st.recursive(
    plain | st.builds(Strange),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.sets(plain, max_size=3),
        st.dictionaries(plain | st.just(()), inner, max_size=3),
        st.fixed_dictionaries({}, optional=dict.fromkeys(conf.PROJECT_KEYS, inner)),
    ),
    max_leaves=6,
)


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    # No example leaves a query or a request behind for the next one.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(anything)
def test_no_value_of_any_setting_makes_a_check_itself_fail(value: Any) -> None:
    for name in (*conf.REQUIRED, *conf.DEFAULTS):
        for finding in findings(**{name: value}):
            assert name in finding.msg or finding.id in ("kapso_inbox.E002", "kapso_inbox.W008")
            assert finding.hint
        with override_settings(KAPSO_INBOX={name: value}):
            assert check_settings(), f"{name} alone is not enough"


def test_a_host_with_the_quickstarts_settings_deploys_without_a_finding_of_ours() -> None:
    # The tests' host also has the app of conversations, which asks for a secret.
    secrets = {"WEBHOOK_SECRETS": {"default": "a-secret-of-the-webhooks"}}
    with override_settings(KAPSO_INBOX={**django_settings.KAPSO_INBOX, **secrets}):
        # Left to itself, Django 6.1 asks every database what it can do.
        findings = django_checks.run_checks(include_deployment_checks=True, databases=[])
    assert [finding.id for finding in findings if "kapso" in f"{finding.id}{finding.msg}"] == []
    assert findings, "Django itself has something to say of the tests' settings"


def test_several_wrong_settings_are_as_many_findings() -> None:
    found = findings(API_KEY="", TIMEOUT=3, DELIVERY="x", NONSENSE=1)
    assert sorted(str(one.id)[-4:] for one in found) == ["E007", "E011", "W001", "W008"]


def test_the_app_registers_its_checks() -> None:
    registered = django_checks.registry.registry.get_checks()
    assert check_settings in registered
    assert check_urls in registered
    assert check_host in registered
    with override_settings(KAPSO_INBOX={**QUICKSTART, "TIMEOUT": 3}):
        assert [one.id for one in django_checks.run_checks(tags=["kapso_inbox"])] == [
            "kapso_inbox.E007"
        ]


def test_addresses_that_are_included_are_in_order() -> None:
    assert check_urls() == []


def test_addresses_that_are_not_included_are_a_finding() -> None:
    with override_settings(ROOT_URLCONF="tests.urls_without_inbox"):
        [warning], [error] = check_urls(), check_presence()
    assert (warning.id, error.id) == ("kapso_inbox.W009", "kapso_inbox.E016")
    assert "kapso_inbox.urls" in warning.msg
    assert "include(" in (warning.hint or "")


@pytest.mark.parametrize(
    ("urlpatterns", "languages", "found"),
    [
        ([*i18n_patterns(PAGE), OURS], django_settings.LANGUAGES, ["kapso_inbox.W007"]),
        ([*i18n_patterns(PAGE), OURS], [("es", "Spanish")], []),
        (i18n_patterns(PAGE, OURS), django_settings.LANGUAGES, []),
        (i18n_patterns(PAGE, OURS, prefix_default_language=False), django_settings.LANGUAGES, []),
        ([PAGE, OURS], django_settings.LANGUAGES, []),
    ],
)
def test_where_addresses_begin_with_a_language_ours_have_to(
    urlpatterns: list[Any], languages: list[tuple[str, str]], found: list[str]
) -> None:
    """Else an inbox is in the browser's language on a page of another."""
    with host(*urlpatterns, LANGUAGES=languages):
        assert [finding.id for finding in check_urls()] == found


def app_page(request: HttpRequest, path: str = "") -> HttpResponse:
    """Show the single-page application of the host, whatever the path."""
    return HttpResponse()


def api() -> Any:
    """Return the pattern of the REST API, which is an extra."""
    return path("api/kapso-inbox/", include("kapso_inbox.api.urls"))


class AppPage(View):
    """The same, as a class."""


EVERYTHING = path("<path:path>", app_page)
JSON_ONLY = {"DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"]}
TAKEN: list[tuple[list[Any], str, str]] = [
    # the URLconf, the pattern that the message names, and the view
    ([EVERYTHING, OURS], "<path:path>", "tests.test_checks.app_page"),
    ([re_path("^(.*)$", AppPage.as_view()), OURS], "^(.*)$", "tests.test_checks.AppPage"),
    ([path("", include([EVERYTHING])), OURS], "<path:path>", "tests.test_checks.app_page"),
    (i18n_patterns(EVERYTHING, OURS), "<path:path>", "tests.test_checks.app_page"),
    ([EVERYTHING, *i18n_patterns(OURS)], "<path:path>", "tests.test_checks.app_page"),
    ([path("<path:path>", partial(app_page)), OURS], "<path:path>", "functools.partial"),
    (
        [path("kapso-inbox/<slug:slug>/settings/", app_page), OURS],
        "kapso-inbox/<slug:slug>/settings/",
        "tests.test_checks.app_page",
    ),
]


@pytest.mark.parametrize(("urlpatterns", "pattern", "view"), TAKEN)
def test_a_pattern_before_ours_that_takes_our_addresses_is_found(
    urlpatterns: list[Any], pattern: str, view: str
) -> None:
    with host(*urlpatterns):
        [warning] = check_urls()
    assert (warning.id, warning.level) == ("kapso_inbox.W010", django_checks.WARNING)
    assert f"{pattern}”" in warning.msg
    assert view in warning.msg
    assert "/kapso-inbox/" in warning.msg
    assert 'Put path("kapso-inbox/", include("kapso_inbox.urls")) before it.' in (
        warning.hint or ""
    )


@pytest.mark.parametrize(
    "urlpatterns",
    [[OURS, EVERYTHING], i18n_patterns(OURS, EVERYTHING), [*i18n_patterns(OURS), EVERYTHING]],
)
def test_a_pattern_after_ours_may_take_every_address(urlpatterns: list[Any]) -> None:
    with host(*urlpatterns):
        assert check_urls() == []


@NEEDS_REST_FRAMEWORK
def test_a_pattern_before_those_of_the_api_that_takes_its_addresses_is_found() -> None:
    with host(OURS, EVERYTHING, api(), REST_FRAMEWORK=JSON_ONLY):
        [warning] = check_urls()
    assert warning.id == "kapso_inbox.W010"
    assert "/api/kapso-inbox/" in warning.msg
    assert 'include("kapso_inbox.api.urls")) before it' in (warning.hint or "")
    with host(OURS, api(), EVERYTHING, REST_FRAMEWORK=JSON_ONLY):
        assert check_urls() == []


def test_a_site_below_a_path_is_no_reason_for_a_finding() -> None:
    previous = get_script_prefix()
    set_script_prefix("/crm/")
    try:
        with host(OURS, PAGE, LOGIN_URL="/crm/page/"):
            assert check_urls() == []
        with host(EVERYTHING, OURS):
            assert [one.id for one in check_urls()] == ["kapso_inbox.W010"]
    finally:
        set_script_prefix(previous)


class Stubborn:
    """A converter of a host, which cannot do without its database."""

    regex = ".+"

    def to_python(self, value: str) -> str:
        raise RuntimeError("There is no database.")

    def to_url(self, value: str) -> str:
        return value


def test_a_pattern_of_the_host_that_fails_ends_no_command() -> None:
    register_converter(Stubborn, "stubborn")
    try:
        with host(path("<stubborn:value>", app_page), OURS):
            assert check_urls() == []
    finally:
        REGISTERED_CONVERTERS.pop("stubborn")
        get_converters.cache_clear()


@pytest.mark.parametrize(
    ("login_url", "cause"),
    [
        ("no-such-view", "is not an address, and not the name of a view"),
        (None, "is not an address, and not the name of a view"),
        (reverse_lazy("no-such-view"), "is not an address, and not the name of a view"),
        ("/accounts/login/", "“/accounts/login/”, which leads to no view of this site"),
        ("/accounts/login/?next=/", "“/accounts/login/”, which leads to no view of this site"),
    ],
)
def test_a_login_address_that_leads_nowhere_is_found(login_url: Any, cause: str) -> None:
    with host(OURS, LOGIN_URL=login_url):
        [warning] = check_urls()
    assert (warning.id, warning.level) == ("kapso_inbox.W011", django_checks.WARNING)
    assert warning.msg.startswith("The setting LOGIN_URL ")
    assert cause in warning.msg
    assert "LOGIN_URL" in (warning.hint or "")


LOGIN = path("login/", app_page, name="sign-in")


@pytest.mark.parametrize(
    ("login_url", "urlpatterns"),
    [
        ("sign-in", [OURS, LOGIN]),
        (reverse_lazy("sign-in"), [OURS, LOGIN]),
        ("/login/?realm=crm#top", [OURS, LOGIN]),
        ("/login", [OURS, LOGIN]),
        ("https://sso.example.com/in?realm=crm", [OURS]),
        ("//sso.example.com/in", [OURS]),
        ("/pt-br/login/", i18n_patterns(OURS, LOGIN)),
        ("/login/", i18n_patterns(OURS, LOGIN)),
        ("sign-in", i18n_patterns(OURS, LOGIN)),
        ("/anything/", [OURS, EVERYTHING]),
    ],
)
def test_a_login_address_that_leads_somewhere_is_fine(
    login_url: Any, urlpatterns: list[Any]
) -> None:
    with host(*urlpatterns, LOGIN_URL=login_url):
        assert check_urls() == []


def test_where_our_addresses_are_missing_nobody_is_led_to_a_login() -> None:
    with host(LOGIN_URL="no-such-view"):
        assert [one.id for one in check_urls()] == ["kapso_inbox.W009"]


class Routes:
    """Send the models of some apps to another database, and let migrate make tables in some."""

    def __init__(self, apps: str, made_in: str = "default replica") -> None:
        self.apps, self.made_in = apps.split(), made_in.split()

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "replica" if model._meta.app_label in self.apps else "default"

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return app_label != "kapso_inbox" or db in self.made_in


#: The labels of the apps of users and groups.
USERS = f"auth {get_user_model()._meta.app_label}"


class HelplessRoutes(Routes):
    """Know where to go in a request only."""

    def db_for_write(self, model: Any, **hints: Any) -> str:
        raise LookupError("There is no request.")


@pytest.mark.parametrize(
    ("routes", "words"),
    [
        (Routes("kapso_inbox"), "of kapso_inbox into 'replica', and users and groups into 'def"),
        (Routes(USERS), "of kapso_inbox into 'default', and users and groups into 'replica'"),
        (Routes("", made_in="replica"), "keep migrate from making the tables of kapso_inbox in"),
    ],
)
def test_routers_that_part_our_tables_from_those_of_users_are_found(
    routes: Routes, words: str
) -> None:
    with override_settings(DATABASE_ROUTERS=[routes]):
        [warning] = check_host()
    assert (warning.id, warning.level) == ("kapso_inbox.W013", django_checks.WARNING)
    assert f"DATABASE_ROUTERS {'put the tables ' if 'into' in words else ''}{words}" in warning.msg
    assert "DATABASE_ROUTERS" in (warning.hint or "")


@pytest.mark.parametrize(
    "routes", [Routes(""), Routes(f"kapso_inbox {USERS}"), HelplessRoutes("kapso_inbox")]
)
def test_routers_that_keep_our_tables_with_those_of_users_are_fine(routes: Routes) -> None:
    with override_settings(DATABASE_ROUTERS=[routes]):
        assert check_host() == []


class TenantSyncRouter(Routes):
    """Stand in for the router of django-tenants, which answers for the schema of one tenant."""

    __module__ = "django_tenants.routers"

    def __init__(self) -> None:
        super().__init__("kapso_inbox", made_in="")


USERS_APP = get_user_model()._meta.app_config.name
OUR_CONFIG = "kapso_inbox.apps.KapsoInboxConfig"


@pytest.mark.parametrize(
    ("shared", "tenant", "words"),
    [
        ([USERS_APP], [USERS_APP], "neither in SHARED_APPS nor in TENANT_APPS"),
        (["kapso_inbox"], [USERS_APP], "is in SHARED_APPS alone"),
        (["kapso_inbox", USERS_APP], [USERS_APP], "is in SHARED_APPS alone"),
        ([USERS_APP], ["kapso_inbox"], ""),
        ([USERS_APP], [USERS_APP, OUR_CONFIG], ""),
        ([USERS_APP, OUR_CONFIG], (), ""),
        (["kapso_inbox"], [USERS_APP, "kapso_inbox"], ""),
    ],
)
def test_with_django_tenants_the_app_must_be_where_its_users_are(
    shared: Any, tenant: Any, words: str
) -> None:
    values: dict[str, Any] = {"SHARED_APPS": shared, "TENANT_APPS": tenant}
    values["KAPSO_INBOX"] = {**django_settings.KAPSO_INBOX, "SHARED_PROJECTS": True}
    with override_settings(**values):
        assert check_host() == [], "these names alone are not django-tenants"
    with override_settings(**values, DATABASE_ROUTERS=[TenantSyncRouter()]):
        found = check_host()
    assert [one.id for one in found] == (["kapso_inbox.W014"] if words else [])
    assert all(words in one.msg and "TENANT_APPS" in str(one.hint) for one in found)


def test_tenants_that_share_a_kapso_project_must_say_so() -> None:
    values = {"SHARED_APPS": [USERS_APP], "TENANT_APPS": [USERS_APP, "kapso_inbox"]}
    with override_settings(**values, DATABASE_ROUTERS=[TenantSyncRouter()]):
        [found] = check_host()
    assert found.id == "kapso_inbox.W017"
    assert "SHARED_PROJECTS" in str(found.hint)


DJANGO_TEMPLATES = "django.template.backends.django.DjangoTemplates"


@pytest.mark.parametrize(
    ("backends", "cause"),
    [
        ([], "TemplateDoesNotExist"),
        ([{"BACKEND": DJANGO_TEMPLATES, "DIRS": [Path(__file__).parent]}], "TemplateDoesNotExist"),
        ([{"BACKEND": "django.template.backends.dummy.TemplateStrings"}], "TemplateDoesNotExist"),
        ([{"BACKEND": "no.such.Backend"}], "No module named 'no'"),
    ],
)
def test_templates_that_cannot_be_found_are_a_finding(backends: Any, cause: str) -> None:
    with override_settings(TEMPLATES=backends):
        [warning] = check_host()
    assert (warning.id, warning.level) == ("kapso_inbox.W015", django_checks.WARNING)
    assert "kapso_inbox/message.html" in warning.msg
    assert cause in warning.msg
    assert "APP_DIRS" in (warning.hint or "")


def test_the_doctor_tells_what_the_checks_of_addresses_and_host_find() -> None:
    with (
        host(EVERYTHING, OURS),
        override_settings(TEMPLATES=[]),
    ):
        told = [*urlconf_findings(), *host_findings()]
    assert [(one.code, one.level) for one in told] == [
        ("kapso_inbox.W010", "warning"),
        ("kapso_inbox.W015", "warning"),
    ]


WITHOUT_DRF = [app for app in django_settings.INSTALLED_APPS if app != "rest_framework"]


@NEEDS_REST_FRAMEWORK
def test_an_api_whose_pages_lack_their_templates_is_found() -> None:
    with host(OURS, api(), INSTALLED_APPS=WITHOUT_DRF):
        [warning] = check_urls()
        with override_settings(REST_FRAMEWORK=JSON_ONLY):
            assert check_urls() == []
    assert warning.id == "kapso_inbox.W016"
    assert 'Add "rest_framework" to INSTALLED_APPS' in (warning.hint or "")
    with host(OURS, INSTALLED_APPS=WITHOUT_DRF):
        assert check_urls() == []


def test_a_site_without_a_urlconf_is_one_warning() -> None:
    with override_settings(ROOT_URLCONF=None):
        assert [one.id for one in check_urls()] == ["kapso_inbox.W009"]


HOST_WITHOUT_US = """
import django
from django.conf import settings
from tests import settings as ours
values = {name: getattr(ours, name) for name in dir(ours) if name.isupper()}
apps = [app for app in ours.INSTALLED_APPS if not app.startswith("kapso_inbox")]
settings.configure(**{**values, "INSTALLED_APPS": apps})
django.setup()
"""
SETTINGS_THAT_ASK = """
SECRET_KEY = "tests"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "kapso_inbox"]
from kapso_inbox.csp import csp_sources
SECURE_CSP = csp_sources()
"""


def last_line_of(*arguments: str, folder: Path | None = None, **environment: str) -> str:
    """Run Python in a process that fails; return the last line of what it says."""
    paths = [str(folder), *sys.path] if folder else sys.path
    python_path = os.pathsep.join(filter(None, paths))
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": python_path, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "included",
    ["kapso_inbox.urls", pytest.param("kapso_inbox.api.urls", marks=NEEDS_REST_FRAMEWORK)],
)
def test_addresses_of_an_app_that_is_not_installed_say_what_to_add(included: str) -> None:
    said = last_line_of("-c", f"{HOST_WITHOUT_US}\nimport {included}")
    assert 'ConfigurationError: Add "kapso_inbox" to INSTALLED_APPS.' in said


def test_csp_sources_in_the_settings_say_what_to_write_instead(tmp_path: Path) -> None:
    (tmp_path / "asking_settings.py").write_text(SETTINGS_THAT_ASK)
    said = last_line_of(
        *("-c", "import django; django.setup()"),
        folder=tmp_path,
        DJANGO_SETTINGS_MODULE="asking_settings",
    )
    assert said.startswith("kapso_inbox.exceptions.ConfigurationError: csp_sources()")
    assert "https://inbox.kapso.ai" in said
