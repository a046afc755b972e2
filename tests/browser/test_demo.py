"""`manage.py demo` starts without configuration, says what is wrong, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from .conftest import (
    MANAGE,
    STOP_SECONDS,
    Demo,
    demo_command,
    demo_environment,
    free_ports,
    is_free,
    running_demo,
)

# None of this needs a browser, but all of it is as slow as the browser tests.
pytestmark = pytest.mark.browser
if os.name != "posix":
    pytest.skip("needs signals and ps", allow_module_level=True)

#: The settings of a developer who tries the demo.
AS_IT_IS = {"DJANGO_SETTINGS_MODULE": "crm.settings"}


def children_of(process: subprocess.Popen[bytes]) -> dict[str, int]:
    """Return the demo's child processes: the command of each -> its process ID."""
    found = {}
    # -ww: whole lines, however wide the terminal is.
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    )
    for line in listed.stdout.splitlines():
        pid, parent, arguments = line.split(None, 2)
        if parent == str(process.pid):
            found[arguments.split("manage.py ")[1].split()[0]] = int(pid)
    return found


@pytest.mark.parametrize("places", [[0], [1], [2], [0, 2]])
def test_busy_ports_are_reported_together_with_free_ones(tmp_path: Path, places: list[int]) -> None:
    ports = free_ports(3)
    options = ("--port", "--sandbox-port", "--inbox-port")
    with ExitStack() as stack:
        for place in places:
            busy = stack.enter_context(socket.socket())
            busy.bind(("127.0.0.1", ports[place]))
            busy.listen()
        ended = subprocess.run(
            demo_command(ports, tmp_path),
            env=demo_environment(),
            capture_output=True,
            text=True,
            timeout=STOP_SECONDS,
            check=False,
        )
    assert ended.returncode == 1
    for place in places:
        assert f"port {ports[place]}: Address already in use" in ended.stderr
    proposed = dict(re.findall(r"(--[\w-]+) (\d+)", ended.stderr))
    assert [*proposed] == [options[place] for place in places]
    assert all(is_free(int(port)) for port in proposed.values())
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--port=0"], "a port is a number from 1 to 65535"),
        (["--inbox-port=80000"], "a port is a number from 1 to 65535"),
        (["--data-dir=/dev/null/demo"], "--data-dir: [Errno 20] Not a directory"),
    ],
)
def test_options_that_cannot_be_used_are_refused_by_their_name(
    options: list[str], told: str
) -> None:
    ended = subprocess.run(
        [sys.executable, str(MANAGE), "demo", *options],
        env=demo_environment(),
        capture_output=True,
        text=True,
        timeout=STOP_SECONDS,
        check=False,
    )
    assert ended.returncode != 0
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr


def test_secrets_are_readable_by_their_owner_only(demo: Demo) -> None:
    file = demo.data_dir / ".env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(demo.data_dir.stat().st_mode) == 0o700
    assert {line.split("=")[0] for line in file.read_text().splitlines()} == {
        "SECRET_KEY",
        "KAPSO_INBOX_ENCRYPTION_KEYS",
        "KAPSO_WEBHOOK_SECRET",
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_all_of_it_ends_when_told_to_or_when_its_terminal_closes(
    tmp_path: Path, number: int
) -> None:
    with running_demo(tmp_path, **AS_IT_IS) as demo:
        assert set(children_of(demo.process)) == {"kapso_sandbox", "runserver"}
        assert demo.stop(number) == 0
        assert all(is_free(port) for port in demo.ports)


@pytest.mark.parametrize("part", ["kapso_sandbox", "runserver"])
def test_all_of_it_ends_when_a_part_of_it_dies(tmp_path: Path, part: str) -> None:
    with running_demo(tmp_path, **AS_IT_IS) as demo:
        os.kill(children_of(demo.process)[part], signal.SIGKILL)
        assert demo.process.wait(STOP_SECONDS) == 1
        assert "ended by itself" in demo.console.read_text()


def test_a_second_start_on_other_ports_moves_the_links_there(tmp_path: Path) -> None:
    with running_demo(tmp_path, **AS_IT_IS) as demo:
        before = {embed["id"] for embed in demo.embeds()}
    with running_demo(tmp_path, **AS_IT_IS) as demo:
        active = {embed["id"] for embed in demo.embeds() if embed["status"] == "active"}
        assert len(active) == 2
        assert before.isdisjoint(active)
        origins = {tuple(embed["allowed_origins"]) for embed in demo.embeds()[:2]}
        assert origins == {(demo.url, demo.url.replace("localhost", "127.0.0.1"))}
