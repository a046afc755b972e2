"""The lists to pick from at Kapso, and the record of launch attempts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from rest_framework.test import APIClient

from kapso_inbox.models import LaunchAttempt, Outcome
from kapso_inbox.sandbox.engine import Answer, Sandbox
from tests.conftest import age_cache
from tests.hosts.clock import as_stored
from tests.hosts.people import User

from .conftest import API, error

pytestmark = pytest.mark.django_db

OPENINGS = f"{API}openings/"


@pytest.mark.parametrize("what", ["phone-numbers", "customers", "team-members"])
def test_pickers_answer_kapsos_list_and_ask_once(
    api: APIClient, kapso_sandbox: Sandbox, what: str
) -> None:
    url = f"{API}{what}/"
    first = api.get(url).json()
    assert first["results"]
    assert set(first["results"][0]) == {"id", "name", "detail", "internal_id"}
    asked = len(kapso_sandbox.requests)
    (name, *_rest) = first["results"][0]["name"].split()
    found = api.get(url, {"q": name}).json()["results"]
    assert first["results"][0] in found
    assert len(kapso_sandbox.requests) == asked
    api.get(url, {"refresh": "true"})
    assert len(kapso_sandbox.requests) == asked
    age_cache(10)
    api.get(url, {"refresh": "true"})
    assert len(kapso_sandbox.requests) == 2 * asked


def test_a_long_list_is_continued_on_the_next_page(api: APIClient, kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.max_per_page = 1
    first = api.get(f"{API}phone-numbers/", {"q": "nothing bears this"}).json()
    assert first["results"] == []
    assert first["next_page"] is None or first["next_page"] == 6


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"project": "nope"}, "project"),
        ({"page": "0"}, "page"),
        ({"page": "1001"}, "page"),
        ({"refresh": "perhaps"}, "refresh"),
        ({"q": "x" * 101}, "q"),
    ],
    ids=str,
)
def test_a_wrong_parameter_is_reported_at_its_name(
    api: APIClient, kapso_sandbox: Sandbox, query: dict[str, str], field: str
) -> None:
    response = api.get(f"{API}team-members/", query)
    assert response.status_code == 400
    assert list(error(response)["fields"]) == [field]
    assert kapso_sandbox.requests == []


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"answer": Answer(401, {"error": "Invalid API key"})}, 502, "kapso_refused_key"),
        ({"answer": Answer(404, {"error": "Not found"})}, 502, "kapso_not_found"),
        ({"answer": Answer(429, {}, {"Retry-After": "7"})}, 503, "kapso_rate_limited"),
        ({"answer": Answer(500, {}), "times": 9}, 502, "kapso_unusable_answer"),
        ({"answer": Answer(200, "OK")}, 502, "kapso_unusable_answer"),
        ({"delay": 60, "times": 9}, 504, "kapso_unreachable"),
    ],
    ids=str,
)
def test_a_failure_at_kapso_is_reported(
    api: APIClient, kapso_sandbox: Sandbox, fault: dict[str, Any], status: int, code: str
) -> None:
    kapso_sandbox.fail_next(**fault)
    response = api.get(f"{API}team-members/")
    assert (response.status_code, error(response)["code"]) == (status, code)
    assert response.headers.get("Retry-After") == ("7" if status == 503 else None)


@pytest.fixture
def openings(ana: User) -> list[LaunchAttempt]:
    now = as_stored(datetime.now(timezone.utc))
    return [
        LaunchAttempt.objects.create(
            user=user,
            username=user.get_username() if user else "gone",
            slug=slug,
            outcome=outcome,
            address="203.0.113.7",
            created_at=now - timedelta(hours=hours),
        )
        for user, slug, outcome, hours in (
            (ana, "sales", Outcome.OPENED, 3),
            (ana, "support", Outcome.REVOKED, 2),
            (None, "sales", Outcome.EXPIRED, 1),
        )
    ]


def test_openings_are_listed_newest_first_and_filtered(
    api: APIClient, openings: list[LaunchAttempt], ana: User
) -> None:
    def found(**query: Any) -> list[int]:
        response = api.get(OPENINGS, query)
        assert response.status_code == 200, response.json()
        return [row["id"] for row in response.json()["results"]]

    first, second, third = (opening.pk for opening in openings)
    assert found() == [third, second, first]
    assert found(slug="sales") == [third, first]
    assert found(outcome=["opened", "expired"]) == [third, first]
    assert found(user="ana") == [second, first]
    assert found(since=openings[1].created_at.isoformat()) == [third, second]
    assert found(until=openings[1].created_at.isoformat()) == [first]
    (row,) = api.get(OPENINGS, {"outcome": "opened"}).json()["results"]
    assert (row["user"], row["user_id"], row["link"]) == ("ana", str(ana.pk), None)
    assert api.get(OPENINGS, {"user": "gone"}).json()["results"][0]["user_id"] is None


@pytest.mark.parametrize("query", [{"outcome": "fine"}, {"since": "x"}, {"until": "x"}], ids=str)
def test_a_wrong_filter_of_openings_is_reported_at_its_name(
    api: APIClient, query: dict[str, str]
) -> None:
    response = api.get(OPENINGS, query)
    assert (response.status_code, list(error(response)["fields"])) == (400, list(query))


def test_openings_are_for_those_who_may_audit(
    ask: Callable[[User], APIClient], make_manager: Callable[..., User]
) -> None:
    response = ask(make_manager("mo", "view_inboxembed", "open_inboxembed")).get(OPENINGS)
    assert (response.status_code, error(response)["code"]) == (403, "permission_denied")
