"""The fixture `kapso_sandbox`: a fake Kapso for a host's own tests.

pytest imports this module in every project that has the app installed, before Django is set up and
whether a test uses the fixture or not. So it imports the sandbox inside the fixture: 12 ms by
`python -X importtime`, and `responses` is an optional package.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .engine import Sandbox


@pytest.fixture
def kapso_sandbox() -> Iterator[Sandbox]:
    """Answer every request below the configured `BASE_URL` from a sandbox, and yield the sandbox.

    It has one project for each one in `settings.KAPSO_INBOX`. No request reaches the network and
    nothing sleeps: a fault's delay that exceeds the request's read timeout raises
    `requests.exceptions.ReadTimeout`, and a dropped connection raises `ConnectionError`.
    """
    try:
        from .interception import intercepted
    except ModuleNotFoundError as missing:
        if missing.name != "responses":
            raise
        pytest.fail(
            "The kapso_sandbox fixture needs the responses library:"
            " install django-kapso-inbox[testing].",
            pytrace=False,
        )
    with intercepted() as sandbox:
        yield sandbox
