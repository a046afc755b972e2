"""Tests reach Kapso only if they ask for it; neither the sandbox nor a mock is in the way."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import responses
from django.db import router
from django.test import SimpleTestCase, TestCase

from kapso_inbox.kapso import KapsoClient, NetworkRefusedError
from kapso_inbox.lifecycle import create_embed, rotate_embed
from kapso_inbox.models import AccessLink, InboxEmbed
from kapso_inbox.sandbox.interception import intercepted
from kapso_inbox.sandbox.testcases import KapsoSandboxMixin

HOST = """
import subprocess, sys, threading

import pytest
import responses
from kapso_inbox.kapso import KapsoClient, NetworkRefusedError, UnreachableError

KAPSO = "https://kapso.invalid/v1"


def ask(url=KAPSO):
    return KapsoClient("key", url, tries=1).users.page(1)


def test_refused():
    with pytest.raises(NetworkRefusedError):
        ask()


def test_refused_in_a_thread():
    errors = []

    def run():
        try:
            ask()
        except Exception as error:
            errors.append(type(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert errors == [NetworkRefusedError]


def test_refused_in_a_subprocess():
    code = "from kapso_inbox.kapso import KapsoClient; KapsoClient('key', %r).users.page(1)"
    done = subprocess.run([sys.executable, "-c", code % KAPSO], capture_output=True, text=True)
    assert "NetworkRefusedError" in done.stderr


@pytest.mark.kapso_inbox_network
def test_allowed_by_a_mark():
    with pytest.raises(UnreachableError):  # there is no such name
        ask()


def test_this_machine():
    with pytest.raises(UnreachableError):  # nobody listens there
        ask("http://127.0.0.1:9/v1")


@responses.activate
def test_a_mock_of_the_hosts_own():
    responses.get(f"{KAPSO}/users", json={"data": []})
    assert ask() == ([], True)
"""


def run_host(folder: Path, *options: str) -> tuple[dict[str, int], str]:
    """Run the tests of a host that has no Django at all, and return how many ended how."""
    (folder / "test_host.py").write_text(HOST)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    plain = ("-p", "no:django", "-p", "no:randomly", "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plain, *options],
        cwd=folder,
        # Not the options of the run around it, such as which tests to leave out.
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        capture_output=True,
        text=True,
        check=False,
    )
    *_, last = done.stdout.strip().splitlines()
    ended = {word: int(count) for count, word in re.findall(r"(\d+) (passed|failed|error)", last)}
    return ended, done.stdout


@pytest.mark.parametrize("options", [("-n0",), ("-n2",)], ids=str)
def test_a_hosts_tests_do_not_reach_kapso_unless_they_ask(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    ended, output = run_host(tmp_path, *options)
    assert ended == {"passed": 6}, output


def test_a_host_can_allow_all_of_its_tests(tmp_path: Path) -> None:
    ended, output = run_host(tmp_path, "-n0", "-o", "kapso_inbox_network=true")
    assert ended == {"failed": 3, "passed": 3}, output
    assert output.count("UnreachableError: Kapso could not be reached; nothing was sent") >= 2


def test_the_error_names_the_ways_out() -> None:
    with pytest.raises(NetworkRefusedError) as caught:
        KapsoClient("key").users.page(1)
    for way in ("kapso_sandbox", "KapsoSandboxMixin", "kapso_inbox_network = true", "mark"):
        assert way in str(caught.value)


@pytest.mark.django_db
def test_a_refused_creation_leaves_nothing_uncertain() -> None:
    with intercepted():
        embed = create_embed(slug="clinic", name="Clinic")
    with pytest.raises(NetworkRefusedError):
        rotate_embed(embed)
    link = AccessLink.objects.latest("created_at")
    assert link.state == AccessLink.State.FAILED
    assert "kapso_sandbox" in link.reason


def test_a_mock_of_our_own_is_not_refused() -> None:
    with responses.RequestsMock() as mock:
        mock.get("https://api.kapso.ai/platform/v1/users", json={"data": []})
        assert KapsoClient("key").users.page(1) == ([], True)


class WithASandbox(KapsoSandboxMixin, TestCase):
    databases = {router.db_for_write(InboxEmbed)}

    def test_an_embed_is_made_in_it(self) -> None:
        create_embed(slug="clinic", name="Clinic")
        assert len(self.kapso_sandbox.project().active_embeds()) == 1

    def test_each_test_has_its_own(self) -> None:
        assert self.kapso_sandbox.project().active_embeds() == []


def test_the_sandbox_of_a_test_case_ends_with_its_test() -> None:
    class Case(KapsoSandboxMixin, SimpleTestCase):
        def test_it(self) -> None:
            assert KapsoClient("any").users

    assert Case("test_it").run().wasSuccessful()  # type: ignore[union-attr]
    with pytest.raises(NetworkRefusedError):
        KapsoClient("key").users.page(1)


def test_without_responses_a_test_case_says_which_extra_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("interception", "testcases"):
        monkeypatch.delitem(sys.modules, f"kapso_inbox.sandbox.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "responses", None)
    with pytest.raises(ModuleNotFoundError, match=r"django-kapso-inbox\[testing\]"):
        __import__("kapso_inbox.sandbox.testcases")
