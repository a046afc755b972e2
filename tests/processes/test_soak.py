"""A few seconds of the soak: docs/contributing.md says how to run one of ten minutes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.hosts.database import connection

from .deployment import ROOT

pytestmark = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="The soak takes a PostgreSQL."
)


def soak(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.soak", "--workers=3", *options]
    return subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)


def test_a_soak_of_some_seconds_breaks_no_invariant() -> None:
    done = soak("--minutes=0.15", "--seed=1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every invariant holds" in done.stdout


def test_an_unknown_kind_of_fault_is_refused() -> None:
    done = soak("--without=rain")
    assert done.returncode == 2
    assert "rain" in done.stdout
