"""Findings about the launches of the last day."""

from __future__ import annotations

import pytest

from kapso_inbox.models import LaunchAttempt, Outcome

from .helpers import ago, codes, store, the

pytestmark = pytest.mark.django_db


def record(outcome: Outcome, **fields: object) -> None:
    LaunchAttempt.objects.create(slug="sales", username="ana", outcome=outcome, **fields)


def test_a_site_whose_frames_are_mostly_not_recognised_is_found() -> None:
    store()
    record(Outcome.NOT_IN_FRAME)
    found = the("launches-not-by-frames", network=False)
    assert found.level == "warning"
    assert "service worker" in found.hint


def test_single_launches_that_are_not_by_frames_are_no_finding() -> None:
    store()
    record(Outcome.NOT_IN_FRAME)
    record(Outcome.NOT_IN_FRAME, created_at=ago(days=2))
    record(Outcome.OPENED)
    assert "launches-not-by-frames" not in codes(network=False)


def test_a_refusal_that_a_wrong_clock_put_into_the_future_is_not_one_of_the_last_day() -> None:
    store()
    record(Outcome.NOT_IN_FRAME, created_at=ago(days=-300))
    assert "launches-not-by-frames" not in codes(network=False)


def test_a_page_that_inboxes_do_not_allow_is_found_where_nobody_knows_the_site() -> None:
    store()
    record(Outcome.WRONG_ORIGIN)
    record(Outcome.OPENED)
    found = the("launches-from-other-origins", network=False)
    assert found.level == "warning"
    assert "allowed origins" in found.hint


def test_what_was_refused_days_ago_is_no_finding() -> None:
    store()
    record(Outcome.WRONG_ORIGIN, created_at=ago(days=2))
    assert "launches-from-other-origins" not in codes(network=False)
