"""A host whose router puts every table into a database other than "default", which is empty.

The tests may use only the database that the router names: see tests/conftest.py.
"""

from __future__ import annotations

from typing import Any

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES

CRM = "crm"

# By default Django creates the test database of "default" first, which no test uses.
DATABASES[CRM] = {**DATABASES["default"], "TEST": {"DEPENDENCIES": []}}
DATABASES["default"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
DATABASE_ROUTERS = ["tests.hosts.router.Router"]


class Router:
    """Put every table into the CRM's database."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return CRM

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return CRM

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == CRM
