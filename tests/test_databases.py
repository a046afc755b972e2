"""Several databases: decisions about a link read from the database that is written to."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import override_settings

from kapso_inbox.lifecycle import (
    create_embed,
    ensure_embed,
    revoke_embed,
    rotate_embed,
    update_embed,
)
from kapso_inbox.models import AccessLink, InboxEmbed
from kapso_inbox.sandbox.engine import Sandbox
from tests.hosts.database import in_default


class StaleReplica:
    """Writes go to the primary, reads to a replica that has not received them yet."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"

    def allow_relation(self, *args: Any, **hints: Any) -> bool:
        return True


@in_default
@pytest.mark.django_db(databases=["default", "replica"])
def test_with_a_replica_that_lags_behind_no_link_is_lost_or_doubled(
    kapso_sandbox: Sandbox,
) -> None:
    group = Group.objects.create(name="Sales")

    def active() -> int:
        return len(kapso_sandbox.project().active_embeds())

    with override_settings(DATABASE_ROUTERS=["tests.test_databases.StaleReplica"]):
        embed = create_embed(slug="sales", name="Sales", groups=[group])
        assert active() == 1
        assert ensure_embed("sales", name="Sales", groups=[group]).pk == embed.pk
        rotate_embed(embed)
        rotate_embed(embed)
        assert active() == 1
        assert update_embed(embed, default_mode="dark").default_mode == "dark"
        assert [request.method for request in kapso_sandbox.requests].count("POST") == 3
        revoke_embed(embed)
        assert active() == 0
    states = AccessLink.objects.values_list("state", flat=True)
    assert set(states) == {AccessLink.State.REVOKED}
    assert InboxEmbed.objects.get().default_mode == "dark"
