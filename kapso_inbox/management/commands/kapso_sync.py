"""`manage.py kapso_sync`: the one command to run from cron."""

from __future__ import annotations

import dataclasses
import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from kapso_inbox import conf
from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.lifecycle import InsideTransactionError
from kapso_inbox.sync import SyncReport, sync_project


class Command(BaseCommand):
    """Bring the CRM and Kapso into agreement. The exit status tells if somebody must look."""

    help = (
        "Mirror Kapso's list of embeds, settle uncertain links, continue revocations, renew links "
        "that are about to expire and prune the audit trail. It is safe to run at any time, even "
        "twice at once. Exit status: 0 all is well, 1 somebody should look at the problems, 2 the "
        "command failed for a project."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--project",
            action="append",
            help="the alias of a Kapso project (may be repeated; default: all projects)",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="report what would change, but write nothing"
        )
        parser.add_argument(
            "--accept-missing",
            action="store_true",
            help=(
                "end our links that are not in Kapso's list, even if they are most of a project's "
                "or all of them. Use it once you know that they were deleted at Kapso"
            ),
        )
        parser.add_argument(
            "--json", action="store_true", help="print the report of each project as JSON"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Sync each project. A failure in one does not stop the others."""
        aliases = options["project"] or conf.project_aliases()
        unknown = set(aliases) - set(conf.project_aliases())
        if unknown or not aliases:
            known = ", ".join(conf.project_aliases()) or "none"
            asked = ", ".join(sorted(unknown)) or conf.DEFAULT_PROJECT
            raise CommandError(
                f"KAPSO_INBOX has no project {asked!r}. Its projects: {known}.", returncode=2
            )
        reports, failures = [], []
        for alias in aliases:
            try:
                with self._progress(alias, shown=not options["json"]) as on_page:
                    report = sync_project(
                        alias,
                        options["dry_run"],
                        accept_missing=options["accept_missing"],
                        on_page=on_page,
                    )
                    reports.append(report)
            except (
                ConfigurationError,
                DatabaseError,
                InsideTransactionError,
            ) as error:
                failures.append(f"{alias}: {error}")
        if options["json"]:
            self.stdout.write(json.dumps([dataclasses.asdict(report) for report in reports]))
        else:
            for report in reports:
                self._print(report)
        if failures:
            raise CommandError("\n".join(failures), returncode=2)
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
            (report.waiting, "uncertain, to be looked up again"),
        ]
        changes = ", ".join(f"{number} {what}" for number, what in counts if number)
        changes = changes or "no changes"
        if report.complete:
            listed = f"{report.listed} embeds at Kapso"
        elif report.pages:
            listed = f"Kapso's list was read in part, {report.listed} embeds"
        else:
            listed = "Kapso's list was not read, so what lives there is unknown"
        self.stdout.write(f"{report.project}: {listed}; {changes}.")
        for text in report.left_undone:
            self.stdout.write(f"  {text}")
        for problem in report.problems:
            self.stderr.write(self.style.WARNING(f"  {problem}"))
