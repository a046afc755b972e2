"""Whether the database answers and is migrated."""

from __future__ import annotations

from collections.abc import Iterator

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, Error, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.utils.translation import gettext as _

from kapso_inbox.models import InboxEmbed
from kapso_inbox.transactions import database

from .findings import Finding, error, list_in_words

#: With one of these, nothing else that needs the database can be checked.
UNUSABLE = frozenset({"database-unreachable", "not-migrated", "tables-missing"})


def database_findings() -> Iterator[Finding]:
    """Check that the database answers and has the tables of this version."""
    connection = connections[database()]
    try:
        executor = MigrationExecutor(connection)
        newest = executor.loader.graph.leaf_nodes("kapso_inbox")
        behind = executor.migration_plan(newest)
        present = connection.introspection.table_names()
    except (Error, ImproperlyConfigured) as failure:
        yield error(
            "database-unreachable",
            # Without the exception's text, which can hold a user name and a password.
            _("The database does not answer (%(kind)s).") % {"kind": type(failure).__name__},
            _("Look at DATABASES in the settings, and whether the database runs."),
        )
        return
    models = apps.get_app_config("kapso_inbox").get_models(include_auto_created=True)
    tables = {model._meta.db_table for model in models}
    missing = sorted(tables - set(present))
    if missing and newest and not behind:
        yield _tables_missing(connection, missing, are_all=len(missing) == len(tables))
    elif missing or behind:
        yield error(
            "not-migrated",
            _("The database has no tables for the inboxes yet, or those of an older version."),
            _("Run manage.py migrate."),
        )


def _tables_missing(
    connection: BaseDatabaseWrapper, missing: list[str], *, are_all: bool
) -> Finding:
    """Return the finding that the migrations are recorded as applied, but these tables are missing.

    Django records a migration even if a router allows none of its tables in the database.
    """
    what = _(
        "The database records the migrations of kapso_inbox as applied, but lacks these tables: "
        "%(tables)s. manage.py migrate does not create them."
    ) % {"tables": list_in_words(missing)}
    # django-tenants: the schema that the connection uses.
    schema = getattr(connection, "schema_name", None)
    if schema is not None:
        what += " " + _("This is the schema “%(schema)s” of django-tenants.") % {"schema": schema}
    if not are_all:
        hint = _("Somebody dropped them. Restore them from a backup of the database.")
    elif schema is not None:
        hint = _(
            "If only tenants have inboxes, check one of them: manage.py tenant_command "
            "kapso_doctor --schema=NAME. Otherwise put “kapso_inbox” into TENANT_APPS, then run "
            "manage.py migrate_schemas kapso_inbox zero --fake and manage.py migrate_schemas."
        )
    else:
        hint = _how_to_migrate_again(connection.alias)
    return error("tables-missing", what, hint)


def _how_to_migrate_again(alias: str) -> str:
    option = "" if alias == DEFAULT_DB_ALIAS else f" --database={alias}"
    hint = _(
        "Run manage.py migrate kapso_inbox zero --fake%(option)s, which only deletes the record, "
        "and then manage.py migrate kapso_inbox%(option)s."
    ) % {"option": option}
    if not router.allow_migrate_model(alias, InboxEmbed):
        first = _("Let DATABASE_ROUTERS allow the tables in “%(alias)s”.") % {"alias": alias}
        hint = f"{first} {hint}"
    return hint
