"""A sync costs as much for each page of a long list as for each page of a short one."""

from __future__ import annotations

from typing import Any

import pytest

from kapso_inbox.models import InboxEmbed
from kapso_inbox.sandbox.engine import Sandbox
from kapso_inbox.sync import sync_project
from tests.hosts.database import connection

from .test_sync import elsewhere

pytestmark = pytest.mark.django_db

PAGE = 10


class Work:
    """What one sync asked of the database."""

    def __init__(self, **options: Any) -> None:
        self.queries = self.most_parameters = 0
        with connection.execute_wrapper(self._count):
            self.report = sync_project(**options)

    def _count(self, execute: Any, sql: str, params: Any, *rest: Any) -> Any:
        self.queries += 1
        self.most_parameters = max(self.most_parameters, len(params or ()))
        return execute(sql, params, *rest)


def rename_all(sandbox: Sandbox) -> None:
    for record in sandbox.project().embeds.values():
        record["name"] += " renamed"


@pytest.fixture
def three_sizes(kapso_sandbox: Sandbox) -> list[tuple[Work, ...]]:
    """Return the work for three, six and nine pages: all new, all unchanged, all changed."""
    kapso_sandbox.max_per_page = PAGE
    sync_project()  # Some queries run once for a process.
    sizes = []
    for _ in range(3):
        InboxEmbed.objects.update(current_link=None)
        for embed in InboxEmbed.objects.all():
            embed.links.update(state="revoked")
            embed.delete()
        elsewhere(kapso_sandbox, 3 * PAGE)
        works = [Work(dry_run=True), Work(), Work(), Work(dry_run=True)]
        rename_all(kapso_sandbox)
        sizes.append((*works, Work(dry_run=True), Work()))
    return sizes


def test_each_further_page_takes_as_many_queries_as_those_before(
    three_sizes: list[tuple[Work, ...]],
) -> None:
    assert [work[1].report.unmanaged for work in three_sizes] == [30, 60, 90]
    assert [work[-1].report.updated for work in three_sizes] == [30, 60, 90]
    few, more, many = ([work.queries for work in works] for works in three_sizes)
    growth = [b - a for a, b in zip(few, more, strict=True)]
    assert [b - a for a, b in zip(more, many, strict=True)] == growth
    assert max(growth) <= 3 * 10


def test_no_query_has_more_parameters_for_a_longer_list(
    three_sizes: list[tuple[Work, ...]],
) -> None:
    few, more, many = ([work.most_parameters for work in works] for works in three_sizes)
    assert few == more == many
