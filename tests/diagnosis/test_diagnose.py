"""The diagnosis as a whole: its order, its limits, its costs, and what it never does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db.models.signals import post_init
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from kapso_inbox import conf, diagnosis
from kapso_inbox.diagnosis import Finding, embeds, findings, site
from kapso_inbox.encryption import generate_key
from kapso_inbox.models import AccessLink, InboxEmbed
from kapso_inbox.sandbox.engine import Answer, Sandbox
from tests.hosts.database import connection

from .helpers import OTHER_KEY, SITE, TOKEN, ChangeSettings, ago, codes, diagnose, store, the

pytestmark = pytest.mark.django_db


def test_an_installation_that_works_has_only_good_findings(sales: InboxEmbed) -> None:
    found = diagnose()
    assert {finding.level for finding in found} == {"info"}
    assert [finding.code for finding in found] == [
        "api-key-accepted",
        "rate-limit-left",
        "clock-right",
        "secrets-open",
    ]


def test_offline_makes_no_request_to_kapso(kapso_sandbox: Sandbox, sales: InboxEmbed) -> None:
    kapso_sandbox.requests.clear()
    assert codes(network=False) == ["secrets-open"]
    assert kapso_sandbox.requests == []


@pytest.mark.parametrize("wrong", [{}, {"path": "inbox_embeds"}, {"drop": "before"}])
def test_a_project_costs_at_most_two_requests(
    kapso_sandbox: Sandbox, sales: InboxEmbed, wrong: dict[str, Any]
) -> None:
    if wrong.get("path"):
        kapso_sandbox.fail_next(answer=Answer(404, {"error": "Not found"}), **wrong)
    elif wrong:
        kapso_sandbox.fail_next(**wrong, times=9)
    kapso_sandbox.requests.clear()
    diagnose()
    assert len(kapso_sandbox.requests) == (2 if "path" in wrong else 1)
    assert {request.method for request in kapso_sandbox.requests} == {"GET"}


def test_the_number_of_queries_does_not_grow_with_the_embeds() -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            diagnose(network=False)
        reads = re.compile(r"\s*(SELECT|PRAGMA|DECLARE|SHOW)\b", re.IGNORECASE)
        assert all(reads.match(query["sql"]) for query in captured), "it writes nothing"
        return len(captured)

    for number in range(3):
        store(f"inbox-{number}")
    few = queries()
    for number in range(3, 30):
        store(f"inbox-{number}")
    assert queries() == few


def test_a_sample_holds_each_fault_however_many_others_there_are() -> None:
    link = store("forgotten")
    link.move(AccessLink.State.SECRET_LOST, expected=[AccessLink.State.ACTIVE], sealed_url="")
    store("open-to-all", embed={"allowed_origins": [SITE, "*"]})
    store("to-none", embed={"allowed_origins": []})
    store("expired", embed={"expires_at": ago(days=1)})
    store("different", differences="scope_id")
    store("stuck", state=AccessLink.State.REVOKING, state_changed_at=ago(hours=1))
    store("elsewhere", state=AccessLink.State.UNMANAGED)
    for number in range(30):
        store(f"fine-{number}")
    for number in range(60):
        store(f"revoked-{number}", state=AccessLink.State.REVOKED)
    found = diagnosis.diagnose(network=False, most=5)
    named = {one.code: one.embed for one in found if one.code != "embed-revoked"}
    assert named["not-all-checked"] == ""
    assert named["secret-lost"] == "forgotten"
    assert named["origins-any"] == "open-to-all"
    assert named["origins-none"] == "to-none"
    assert named["link-expired"] == "expired"
    assert named["embed-different"] == "different"
    assert named["revocation-stuck"] == "stuck"
    assert named["link-unmanaged"] == "elsewhere"
    revoked = [one.what for one in found if one.code == "embed-revoked"]
    assert (len(revoked), revoked[-1]) == (findings.MANY + 1, "And 41 more like these.")
    # It tells of all secrets, or says nothing.
    assert "secrets-open" not in named
    assert "not-all-checked" not in codes(network=False)


def test_a_secret_under_a_missing_key_is_in_every_sample(change_settings: ChangeSettings) -> None:
    store("old-key")
    change_settings(ENCRYPTION_KEYS={"new": generate_key()})
    for number in range(30):
        store(f"fine-{number}")
    found = {one.code: one.embed for one in diagnosis.diagnose(network=False, most=5)}
    assert found["encryption-key-missing"] == "old-key"


def test_a_sample_reads_as_many_rows_however_many_there_are() -> None:
    def rows_read() -> tuple[int, int]:
        with CaptureQueriesContext(connection) as captured, reading() as seen:
            diagnosis.diagnose(network=False, most=5)
        return len(captured), len(seen)

    for number in range(10):
        store(f"inbox-{number}")
    few = rows_read()
    for number in range(10, 40):
        store(f"inbox-{number}")
    assert rows_read() == few


@contextmanager
def reading() -> Iterator[list[Any]]:
    """Collect the embeds and links that are made from rows."""
    made: list[Any] = []

    def note(sender: Any, instance: Any, **kwargs: Any) -> None:
        made.append(instance)

    for model in (InboxEmbed, AccessLink):
        post_init.connect(note, sender=model)
    try:
        yield made
    finally:
        for model in (InboxEmbed, AccessLink):
            post_init.disconnect(note, sender=model)


def test_many_findings_of_a_kind_are_cut_to_a_few_and_a_count() -> None:
    for number in range(findings.MANY + 3):
        store(f"inbox-{number:02}", embed={"allowed_origins": []})
    found = [one for one in diagnose(network=False) if one.code == "origins-none"]
    assert len(found) == findings.MANY + 1
    assert (found[-1].what, found[-1].embed) == ("And 3 more like these.", "")
    assert [one.more for one in found] == [*[0] * findings.MANY, 3]
    assert found[0].embed == "inbox-00"


def test_only_the_given_projects_are_checked(
    kapso_sandbox: Sandbox, change_settings: ChangeSettings
) -> None:
    store("sales", embed={"allowed_origins": []})
    store("clinic", project="clinic", embed={"allowed_origins": []})
    found = diagnose("clinic")
    assert {finding.project for finding in found} == {"clinic"}
    assert {finding.embed for finding in found} == {"", "clinic"}


def test_only_the_given_embeds_and_their_links_are_checked() -> None:
    for slug in ("ours", "theirs"):
        store(slug, embed={"allowed_origins": []}, state=AccessLink.State.SECRET_LOST)
    ours = InboxEmbed.objects.filter(slug="ours")
    for most in (None, 5, 0):
        found = diagnosis.diagnose(network=False, among=ours, most=most)
        assert {one.embed for one in found if one.embed} == {"ours"}, most


def test_findings_are_in_the_active_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeds, "_", lambda text: "¡Ay!" if "No inbox" in text else text)
    with translation.override("es"):
        assert the("no-embeds", network=False).what == "¡Ay!"


def test_a_check_that_raises_is_a_finding_and_does_not_stop_the_others(
    sales: InboxEmbed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert "check-failed" not in codes()

    def https_findings() -> Iterator[Finding]:
        raise RuntimeError(f"{TOKEN} {conf.value('API_KEY')}")
        yield

    monkeypatch.setattr(site, "https_findings", https_findings)
    found = the("check-failed")
    assert "RuntimeError in test_diagnose.py:" in found.what
    assert "secrets-open" in codes()
    assert TOKEN not in caplog.text
    assert conf.value("API_KEY") not in caplog.text


@pytest.mark.parametrize(
    "values",
    [
        {"API_KEY": None},
        {"API_KEY": b"kapso-key"},
        {"API_KEY": "two words"},
        {"ENCRYPTION_KEYS": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"},
        {"PROJECTS": ["a"]},
        {"PROJECTS": {"a": None, 7: {}, (): ()}},
        {"PROJECTS": {OTHER_KEY: {"API_KEY": OTHER_KEY}}},
        {"BASE_URL": f"https://{OTHER_KEY}@api.kapso.ai"},
        {"INBOX_ORIGINS": None},
        {"INBOX_ORIGINS": 7},
        {"TIMEOUT": None},
        {"TIMEOUT": (0, 0)},
        {"PROXIES": "proxy"},
        {"RENEW_BEFORE": "soon"},
        {"DELIVERY": object()},
        {OTHER_KEY: "pasted"},
    ],
)
def test_no_wrong_setting_stops_the_diagnosis(
    kapso_sandbox: Sandbox, change_settings: ChangeSettings, values: dict[Any, Any]
) -> None:
    store("sales", embed={"expires_at": ago(days=-3)})
    configured = {**django_settings.KAPSO_INBOX, **values}
    with override_settings(KAPSO_INBOX=configured):
        found = diagnosis.diagnose()
    assert any(one.level == "error" for one in found) or OTHER_KEY in values
    if OTHER_KEY not in values:  # a name of a setting is not known for a key
        assert OTHER_KEY not in repr(found)
