"""Without the app in INSTALLED_APPS, nothing of it is imported, and nothing asks for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

HOST = """
import importlib.util, os, sys
import django
from django.conf import settings
os.environ.pop("DJANGO_SETTINGS_MODULE")
has_api = importlib.util.find_spec("rest_framework")
ours = importlib.import_module("tests.settings" if has_api else "tests.hosts.bare")
values = {name: getattr(ours, name) for name in dir(ours) if name.isupper()}
apps = [app for app in ours.INSTALLED_APPS if app != "kapso_inbox.conversations"]
settings.configure(**{**values, "INSTALLED_APPS": apps})
django.setup()
from django.core.management import call_command, get_commands
from django.test import Client
from django.urls import NoReverseMatch, reverse
call_command("check")
call_command("migrate", verbosity=0)
call_command("makemigrations", check=True, dry_run=True, verbosity=0)
assert "kapso_webhooks" not in get_commands()
for name in ("waiting", "webhook"):
    try:
        reverse(f"kapso_inbox:{name}", args=["default"] if name == "webhook" else [])
    except NoReverseMatch:
        continue
    raise SystemExit(f"{name} has an address")
from kapso_inbox.diagnosis import diagnose
from kapso_inbox.sync import sync_project
from kapso_inbox.sandbox.interception import intercepted
with intercepted():
    diagnose()
    sync_project()
Client().get("/kapso-inbox/sales/")
Client().get("/api/kapso-inbox/embeds/")
imported = [name for name in sys.modules if name.startswith("kapso_inbox.conversations")]
raise SystemExit(f"imported: {imported}" if imported else 0)
"""


def test_nothing_of_the_app_is_imported_or_asked_for() -> None:
    run = subprocess.run(
        [sys.executable, "-c", HOST], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_app_without_kapso_inbox_says_what_to_add() -> None:
    code = (
        "import django; from django.conf import settings;"
        "settings.configure(INSTALLED_APPS=['kapso_inbox.conversations']); django.setup()"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert 'Add "kapso_inbox" to INSTALLED_APPS.' in run.stderr
