"""`manage.py kapso_generate_key`: create an encryption key to paste into the settings."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from itertools import count
from typing import Any

from django.core.management.base import CommandError
from django.views.decorators.debug import sensitive_variables

from kapso_inbox import conf
from kapso_inbox.encryption import KeyConfigurationError, Keyring, generate_key
from kapso_inbox.management.base import InboxCommand

_FIRST = """
This is the first key of the site. Put it into the setting KAPSO_INBOX["ENCRYPTION_KEYS"], which
maps IDs to keys. If your settings read the keys from the environment, as in the installation guide:

export KAPSO_INBOX_ENCRYPTION_KEYS="{line}"
"""
_FURTHER = """
The site has a key already. Put this one behind it in the setting KAPSO_INBOX["ENCRYPTION_KEYS"],
which maps IDs to keys. If your settings read the keys from the environment, as in the installation
guide, put it behind the others there, with a comma before it:

export KAPSO_INBOX_ENCRYPTION_KEYS="{known}=…,{line}"

To rotate keys, restart every process after each step: put the new key second; put it first; run
`manage.py kapso_rotate_keys`; remove the keys that it reports as unused.
"""
_KEEP = """
Keep the key with your other secrets, and keep a copy near your backups but not in them. Without it
no stored link can be opened, and Kapso shows the address of a link only once."""


class Command(InboxCommand):
    """Create a key. This needs neither a database nor complete settings."""

    help = (
        'Print a new key for the setting KAPSO_INBOX["ENCRYPTION_KEYS"], as ID=key. On a terminal, '
        "also print where to put it."
    )
    # This command is run before the settings are complete.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--id",
            help="the ID of the key, stored with each secret (default: the year and the month)",
        )

    @sensitive_variables()
    def handle(self, *args: Any, **options: Any) -> None:
        """Print `<id>=<key>`, and on a terminal how to keep and rotate it."""
        configured = conf.value("ENCRYPTION_KEYS")
        # A system check reports a value that is not a dictionary.
        taken = list(configured) if isinstance(configured, Mapping) else []
        key_id: str = options["id"] or _free_id(taken)
        if key_id in taken:
            # The new key would replace the old one, and every secret under that would be lost.
            raise CommandError(
                f'KAPSO_INBOX["ENCRYPTION_KEYS"] has a key {key_id!r} already. Choose another --id.'
            )
        key = generate_key()
        try:
            Keyring({key_id: key})
        except KeyConfigurationError as error:
            raise CommandError(str(error)) from None
        line = f"{key_id}={key}"
        self.stdout.write(line)
        if self.stdout.isatty():
            advice = _FURTHER if taken else _FIRST
            known = "=…,".join(map(str, taken))
            self.stdout.write(advice.format(line=line, known=known) + _KEEP)


def _free_id(taken: Collection[object]) -> str:
    """Return the year and the month, with a number if that ID is taken."""
    month = f"{datetime.now(timezone.utc):%Y-%m}"
    return next(
        key_id
        for number in count(1)
        if (key_id := month if number == 1 else f"{month}-{number}") not in taken
    )
