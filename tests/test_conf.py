"""Reading the KAPSO_INBOX setting."""

from __future__ import annotations

from collections import namedtuple
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from kapso_inbox import conf
from kapso_inbox.access import AccessPolicy, get_policy
from kapso_inbox.checks import check_settings
from kapso_inbox.encryption import generate_key
from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.kapso import BASE_URL, KapsoClient

KEY = "kapso-key-that-nobody-may-see"
KEYS = {"k": generate_key()}


def configured(**values: Any) -> Any:
    """Override KAPSO_INBOX with the keys of the quickstart and these values."""
    return override_settings(KAPSO_INBOX={"API_KEY": KEY, "ENCRYPTION_KEYS": KEYS, **values})


class OtherPolicy(AccessPolicy):
    pass


def some_params(request: object, embed: object) -> dict[str, str]:
    return {}


def test_the_quickstarts_settings_are_enough() -> None:
    with configured():
        project = conf.project()
        assert project == conf.Project("default", KEY, BASE_URL, ("https://inbox.kapso.ai",))
        assert conf.project_aliases() == ["default"]
        assert conf.inbox_origins() == ["https://inbox.kapso.ai"]
        assert conf.keyring().current == "k"
        assert conf.delivery() == "launch"
        assert type(get_policy()) is AccessPolicy
        assert conf.user_params() is None


@pytest.mark.parametrize("name", conf.DEFAULTS)
def test_each_setting_but_two_has_a_default(name: str) -> None:
    with configured():
        assert conf.value(name) == conf.DEFAULTS[name]


def test_a_default_cannot_be_changed_by_its_reader() -> None:
    with configured():
        conf.value("INBOX_ORIGINS").append("https://evil.example")
        conf.value("PROJECTS")["x"] = {}
        assert conf.inbox_origins() == ["https://inbox.kapso.ai"]
        assert conf.value("PROJECTS") == {}


@pytest.mark.parametrize("setting", [None, {}, [], "text", 7])
def test_a_setting_that_is_missing_or_not_a_dictionary_gives_defaults(setting: Any) -> None:
    with override_settings(KAPSO_INBOX=setting):
        assert conf.value("TIMEOUT") == (3.05, 10)
        assert conf.value("API_KEY") is None
        assert conf.value("NONSENSE") is None
        assert conf.project_aliases() == []
    with override_settings():
        del django_settings.KAPSO_INBOX
        assert conf.value("DELIVERY") == "launch"


def test_a_setting_is_read_when_it_is_used() -> None:
    with configured(VERIFY_AFTER=1):
        assert conf.value("VERIFY_AFTER") == 1
        with configured(VERIFY_AFTER=2, DELIVERY="direct", API_KEY="other"):
            assert conf.value("VERIFY_AFTER") == 2
            assert conf.delivery() == "direct"
            assert conf.project().api_key == "other"
        assert conf.value("VERIFY_AFTER") == 1
        assert conf.delivery() == "launch"
        assert conf.project().api_key == KEY


@pytest.mark.parametrize("delivery", ["Direct", "", None, "iframe", 1, ["direct"]])
def test_the_secret_is_handed_out_directly_only_if_exactly_that_is_set(delivery: Any) -> None:
    with configured(DELIVERY=delivery):
        assert conf.delivery() == "launch"


def test_white_space_around_text_is_stripped_at_every_depth() -> None:
    Pair = namedtuple("Pair", "connect read")
    with configured(
        API_KEY=f"{KEY}\n",
        BASE_URL=" https://kapso.example/v1\r\n",
        INBOX_ORIGINS=(" https://inbox.example\n",),
        ENCRYPTION_KEYS={" k\n": f"\t{KEYS['k']}=\n"},
        PROJECTS={"clinic ": {"API_KEY": "other\n", " INBOX_ORIGINS": ["https://a.example "]}},
        TIMEOUT=Pair(1, 2),
        DELIVERY="direct\n",
    ):
        assert conf.project().api_key == KEY
        assert conf.project().base_url == "https://kapso.example/v1"
        assert conf.project().inbox_origins == ("https://inbox.example",)
        assert conf.keyring().current == "k"
        assert conf.project("clinic").api_key == "other"
        assert conf.project("clinic").inbox_origins == ("https://a.example",)
        assert conf.value("TIMEOUT") == (1, 2)
        assert conf.delivery() == "direct"


def test_reading_does_not_change_the_hosts_setting() -> None:
    given = {"API_KEY": " a ", "PROJECTS": {" x ": {"API_KEY": " b "}}, "INBOX_ORIGINS": [" c "]}
    with override_settings(KAPSO_INBOX=given):
        conf.value("PROJECTS")
        conf.value("INBOX_ORIGINS")
    assert given == {
        "API_KEY": " a ",
        "PROJECTS": {" x ": {"API_KEY": " b "}},
        "INBOX_ORIGINS": [" c "],
    }


# Projects


def test_a_project_inherits_what_it_does_not_set() -> None:
    with configured(
        BASE_URL="https://kapso.example/v1",
        INBOX_ORIGINS=["https://inbox.example"],
        PROJECTS={
            "plain": {"API_KEY": "one"},
            "own": {
                "API_KEY": "two",
                "BASE_URL": "https://own.example",
                "INBOX_ORIGINS": ["https://inbox.own.example", "https://inbox.example"],
            },
            "blank": {"API_KEY": "three", "BASE_URL": "", "INBOX_ORIGINS": []},
        },
    ):
        inherited = ("https://kapso.example/v1", ("https://inbox.example",))
        assert conf.project("plain") == conf.Project("plain", "one", *inherited)
        assert conf.project("blank") == conf.Project("blank", "three", *inherited)
        assert conf.project("own").base_url == "https://own.example"
        assert conf.project("own").inbox_origins[0] == "https://inbox.own.example"
        assert conf.inbox_origins() == ["https://inbox.example", "https://inbox.own.example"]
        assert conf.project_aliases() == ["default", "plain", "own", "blank"]


def test_default_is_no_alias_without_a_key() -> None:
    with configured(API_KEY="", PROJECTS={"clinic": {"API_KEY": "one"}}):
        assert conf.project_aliases() == ["clinic"]
        assert conf.inbox_origins() == ["https://inbox.kapso.ai"]


def test_the_default_project_may_be_given_like_the_others() -> None:
    own = {
        "API_KEY": "own",
        "BASE_URL": "https://own.example/v1",
        "INBOX_ORIGINS": ["https://inbox.own.example"],
    }
    projects = {"clinic": {"API_KEY": "one"}, "default": own}
    with override_settings(KAPSO_INBOX={"ENCRYPTION_KEYS": KEYS, "PROJECTS": projects}):
        assert conf.project() == conf.Project(
            "default", "own", "https://own.example/v1", ("https://inbox.own.example",)
        )
        assert conf.project_aliases() == ["default", "clinic"]
        assert conf.project("clinic").base_url == BASE_URL
        assert list(check_settings()) == []
    projects = {"default": {"API_KEY": "own"}}
    with override_settings(KAPSO_INBOX={"ENCRYPTION_KEYS": KEYS, "PROJECTS": projects}):
        assert conf.project() == conf.Project(
            "default", "own", BASE_URL, ("https://inbox.kapso.ai",)
        )
        assert list(check_settings()) == []


def test_the_default_project_may_have_an_address_of_its_own_beside_the_shorthand() -> None:
    own = {"BASE_URL": "https://own.example/v1"}
    with configured(PROJECTS={"default": own}):
        assert conf.project().base_url == "https://own.example/v1"
        assert conf.project().api_key == KEY
        assert check_settings() == []


def test_the_default_project_given_twice_is_listed_once_and_refused_by_the_check() -> None:
    with configured(PROJECTS={"default": {"API_KEY": "other"}}):
        assert conf.project_aliases() == ["default"]
        assert conf.project().api_key == "other"
        [finding] = check_settings()
    assert finding.id == "kapso_inbox.E006"
    assert 'KAPSO_INBOX["PROJECTS"]["default"]' in finding.msg
    assert "shorthand" in (finding.hint or "")


# Durations

DURATIONS = ("VERIFY_AFTER", "RENEW_BEFORE", "AUDIT_RETENTION", "CONVERSATION_RETENTION")


def test_these_are_the_settings_that_take_a_duration() -> None:
    durations = {name for name, value in conf.DEFAULTS.items() if isinstance(value, timedelta)}
    assert durations | {"RENEW_BEFORE"} == set(DURATIONS)
    with configured():
        assert conf.duration("VERIFY_AFTER") == timedelta(minutes=5)
        assert conf.duration("RENEW_BEFORE") == timedelta(0)
        assert conf.duration("AUDIT_RETENTION") == timedelta(days=365)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (timedelta(days=7), timedelta(days=7)),
        (timedelta(0), timedelta(0)),
        (90, timedelta(seconds=90)),
        (0.5, timedelta(milliseconds=500)),
        (0, timedelta(0)),
        (None, timedelta(0)),
    ],
)
@pytest.mark.parametrize("name", DURATIONS)
def test_a_duration_is_a_timedelta_or_seconds_or_none(
    name: str, value: Any, expected: timedelta
) -> None:
    with configured(**{name: value}):
        assert conf.duration(name) == expected
        assert list(check_settings()) == []


@pytest.mark.parametrize(
    "value",
    [
        -1,
        timedelta(seconds=-1),
        timedelta(days=36_501),
        timedelta.max,
        1e12,
        10**400,
        float("inf"),
        float("nan"),
        True,
        "300",
    ],
    ids=str,
)
@pytest.mark.parametrize("name", DURATIONS)
def test_a_duration_that_is_negative_or_huge_or_no_number_is_refused(name: str, value: Any) -> None:
    with configured(**{name: value}):
        [finding] = check_settings()
    assert (finding.id or "")[-4:] in ("E015", "E017", "E018", "E034")
    assert f'KAPSO_INBOX["{name}"]' in finding.msg


@pytest.mark.parametrize("api_key", [None, "", " \n"])
def test_a_missing_key_says_what_to_set(api_key: str | None) -> None:
    with (
        configured(API_KEY=api_key),
        pytest.raises(ImproperlyConfigured, match=r'Set KAPSO_INBOX\["API_KEY"\]'),
    ):
        conf.project()


@pytest.mark.parametrize("projects", [{}, {"clinic": None}, {"clinic": {}}, {"clinic": "key"}])
def test_a_missing_project_says_what_to_set(projects: Any) -> None:
    wanted = r'Set KAPSO_INBOX\["PROJECTS"\]\["clinic"\]\["API_KEY"\]'
    with configured(PROJECTS=projects), pytest.raises(ImproperlyConfigured, match=wanted):
        conf.project("clinic")


@pytest.mark.parametrize("projects", [None, 7, "clinic", ["clinic"]])
def test_projects_that_are_not_a_dictionary_are_missing_projects(projects: Any) -> None:
    with configured(PROJECTS=projects):
        assert conf.project().api_key == KEY
        assert conf.project_aliases() == ["default"]
        assert conf.inbox_origins() == ["https://inbox.kapso.ai"]
        with pytest.raises(ImproperlyConfigured, match="clinic"):
            conf.project("clinic")


def test_a_project_does_not_show_its_key() -> None:
    with configured():
        for shown in (repr(conf.project()), str(conf.project()), repr(conf.project().client())):
            assert KEY not in shown
        assert "default" in repr(conf.project())


def test_a_client_is_created_as_configured() -> None:
    proxies = {"https": "http://proxy.example:3128"}
    with configured(TIMEOUT=[1, 2], PROXIES=proxies, BASE_URL="https://kapso.example/"):
        client = conf.project().client()
        assert isinstance(client, KapsoClient)
        assert client._transport.base_url == "https://kapso.example"
        assert client._transport.timeout == (1, 2)
        assert client._transport._proxies == proxies
        hurried = conf.project().client(timeout=(0.5, 0.5), deadline=1)
        assert (hurried._transport.timeout, hurried._transport.deadline) == ((0.5, 0.5), 1)


@pytest.mark.parametrize("wrong", [{"API_KEY": "a b"}, {"API_KEY": 7}, {"BASE_URL": "http://x.y"}])
def test_a_client_of_a_malformed_project_is_a_configuration_error(wrong: dict[str, Any]) -> None:
    with configured(**wrong), pytest.raises(ConfigurationError):
        conf.project().client()


# Keys and dotted paths


@pytest.mark.parametrize("keys", [None, {}, "", [], {"k": "short"}, {"a b": KEYS["k"]}, "text", 7])
def test_malformed_encryption_keys_name_the_setting_and_no_key(keys: Any) -> None:
    with (
        configured(ENCRYPTION_KEYS=keys),
        pytest.raises(ImproperlyConfigured, match=r'KAPSO_INBOX\["ENCRYPTION_KEYS"\]') as caught,
    ):
        conf.keyring()
    assert KEYS["k"] not in str(caught.value)
    assert "short" not in str(caught.value)


def test_a_policy_and_a_function_are_found_by_their_path() -> None:
    with configured(
        ACCESS_POLICY="tests.test_conf.OtherPolicy\n", USER_PARAMS=" tests.test_conf.some_params"
    ):
        assert type(get_policy()) is OtherPolicy
        assert conf.user_params() is some_params
