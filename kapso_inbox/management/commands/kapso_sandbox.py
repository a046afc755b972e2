"""`manage.py kapso_sandbox`: run a fake Kapso on this machine."""

from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from kapso_inbox.management.base import InboxCommand
from kapso_inbox.sandbox.engine import Sandbox
from kapso_inbox.sandbox.server import SandboxServer


class Command(InboxCommand):
    """Serve the sandbox until ctrl-C. This needs neither a database nor complete settings."""

    help = (
        "Run a fake Kapso on this machine, with made-up conversations, until ctrl-C. It prints the "
        "settings to use. With --verbosity 2 it prints each request and delivery, without tokens."
    )
    # This command is run before the settings are complete.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--port", type=int, default=8801, help="the port of the API (default: 8801)"
        )
        parser.add_argument(
            "--inbox-port", type=int, default=8802, help="the port of the inbox (default: 8802)"
        )
        parser.add_argument(
            "--api-key", default="sandbox-key", help="the API key to accept (default: sandbox-key)"
        )
        parser.add_argument(
            "--state",
            type=Path,
            help="a file that keeps the embeds and the webhooks when it restarts",
        )
        parser.add_argument("--busy", action="store_true", help="let customers write by themselves")
        parser.add_argument(
            "--rate-limit",
            type=int,
            default=1000,
            help="requests per API key and minute (default: 1000)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve until SIGINT or SIGTERM. With verbosity 2, print what passes, without tokens."""
        api_key: str = options["api_key"]
        try:
            sandbox = Sandbox(rate_limit=options["rate_limit"], state_file=options["state"])
            sandbox.add_project(api_key)
        except ValueError as error:
            raise CommandError(str(error)) from None
        log = self.stdout.write if options["verbosity"] > 1 else None
        try:
            server = SandboxServer(
                sandbox,
                api_port=options["port"],
                inbox_port=options["inbox_port"],
                busy=options["busy"],
                log=log,
            )
        except (OSError, OverflowError) as error:
            raise CommandError(
                f"Port {options['port']} or {options['inbox_port']} cannot be used:"
                f" {getattr(error, 'strerror', None) or error}."
                " Choose others with --port and --inbox-port."
            ) from None
        finished = threading.Event()
        before = {
            number: signal.signal(number, lambda *_: finished.set())
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            with server:
                self.stdout.write(_introduction(server, api_key))
                self.stdout.flush()
                # A signal that another thread receives does not wake this one (seen on Linux).
                while not finished.wait(0.5):
                    pass
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        self.stdout.write("Stopped.")


def _introduction(server: SandboxServer, api_key: str) -> str:
    return f"""A fake Kapso is running, with made-up conversations. Stop it with ctrl-C.

  API      {server.base_url}
  API key  {api_key}
  Inbox    {server.inbox_origin}

In the settings:

KAPSO_INBOX = {{
    "API_KEY": "{api_key}",
    "BASE_URL": "{server.base_url}",
    "INBOX_ORIGINS": ["{server.inbox_origin}"],
    # and your ENCRYPTION_KEYS
}}
"""
