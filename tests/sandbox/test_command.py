from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from django.core.management import call_command
from django.core.management.base import CommandError

from kapso_inbox.sandbox.engine import Sandbox

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = """
SECRET_KEY = "x"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "kapso_inbox"]
USE_TZ = True
"""


@pytest.fixture
def ports():
    """Return two ports that were free a moment ago."""
    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.bind(("127.0.0.1", 0))
        return [first.getsockname()[1], second.getsockname()[1]]


@pytest.fixture
def run(tmp_path, ports):
    (tmp_path / "bare_settings.py").write_text(SETTINGS)
    started = []

    def run(*options):
        process = subprocess.Popen(
            [
                *(sys.executable, "-W", "error", "-m", "django", "kapso_sandbox"),
                *("--port", str(ports[0]), "--inbox-port", str(ports[1]), *options),
            ],
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "bare_settings",
                "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
                "PYTHONIOENCODING": "utf-8",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def introduction(process):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line == "}\n":
            return "".join(lines)
    raise AssertionError(process.stderr.read())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal_stops_it(run, ports, number):
    process = run("--api-key", "my-key", "-v", "2")
    text = introduction(process)
    base_url, inbox = f"http://127.0.0.1:{ports[0]}/platform/v1", f"http://127.0.0.1:{ports[1]}"
    scope: dict = {}
    exec(text[text.index("KAPSO_INBOX = {") :], scope)  # noqa: S102
    assert scope["KAPSO_INBOX"] == {
        "API_KEY": "my-key",
        "BASE_URL": base_url,
        "INBOX_ORIGINS": [inbox],
    }
    embed = requests.post(
        f"{base_url}/inbox_embeds",
        json={"inbox_embed": {"name": "Desk", "scope_type": "project"}},
        headers={"X-API-Key": "my-key"},
        timeout=5,
    ).json()["data"]
    assert embed["embed_url"].startswith(f"{inbox}/embed/")
    assert requests.get(embed["embed_url"], timeout=5).status_code == 200
    process.send_signal(number)
    output, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")
    assert "GET /embed/… 200" in output
    assert output.endswith("Stopped.\n")
    assert embed["token"] not in output


class InterruptedOutput(io.StringIO):
    """Output that presses ctrl-C as soon as something is written to it."""

    def flush(self):
        if "ctrl-C" in self.getvalue():
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_belongs_to_python_again_afterwards(ports):
    before = signal.getsignal(signal.SIGINT)
    output = InterruptedOutput()
    call_command("kapso_sandbox", port=ports[0], inbox_port=ports[1], stdout=output)
    assert output.getvalue().endswith("Stopped.\n")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_busy_sandbox_ends_as_any_other(ports):
    output = InterruptedOutput()
    call_command("kapso_sandbox", port=ports[0], inbox_port=ports[1], busy=True, stdout=output)
    assert output.getvalue().endswith("Stopped.\n")


def test_embeds_survive_a_restart_with_a_state_file(tmp_path, ports):
    state = tmp_path / "state.json"
    project = Sandbox(state_file=state).add_project("sandbox-key")
    embed = project.create({"name": "Desk", "scope_type": "project"})
    seen = []

    class Output(InterruptedOutput):
        def flush(self):
            url = f"http://127.0.0.1:{ports[1]}/embed/{embed['token']}"
            seen.append(requests.get(url, timeout=5).status_code)
            super().flush()

    options = {"port": ports[0], "inbox_port": ports[1], "state": state}
    call_command("kapso_sandbox", **options, stdout=Output())
    assert seen == [200]


def test_a_state_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.json").write_text("[]")
    with pytest.raises(CommandError, match="is not the state of a sandbox"):
        call_command("kapso_sandbox", state=tmp_path / "notes.json")


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (".", "Is a directory"),
        ("no/such/folder/state.json", "No such file or directory"),
        ("read-only.json", "is read-only"),
        ("binary.json", "is not the state of a sandbox"),
    ],
)
def test_a_state_file_that_cannot_be_used_is_told_at_start(tmp_path, place, told):
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe")
    Sandbox(state_file=tmp_path / "read-only.json")
    (tmp_path / "read-only.json").chmod(0o400)
    with pytest.raises(CommandError, match=told) as caught:
        call_command("kapso_sandbox", state=tmp_path / place)
    assert str(tmp_path / place) in str(caught.value)
    assert "Errno" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do anything")
def test_a_state_file_in_a_folder_that_cannot_be_written_is_told_at_start(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(CommandError, match="Permission denied"):
        call_command("kapso_sandbox", state=tmp_path / "state.json")


def test_the_error_names_a_port_in_use(ports):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[0]))
        taken.listen()
        with pytest.raises(CommandError, match=rf"Port {ports[0]} .* in use.*--port"):
            call_command("kapso_sandbox", port=ports[0], inbox_port=ports[1])
    with pytest.raises(CommandError, match="Choose others"):
        call_command("kapso_sandbox", port=70000, inbox_port=ports[1])
