"""Whether the database answers and is migrated."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connections, router
from django.db.migrations.executor import MigrationExecutor
from django.utils.translation import gettext as _

from kapso_inbox.models import AccessLink, InboxEmbed

from .findings import Finding, error


def database_findings() -> Iterator[Finding]:
    """Check that the database answers and has the tables of this version."""
    connection = connections[router.db_for_write(InboxEmbed)]
    try:
        executor = MigrationExecutor(connection)
        behind = executor.migration_plan(executor.loader.graph.leaf_nodes("kapso_inbox"))
        present = connection.introspection.table_names()
    except (Error, ImproperlyConfigured) as failure:
        yield error(
            "database-unreachable",
            # Without the exception's text, which can hold a user name and a password.
            _("The database does not answer (%(kind)s).") % {"kind": type(failure).__name__},
            _("Look at DATABASES in the settings, and whether the database runs."),
        )
        return
    wanted = {AccessLink._meta.db_table, InboxEmbed._meta.db_table}
    if behind or not wanted <= set(present):
        yield error(
            "not-migrated",
            _("The database has no tables for the inboxes yet, or those of an older version."),
            _("Run manage.py migrate."),
        )
