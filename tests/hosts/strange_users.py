"""Run in a process of its own: what opens in a host whose users are not in Django's groups.

Prints, as JSON, the check's messages, what the policy opens, and how each launch was answered.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.test import Client

from tests import settings as ours

FRAME = {"HTTP_SEC_FETCH_DEST": "iframe", "HTTP_SEC_FETCH_SITE": "same-origin"}
PATHS = ("open/launch/", "grouped/launch/", "grouped/", "mine/launch/", "mine/settings/")


def set_up(user_model: str) -> None:
    """Be the host whose users are of this model."""
    values = {name: getattr(ours, name) for name in dir(ours) if name.isupper()}
    values |= {
        "INSTALLED_APPS": [*ours.INSTALLED_APPS, "tests.hosts.strangers"],
        "AUTH_USER_MODEL": f"strangers.{user_model}",
        "DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        "ALLOWED_HOSTS": ["testserver"],
        "ROOT_URLCONF": "tests.hosts.urls_without_api",
    }
    settings.configure(**values)
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)


def tell() -> dict[str, Any]:
    """Let a user try to open what there is; return what came of it."""
    from django.contrib.auth import get_user_model
    from django.contrib.auth.models import Group
    from django.core.checks import run_checks

    from kapso_inbox.access import get_policy
    from kapso_inbox.models import InboxEmbed
    from tests.hosts.strangers.models import Engineer, Team

    for slug in ("open", "grouped", "deserted", "personal"):
        InboxEmbed.objects.create(slug=slug, name=slug)
    InboxEmbed.objects.get(slug="grouped").groups.add(Group.objects.create(pk=1, name="Sales"))
    InboxEmbed.objects.filter(slug="deserted").update(restricted=True)
    InboxEmbed.objects.filter(slug="personal").update(personal_to="7")
    user: Any = get_user_model()._default_manager.create(login="ana")
    if isinstance(user, Engineer):
        user.groups.add(Team.objects.create(pk=1, name="Another"))
    client = Client(raise_request_exception=False)
    client.force_login(user)
    answers = {path: client.get(f"/kapso-inbox/{path}", **FRAME) for path in PATHS}  # type: ignore[arg-type]
    embeds = get_policy().openable(user, InboxEmbed.objects.order_by("slug"))
    return {
        "checks": {one.id: [one.msg, one.hint] for one in run_checks(tags=["kapso_inbox"])},
        "openable": [embed.slug for embed in embeds],
        "statuses": {path: answer.status_code for path, answer in answers.items()},
        "grouped": answers["grouped/launch/"].content.decode(),
    }


if __name__ == "__main__":
    set_up(sys.argv[1])
    sys.stdout.write(json.dumps(tell()))
