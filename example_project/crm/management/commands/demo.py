"""``manage.py demo``: the CRM with everything it needs, in one command."""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from crm import configuration, people
from kapso_inbox.encryption import generate_key

HOST = "127.0.0.1"
START_SECONDS = 60
STOP_SECONDS = 5


class Command(BaseCommand):
    """Prepare the database, start the sandbox and the CRM, and stay until told to stop."""

    help = (
        "Runs the example CRM: on a sandbox of Kapso, or on Kapso itself where KAPSO_API_KEY is "
        "set. Writes to one directory only, example_project/.demo unless --data-dir says otherwise."
    )
    # This process has none of the secrets yet that the checks ask for; its children have.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Where to listen, and where to write."""
        parser.add_argument("--port", type=int, default=8000, help="of the CRM")
        parser.add_argument("--sandbox-port", type=int, default=8801, help="of the sandbox's API")
        parser.add_argument("--inbox-port", type=int, default=8802, help="of the sandbox's inbox")
        parser.add_argument(
            "--data-dir",
            type=Path,
            default=configuration.DEFAULT_DATA_DIR,
            help="holds secrets, database, sandbox state and logs",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until ctrl-C, SIGTERM, a closed terminal, or the death of a part."""
        data_dir: Path = options["data_dir"].absolute()
        port: int = options["port"]
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        env = configuration.read(data_dir)
        if not env.bool("DEBUG", default=True):
            raise CommandError("The demo's log-ins are no secret: it runs with DEBUG only.")
        sandbox = not env.str("KAPSO_API_KEY", default="").strip()
        ports = {"--port": port}
        if sandbox:
            ports |= {name: options[name[2:].replace("-", "_")] for name in SANDBOX_OPTIONS}
        _require_free(ports)
        write_missing_secrets(data_dir, env)

        with (
            StopSignals() as signals,
            Children(data_dir, child_environment(data_dir, ports), signals) as children,
        ):
            try:
                self._start(children, data_dir, ports)
                self._say(self._block(port, data_dir, ports))
                children.watch()
            except Stopped:
                pass
            finally:
                # Told first: whoever pressed ctrl-C sees at once that it was heard.
                with contextlib.suppress(OSError):
                    self._say("Stopping.")

    def _start(self, children: Children, data_dir: Path, ports: dict[str, int]) -> None:
        """Bring up the parts in the order in which they need each other."""
        self._say("Preparing the database.")
        children.run("migrate", "--verbosity=0")
        if "--sandbox-port" in ports:
            self._say("Starting the sandbox.")
            api, inbox = ports["--sandbox-port"], ports["--inbox-port"]
            children.start(
                "sandbox",
                "kapso_sandbox",
                f"--port={api}",
                f"--inbox-port={inbox}",
                f"--state={data_dir / 'sandbox.json'}",
            )
            children.wait(lambda: all(map(_accepts, (api, inbox))), "the sandbox")
        self._say("Making teams, contacts and inboxes.")
        children.run("seed", "--verbosity=0")
        port = ports["--port"]
        children.start("web", "runserver", "--noreload", f"{HOST}:{port}")
        children.wait(lambda: _answers(port), "the CRM")

    def _block(self, port: int, data_dir: Path, ports: dict[str, int]) -> str:
        """What to open, and as whom."""
        address = f"http://localhost:{port}"
        rows = [("CRM", address), ("Admin", f"{address}/admin/")]
        if "--sandbox-port" in ports:
            rows.append(("Sandbox", f"http://{HOST}:{ports['--sandbox-port']} (nothing is sent)"))
        rows.append(("Files", str(data_dir)))
        password = people.password(
            sandbox="--sandbox-port" in ports,
            # Read again: perhaps it was only now written.
            secret_key=configuration.read(data_dir).str("SECRET_KEY"),
        )
        accounts = [
            (f"{account.username} / {password}", f"{account.role}, {account.theme} theme")
            for account in people.ACCOUNTS
        ]
        return "\n".join(
            (
                "",
                self.style.SUCCESS("The demo is ready."),
                "",
                *(f"  {name:<14} {value}" for name, value in rows),
                "",
                "Sign in as",
                "",
                *(f"  {name:<14} {role}" for name, role in accounts),
                "",
                "Ctrl-C ends it.",
            )
        )

    def _say(self, text: str) -> None:
        """Write at once: where the output is a pipe, it would else wait for a buffer to fill."""
        self.stdout.write(text)
        self.stdout.flush()


SANDBOX_OPTIONS = ("--sandbox-port", "--inbox-port")


class Stopped(Exception):  # noqa: N818 -- as KeyboardInterrupt, it is no error
    """The demo was told to end."""


class StopSignals:
    """Notes the signals that end a program, while its block runs.

    Only a note: an exception raised by the handler itself could strike between the start of a
    child and the line that remembers it, and again while children are being ended.
    """

    # SIGHUP is a closed terminal; Windows has none.
    NAMES = ("SIGINT", "SIGTERM", "SIGHUP")

    def __init__(self) -> None:
        self.received = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        for number in (getattr(signal, name, None) for name in self.NAMES):
            if number is not None:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True


class Children:
    """The demo's processes: each runs a command of ``manage.py``; leaving the block ends them.

    All that waits here raises :class:`Stopped` once a signal was received.
    """

    def __init__(self, data_dir: Path, environment: dict[str, str], signals: StopSignals) -> None:
        self._data_dir = data_dir
        self._environment = environment
        self._signals = signals
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def run(self, *command: str) -> None:
        """Run a command to its end; raise ``CommandError`` with what it said where it failed."""
        log = self._start("setup", command)
        process = self._running["setup"]
        while process.poll() is None:
            self._require_life()
            time.sleep(0.1)
        del self._running["setup"]
        if process.returncode:
            raise CommandError(f"{command[0]} failed:\n{_tail(log)}")

    def start(self, name: str, *command: str) -> None:
        """Start a command that stays; its output goes to ``<name>.log``."""
        self._start(name, command)

    def wait(self, ready: Callable[[], bool], what: str) -> None:
        """Wait until ``ready()``; raise ``CommandError`` where a child ends or time runs out."""
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            self._require_life()
            if time.monotonic() > deadline:
                raise CommandError(f"{what} did not start within {START_SECONDS} seconds.")
            time.sleep(0.1)

    def watch(self) -> None:
        """Stay as long as all children do; raise ``CommandError`` when one ends."""
        while True:
            self._require_life()
            time.sleep(0.3)

    def _require_life(self) -> None:
        if self._signals.received:
            raise Stopped
        for name, process in self._running.items():
            if name != "setup" and process.poll() is not None:
                raise CommandError(
                    f"{name} ended by itself (status {process.returncode}), so the demo ends too:\n"
                    f"{_tail(self._data_dir / f'{name}.log')}"
                )

    def _start(self, name: str, command: tuple[str, ...]) -> Path:
        path = self._data_dir / f"{name}.log"
        with path.open("wb") as log:
            self._running[name] = subprocess.Popen(  # noqa: S603 -- our own manage.py
                [sys.executable, str(configuration.ROOT / "manage.py"), *command],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Out of reach of the terminal's ctrl-C: this process ends its children, in order.
                start_new_session=True,
            )
        return path


def child_environment(data_dir: Path, ports: dict[str, int]) -> dict[str, str]:
    """The environment of the children: ours, with where everything is. Secrets stay in the file."""
    environment = {
        **os.environ,
        "CRM_DATA_DIR": str(data_dir),
        # Both, so that the inbox also shows to who opens the CRM by its number.
        "CRM_ORIGINS": f"http://localhost:{ports['--port']},http://{HOST}:{ports['--port']}",
        "PYTHONUNBUFFERED": "1",
    }
    if "--sandbox-port" in ports:
        environment |= {
            "KAPSO_API_KEY": "",
            "KAPSO_BASE_URL": f"http://{HOST}:{ports['--sandbox-port']}/platform/v1",
            "KAPSO_INBOX_ORIGINS": f"http://{HOST}:{ports['--inbox-port']}",
        }
    return environment


def write_missing_secrets(data_dir: Path, env: Any) -> None:
    """Add generated values to ``<data_dir>/.env`` for those secrets that nothing sets yet."""
    generated = {
        "SECRET_KEY": secrets.token_urlsafe(48),
        "KAPSO_INBOX_ENCRYPTION_KEYS": f"demo={generate_key()}",
    }
    missing = [name for name in configuration.SECRETS if not env.str(name, default="")]
    if missing:
        # Readable by its owner from the first moment, and not only after a chmod.
        file = os.open(data_dir / ".env", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(file, "w") as lines:
            lines.writelines(f"{name}={generated[name]}\n" for name in missing)


def _require_free(ports: dict[str, int]) -> None:
    """Raise ``CommandError`` for a port that is taken, with the option that names another."""
    if len(set(ports.values())) < len(ports):
        raise CommandError(f"{', '.join(ports)} must be different ports.")
    for option, port in ports.items():
        with socket.socket() as probe:
            if os.name == "posix":
                # As the servers do: connections of a demo that just ended do not count.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except (OSError, OverflowError) as error:
                raise CommandError(
                    f"Port {port} cannot be used ({error}). Choose another with {option}."
                ) from None


def _accepts(port: int) -> bool:
    """Whether somebody listens."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def _answers(port: int) -> bool:
    """Whether the CRM answers a request, rightly or not."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/sign-in/")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    else:
        return True
    finally:
        connection.close()


def _tail(log: Path) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
