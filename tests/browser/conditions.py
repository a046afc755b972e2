"""An embed in every condition, made in a running demo: `make(demo)`.

It runs in a process of its own, since nothing else here uses Django.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta
from typing import Any

import requests

from .conftest import ROOT, Demo, demo_environment

#: Condition -> what the sandbox does wrong while an embed comes into it.
FAULTS: dict[str, dict[str, Any]] = {
    "waits-to-be-made": {"method": "POST", "drop": "after"},
    "waits-to-be-revoked": {"method": "DELETE", "answer": {"status": 500, "body": {}}},
    "an-older-one-waits": {"method": "DELETE", "answer": {"status": 500, "body": {}}},
}

#: The slugs of the embeds, each of which is named after its condition.
CONDITIONS = (
    *("works", "expires-soon", "expired", "revoked", *FAULTS, "secret-lost", "no-link"),
    *("different", "for-another-page", "of-somebody-else", "for-any-site"),
)


def make(demo: Demo) -> dict[str, int]:
    """Make the embeds in a demo, and one that Kapso alone knew. Return their primary keys."""
    told = subprocess.run(
        [sys.executable, "-m", __name__, demo.sandbox],
        cwd=ROOT,
        env={
            **demo_environment(),
            "DJANGO_SETTINGS_MODULE": "crm.settings",
            "CRM_DATA_DIR": str(demo.data_dir),
            "CRM_ORIGINS": demo.url,
            "KAPSO_BASE_URL": f"{demo.sandbox}/platform/v1",
            "KAPSO_INBOX_ORIGINS": demo.inbox_origin,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return {slug: int(key) for slug, key in map(str.split, told.stdout.splitlines())}


def main(sandbox: str) -> None:
    """Make the embeds, and print the slug and the primary key of each."""
    sys.path.append(str(ROOT / "example_project"))
    import django

    django.setup()

    from django.utils import timezone

    from kapso_inbox.kapso import KapsoError
    from kapso_inbox.lifecycle import create_embed, revoke_embed, rotate_embed
    from kapso_inbox.models import AccessLink, InboxEmbed
    from kapso_inbox.sync import sync_project

    requests.post(
        f"{os.environ['KAPSO_BASE_URL']}/inbox_embeds",
        json={"inbox_embed": {"name": "Inbox made elsewhere", "scope_type": "project"}},
        headers={"X-API-Key": "sandbox-key"},
        timeout=20,
    ).raise_for_status()
    sync_project()
    for slug in CONDITIONS:
        if fault := FAULTS.get(slug):
            requests.post(f"{sandbox}/_sandbox/faults", json=fault, timeout=20)
        given: dict[str, Any] = {}
        if slug == "expires-soon":
            given["expires_at"] = timezone.now() + timedelta(days=3)
        with suppress(KapsoError):
            create_embed(slug=slug, name=f"Inbox {slug}", **given)
        embeds = InboxEmbed.objects.filter(slug=slug)
        links = AccessLink.objects.filter(embed__slug=slug)
        with suppress(KapsoError):
            if slug in ("revoked", "waits-to-be-revoked"):
                revoke_embed(embeds.get())
            if slug == "an-older-one-waits":
                rotate_embed(embeds.get())
        if slug == "expired":
            embeds.update(expires_at=timezone.now() - timedelta(days=1))
        if slug == "secret-lost":
            links.update(state=AccessLink.State.SECRET_LOST, sealed_url="")
        if slug == "no-link":
            embeds.update(current_link=None)
            links.update(state=AccessLink.State.FAILED, sealed_url="")
        if slug == "different":
            links.update(differences="scope_type=phone_number, scope_id=")
        if slug == "for-another-page":
            embeds.update(allowed_origins=["https://crm.example.com"])
        if slug == "of-somebody-else":
            embeds.update(personal_to="0")
        if slug == "for-any-site":
            embeds.update(allowed_origins=[])
    for embed in InboxEmbed.objects.all():
        print(embed.slug, embed.pk)  # noqa: T201 -- to the process that asked for it


if __name__ == "__main__":
    main(sys.argv[1])
