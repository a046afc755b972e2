"""Run the sandbox in its own process, so that it takes no time from the one that is measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .host import KEY
from .tools import child, until_over


@contextmanager
def sandbox() -> Iterator[dict[str, Any]]:
    """Serve a sandbox over real HTTP; yield the entries of `KAPSO_INBOX` that point to it."""
    with child("benchmarks.kapso") as kapso:
        yield kapso


def main() -> None:
    """Serve the sandbox until the benchmark is over."""
    from kapso_inbox.sandbox.engine import Sandbox
    from kapso_inbox.sandbox.server import SandboxServer

    sandbox = Sandbox(rate_limit=10**9)
    sandbox.add_project(KEY)
    with SandboxServer(sandbox) as server:
        until_over({"BASE_URL": server.base_url, "INBOX_ORIGINS": [server.inbox_origin]})


if __name__ == "__main__":
    main()
