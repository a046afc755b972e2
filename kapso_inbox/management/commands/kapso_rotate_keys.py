"""`manage.py kapso_rotate_keys`: every stored link under the first encryption key."""

from __future__ import annotations

import dataclasses
import json
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.views.decorators.debug import sensitive_variables

from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.lifecycle import InsideTransactionError
from kapso_inbox.lifecycle.reencrypt import ReencryptReport, reencrypt

_REPEAT = "What was encrypted anew stays so; run it again to go on."


class Command(BaseCommand):
    """Re-encrypt while the site runs; may be stopped at any point, and repeated."""

    help = (
        "Encrypt every stored link under the first of KAPSO_INBOX_ENCRYPTION_KEYS, and say which "
        "of the other keys may be removed. Safe to run at any time, to stop and to repeat. Exit "
        "status: 0 all is well, 1 a link does not open, 2 it could not be done."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--batch-size", type=_positive, default=200, help="links read at a time (200)"
        )
        parser.add_argument("--dry-run", action="store_true", help="open all, write nothing")
        parser.add_argument("--json", action="store_true", help="the summary for a program")

    @sensitive_variables()
    def handle(self, *args: Any, **options: Any) -> None:
        """Re-encrypt and sum up."""
        try:
            report = reencrypt(batch_size=options["batch_size"], dry_run=options["dry_run"])
        except (ConfigurationError, InsideTransactionError) as error:
            raise CommandError(str(error), returncode=2) from None
        except DatabaseError as error:
            # Without its text, in which some databases quote the row.
            text = f"The database failed ({type(error).__name__}). {_REPEAT}"
            raise CommandError(text, returncode=2) from None
        except KeyboardInterrupt:
            raise CommandError(f"Stopped. {_REPEAT}", returncode=130) from None
        if options["json"]:
            summary = {**dataclasses.asdict(report), "total": report.total}
            self.stdout.write(json.dumps(summary))
        else:
            self.stdout.write("\n".join(_in_words(report)))
        if report.unreadable:
            raise CommandError(
                "Some links do not open. Put the keys they need back and run this again, or rotate "
                "those links: Kapso tells no address twice."
            )


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ArgumentTypeError("must be a number from 1 on")
    return number


def _in_words(report: ReencryptReport) -> list[str]:
    done = "would be encrypted anew" if report.dry_run else "encrypted anew"
    lines = [
        f"Stored links: {report.total}. The first key: {report.key_id}.",
        f"  {report.reencrypted} {done} under it",
        f"  {report.current} under it already",
    ]
    if report.changed_meanwhile:
        lines.append(f"  {report.changed_meanwhile} changed by others meanwhile")
    if report.unreadable:
        lines.append(f"  {len(report.unreadable)} do not open:")
        lines += [f"    {one.slug} ({one.link}): {one.reason}" for one in report.unreadable]
    if report.unused_key_ids:
        lines += [
            f"No link is under these keys; they may be removed: {', '.join(report.unused_key_ids)}",
            "Not before every process runs with the keys of now, and keep them as long as the "
            "backups that were made with them.",
        ]
    if report.used_key_ids:
        again = "" if report.dry_run else "; run this again once every process has the new keys"
        lines.append(f"Still in use: {', '.join(report.used_key_ids)}{again}")
    return lines
