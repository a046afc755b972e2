"""The permissions that a host sees in its admin are those that the documents ask for."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.auth.models import Permission

import kapso_inbox.migrations


@pytest.mark.django_db
def test_there_is_no_permission_that_nothing_asks_for() -> None:
    found = Permission.objects.filter(content_type__app_label="kapso_inbox")
    assert set(found.values_list("codename", flat=True)) == {
        "open_inboxembed",
        "add_inboxembed",
        "change_inboxembed",
        "delete_inboxembed",
        "view_inboxembed",
        "view_launchattempt",
        "view_inboxchange",
    }


def test_there_is_one_migration_until_the_first_release() -> None:
    folder = Path(next(iter(kapso_inbox.migrations.__path__)))
    assert [path.name for path in sorted(folder.glob("0*.py"))] == ["0001_initial.py"]
