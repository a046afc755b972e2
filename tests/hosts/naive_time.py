"""A host that sets `USE_TZ = False`: Django stores its times without a time zone."""

from __future__ import annotations

from tests.settings import *  # noqa: F403

USE_TZ = False
