"""A host whose times have no zone, as Django stores them with `USE_TZ = False`."""

from __future__ import annotations

from tests.settings import *  # noqa: F403

USE_TZ = False
