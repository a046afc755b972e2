"""`manage.py demo`: run the CRM and everything that it needs with one command."""

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
from argparse import ArgumentTypeError
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
    """Prepare the database, start the sandbox and the CRM, and run until a signal stops them."""

    help = (
        "Runs the example CRM on a sandbox of Kapso, or on Kapso itself if KAPSO_API_KEY is set. "
        "Writes to one directory only: example_project/.demo, or that of --data-dir."
    )
    # The checks require secrets that only the child processes have.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options for the ports and the directory."""
        parser.add_argument("--port", type=_port, default=8000, help="port of the CRM")
        parser.add_argument(
            "--sandbox-port", type=_port, default=8801, help="port of the sandbox's API"
        )
        parser.add_argument(
            "--inbox-port", type=_port, default=8802, help="port of the sandbox's inbox"
        )
        parser.add_argument(
            "--data-dir",
            type=Path,
            default=configuration.DEFAULT_DATA_DIR,
            help="directory for secrets, database, sandbox state and logs",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until ctrl-C, SIGTERM, a closed terminal, or the end of a child process."""
        data_dir: Path = options["data_dir"].absolute()
        port: int = options["port"]
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CommandError(f"--data-dir: {error}") from None
        env = configuration.read(data_dir)
        if not env.bool("DEBUG", default=True):
            raise CommandError("The demo's passwords are public, so it requires DEBUG.")
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
                # Printed first, so that ctrl-C has an effect that can be seen at once.
                with contextlib.suppress(OSError):
                    self._say("Stopping.")

    def _start(self, children: Children, data_dir: Path, ports: dict[str, int]) -> None:
        """Start the parts in the order in which they depend on each other."""
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
        self._say("Creating teams, contacts and inboxes.")
        children.run("seed", "--verbosity=0")
        port = ports["--port"]
        if "--sandbox-port" in ports:
            # Kapso itself cannot reach this machine.
            children.run("kapso_webhooks", f"--set=http://{HOST}:{port}", "--verbosity=0")
            children.run("kapso_sync", "--verbosity=0")
        children.start("web", "runserver", "--noreload", f"{HOST}:{port}")
        children.wait(lambda: _answers(port), "the CRM")

    def _block(self, port: int, data_dir: Path, ports: dict[str, int]) -> str:
        """Return the text with the addresses and the accounts."""
        address = f"http://localhost:{port}"
        rows = [("CRM", address), ("Admin", f"{address}/admin/")]
        if "--sandbox-port" in ports:
            rows.append(("Sandbox", f"http://{HOST}:{ports['--sandbox-port']} (nothing is sent)"))
        rows.append(("Files", str(data_dir)))
        password = people.password(
            sandbox="--sandbox-port" in ports,
            # Read again, because this run may just have written it.
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
                "Press ctrl-C to stop it.",
            )
        )

    def _say(self, text: str) -> None:
        """Write a text at once. A pipe would otherwise buffer it."""
        self.stdout.write(text)
        self.stdout.flush()


SANDBOX_OPTIONS = ("--sandbox-port", "--inbox-port")


class Stopped(Exception):  # noqa: N818 -- like KeyboardInterrupt, it is not an error
    """A signal has stopped the demo."""


class StopSignals:
    """Records the signals that end a program, while its block runs.

    The handler does not raise an exception: that could happen between the start of a child and the
    line that remembers it, and again while children are being stopped.
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
    """The demo's processes, each with a command of `manage.py`. Leaving the block stops them.

    Every method that waits raises `Stopped` after a signal.
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
        """Run a command to its end; raise `CommandError` with its output if it fails."""
        log = self._start("setup", command)
        process = self._running["setup"]
        while process.poll() is None:
            self._require_life()
            time.sleep(0.1)
        del self._running["setup"]
        if process.returncode:
            raise CommandError(f"{command[0]} failed:\n{_tail(log)}")

    def start(self, name: str, *command: str) -> None:
        """Start a command that keeps running; its output goes to `<name>.log`."""
        self._start(name, command)

    def wait(self, ready: Callable[[], bool], what: str) -> None:
        """Wait until `ready()`; raise `CommandError` if a child ends or it takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            self._require_life()
            if time.monotonic() > deadline:
                raise CommandError(f"{what} did not start within {START_SECONDS} seconds.")
            time.sleep(0.1)

    def watch(self) -> None:
        """Wait as long as all children run; raise `CommandError` when one ends."""
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
                # The terminal's ctrl-C must not reach it: this process stops its children itself.
                start_new_session=True,
            )
        return path


def child_environment(data_dir: Path, ports: dict[str, int]) -> dict[str, str]:
    """Return the environment for the children, with all addresses. Secrets stay in the file."""
    environment = {
        **os.environ,
        "CRM_DATA_DIR": str(data_dir),
        # Both, so that the inbox also works if the CRM is opened by its IP address.
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
    """Generate the secrets that are not set yet, and add them to `<data_dir>/.env`."""
    generated = {
        "SECRET_KEY": secrets.token_urlsafe(48),
        "KAPSO_INBOX_ENCRYPTION_KEYS": f"demo={generate_key()}",
        "KAPSO_WEBHOOK_SECRET": secrets.token_urlsafe(32),
    }
    missing = [name for name in configuration.SECRETS if not env.str(name, default="")]
    if missing:
        # Only the owner can read it from the start, and not only after a chmod.
        file = os.open(data_dir / ".env", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(file, "w") as lines:
            lines.writelines(f"{name}={generated[name]}\n" for name in missing)


def _port(text: str) -> int:
    """Return a port that a process can listen on."""
    port = int(text)
    if not 0 < port < 2**16:
        raise ArgumentTypeError("a port is a number from 1 to 65535")
    return port


def _require_free(ports: dict[str, int]) -> None:
    """Raise `CommandError` if ports are taken, with the options that set free ones."""
    if len(set(ports.values())) < len(ports):
        raise CommandError(f"{', '.join(ports)} must be different ports.")
    errors = {option: error for option, port in ports.items() if (error := _why_not(port))}
    if not errors:
        return
    taken = "; ".join(f"port {ports[option]}: {error}" for option, error in errors.items())
    with contextlib.ExitStack() as probes:
        # All open at once, so that they differ.
        sockets = [probes.enter_context(socket.socket()) for _option in errors]
        for probe in sockets:
            probe.bind((HOST, 0))
        free = [probe.getsockname()[1] for probe in sockets]
    options = " ".join(f"{option} {port}" for option, port in zip(errors, free, strict=True))
    raise CommandError(f"Cannot be used: {taken}. These are free: {options}")


def _why_not(port: int) -> str:
    """Return why no server can listen on a port, or ""."""
    with socket.socket() as probe:
        if os.name == "posix":
            # As the servers do, so that connections of a demo that just ended do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            return getattr(error, "strerror", None) or str(error)
    return ""


def _accepts(port: int) -> bool:
    """Return whether a server accepts connections on this port."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def _answers(port: int) -> bool:
    """Return whether the CRM answers a request, with whatever status."""
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
    """Return the last 20 lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
