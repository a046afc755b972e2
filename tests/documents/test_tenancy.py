"""The model, the function and the policy in tenancy.md fit each other: a CRM has all three."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from . import DOCS, blocks

pytestmark = pytest.mark.table

SETTINGS = """
SECRET_KEY = "tests"
USE_TZ = True
ROOT_URLCONF = "crm.urls"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "kapso_inbox",
    "crm",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/static/"
KAPSO_INBOX = {
    "API_KEY": "any",
    "ENCRYPTION_KEYS": {"test": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"},
    "ACCESS_POLICY": "crm.inbox.OrganisationPolicy",
}
"""

URLS = """
from django.urls import include, path

urlpatterns = [path("kapso-inbox/", include("kapso_inbox.urls"))]
"""

TESTS = """
import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from crm.inbox import provision
from crm.models import Organisation
from kapso_inbox.access import get_policy
from kapso_inbox.models import InboxEmbed

FRAME = {"Sec-Fetch-Dest": "iframe", "Sec-Fetch-Site": "same-origin"}

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme_and_globex(kapso_sandbox):
    permission = Permission.objects.get(codename="open_inboxembed")
    for name, customer in zip(("acme", "globex"), kapso_sandbox.project().customers):
        organisation = Organisation.objects.create(
            name=name.title(), kapso_customer_id=customer["id"], inbox_slug=name
        )
        user = User.objects.create_user(f"ana-of-{name}")
        user.user_permissions.add(permission)
        organisation.members.add(user)
        provision(organisation)
    assert len(kapso_sandbox.project().active_embeds()) == 2


@pytest.mark.parametrize(("own", "other"), [("acme", "globex"), ("globex", "acme")])
def test_each_opens_the_inbox_of_their_organisation_and_no_other(
    acme_and_globex, client, own, other
):
    user = User.objects.get(username=f"ana-of-{own}")
    client.force_login(user)

    def launch(slug):
        return client.get(reverse("kapso_inbox:launch", args=[slug]), headers=FRAME)

    answer = launch(own)
    assert answer.status_code == 302
    assert answer["Location"].startswith("https://inbox.kapso.ai/")
    assert launch(other).status_code == launch("no-such-inbox").status_code == 404
    openable = get_policy().openable(user, InboxEmbed.objects.all())
    assert [embed.slug for embed in openable] == [own]


def test_provisioning_again_changes_nothing(acme_and_globex, kapso_sandbox):
    sent = len(kapso_sandbox.requests)
    for organisation in Organisation.objects.all():
        provision(organisation)
    assert len(kapso_sandbox.requests) == sent
"""


def test_each_user_of_a_crm_made_of_the_document_opens_the_inbox_of_their_organisation(
    tmp_path: Path,
) -> None:
    files = {"__init__": "", "settings": SETTINGS, "urls": URLS}
    for block in blocks(DOCS / "tenancy.md"):
        for name in ("models", "inbox"):
            if block.code.startswith(f"# crm/{name}.py"):
                files[name] = files.get(name, "") + block.code
    assert {"models", "inbox"} <= set(files)
    (tmp_path / "crm").mkdir()
    for name, text in files.items():
        (tmp_path / "crm" / f"{name}.py").write_text(text)
    (tmp_path / "test_crm.py").write_text(TESTS)
    options = ("--nomigrations", "--ds=crm.settings", "-n0", "-p", "no:randomly")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "3 passed" in done.stdout, done.stdout
