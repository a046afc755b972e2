"""A site in production, and an inbox that works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kapso_inbox.lifecycle import create_embed
from kapso_inbox.models import InboxEmbed
from kapso_inbox.sandbox.engine import Sandbox

from .helpers import SITE, ChangeSettings, put_into_production, settings_changer


@pytest.fixture(autouse=True)
def site_in_production(settings: Any, tmp_path: Path) -> None:
    put_into_production(settings, tmp_path / "static")


@pytest.fixture
def change_settings(settings: Any) -> ChangeSettings:
    """Return a function that changes keys of KAPSO_INBOX."""
    return settings_changer(settings)


@pytest.fixture
def sales(kapso_sandbox: Sandbox) -> InboxEmbed:
    """Create an inbox that works."""
    return create_embed(slug="sales", name="Sales", allowed_origins=[SITE])
