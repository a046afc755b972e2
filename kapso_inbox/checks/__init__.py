"""System checks: one message for each thing that is wrong, with a hint. No query, no request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage

from .addresses import address_warnings, missing_urls
from .configuration import malformed_settings, missing_settings
from .host import host_warnings
from .wording import as_warnings

__all__ = [
    "address_warnings",
    "check_host",
    "check_presence",
    "check_settings",
    "check_urls",
    "malformed_settings",
    "missing_settings",
    "missing_urls",
]


def check_settings(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Return an error for each setting that is malformed, and a warning for each missing secret.

    A missing secret stops no command: images are built, migrations made and tests run without it.
    """
    return [*malformed_settings(), *as_warnings(missing_settings(), "W008")]


def check_urls(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Return a warning for each thing that keeps the addresses from working as they should."""
    return as_warnings(missing_urls(), "W009") or address_warnings()


def check_host(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Return a warning for each thing about the host that keeps inboxes from opening."""
    return host_warnings()


def check_presence(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Return an error for each secret and address that is missing, for `check --deploy`."""
    return [*missing_settings(), *missing_urls()]
