"""Findings about the database itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections
from django.db.migrations.executor import MigrationExecutor

from kapso_inbox.models import LaunchTicket
from kapso_inbox.sandbox.engine import Sandbox
from tests.hosts.database import connection

from .helpers import TOKEN, codes, the

pytestmark = pytest.mark.django_db


def test_a_database_without_the_tables_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not-migrated" not in codes(network=False)
    monkeypatch.setattr(type(connection.introspection), "table_names", lambda *args: [])
    assert the("not-migrated", network=False).level == "error"


@pytest.fixture
def lost_table(transactional_db: None) -> Iterator[str]:
    """Take the table of the tickets away, and return its name."""
    name = LaunchTicket._meta.db_table
    with connection.schema_editor() as editor:
        editor.alter_db_table(LaunchTicket, name, "elsewhere")
    yield name
    with connection.schema_editor() as editor:
        editor.alter_db_table(LaunchTicket, "elsewhere", name)


def test_a_table_that_somebody_dropped_is_found(lost_table: str) -> None:
    found = the("tables-missing", network=False)
    assert found.level == "error"
    assert f"lacks these tables: {lost_table}." in found.what
    assert "backup" in found.hint, "a migration would fail at the tables that are there"
    assert not {"not-migrated", "no-embeds"} & set(codes(network=False))


@pytest.fixture
def no_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave nothing but the record of the migrations."""
    names = ["django_migrations"]
    monkeypatch.setattr(type(connection.introspection), "table_names", lambda *args: names)


class NowhereRouter:
    """A router of a host that lets the app's tables into no database."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == "kapso_inbox" else None


@pytest.mark.usefixtures("no_tables")
def test_migrations_that_are_recorded_but_made_no_table_are_found(settings: Any) -> None:
    option = "" if connection.alias == DEFAULT_DB_ALIAS else f" --database={connection.alias}"
    again = f"manage.py migrate kapso_inbox zero --fake{option},"
    found = the("tables-missing", network=False)
    assert again in found.hint
    assert "DATABASE_ROUTERS" not in found.hint
    settings.DATABASE_ROUTERS = [f"{__name__}.NowhereRouter", *settings.DATABASE_ROUTERS]
    found = the("tables-missing", network=False)
    assert found.hint.startswith("Let DATABASE_ROUTERS allow the tables")
    assert again in found.hint


@pytest.mark.usefixtures("no_tables")
def test_with_django_tenants_the_schema_and_its_commands_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections[connection.alias], "schema_name", "clinic", raising=False)
    found = the("tables-missing", network=False)
    assert "the schema “clinic” of django-tenants" in found.what
    assert "TENANT_APPS" in found.hint
    assert "manage.py migrate_schemas kapso_inbox zero --fake" in found.hint


def test_a_database_of_an_older_version_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MigrationExecutor, "migration_plan", lambda *args: ["0002"])
    found = codes(network=False)
    assert "not-migrated" in found
    assert "no-embeds" not in found, "what cannot be read is not said to be empty"


@pytest.mark.parametrize("error", [OperationalError, ImproperlyConfigured])
def test_a_database_that_does_not_answer_is_found(
    kapso_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    assert "database-unreachable" not in codes()

    def fail(*args: Any) -> None:
        raise error(f"password={TOKEN}")

    monkeypatch.setattr(type(connection.introspection), "table_names", fail)
    assert the("database-unreachable").level == "error"
    assert "api-key-accepted" in codes(), "Kapso is asked all the same"
