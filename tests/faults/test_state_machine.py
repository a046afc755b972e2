"""Random sequences of actions, faults and crashes leave the CRM and Kapso consistent."""

from __future__ import annotations

import logging

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.hosts.database import connection
from tests.hosts.people import User

from .machine import Inboxes
from .world import world

#: Fewer on other databases than SQLite in memory: there the database is tested and not the logic.
SEQUENCES = 800 if connection.vendor == "sqlite" else 100

#: Reproducible, so that a failure can be investigated. Hypothesis does not shrink the steps that it
#: reports, because that takes minutes here.
PROFILE = settings(
    max_examples=SEQUENCES,
    stateful_step_count=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.django_db(transaction=True)
def test_whatever_happens_everything_is_consistent_after_the_next_syncs() -> None:
    with world(logging.WARNING) as made:

        class Sequences(Inboxes):
            world = made
            user = User.objects.create_superuser("ana")
            sequences = 0

        run_state_machine_as_test(Sequences, settings=PROFILE)
        assert Sequences.sequences >= SEQUENCES
