"""A host whose router puts every table elsewhere than into "default", which has none.

The tests may ask no other database than the one that the router names: see tests/conftest.py.
"""

from __future__ import annotations

from typing import Any

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES

CRM = "crm"

# Django would make the tests' "default" first, and no test asks for it.
DATABASES[CRM] = {**DATABASES["default"], "TEST": {"DEPENDENCIES": []}}
DATABASES["default"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
DATABASE_ROUTERS = ["tests.hosts.router.Router"]


class Router:
    """Everything is in the CRM's database."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return CRM

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return CRM

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == CRM
