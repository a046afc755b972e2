"""`python -m benchmarks`: run all benchmarks one after another, and print each one's command.

`benchmarks.workers` requires a PostgreSQL server in `DATABASE_URL`; the others run on SQLite.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

COMMANDS = (
    "startup",
    "launch",
    "lists",
    "doctor",
    "api",
    "conversations",
    "sync",
    "page",
    "workers",
)


def main() -> None:
    """Run all benchmarks, and exit with 1 if one failed."""
    failed = []
    for name in COMMANDS:
        print(f"\n## python -m benchmarks.{name}\n", flush=True)
        own = {} if name == "workers" else {"DATABASE_URL": "sqlite:///:memory:"}
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}"], env={**os.environ, **own}, check=False
        )
        print(f"\n({time.monotonic() - started:.0f} s)", flush=True)
        if done.returncode:
            failed.append(name)
    if failed:
        raise SystemExit(f"These failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
