"""The connection to the database that holds our tables, whatever the host calls it."""

from __future__ import annotations

import pytest
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.utils.connection import ConnectionProxy

from kapso_inbox.models import InboxEmbed

connection = ConnectionProxy(connections, router.db_for_write(InboxEmbed))

#: For a test whose own router says where our tables are.
in_default = pytest.mark.skipif(
    connection.alias != DEFAULT_DB_ALIAS, reason="It has a router of its own, that names default."
)
