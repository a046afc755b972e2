"""The connection to the database that holds the app's tables, whatever its alias."""

from __future__ import annotations

import pytest
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.utils.connection import ConnectionProxy

from kapso_inbox.models import InboxEmbed

connection = ConnectionProxy(connections, router.db_for_write(InboxEmbed))

#: For a test that installs a router which puts the app's tables into "default".
in_default = pytest.mark.skipif(
    connection.alias != DEFAULT_DB_ALIAS, reason="The test's own router uses the default database."
)
