"""`manage.py kapso_doctor`."""

from __future__ import annotations

import io
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from kapso_inbox import conf
from kapso_inbox.diagnosis import Finding
from kapso_inbox.lifecycle import create_embed
from kapso_inbox.management.commands.kapso_doctor import Command
from kapso_inbox.models import InboxEmbed
from kapso_inbox.sandbox.engine import Sandbox
from kapso_inbox.sandbox.server import SandboxServer
from tests.diagnosis.helpers import (
    SITE,
    ChangeSettings,
    diagnose,
    put_into_production,
    secrets,
    settings_changer,
    store,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def site_in_production(settings: Any, tmp_path: Path) -> None:
    put_into_production(settings, tmp_path / "static")


@pytest.fixture
def change_settings(settings: Any) -> ChangeSettings:
    """Return a function that changes keys of KAPSO_INBOX."""
    return settings_changer(settings)


@pytest.fixture
def sales(kapso_sandbox: Sandbox) -> InboxEmbed:
    """Create an inbox that works."""
    return create_embed(slug="sales", name="Sales", allowed_origins=[SITE])


class Terminal(io.TextIOWrapper):
    """A standard output with an encoding."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)

    def text(self) -> str:
        self.flush()
        buffer: Any = self.buffer
        return buffer.getvalue().decode(self.encoding)


def run(*options: str, encoding: str = "utf-8") -> tuple[int, str]:
    """Return the exit status and the output of the command."""
    terminal = Terminal(encoding)
    status = 0
    try:
        call_command("kapso_doctor", *options, stdout=terminal)
    except SystemExit as end:
        status = int(str(end.code))
    output = terminal.text()
    assert not any(secret in output for secret in secrets()), "a secret leaked"
    return status, output


def test_the_command_succeeds_if_nothing_is_wrong(sales: InboxEmbed) -> None:
    status, output = run()
    assert status == 0
    assert output.startswith("This site\n  ✔ A frame that asks for an inbox reaches this app.")
    assert "Kapso project “default”\n  ✔ Kapso accepts the API key" in output
    assert output.endswith("Nothing is wrong.\n")


def test_warnings_alone_do_not_fail_the_command() -> None:
    store(embed={"allowed_origins": []})
    status, output = run("--offline")
    assert status == 0
    assert "  ! Any site can show the inbox “sales”" in output
    assert "[origins-none]\n    → Set its allowed origins" in output
    assert output.endswith("0 errors, 1 warning\n")


def test_an_error_fails_the_command(settings: Any) -> None:
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
def test_a_terminal_with_a_small_encoding_gets_plain_characters(encoding: str) -> None:
    store("sales", current=False)
    _, output = run("--offline", encoding=encoding)
    assert '  x The inbox "sales" does not open' in output
    assert "    > Rotate" in output


def test_what_a_developer_should_know_follows_what_was_found(kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.fail_next(drop="after")
    _status, output = run()
    told = "nothing is known of the API key. The connection to Kapso broke. [kapso-answer-unclear]"
    assert told in output


def test_json_is_for_programs(kapso_sandbox: Sandbox) -> None:
    store("sales", current=False)
    status, output = run("--offline", "--json", encoding="ascii")
    told = json.loads(output)
    assert (status, told["ok"]) == (1, False)
    assert [Finding(**one) for one in told["findings"]] == diagnose(
        network=False, sends_launch=True
    )
    assert run("--offline", "--json", "--project", "default")[0] == 1


def test_the_command_checks_the_given_projects(
    kapso_sandbox: Sandbox, change_settings: ChangeSettings
) -> None:
    status, output = run("--project", "default", "--project", "clinic")
    assert status == 1
    assert "KAPSO_INBOX has no project “clinic”. [project-unknown]" in output
    assert [request.path for request in kapso_sandbox.requests] == ["/whatsapp/phone_numbers"]


def test_the_command_runs_with_settings_that_fail_the_system_checks(settings: Any) -> None:
    assert Command.requires_system_checks == []
    settings.KAPSO_INBOX = None
    settings.ROOT_URLCONF = "no.such.module"
    status, output = run("--offline")
    assert status == 1
    assert "[kapso_inbox.E001]" in output
    assert (
        "The check “urlconf_findings” itself failed: ModuleNotFoundError in addresses.py:" in output
    )


def test_the_command_works_over_real_http(change_settings: ChangeSettings) -> None:
    sandbox = Sandbox()
    sandbox.add_project(conf.value("API_KEY"))
    with SandboxServer(sandbox) as server:
        change_settings(BASE_URL=server.base_url, INBOX_ORIGINS=[server.inbox_origin])
        create_embed(slug="sales", name="Sales", allowed_origins=[SITE])
        status, output = run()
        assert (status, "[clock-right]" in output) == (0, True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        change_settings(BASE_URL=f"http://127.0.0.1:{free.getsockname()[1]}/platform/v1")
        status, output = run()
    assert (status, "[kapso-unreachable]" in output) == (1, True)
