"""Libraries that neither a host's start-up nor a page with an inbox loads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

#: Only a process that calls Kapso, opens a secret, reads a phone number or serves the API needs
#: one of these.
HEAVY = {"requests", "urllib3", "cryptography", "phonenumbers", "rest_framework"}

#: A host without the API, whose URLconf is `host`.
HOST = """
import sys
from types import ModuleType
from django.conf import settings
from tests import settings as ours

values = {name: getattr(ours, name) for name in dir(ours) if name.isupper()}
apps = [app for app in ours.INSTALLED_APPS if app not in ("rest_framework", "drf_spectacular")]
settings.configure(**{**values, "INSTALLED_APPS": apps, "ROOT_URLCONF": "host"})

import django
django.setup()

from django.contrib import admin
from django.urls import include, path

host = sys.modules["host"] = ModuleType("host")
host.urlpatterns = [
    path("admin/", admin.site.urls), path("kapso-inbox/", include("kapso_inbox.urls"))
]
"""

STEPS = {
    "start-up": """
from django.core.wsgi import get_wsgi_application
from django.urls import reverse
get_wsgi_application()
assert reverse("admin:kapso_inbox_inboxembed_changelist") == "/admin/kapso_inbox/inboxembed/"
assert reverse("kapso_inbox:launch", args=["sales"]) == "/kapso-inbox/sales/launch/"
""",
    "a page": """
from django.template import Context, Template
tags = '{% kapso_inbox "sales" views=1 settings=1 %}{% kapso_inbox_link "sales" search="5511" %}'
page = Template("{% load kapso_inbox %}" + tags).render(Context())
assert "/kapso-inbox/sales/launch/" in page and "search=5511" in page
""",
    "the checks": """
from django.core.checks import run_checks
found = {message.id for message in run_checks(include_deployment_checks=True)}
assert "security.W001" in found or "security.W004" in found
assert not {one for one in found if one.startswith("kapso_inbox.E")}, found
""",
    "the Python API and the client": """
import kapso_inbox.lifecycle, kapso_inbox.sync
from kapso_inbox.kapso import KapsoClient, KapsoError, NotFoundError
assert issubclass(NotFoundError, KapsoError)
""",
    "the settings of a project": """
from kapso_inbox import conf
assert conf.project().alias == "default"
""",
}

#: Code that needs one of them. It shows that the test would notice one.
NEEDS = {
    "cryptography": """
from kapso_inbox import conf
conf.keyring().encrypt("text", context="test")
""",
    "phonenumbers": """
from kapso_inbox.inbox.phone import search_text
search_text("+55 11 91234-5678")
""",
    "requests": """
from kapso_inbox import conf
conf.project().client()
""",
}


def loaded_by(script: str) -> set[str]:
    """Run a script in a new host process; return which of `HEAVY` it has loaded."""
    lines = f"{HOST}\n{script}\nprint(*({HEAVY} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", lines],
        env={**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("step", STEPS)
def test_a_host_loads_nothing_heavy_before_it_is_needed(step: str) -> None:
    assert loaded_by(STEPS[step]) == set()


@pytest.mark.parametrize("library", NEEDS)
def test_a_heavy_library_is_loaded_once_it_is_needed(library: str) -> None:
    pytest.importorskip(library, reason="The extra that it belongs to is not installed.")
    assert library in loaded_by(NEEDS[library])
