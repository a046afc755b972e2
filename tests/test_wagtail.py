"""In a host with Wagtail, whose group editor lists only what the hook of an app names.

Wagtail brings some thirty packages, so it is not among the requirements of the tests. `tox` has an
environment with it; anywhere else this file is skipped.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HOST = """
SECRET_KEY = "tests"
USE_TZ = True
ROOT_URLCONF = "crm"
INSTALLED_APPS = [
    "kapso_inbox",
    "wagtail.users",
    "wagtail.documents",
    "wagtail.images",
    "wagtail.admin",
    "wagtail",
    "taggit",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/static/"
WAGTAIL_SITE_NAME = "CRM"
WAGTAILADMIN_BASE_URL = "http://localhost"
WAGTAILADMIN_RATE_LIMIT = None


def __getattr__(name):
    if name != "urlpatterns":
        raise AttributeError(name)
    from django.urls import include, path

    return [
        path("kapso-inbox/", include("kapso_inbox.urls")),
        path("cms/", include("wagtail.admin.urls")),
    ]
"""

TEST = """
import re

from django.contrib.auth.models import Permission
from django.urls import reverse


def test_the_group_editor(admin_client):
    ours = Permission.objects.filter(content_type__app_label="kapso_inbox")
    page = admin_client.get(reverse("wagtailusers_groups:add")).content.decode()
    boxes = re.findall(r'name="permissions" value="(\\d+)"', page)
    assert len(ours) == 7
    assert {str(permission.pk) for permission in ours} <= set(boxes)
"""


def test_wagtails_group_editor_lists_our_permissions(tmp_path: Path) -> None:
    (tmp_path / "crm.py").write_text(HOST)
    (tmp_path / "test_crm.py").write_text(TEST)
    options = ("--ds=crm", "--nomigrations", "-p", "no:randomly", "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout
