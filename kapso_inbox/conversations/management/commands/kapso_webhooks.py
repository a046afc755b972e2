"""`manage.py kapso_webhooks`: list, set, test and remove this site's webhooks at Kapso."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from kapso_inbox import conf
from kapso_inbox.conversations.webhooks import (
    Registered,
    read_webhooks,
    remove_webhooks,
    set_webhooks,
    test_webhooks,
)
from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.kapso import KapsoError
from kapso_inbox.management.base import (
    FAILED,
    InboxCommand,
    add_json_option,
    add_project_option,
    chosen_projects,
)

_VERBS = {"set": set_webhooks, "remove": remove_webhooks, "test": test_webhooks}


class Command(InboxCommand):
    """Bring the webhooks at Kapso into agreement with this site. No secret is ever printed."""

    help = (
        "List the webhooks at Kapso that lead to this site, or create, update, move, test or "
        "remove them: one for each WhatsApp number, and one for the project. Exit status: 0 all is "
        "well, 1 a webhook is missing, paused or incomplete, 2 the command failed for a project."
    )
    repeat = "What was done stays so. Run the command again to continue."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        add_project_option(parser)
        verbs = parser.add_mutually_exclusive_group()
        verbs.add_argument(
            "--set",
            metavar="ADDRESS",
            help="create the webhooks of the site at this address, such as "
            "https://crm.example.com, or update them; one with another address of this site (the "
            "same host and port) is moved there, so that Kapso tells nothing twice",
        )
        verbs.add_argument(
            "--test", metavar="ADDRESS", help="let Kapso send a made-up event to that site"
        )
        verbs.add_argument("--remove", metavar="ADDRESS", help="remove the webhooks of that site")
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it for each project. A failure in one does not stop the others."""
        failures: list[str] = []
        incomplete = False
        found: list[dict[str, Any]] = []
        self.parts["webhooks"] = found
        for alias in chosen_projects(options):
            try:
                registered = list(self._run(alias, options))
            except (ConfigurationError, ValidationError) as error:
                text = error.messages[0] if isinstance(error, ValidationError) else error
                failures.append(f"{alias}: {text}")
                continue
            except KapsoError as error:
                failures.append(f"{alias}: {error}. Run the command again.")
                continue
            found += [_as_json(alias, one) for one in registered]
            incomplete |= any(map(_problem, registered))
            if not options["json"] and options["verbosity"] > 0:
                self._print(alias, registered)
        if failures:
            raise CommandError("\n".join(failures), returncode=FAILED)
        if incomplete:
            sys.exit(1)

    def _run(self, alias: str, options: dict[str, Any]) -> Iterable[Registered]:
        for name, verb in _VERBS.items():
            if options[name]:
                return verb(alias, options[name])
        return read_webhooks(alias, conf.project(alias).client(patience=60))

    def _print(self, alias: str, registered: list[Registered]) -> None:
        if not registered:
            self.stdout.write(f"{alias}: no webhook of that site.")
        for one in registered:
            address = one.webhook.url if one.webhook else "no webhook"
            said = one.change or _problem(one) or "delivers"
            self.stdout.write(f"{alias}: {one.place.name}: {address}: {said}")


def _problem(one: Registered) -> str:
    """Return what is wrong with a webhook, in words, or ""."""
    if one.change == "removed":
        return ""
    if one.webhook is None:
        return "missing. Create it with --set"
    if not one.webhook.active:
        return "paused by Kapso, because deliveries failed. Switch it on again with --set"
    if one.missing_events:
        return f"does not deliver {', '.join(one.missing_events)}. Add them with --set"
    return ""


def _as_json(alias: str, one: Registered) -> dict[str, Any]:
    webhook = one.webhook
    return {
        "project": alias,
        "phone_number_id": one.place.phone_number_id,
        "name": one.place.name,
        "address": webhook.url if webhook else None,
        "active": webhook.active if webhook else False,
        "missing_events": one.missing_events,
        "change": one.change,
    }
