"""A separate database and a Kapso for the processes that these tests start."""

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

from kapso_inbox.conversations.models import Conversation, WebhookDelivery
from kapso_inbox.encryption import generate_key
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed, LaunchAttempt
from kapso_inbox.sandbox.engine import Sandbox
from kapso_inbox.sandbox.server import SandboxServer
from tests.hosts.database import connection
from tests.hosts.people import User

from .deployment import PATIENCE, ROOT, Deployment, environment_of, start_forkserver

QUIET = ("--verbosity=0", "--skip-checks")
_KEY = "kapso-key-of-the-processes-0123456789"


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any) -> Iterator[str]:
    """Create a migrated, empty database that other processes can open; yield its URL.

    It is of the same kind as the database of the other tests: a file for SQLite, otherwise a
    database with a random name on the same server.
    """
    given = environ.Env().str("DATABASE_URL", default="sqlite:///:memory:")
    name = f"kapso_processes_{uuid.uuid4().hex[:12]}"
    server = None
    if settings.DATABASES[connection.alias]["ENGINE"].endswith("sqlite3"):
        # Wait for a lock as long as a test waits, and not for Python's default of five seconds.
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
            # PostgreSQL may still list the connection of a process that was killed.
            force = " WITH (FORCE)" if server.vendor == "postgresql" else ""
            with django_db_blocker.unblock(), server._nodb_cursor() as cursor:
                cursor.execute(f"DROP DATABASE {name}{force}")


@pytest.fixture
def deployment(database_url: str, django_db_blocker: Any) -> Iterator[Deployment]:
    """Yield a deployment with an empty database and a Kapso without embeds."""
    sandbox = Sandbox()
    sandbox.add_project(_KEY)
    ours = connections[connection.alias]
    with SandboxServer(sandbox) as server:
        configured = {
            "API_KEY": _KEY,
            "BASE_URL": server.base_url,
            "INBOX_ORIGINS": [server.inbox_origin],
            "ENCRYPTION_KEYS": {"test": generate_key()},
            "ALLOWED_ORIGINS": [],
            "WEBHOOK_SECRETS": {"default": "webhook-secret-of-the-processes"},
        }
        deployment = Deployment(sandbox, configured)
        theirs = connections[connection.alias] = _connection_to(database_url)
        try:
            with django_db_blocker.unblock(), override_settings(KAPSO_INBOX=configured):
                _empty(theirs)
                yield deployment
        finally:
            deployment.stop()
            theirs.close()
            connections[connection.alias] = ours


def _connection_to(url: str) -> Any:
    alias = connection.alias
    databases = {DEFAULT_DB_ALIAS: {}, alias: environ.Env.db_url_config(url)}
    return ConnectionHandler(databases)[alias]


def _empty(theirs: Any) -> None:
    InboxEmbed.objects.update(current_link=None)
    # In SQL, because the models refuse to delete live links.
    with theirs.cursor() as cursor:
        for model in (LaunchAttempt, InboxChange, AccessLink):
            cursor.execute(f"DELETE FROM {model._meta.db_table}")  # noqa: S608 (our own name)
    for model in (InboxEmbed, User, Group, Conversation, WebhookDelivery):
        model.objects.all().delete()
