"""The fixture `kapso_sandbox`: a fake Kapso for a host's own tests. Nothing else reaches Kapso.

pytest imports this module in every project that has the app installed, before Django is set up and
whether a test uses the fixture or not. So it imports the sandbox inside the fixture: 12 ms by
`python -X importtime`, and `responses` is an optional package.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .engine import Sandbox

#: The ini option and the mark that let tests reach Kapso.
_ALLOWED = "kapso_inbox_network"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ini option `kapso_inbox_network`."""
    text = "let tests reach the Kapso of your settings, not only the sandbox"
    parser.addini(_ALLOWED, text, type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Refuse requests to Kapso for this run, unless the ini option allows them."""
    mark = f"{_ALLOWED}: let this test reach the Kapso of your settings, not only the sandbox"
    config.addinivalue_line("markers", mark)
    stack = ExitStack()
    stack.enter_context(_network("allowed" if config.getini(_ALLOWED) else "refused"))
    config.add_cleanup(stack.close)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Allow requests to Kapso for a test that has the mark."""
    with ExitStack() as stack:
        if item.get_closest_marker(_ALLOWED):
            stack.enter_context(_network("allowed"))
        yield


@contextmanager
def _network(state: str) -> Iterator[None]:
    """Set the environment variable that `kapso_inbox.kapso.transport` reads, for the block."""
    before = os.environ.get("KAPSO_INBOX_NETWORK")
    os.environ["KAPSO_INBOX_NETWORK"] = state
    try:
        yield
    finally:
        del os.environ["KAPSO_INBOX_NETWORK"]
        if before is not None:
            os.environ["KAPSO_INBOX_NETWORK"] = before


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
        pytest.fail(str(missing), pytrace=False)
    with intercepted() as sandbox:
        yield sandbox
