"""Findings about embeds: whether they open, until when, and on which pages."""

from __future__ import annotations

import sys
import uuid
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from kapso_inbox.diagnosis import this_site
from kapso_inbox.diagnosis.this_site import host_for_requests
from kapso_inbox.kapso import (
    CredentialsError,
    InboxOriginError,
    InvalidRequestError,
    NotFoundError,
    PaymentRequiredError,
    RateLimitedError,
    UncertainError,
    UnreachableError,
)
from kapso_inbox.lifecycle import create_embed
from kapso_inbox.lifecycle.links import reason_of
from kapso_inbox.models import AccessLink, InboxEmbed, ReasonCode, reason
from kapso_inbox.sandbox.engine import Sandbox
from tests.hosts.database import connection

from .helpers import SITE, ChangeSettings, State, ago, codes, diagnose, store, the

pytestmark = pytest.mark.django_db


def test_an_own_inbox_that_is_no_longer_narrowed_to_its_user_is_found() -> None:
    store(embed={"personal_to": "7", "assigned_user_id": str(uuid.uuid4())})
    assert "embed-not-narrowed" not in codes(network=False)
    InboxEmbed.objects.update(assigned_user_id="")
    found = the("embed-not-narrowed", network=False)
    assert (found.level, found.embed) == ("error", "sales")


def test_an_inbox_that_shows_other_conversations_at_kapso_is_found() -> None:
    store()
    assert "embed-different" not in codes(network=False)
    AccessLink.objects.update(differences="scope_type=project, scope_id=")
    found = the("embed-different", network=False)
    assert (found.level, found.embed) == ("error", "sales")
    assert "What it shows: Whole project" in found.what


@pytest.mark.parametrize("current", [True, False])
@pytest.mark.parametrize("state", [State.CREATING, State.UNKNOWN, State.REVOKING])
def test_what_kapso_has_not_said_yet_gets_one_order_and_is_not_called_fine(
    state: AccessLink.State, current: bool
) -> None:
    store(state=state, current=current, state_changed_at=ago(minutes=11))
    found = [one for one in diagnose(network=False) if one.embed == "sales" and one.level != "info"]
    assert [one.code for one in found if one.code.startswith(("link", "creation", "revo"))]
    assert not {one.code for one in found} & {"embed-without-link", "embed-revoked"}


def test_a_link_that_has_expired_is_found() -> None:
    store(embed={"expires_at": ago(minutes=1)})
    found = the("link-expired", network=False)
    assert (found.level, found.embed) == ("error", "sales")
    assert "link-expires-soon" not in codes(network=False)
    InboxEmbed.objects.update(expires_at=None)
    assert "link-expired" not in codes(network=False)


def test_a_link_that_expires_soon_is_found() -> None:
    store(embed={"expires_at": ago(days=-6)})
    assert the("link-expires-soon", network=False).level == "warning"
    assert "link-expired" not in codes(network=False)
    InboxEmbed.objects.update(expires_at=ago(days=-8))
    assert "link-expires-soon" not in codes(network=False)


def test_a_link_that_will_be_renewed_in_time_is_not_reported(
    change_settings: ChangeSettings,
) -> None:
    store(embed={"expires_at": ago(days=-6)})
    change_settings(RENEW_BEFORE=24 * 60 * 60)
    assert "link-expires-soon" not in codes(network=False)
    InboxEmbed.objects.update(expires_at=ago(hours=-23))
    assert "kapso_sync should have renewed it" in the("link-expires-soon", network=False).hint


def test_a_site_without_time_zones_can_be_checked(settings: Any) -> None:
    settings.USE_TZ = False
    store(embed={"expires_at": timezone.now() - timedelta(days=1)})
    assert "link-expired" in codes(network=False)


def test_an_inbox_without_a_link_is_found() -> None:
    link = store(current=False)
    assert the("embed-without-link", network=False).embed == "sales"
    InboxEmbed.objects.update(current_link=link)
    assert "embed-without-link" not in codes(network=False)
    AccessLink.objects.update(state=State.FAILED)
    assert the("embed-without-link", network=False).level == "error"


def test_why_an_inbox_has_no_link_is_told(kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.project().inbox_origin = "https://inbox.kapso.example"
    with pytest.raises(InboxOriginError):
        create_embed(slug="sales", name="Sales")
    found = the("embed-without-link", network=False)
    assert "is at https://inbox.kapso.example, but KAPSO_INBOX" in found.what
    assert "Fix why that failed" in found.hint


@pytest.mark.parametrize(
    ("stored", "is_to_be_fixed"),
    [
        (reason(ReasonCode.CREATED_AFTER_ALL), False),
        (reason(ReasonCode.NEVER_CREATED), False),
        (reason(ReasonCode.NOT_STORED), False),
        (reason(ReasonCode.REVOKED_MEANWHILE), False),
        (reason(ReasonCode.ANSWER_UNSAFE), False),
        (reason_of(UncertainError(status=503)), False),
        (reason_of(UnreachableError()), False),
        (reason_of(RateLimitedError()), False),
        (reason_of(CredentialsError(status=401)), True),
        (reason_of(PaymentRequiredError()), True),
        (reason_of(InvalidRequestError(detail="is odd")), True),
        (reason_of(NotFoundError()), True),
    ],
)
def test_only_what_somebody_here_can_fix_is_to_be_fixed_before_a_new_link(
    stored: str, is_to_be_fixed: bool
) -> None:
    store(state=State.FAILED, reason=stored)
    found = the("embed-without-link", network=False)
    assert "The last one failed: " in found.what
    assert ("Fix why that failed" in found.hint) == is_to_be_fixed
    assert is_to_be_fixed or found.hint == "Rotate its link, which creates a new one."


def test_by_what_a_log_knows_the_answer_is_in_the_details() -> None:
    stored = reason_of(CredentialsError(status=401, request_id="a-request"))
    store(state=State.FAILED, reason=stored)
    found = the("embed-without-link", network=False)
    assert "HTTP" not in found.what
    assert found.details == "HTTP 401, a-request"


def test_a_revoked_inbox_is_reported() -> None:
    store()
    assert "embed-revoked" not in codes(network=False)
    AccessLink.objects.update(state=State.REVOKED, sealed_url="")
    assert the("embed-revoked", network=False).level == "info"


def test_a_site_without_an_inbox_is_reported() -> None:
    assert the("no-embeds", network=False).level == "info"
    store()
    assert "no-embeds" not in codes(network=False)


# Allowed origins


def allow(*allowed: Any) -> None:
    InboxEmbed.objects.update(allowed_origins=list(allowed))


def test_origins_that_let_any_page_show_an_inbox_are_found() -> None:
    store()
    assert not [code for code in codes(network=False) if code.startswith("origins-")]
    allow()
    assert the("origins-none", network=False).level == "warning"
    allow(SITE, "*")
    assert the("origins-any", network=False).level == "warning"
    assert "origins-none" not in codes(network=False)


def test_origins_that_are_not_a_list_count_as_none() -> None:
    store()
    InboxEmbed.objects.update(allowed_origins={"a": 1})
    assert "origins-none" in codes(network=False)


@pytest.mark.parametrize(
    "local", ["http://localhost:8000", "127.0.0.1", "http://[::1]:8000", "http://crm.localhost"]
)
def test_this_machine_among_the_origins_is_found_in_production(local: str, settings: Any) -> None:
    store()
    assert "origins-local" not in codes(network=False)
    allow(SITE, local)
    assert the("origins-local", network=False).level == "warning"
    settings.DEBUG = True
    assert "origins-local" not in codes(network=False)


@pytest.mark.parametrize(
    "allowed",
    [
        "https://crm.example.com",
        "crm.example.com",
        "*.example.com",
        "https://*.example.com",
        "HTTPS://CRM.example.com:443",
        "http://crm.example.com:8443",
    ],
)
def test_origins_that_cover_this_site_are_fine(allowed: str) -> None:
    store()
    allow("https://other.example", allowed)
    assert "origins-miss-site" not in codes(network=False)


@pytest.mark.parametrize(
    "allowed", ["https://example.com", "https://crm.example.com.evil.example", "*.crm.example.com"]
)
def test_origins_that_do_not_cover_this_site_are_found(allowed: str) -> None:
    store()
    allow(allowed)
    found = the("origins-miss-site", network=False)
    assert (found.level, found.embed) == ("error", "sales")
    assert found.what.endswith(f"stays blank on this site: it may only be shown by {allowed}.")
    assert found.details.startswith("This site is crm.example.com, according to ALLOWED_HOSTS,")


@pytest.mark.parametrize(
    ("trusted", "allowed", "covered"),
    [
        ("https://crm.example.com", "https://crm.example.com", True),
        ("https://crm.example.com", "http://crm.example.com", True),
        ("https://crm.example.com:8443", "https://crm.example.com:8443", True),
        ("https://crm.example.com:8443", "https://crm.example.com:*", True),
        ("https://crm.example.com:8443", "https://crm.example.com", False),
        ("http://crm.example.com", "https://crm.example.com", False),
        ("https://[2001:db8::1]", "https://[2001:db8::1]", True),
    ],
)
def test_scheme_and_port_count_if_the_settings_name_them(
    trusted: str, allowed: str, covered: bool, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    settings.CSRF_TRUSTED_ORIGINS = [trusted]
    store()
    allow(allowed)
    assert ("origins-miss-site" not in codes(network=False)) is covered


def test_a_site_of_unknown_origin_is_reported_and_not_guessed(settings: Any) -> None:
    store()
    assert "site-unknown" not in codes(network=False)
    settings.ALLOWED_HOSTS = ["*", ".example.com", "localhost", "127.0.0.1"]
    settings.CSRF_TRUSTED_ORIGINS = ["https://*.example.com"]
    assert the("site-unknown", network=False).level == "info"
    assert "origins-miss-site" not in codes(network=False)
    allow("https://other.example")
    assert "origins-miss-site" not in codes(network=False)


def test_in_development_this_machine_is_the_site(settings: Any) -> None:
    settings.DEBUG, settings.ALLOWED_HOSTS = True, []
    store()
    assert "http://localhost" not in the("origins-miss-site", network=False).details
    allow("http://localhost:8000")
    assert not [code for code in codes(network=False) if code.startswith("origins-")]


def test_the_sites_framework_is_used_if_it_is_installed(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Rows(list[str]):
        objects: Any

        def values_list(self, *args: Any, **kwargs: Any) -> Rows:
            return self

    Rows.objects = Rows(["example.com", "clinic.example"])
    module = type(sys)("django.contrib.sites.models")
    module.Site = Rows  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "django.contrib.sites.models", module)
    monkeypatch.setattr("django.apps.registry.Apps.is_installed", lambda self, name: True)
    assert [str(one) for one in this_site.origins_of_site()] == [
        "crm.example.com",
        "clinic.example",
    ]


def test_a_database_whose_inboxes_are_for_another_site_looks_copied(
    change_settings: ChangeSettings,
) -> None:
    for slug in ("a", "b", "c"):
        store(slug)
    InboxEmbed.objects.filter(slug="a").update(allowed_origins=["https://crm.example.org"])
    assert "database-copied" not in codes(network=False)
    InboxEmbed.objects.exclude(slug="c").update(allowed_origins=["https://crm.example.org"])
    found = the("database-copied", network=False)
    assert found.level == "warning"
    assert "2 of 3 inboxes" in found.what
    assert "READ_ONLY" in found.hint
    change_settings(READ_ONLY=True)
    assert "database-copied" not in codes(network=False)


def test_a_read_only_deployment_cannot_add_its_own_origin(change_settings: ChangeSettings) -> None:
    store(embed={"allowed_origins": ["https://crm.example.org"]})
    change_settings(READ_ONLY=True)
    assert (
        "the deployment that the inbox belongs to" in the("origins-miss-site", network=False).hint
    )


def test_a_site_that_only_its_trusted_origins_name_is_not_surely_that_site(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    settings.CSRF_TRUSTED_ORIGINS = ["https://forms.example.com"]
    store()
    allow("https://crm.example.com")
    found = the("origins-miss-site", network=False)
    assert found.level == "warning"
    assert "CSRF_TRUSTED_ORIGINS" in found.details


class Tenant:
    """Stand in for a tenant of django-tenants, whose domains are rows."""

    def get_primary_domain(self) -> Any:
        return SimpleNamespace(domain="acme.example.com")


def test_in_a_tenant_the_site_is_the_tenants_own_domain(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ALLOWED_HOSTS = ["beta.example.com"]
    monkeypatch.setattr(connections[connection.alias], "tenant", Tenant(), raising=False)
    store()
    allow("https://acme.example.com")
    assert "origins-miss-site" not in codes(network=False)
    assert host_for_requests() == "acme.example.com"
    allow("https://beta.example.com")
    assert "origins-miss-site" in codes(network=False)
