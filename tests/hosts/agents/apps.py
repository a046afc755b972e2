from __future__ import annotations

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "tests.hosts.agents"
    default_auto_field = "django.db.models.BigAutoField"
