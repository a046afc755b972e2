"""Findings about the database itself."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError
from django.db.migrations.executor import MigrationExecutor

from kapso_inbox.sandbox.engine import Sandbox
from tests.hosts.database import connection

from .helpers import TOKEN, codes, the

pytestmark = pytest.mark.django_db


def test_a_database_without_the_tables_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not-migrated" not in codes(network=False)
    monkeypatch.setattr(type(connection.introspection), "table_names", lambda *args: [])
    assert the("not-migrated", network=False).level == "error"


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
