"""What the commands share: their output, `--json`, `--project`, and a database without tables."""

from __future__ import annotations

import io
import json
import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, OutputWrapper
from django.db import DatabaseError, connections

from kapso_inbox import conf
from kapso_inbox.transactions import database

#: The exit status if the command could not do its work.
FAILED = 2
#: The exit status after ctrl-C.
STOPPED = 130


class InboxCommand(BaseCommand):
    """A command of this app.

    With `--json` it prints one object, whatever happens: `ok` is whether the exit status is 0, and
    `error` is the text of the error that ended the command, or "". The other members are `parts`.

    Attributes:
        repeat: what the user should know or do if the command is stopped half-way.
        parts: what the command found and did, for `--json`.
    """

    repeat = ""
    parts: dict[str, Any]

    def run_from_argv(self, argv: list[str]) -> None:
        """Run the command in a process of its own, whose output may be cut off (`| head`)."""
        self.stdout, self.stderr = _Output(sys.stdout), _Output(sys.stderr)
        self.stderr.style_func = self.style.ERROR
        try:
            super().run_from_argv(argv)
        finally:
            # Otherwise Python writes what is left at its exit, and reports that it could not.
            self.stdout.flush()

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the checks and the command."""
        self.parts = {}
        self._is_silent = options["verbosity"] == 0
        ok, told = False, ""
        try:
            output = super().execute(*args, **options)
            ok = True
        except KeyboardInterrupt:
            told = f"Stopped. {self.repeat}".strip()
            raise CommandError(told, returncode=STOPPED) from None
        except CommandError as error:
            told = str(error)
            raise
        except Exception as error:
            told = type(error).__name__  # its text could hold a secret
            raise
        finally:
            if options.get("json"):
                self.stdout.write(json.dumps({"ok": ok, "error": told, **self.parts}, indent=2))
        return output

    def check(self, *args: Any, **kwargs: Any) -> None:
        """Run the system checks. With verbosity 0, warnings of the project are not shown."""
        shown = self.stderr
        if self._is_silent:
            self.stderr = OutputWrapper(io.StringIO())
        try:
            super().check(*args, **kwargs)
        finally:
            self.stderr = shown


class _Output(OutputWrapper):
    """A standard stream of this process. If its reader has gone, the rest is discarded."""

    def write(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        try:
            super().write(*args, **kwargs)
        except BrokenPipeError:
            self._discard()

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            self._discard()

    def _discard(self) -> None:
        # What the stream still holds goes there, too: see "Note on SIGPIPE" in Python's `signal`.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def add_json_option(parser: ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object, for programs, instead of text"
    )


def add_project_option(parser: ArgumentParser) -> None:
    """Add `--project`."""
    parser.add_argument(
        "--project",
        action="append",
        metavar="ALIAS",
        help="only the Kapso project with this alias (may be repeated; default: all projects)",
    )


def chosen_projects(options: dict[str, Any]) -> list[str]:
    """Return the aliases that `--project` names, or those of all projects.

    Raises:
        CommandError: there is no such project, or none at all.
    """
    known = conf.project_aliases()
    if not known:
        raise CommandError(
            'KAPSO_INBOX has no Kapso project. Set KAPSO_INBOX["API_KEY"].', returncode=FAILED
        )
    chosen = list(dict.fromkeys(options["project"] or known))
    if unknown := [alias for alias in chosen if alias not in known]:
        raise CommandError(
            f"KAPSO_INBOX has no project “{'”, “'.join(unknown)}”. Its projects: "
            f"{', '.join(known)}.",
            returncode=FAILED,
        )
    return chosen


def explain_database_error(error: DatabaseError) -> str:
    """Return why the database failed, without its own text, in which some quote the row.

    Raises:
        CommandError: it has no tables of this app.
    """
    if _tables_are_missing():
        raise CommandError(
            "The tables of kapso_inbox are missing. Run: manage.py migrate", returncode=FAILED
        ) from None
    return f"The database failed ({type(error).__name__})."


def _tables_are_missing() -> bool:
    models = apps.get_app_config("kapso_inbox").get_models(include_auto_created=True)
    try:
        present = connections[database()].introspection.table_names()
    except DatabaseError:
        return False  # nothing is known of them
    return not {model._meta.db_table for model in models} <= set(present)
