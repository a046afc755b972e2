"""`python -m benchmarks.startup`: what the app adds to the start-up of a process.

A Django project like that of `startproject` is set up in a new process, its URLconf loaded and its
WSGI application created, in turns with this app and its addresses and without. Memory is the peak
of the process by then (`ru_maxrss`).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from statistics import median

from .tools import environment, table

API = ["rest_framework", "drf_spectacular"]
PAIRS = {"without the API": "pages", "with the API": "api"}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="at least 3")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        _start(options.side)
        return
    if options.rounds < 3:
        parser.error("fewer than 3 rounds say too little")
    rows = []
    for name, kind in PAIRS.items():
        sides: dict[str, list[tuple[float, float]]] = {f"{kind}+ours": [], kind: []}
        for side in sides:
            _run(side)  # compiles the modules
        for _ in range(options.rounds):
            for side, found in sides.items():
                found.append(_run(side))
        ours, bare = sides.values()
        cells = []
        for which, unit in ((0, "ms"), (1, "MB")):
            with_app, without = (median(one[which] for one in found) for found in (ours, bare))
            cells += [
                f"{without:.1f} {unit}",
                f"{with_app:.1f} {unit}",
                f"{with_app - without:.1f} {unit}",
            ]
        rows.append((name, *cells))
    table(["start-up", "bare", "ours", "added", "memory, bare", "ours", "added"], rows)


def _run(side: str) -> tuple[float, float]:
    """Start a process; return the milliseconds and megabytes that it took."""
    command = [sys.executable, "-m", "benchmarks.startup", f"--side={side}"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    ms, megabytes = json.loads(done.stdout)
    return ms, megabytes


def _start(side: str) -> None:
    """Set up Django for one side, and print the milliseconds and megabytes."""
    kind, _, ours = side.partition("+")
    started = time.perf_counter()

    from types import ModuleType

    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="benchmark",
        ROOT_URLCONF="host",
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "django.contrib.staticfiles",
            *(API if kind == "api" else []),
            *(["kapso_inbox"] if ours else []),
        ],
        KAPSO_INBOX={"API_KEY": "key", "ENCRYPTION_KEYS": {}},
    )
    django.setup()

    from django.contrib import admin
    from django.core.wsgi import get_wsgi_application
    from django.urls import get_resolver, include, path

    host = sys.modules["host"] = ModuleType("host")
    host.urlpatterns = [path("admin/", admin.site.urls)]  # type: ignore[attr-defined]
    if kind == "api":
        import drf_spectacular.views  # noqa: F401 (a host's own addresses would load both)
        import rest_framework.generics  # noqa: F401
    if ours:
        host.urlpatterns.append(path("kapso-inbox/", include("kapso_inbox.urls")))
    if ours and kind == "api":
        host.urlpatterns.append(path("api/", include("kapso_inbox.api.urls")))
    get_wsgi_application()
    assert get_resolver().url_patterns
    ms = (time.perf_counter() - started) * 1000
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([ms, peak / (1e6 if sys.platform == "darwin" else 1e3)]))


if __name__ == "__main__":
    main()
