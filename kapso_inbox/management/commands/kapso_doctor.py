"""`manage.py kapso_doctor`: what is wrong and what to do."""

from __future__ import annotations

import dataclasses
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from itertools import groupby
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.debug import sensitive_variables

from kapso_inbox.diagnosis import Finding, diagnose
from kapso_inbox.management.base import InboxCommand, add_json_option, add_project_option

_MARKS = {"info": "✔", "warning": "!", "error": "✘"}
#: For a terminal or a log whose encoding lacks these characters.
_PLAIN = str.maketrans({"✔": "+", "✘": "x", "→": ">", "“": '"', "”": '"', "…": "..."})


class Command(InboxCommand):
    """Check everything, and change nothing."""

    help = (
        "Report what is wrong with the inboxes of this site and what to do about it. This changes "
        "nothing, and works with settings that are wrong and before migrate. Exit status: 0 no "
        "finding is an error, 1 at least one is, 130 it was stopped."
    )
    # This command is for settings that are wrong.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        add_project_option(parser)
        parser.add_argument("--offline", action="store_true", help="make no request to Kapso")
        add_json_option(parser)

    @sensitive_variables()
    def handle(self, *args: Any, **options: Any) -> None:
        """Print the findings, and exit with 1 if one of them is an error."""
        network = not options["offline"]
        findings = diagnose(options["project"], network=network, sends_launch=True)
        failed = any(finding.level == "error" for finding in findings)
        self.parts["findings"] = [_as_json(finding) for finding in findings]
        if not options["json"]:
            self._print(findings)
        if failed:
            sys.exit(1)

    def _print(self, findings: list[Finding]) -> None:
        styles: dict[str, Callable[[str], str]] = {
            "info": self.style.SUCCESS,
            "warning": self.style.WARNING,
            "error": self.style.ERROR,
        }
        for alias, group in groupby(findings, key=lambda finding: finding.project):
            self._line(
                _("Kapso project “%(project)s”") % {"project": alias} if alias else _("This site")
            )
            # A hint that several findings share is printed once.
            for hint, same in groupby(group, key=lambda finding: finding.hint):
                for finding in same:
                    found = f"{finding.what} {finding.details}".rstrip()
                    line = f"  {_MARKS[finding.level]} {found} [{finding.code}]"
                    self._line(line, styles[finding.level])
                if hint:
                    self._line(f"    → {hint}")
        levels = [finding.level for finding in findings]
        errors, warnings = levels.count("error"), levels.count("warning")
        if not errors and not warnings:
            self._line(_("Nothing is wrong."))
            return
        counts = [
            ngettext("%(count)d error", "%(count)d errors", errors) % {"count": errors},
            ngettext("%(count)d warning", "%(count)d warnings", warnings) % {"count": warnings},
        ]
        self._line(", ".join(counts))

    def _line(self, text: str, style: Callable[[str], str] | None = None) -> None:
        encoding = getattr(self.stdout, "encoding", None) or "utf-8"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            text = text.translate(_PLAIN).encode(encoding, "replace").decode(encoding)
        self.stdout.write(text, style)


def _as_json(finding: Finding) -> dict[str, str]:
    told = dataclasses.asdict(finding)
    del told["page"]  # of the admin, where the command is not run
    return told
