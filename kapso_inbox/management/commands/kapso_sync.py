"""`manage.py kapso_sync`: the one command to run from cron."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError

from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.lifecycle import InsideTransactionError
from kapso_inbox.management.base import (
    FAILED,
    InboxCommand,
    add_json_option,
    add_project_option,
    chosen_projects,
    explain_database_error,
)
from kapso_inbox.sync import SyncReport, sync_project


class Command(InboxCommand):
    """Bring the CRM and Kapso into agreement. The exit status tells if somebody must look."""

    help = (
        "Mirror Kapso's list of embeds, settle uncertain links, continue revocations, renew links "
        "that are about to expire and prune the audit trail. You can run it at any time, even "
        "twice at once. With --verbosity 0 it prints nothing but problems. Exit status: 0 all is "
        "well, 1 somebody should look at the problems, 2 the command failed for a project: nothing "
        "of Kapso's list could be read, or a setting or the database is at fault, 130 it was "
        "stopped."
    )
    repeat = "What was done stays so. Run the command again to continue."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        add_project_option(parser)
        parser.add_argument(
            "--dry-run", action="store_true", help="report what would change, but write nothing"
        )
        parser.add_argument(
            "--accept-missing",
            action="store_true",
            help=(
                "end the links that Kapso's list lacks, even if it lacks most of a project's links "
                "or all of them. Use it once you know that they were deleted at Kapso"
            ),
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Sync each project. A failure in one does not stop the others."""
        shows_text = not options["json"] and options["verbosity"] > 0
        reports: list[SyncReport] = []
        failures: list[str] = []
        for alias in chosen_projects(options):
            try:
                with self._progress(alias, shown=shows_text) as on_page:
                    report = sync_project(
                        alias,
                        options["dry_run"],
                        accept_missing=options["accept_missing"],
                        on_page=on_page,
                    )
                    reports.append(report)
            except (ConfigurationError, InsideTransactionError) as error:
                failures.append(f"{alias}: {error}")
            except DatabaseError as error:
                failures.append(f"{alias}: {explain_database_error(error)}")
        self.parts["projects"] = [report.in_words() for report in reports]
        for report in reports:
            if shows_text:
                self._print(report)
            if not options["json"]:
                for problem in report.problems:
                    self.stderr.write(self.style.WARNING(f"{report.project}: {problem}"))
        failures += [
            f"{report.project}: Nothing of Kapso's list could be read. Run: manage.py kapso_doctor "
            f"--project {report.project}"
            for report in reports
            if not report.pages
        ]
        if failures:
            raise CommandError("\n".join(failures), returncode=FAILED)
        if any(report.problems for report in reports):
            sys.exit(1)

    @contextmanager
    def _progress(self, alias: str, *, shown: bool) -> Iterator[Callable[[int], None] | None]:
        """Show a progress bar on a terminal, if tqdm is installed."""
        if not (shown and sys.stderr.isatty()):
            yield None
            return
        try:
            from tqdm import tqdm
        except ModuleNotFoundError:
            yield None
            return
        with tqdm(desc=alias, unit=" embeds", leave=False) as bar:

            def on_page(listed: int) -> None:
                bar.update(listed - bar.n)

            yield on_page

    def _print(self, report: SyncReport) -> None:
        would = "would be " if report.dry_run else ""
        counts = [
            (report.updated, f"{would}updated"),
            (report.unmanaged, f"{would}shown as unmanaged"),
            (report.ended, f"{would}found revoked or gone"),
            (report.missing, "missing from Kapso's list, to be looked up again"),
            (report.settled, f"uncertain {would}settled"),
            (report.revoked, f"{would}revoked"),
            (report.renewed, f"{would}renewed"),
            (report.pruned, "entries of the audit trail pruned"),
            (report.waiting, "still uncertain, to be looked up again"),
            *((number, what) for what, number in report.further.items()),
        ]
        changes = ", ".join(f"{number} {what}" for number, what in counts if number)
        changes = changes or "no changes"
        embeds = "1 embed" if report.listed == 1 else f"{report.listed} embeds"
        if report.complete:
            listed = f"{embeds} at Kapso"
        elif report.pages:
            listed = f"Kapso's list was read in part, {embeds}"
        else:
            listed = "Kapso's list was not read, so what lives there is unknown"
        self.stdout.write(f"{report.project}: {listed}; {changes}.")
        for note in report.left_undone:
            self.stdout.write(f"  {note}")
