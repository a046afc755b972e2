"""What each endpoint costs: queries, and requests to Kapso."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from kapso_inbox.lifecycle import create_embed
from kapso_inbox.models import AccessLink, InboxEmbed, LaunchAttempt, Outcome
from kapso_inbox.sandbox.engine import Sandbox
from tests.hosts.database import connection
from tests.hosts.people import User

from .conftest import API, EMBEDS, SALES

pytestmark = pytest.mark.django_db

NEW = {"slug": "support", "name": "Support", "scope_type": "project"}

#: name -> (whose client, the request, queries at most, requests to Kapso). Two of a manager's
#: queries are for the permissions.
COSTS: dict[str, tuple[str, Callable[[APIClient], Any], int, list[str]]] = {
    "list": ("api", lambda api: api.get(EMBEDS), 6, []),
    "list, filtered": ("api", lambda api: api.get(f"{EMBEDS}?condition=works&search=s"), 6, []),
    "create": ("api", lambda api: api.post(EMBEDS, NEW), 19, ["POST"]),
    "retrieve": ("api", lambda api: api.get(SALES), 4, []),
    "ensure, a new one": ("api", lambda api: api.put(f"{EMBEDS}support/", NEW), 20, ["POST"]),
    "ensure, the same": ("api", lambda api: api.put(SALES, {"name": "Sales inbox"}), 8, []),
    "update": ("api", lambda api: api.patch(SALES, {"name": "New"}), 12, ["PATCH"]),
    "update, nothing": ("api", lambda api: api.patch(SALES, {}), 6, []),
    "revoke": ("api", lambda api: api.delete(SALES), 14, ["DELETE"]),
    "rotate": ("api", lambda api: api.post(f"{SALES}rotate/"), 22, ["POST", "DELETE"]),
    "resolve, nothing": ("api", lambda api: api.post(f"{SALES}resolve/"), 7, []),
    "refresh": ("api", lambda api: api.post(f"{SALES}refresh/"), 7, ["GET"]),
    "sync": ("api", lambda api: api.post(f"{EMBEDS}sync/"), 15, ["GET"]),
    "launch": ("agent", lambda agent: agent.post(f"{SALES}launch/"), 5, []),
    "preferences": ("agent", lambda agent: agent.get(f"{SALES}preferences/"), 4, []),
    "preferences, saved": ("agent", lambda agent: agent.put(f"{SALES}preferences/"), 8, []),
    "phone numbers": ("api", lambda api: api.get(f"{API}phone-numbers/"), 2, ["GET"]),
    "customers": ("api", lambda api: api.get(f"{API}customers/"), 2, ["GET"]),
    "team members": ("api", lambda api: api.get(f"{API}team-members/"), 2, ["GET"]),
    "openings": ("api", lambda api: api.get(f"{API}openings/"), 3, []),
}


def queries_of(do: Callable[[], Any]) -> int:
    """Return how many statements about data run. Those of transactions are also the tests' own."""
    with CaptureQueriesContext(connection) as captured:
        response = do()
    assert response.status_code < 300, response.json()
    about_data = ("SELECT", "INSERT", "UPDATE", "DELETE")
    return len([one for one in captured if one["sql"].startswith(about_data)])


@pytest.mark.parametrize("name", COSTS)
def test_each_endpoint_has_its_price(
    api: APIClient,
    ask: Callable[[User], APIClient],
    ana: User,
    embed: InboxEmbed,
    kapso_sandbox: Sandbox,
    name: str,
) -> None:
    who, do, queries, requests = COSTS[name]
    client = api if who == "api" else ask(ana)
    since = len(kapso_sandbox.requests)
    # At most: PostgreSQL needs one query fewer for a sync.
    assert queries_of(lambda: do(client)) <= queries
    assert [request.method for request in kapso_sandbox.requests[since:]] == requests


def test_a_long_list_costs_what_a_short_one_does(
    api: APIClient, embed: InboxEmbed, sales: Group, kapso_sandbox: Sandbox, ana: User
) -> None:
    for number in range(7):
        another = create_embed(slug=f"sales-{number}", name="Sales", groups=[sales])
        AccessLink.objects.create(embed=another)
        LaunchAttempt.objects.create(
            user=ana, username="ana", embed=another, slug=another.slug, outcome=Outcome.OPENED
        )
    since = len(kapso_sandbox.requests)
    assert len(api.get(EMBEDS).json()["results"]) == 8
    assert len(api.get(f"{API}openings/").json()["results"]) == 7
    assert queries_of(lambda: api.get(EMBEDS)) <= COSTS["list"][2] - 2
    assert queries_of(lambda: api.get(f"{API}openings/")) <= COSTS["openings"][2] - 2 + 1
    assert len(kapso_sandbox.requests) == since
