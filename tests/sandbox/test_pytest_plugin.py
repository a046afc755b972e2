from __future__ import annotations

import subprocess
import sys

import pytest
import requests
from urllib3.util import Timeout

from kapso_inbox import lookups
from kapso_inbox.sandbox import pytest_plugin
from kapso_inbox.sandbox.engine import Answer
from kapso_inbox.sandbox.interception import intercepted

BASE = "https://api.kapso.ai/platform/v1"
KEY = {"X-API-Key": "key"}
PROJECT_EMBED = {"inbox_embed": {"name": "Desk", "scope_type": "project"}}


@pytest.fixture
def configured(settings):
    settings.KAPSO_INBOX = {
        "API_KEY": "key\n",
        "PROJECTS": {
            "second": {"API_KEY": "key-2", "BASE_URL": "https://eu.kapso.example/platform/v1/"},
            "third": {
                "API_KEY": "key-3",
                "BASE_URL": f"{BASE}/below",
                "INBOX_ORIGINS": ["https://inbox.example.com"],
            },
            "same": {"API_KEY": "key"},
        },
    }


@pytest.fixture
def kapso(configured, kapso_sandbox):
    return kapso_sandbox


def test_each_configured_project_is_in_the_sandbox(kapso):
    assert list(kapso.projects) == ["key", "key-2", "key-3"]
    assert kapso.project().inbox_origin == "https://inbox.kapso.ai"
    assert kapso.project("key-3").inbox_origin == "https://inbox.example.com"


@pytest.mark.parametrize(
    ("base", "key"),
    [(BASE, "key"), ("https://eu.kapso.example/platform/v1", "key-2"), (f"{BASE}/below", "key-3")],
)
def test_requests_below_every_base_url_are_answered(kapso, base, key):
    for _ in range(2):
        answer = requests.get(f"{base}/users?page=2", headers={"X-API-Key": key}, timeout=3)
        assert answer.json()["meta"]["page"] == 2
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert kapso.requests[-1].path == "/users"


def test_the_answers_of_another_tests_sandbox_are_not_kept(configured):
    for name in ("Ana", "Bruno"):
        with intercepted() as kapso:
            kapso.project().users[0]["name"] = name
            assert lookups.search(lookups.Kind.USER).choices[0].name == name


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_any_method_is_intercepted(kapso, method):
    answer = requests.request(method, f"{BASE}/nothing", headers=KEY, timeout=3)
    assert answer.status_code == 404


def test_a_body_can_be_text_or_bytes(kapso):
    url = f"{BASE}/inbox_embeds"
    made = requests.post(url, json=PROJECT_EMBED, headers=KEY, timeout=3)
    assert made.status_code == 201
    assert requests.post(url, data="{", headers=KEY, timeout=3).status_code == 400
    path = f"{url}/{made.json()['data']['id']}"
    assert requests.delete(path, headers=KEY, timeout=3).json()["data"]["status"] == "revoked"
    assert kapso.project().active_embeds() == []


def test_a_body_can_be_streamed(kapso):
    with requests.get(f"{BASE}/users", headers=KEY, timeout=3, stream=True) as answer:
        assert answer.raw.read(8) == b'{"data":'
        assert b"".join(answer.iter_content(64)).endswith(b"}")


def test_the_base_url_itself_and_its_neighbours(kapso):
    assert requests.get(BASE, headers=KEY, timeout=3).status_code == 404
    with pytest.raises(requests.exceptions.ConnectionError, match="Connection refused by Resp"):
        requests.get(f"{BASE}-other/users", headers=KEY, timeout=3)


@pytest.mark.parametrize(("drop", "embeds"), [("before", 0), ("after", 1)])
def test_a_dropped_connection_raises_what_requests_would_raise(kapso, drop, embeds):
    kapso.fail_next(drop=drop)
    with pytest.raises(requests.exceptions.ConnectionError) as caught:
        requests.post(f"{BASE}/inbox_embeds", json=PROJECT_EMBED, headers=KEY, timeout=3)
    assert not isinstance(caught.value, requests.exceptions.Timeout)
    assert str(caught.value).startswith("('Connection aborted.', RemoteDisconnected(")
    assert len(kapso.project().embeds) == embeds


@pytest.mark.parametrize("timeout", [5, (1, 5), Timeout(connect=1, read=5)])
def test_a_delay_beyond_the_read_timeout_is_raised_after_the_work(kapso, timeout):
    kapso.fail_next(delay=6)
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.post(f"{BASE}/inbox_embeds", json=PROJECT_EMBED, headers=KEY, timeout=timeout)
    assert len(kapso.project().embeds) == 1
    kapso.fail_next(delay=6, drop="before")
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.post(f"{BASE}/inbox_embeds", json=PROJECT_EMBED, headers=KEY, timeout=timeout)
    assert len(kapso.project().embeds) == 1


@pytest.mark.parametrize("timeout", [60, (60, None), None, Timeout(read=60)])
def test_a_delay_within_the_read_timeout_takes_no_time(kapso, timeout):
    kapso.fail_next(delay=59)
    answer = requests.get(f"{BASE}/users", headers=KEY, timeout=timeout)
    assert answer.status_code == 200


def test_any_exception_can_be_raised(kapso):
    kapso.fail_next(error=requests.exceptions.ConnectTimeout("no route"))
    with pytest.raises(requests.exceptions.ConnectTimeout, match="no route"):
        requests.post(f"{BASE}/inbox_embeds", json=PROJECT_EMBED, headers=KEY, timeout=3)
    assert kapso.project().embeds == {}


def test_an_ordered_answer_arrives_unchanged(kapso):
    kapso.fail_next(answer=Answer(429, {"message": "Slow down"}, {"Retry-After": "7"}))
    answer = requests.get(f"{BASE}/users", headers=KEY, timeout=3)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    kapso.fail_next(answer=Answer(204), process=True)
    answer = requests.get(f"{BASE}/users", headers=KEY, timeout=3)
    assert (answer.status_code, answer.content) == (204, b"")


def test_without_responses_the_fixture_says_which_extra_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "kapso_inbox.sandbox.interception", raising=False)
    monkeypatch.setitem(sys.modules, "responses", None)
    fixture = pytest_plugin.kapso_sandbox.__wrapped__()
    with pytest.raises(pytest.fail.Exception, match=r"django-kapso-inbox\[testing\]"):
        next(fixture)


def test_another_missing_module_is_not_hidden(monkeypatch):
    monkeypatch.delitem(sys.modules, "kapso_inbox.sandbox.interception", raising=False)
    monkeypatch.setitem(sys.modules, "urllib3.util", None)
    with pytest.raises(ModuleNotFoundError, match="urllib3"):
        next(pytest_plugin.kapso_sandbox.__wrapped__())


def test_importing_the_plugin_imports_nothing_heavy():
    code = (
        "import sys, pytest; before = set(sys.modules);"
        "import kapso_inbox.sandbox.pytest_plugin;"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in eval(done.stdout)}  # noqa: S307
    assert loaded <= {"kapso_inbox", "__future__"}
    assert done.stderr == ""
