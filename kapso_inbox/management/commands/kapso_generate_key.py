"""`manage.py kapso_generate_key`: a new encryption key, to paste into the settings."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from itertools import count
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.views.decorators.debug import sensitive_variables

from kapso_inbox import conf
from kapso_inbox.encryption import KeyConfigurationError, Keyring, generate_key

_ADVICE = """
Put it first in KAPSO_INBOX_ENCRYPTION_KEYS, before those that are there, with a comma between.
Keep it where your other secrets are, and a copy where your backups are, but not in them: without it
no stored link can be opened, and Kapso tells none twice.
To rotate: put it first, restart every process, run `manage.py kapso_rotate_keys`, and take away
the keys that it says no link is under."""


class Command(BaseCommand):
    """Make a key; needs neither a database nor a complete configuration."""

    help = "Print a new key for KAPSO_INBOX_ENCRYPTION_KEYS."
    # It is what one runs before the settings are right.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--id", help="what the key is called, stored with each secret (the year and the month)"
        )

    @sensitive_variables()
    def handle(self, *args: Any, **options: Any) -> None:
        """Print `<id>=<key>`, and on a terminal how to keep it and how to rotate."""
        configured = conf.value("ENCRYPTION_KEYS")
        # What it is else than a dictionary, a check names.
        taken = set(configured) if isinstance(configured, Mapping) else set()
        key_id: str = options["id"] or _free_id(taken)
        if key_id in taken:
            # The new key would take the place of the other, and all that is under that be lost.
            raise CommandError(f"There is a key {key_id!r} already. Choose another --id.")
        key = generate_key()
        try:
            Keyring({key_id: key})
        except KeyConfigurationError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{key_id}={key}")
        if self.stdout.isatty():
            self.stdout.write(_ADVICE)


def _free_id(taken: Collection[object]) -> str:
    """The year and the month; with a number where there is such a key already."""
    month = f"{datetime.now(timezone.utc):%Y-%m}"
    return next(
        key_id
        for number in count(1)
        if (key_id := month if number == 1 else f"{month}-{number}") not in taken
    )
