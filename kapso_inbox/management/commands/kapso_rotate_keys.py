"""`manage.py kapso_rotate_keys`: encrypt every stored link under the first key."""

from __future__ import annotations

import dataclasses
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError
from django.views.decorators.debug import sensitive_variables

from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.lifecycle import InsideTransactionError
from kapso_inbox.lifecycle.reencrypt import ReencryptReport, reencrypt
from kapso_inbox.management.base import (
    FAILED,
    InboxCommand,
    add_json_option,
    explain_database_error,
)


class Command(InboxCommand):
    """Re-encrypt the links while the site runs. It may be stopped at any point, and repeated."""

    help = (
        'Encrypt every stored link under the first key of KAPSO_INBOX["ENCRYPTION_KEYS"], and '
        "report which of the other keys may be removed. You can run this at any time, stop it and "
        "repeat it. Exit status: 0 all is well, 1 a link cannot be decrypted, 2 the command "
        "failed, 130 it was stopped."
    )
    repeat = "Links that were re-encrypted stay so. Run the command again to continue."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--batch-size",
            type=_positive,
            default=200,
            help="the number of links to read at a time (default: 200)",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="decrypt every link, but write nothing"
        )
        add_json_option(parser)

    @sensitive_variables()
    def handle(self, *args: Any, **options: Any) -> None:
        """Re-encrypt the links and print a summary."""
        try:
            report = reencrypt(batch_size=options["batch_size"], dry_run=options["dry_run"])
        except (ConfigurationError, InsideTransactionError) as error:
            raise CommandError(str(error), returncode=FAILED) from None
        except DatabaseError as error:
            text = f"{explain_database_error(error)} {self.repeat}"
            raise CommandError(text, returncode=FAILED) from None
        self.parts["links"] = {**dataclasses.asdict(report), "total": report.total}
        if not options["json"]:
            self.stdout.write("\n".join(_in_words(report)))
        if report.unreadable:
            raise CommandError(
                "Some links cannot be decrypted. Put the missing keys back and run the command "
                "again. If a key is lost, rotate its links: Kapso shows an address only once."
            )


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ArgumentTypeError("must be a whole number of at least 1")
    return number


def _in_words(report: ReencryptReport) -> list[str]:
    done = "would be re-encrypted" if report.dry_run else "re-encrypted"
    lines = [
        f"Stored links: {report.total}. First key: {report.key_id}.",
        f"  {report.reencrypted} {done} under the first key",
        f"  {report.current} already under the first key",
    ]
    if report.changed_meanwhile:
        lines.append(f"  {report.changed_meanwhile} changed by another process meanwhile")
    if report.unreadable:
        lines.append(f"  {len(report.unreadable)} cannot be decrypted:")
        lines += [f"    {one.slug} ({one.link}): {one.reason}" for one in report.unreadable]
    if report.unused_key_ids:
        lines += [
            f"No link uses these keys, so they may be removed: {', '.join(report.unused_key_ids)}",
            "Before you remove them, restart every process with the current keys. Keep the old "
            "keys for as long as the backups that were made with them.",
        ]
    if report.used_key_ids:
        again = "" if report.dry_run else ". Run this again when every process has the new keys."
        lines.append(f"Still in use: {', '.join(report.used_key_ids)}{again}")
    return lines
