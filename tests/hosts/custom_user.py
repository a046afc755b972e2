"""A host with a custom user model."""

from __future__ import annotations

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = ["tests.hosts.agents", *INSTALLED_APPS]
AUTH_USER_MODEL = "agents.Agent"
