"""Settings of a worker process: those of the tests, with a database and a Kapso of its own."""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403 (DATABASES is read from DATABASE_URL there)

KAPSO_INBOX = json.loads(os.environ["TESTS_KAPSO_INBOX"])
