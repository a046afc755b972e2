"""Run a soak: `python -m tests.soak --minutes 10 --database postgres://postgres@127.0.0.1/postgres`."""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run a soak in a database of its own; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument(
        "--database",
        default=os.environ.get("DATABASE_URL", "postgres://postgres@127.0.0.1:5432/postgres"),
        help="the URL of a database of a PostgreSQL where databases may be created",
    )
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument(
        "--without", action="append", default=[], help="a kind of fault to leave out"
    )
    parser.add_argument("--logs", type=Path, help="a folder to keep the logs in")
    options = parser.parse_args()
    name = f"kapso_soak_{secrets.token_hex(6)}"
    url = urlunsplit(urlsplit(options.database)._replace(path=f"/{name}"))
    with psycopg.connect(options.database, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        try:
            return _soak(url, options)
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _soak(url: str, options: argparse.Namespace) -> int:
    os.environ["DATABASE_URL"] = url
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    from tests.hosts.database import connection
    from tests.processes.deployment import environment_of, start_forkserver

    from .checks import BrokenError
    from .run import KINDS, Soak

    if unknown := set(options.without) - set(KINDS):
        print(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(KINDS)}")
        return 2
    migrate = ("migrate", "--verbosity=0", "--skip-checks", f"--database={connection.alias}")
    subprocess.run([sys.executable, "-m", "django", *migrate], cwd=ROOT, check=True)
    start_forkserver(environment_of(url))
    at = urlsplit(url)
    with tempfile.TemporaryDirectory(prefix="kapso-soak-") as temporary:
        folder = options.logs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        soak = Soak(
            seed=options.seed,
            workers=options.workers,
            server=(at.hostname or "127.0.0.1", at.port or 5432),
            folder=folder,
            without=options.without,
            say=lambda line: print(line, flush=True),
        )
        print(f"seed {options.seed}, {options.workers} workers, {options.minutes:g} minutes")
        try:
            soak.run(options.minutes * 60)
        except BrokenError as broken:
            print(soak.story(broken))
            print(f"seed {options.seed}: an invariant is broken")
            return 1
        finally:
            print(soak.outcomes())
            connection.close()
    print(f"seed {options.seed}: every invariant holds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
