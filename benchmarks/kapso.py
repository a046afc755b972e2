"""Run the sandbox in its own process, so that it takes no time from the one that is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .host import KEY


@contextmanager
def sandbox() -> Iterator[dict[str, Any]]:
    """Serve a sandbox over real HTTP; yield the entries of `KAPSO_INBOX` that point to it."""
    with FilledSandbox(0) as kapso:
        yield kapso.settings


class FilledSandbox:
    """A sandbox in a process of its own, with embeds that were created elsewhere.

    Args:
        embeds: how many embeds it has.

    Attributes:
        settings: the entries of `KAPSO_INBOX` that point to it.
    """

    def __init__(self, embeds: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.kapso", str(embeds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.settings: dict[str, Any] = json.loads(self._answer())

    def __enter__(self) -> FilledSandbox:
        return self

    def __exit__(self, *raised: object) -> None:
        self._process.communicate()

    def rename_all(self) -> None:
        """Give each embed another name."""
        assert self._process.stdin is not None
        self._process.stdin.write("rename\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def main() -> None:
    """Serve the sandbox until the benchmark is over."""
    from kapso_inbox.sandbox.engine import Sandbox
    from kapso_inbox.sandbox.server import SandboxServer

    sandbox = Sandbox(rate_limit=10**9)
    project = sandbox.add_project(KEY)
    for place in range(int(sys.argv[1])):
        project.create({"name": f"Customer {place}", "scope_type": "project"})
    with SandboxServer(sandbox) as server:
        told = {"BASE_URL": server.base_url, "INBOX_ORIGINS": [server.inbox_origin]}
        print(json.dumps(told), flush=True)
        for _line in sys.stdin:
            for record in project.links():
                record["name"] += " renamed"
            print("done", flush=True)


if __name__ == "__main__":
    main()
