"""A database of its own for processes of their own, and a Kapso for them to talk to."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import environ
import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import DEFAULT_DB_ALIAS, ConnectionHandler, connections
from django.test import override_settings

from kapso_inbox.encryption import generate_key
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed, LaunchAttempt
from kapso_inbox.sandbox.engine import Sandbox
from kapso_inbox.sandbox.server import SandboxServer
from tests.hosts.database import connection
from tests.hosts.people import User

from .house import PATIENCE, ROOT, House, environment_of, start_forkserver

QUIET = ("--verbosity=0", "--skip-checks")
_KEY = "kapso-key-of-the-processes-0123456789"


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any) -> Iterator[str]:
    """The address of an empty, migrated database like the one of the other tests.

    A file for SQLite, a database with a random name elsewhere: what other processes can open.
    """
    given = environ.Env().str("DATABASE_URL", default="sqlite:///:memory:")
    name = f"kapso_processes_{uuid.uuid4().hex[:12]}"
    server = None
    if settings.DATABASES[connection.alias]["ENGINE"].endswith("sqlite3"):
        # Who waits for another's lock waits as long as a test does, and not five seconds.
        url = f"sqlite:///{tmp_path_factory.mktemp('processes') / name}?timeout={PATIENCE}"
    else:
        url = urlunsplit(urlsplit(given)._replace(path=f"/{name}"))
        server = _connection_to(url)
        with django_db_blocker.unblock(), server._nodb_cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
    try:
        subprocess.run(
            [sys.executable, "-m", "django", "migrate", *QUIET, f"--database={connection.alias}"],
            cwd=ROOT,
            env=environment_of(url),
            check=True,
        )
        start_forkserver(environment_of(url))
        yield url
    finally:
        if server is not None:
            # A process that was killed may still be on the list of PostgreSQL.
            force = " WITH (FORCE)" if server.vendor == "postgresql" else ""
            with django_db_blocker.unblock(), server._nodb_cursor() as cursor:
                cursor.execute(f"DROP DATABASE {name}{force}")


@pytest.fixture
def house(database_url: str, django_db_blocker: Any) -> Iterator[House]:
    """Processes that share an empty database and a Kapso without embeds."""
    sandbox = Sandbox()
    sandbox.add_project(_KEY)
    ours = connections[connection.alias]
    with SandboxServer(sandbox) as server:
        configured = {
            "API_KEY": _KEY,
            "BASE_URL": server.base_url,
            "INBOX_ORIGINS": [server.inbox_origin],
            "ENCRYPTION_KEYS": {"test": generate_key()},
        }
        house = House(sandbox, configured)
        theirs = connections[connection.alias] = _connection_to(database_url)
        try:
            with django_db_blocker.unblock(), override_settings(KAPSO_INBOX=configured):
                _empty(theirs)
                yield house
        finally:
            house.stop()
            theirs.close()
            connections[connection.alias] = ours


def _connection_to(url: str) -> Any:
    alias = connection.alias
    databases = {DEFAULT_DB_ALIAS: {}, alias: environ.Env.db_url_config(url)}
    return ConnectionHandler(databases)[alias]


def _empty(theirs: Any) -> None:
    InboxEmbed.objects.update(current_link=None)
    # Not by Django, which would refuse to delete links that live.
    with theirs.cursor() as cursor:
        for model in (LaunchAttempt, InboxChange, AccessLink):
            cursor.execute(f"DELETE FROM {model._meta.db_table}")  # noqa: S608 (a name of ours)
    for model in (InboxEmbed, User, Group):
        model.objects.all().delete()
