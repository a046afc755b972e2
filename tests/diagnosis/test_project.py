"""Findings about how Kapso answers to a project's API key."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from datetime import timezone as zone
from email.utils import format_datetime
from typing import Any

import pytest
from requests import exceptions

from kapso_inbox import conf
from kapso_inbox.models import AccessLink, InboxEmbed
from kapso_inbox.sandbox.engine import Answer, Sandbox

from .helpers import OTHER_KEY, ChangeSettings, ago, codes, diagnose, store, the

pytestmark = pytest.mark.django_db


def test_a_project_without_a_key_is_found_by_its_inboxes(
    kapso_sandbox: Sandbox, change_settings: ChangeSettings
) -> None:
    store("clinic", project="clinic")
    found = the("api-key-missing")
    assert (found.level, found.project) == ("error", "clinic")
    assert "1 inbox belongs" in found.what
    change_settings(PROJECTS={"clinic": {"API_KEY": OTHER_KEY}})
    kapso_sandbox.add_project(OTHER_KEY)
    assert "api-key-missing" not in codes()


def test_a_malformed_key_is_found(kapso_sandbox: Sandbox, change_settings: ChangeSettings) -> None:
    assert "api-key-malformed" not in codes()
    change_settings(API_KEY="kapso key\nof-the-tests")
    assert the("api-key-malformed").level == "error"
    assert kapso_sandbox.requests[1:] == []


def test_a_project_that_nobody_configured_is_found() -> None:
    found = the("project-unknown", "clinic", network=False)
    assert (found.level, found.hint) == ("error", "Its projects: default.")
    assert "project-unknown" not in codes("default", network=False)


@pytest.mark.parametrize("values", [{"BASE_URL": "http://api.kapso.ai"}, {"TIMEOUT": 3}])
def test_a_project_whose_settings_are_wrong_is_not_asked(
    kapso_sandbox: Sandbox, change_settings: ChangeSettings, values: dict[str, Any]
) -> None:
    assert "project-misconfigured" not in codes()
    change_settings(**values)
    assert the("project-misconfigured").level == "error"
    assert len(kapso_sandbox.requests) == 1


def test_a_key_that_kapso_refuses_is_found(kapso_sandbox: Sandbox, sales: InboxEmbed) -> None:
    assert "api-key-refused" not in codes()
    kapso_sandbox.projects.clear()
    found = the("api-key-refused")
    assert (found.level, found.project) == ("error", "default")
    assert "api-key-accepted" not in codes()


def test_an_accepted_key_is_reported_with_the_numbers_that_it_sees(
    kapso_sandbox: Sandbox,
) -> None:
    found = the("api-key-accepted")
    for number in kapso_sandbox.project().phone_numbers:
        assert number["display_phone_number"] in found.what
    kapso_sandbox.project().phone_numbers.clear()
    assert "these numbers (none)." in the("api-key-accepted").what


def test_the_key_of_another_project_is_found_and_its_numbers_are_listed(
    kapso_sandbox: Sandbox, sales: InboxEmbed, change_settings: ChangeSettings
) -> None:
    assert "api-key-of-another-project" not in codes()
    kapso_sandbox.add_project(OTHER_KEY)
    change_settings(API_KEY=OTHER_KEY)
    found = the("api-key-of-another-project")
    assert (found.level, found.embed) == ("error", "sales")
    assert kapso_sandbox.project(OTHER_KEY).phone_numbers[0]["display_phone_number"] in found.what
    assert "api-key-accepted" not in codes()
    assert "api-key-changed" not in codes()


def test_a_name_at_kapso_cannot_control_the_terminal_or_show_a_key(
    kapso_sandbox: Sandbox,
) -> None:
    number = kapso_sandbox.project().phone_numbers[0]
    number["name"] = f"\x1b[2J\n{conf.value('API_KEY')}"
    found = the("api-key-accepted")
    assert "[2J [secret]" in found.what
    assert "\x1b" not in found.what


def test_the_key_of_another_project_is_found_even_if_the_numbers_cannot_be_read(
    kapso_sandbox: Sandbox, sales: InboxEmbed
) -> None:
    kapso_sandbox.project().embeds.clear()
    kapso_sandbox.fail_next(path="phone_numbers", answer=Answer(500))
    assert "Kapso did not say" in the("api-key-of-another-project").what


def test_links_that_another_key_made_are_found_unless_kapso_knows_them(
    kapso_sandbox: Sandbox, sales: InboxEmbed
) -> None:
    assert "api-key-changed" not in codes(network=False)
    AccessLink.objects.update(key_fingerprint="0" * 12)
    assert the("api-key-changed", network=False).level == "warning"
    assert "api-key-changed" not in codes(), "Kapso knows it under the key of now"
    kapso_sandbox.fail_next(drop="before")
    assert "api-key-changed" in codes()


def test_kapso_is_asked_about_the_newest_link_of_another_key(kapso_sandbox: Sandbox) -> None:
    own = conf.project().key_fingerprint
    store("a", key_fingerprint=own, created_at=ago(days=9))
    doubtful = store("b", key_fingerprint="0" * 12, created_at=ago(days=8))
    store("c", key_fingerprint=own, created_at=ago(days=7))
    diagnose()
    assert kapso_sandbox.requests[0].path == f"/inbox_embeds/{doubtful.kapso_id}"


def test_a_refusal_by_cloudflare_is_told_from_a_refused_key(kapso_sandbox: Sandbox) -> None:
    assert "refused-by-cloudflare" not in codes()
    kapso_sandbox.fail_next(answer=Answer(403, "<html>error code: 1010</html>"), times=2)
    assert "cloudflare-1010" in the("refused-by-cloudflare").what
    assert "api-key-refused" not in codes()


def test_credits_that_are_used_up_are_found(kapso_sandbox: Sandbox) -> None:
    assert "credits-used-up" not in codes()
    kapso_sandbox.fail_next(answer=Answer(402, {"error": "service_credits_exhausted"}), times=2)
    found = the("credits-used-up")
    assert (found.level, "credits" in found.hint) == ("error", True)
    assert "api-key-refused" not in codes()


def test_a_rate_limit_that_is_used_up_is_found(kapso_sandbox: Sandbox) -> None:
    assert "rate-limit-used-up" not in codes()
    kapso_sandbox.rate_limit = 0
    assert the("rate-limit-used-up").level == "warning"
    assert not {"rate-limit-low", "rate-limit-left"} & set(codes())


def test_the_rest_of_the_rate_limit_is_reported(kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.rate_limit = 100
    assert "99 of 100" in the("rate-limit-left").what
    assert "rate-limit-low" not in codes()
    answer = {"data": []}
    kapso_sandbox.fail_next(answer=Answer(200, answer, {"X-RateLimit-Remaining": "3"}), times=2)
    assert "3 of ?" in the("rate-limit-low").what
    assert "rate-limit-left" not in codes()
    kapso_sandbox.fail_next(answer=Answer(200, answer))
    assert not [code for code in codes() if code.startswith("rate-limit")]


def test_a_wrong_base_url_is_found(
    kapso_sandbox: Sandbox, sales: InboxEmbed, change_settings: ChangeSettings
) -> None:
    assert "base-url-wrong" not in codes()
    change_settings(BASE_URL=f"{conf.value('BASE_URL')}/v2")
    assert the("base-url-wrong").level == "error"
    assert "api-key-of-another-project" not in codes()


@pytest.mark.parametrize("error", [exceptions.ConnectTimeout(), exceptions.InvalidURL()])
def test_a_kapso_that_cannot_be_reached_is_found(kapso_sandbox: Sandbox, error: Exception) -> None:
    assert "kapso-unreachable" not in codes()
    kapso_sandbox.fail_next(error=error)
    found = the("kapso-unreachable")
    assert found.level == "error"
    assert "nothing was sent" in found.details
    assert "nothing was sent" not in found.what


@pytest.mark.parametrize(
    "fault",
    [
        {"drop": "after"},
        {"answer": Answer(500, "<h1>500</h1>")},
        {"answer": Answer(302, None, {"Location": "https://evil.example"})},
        {"answer": Answer(200, "<h1>Hello</h1>")},
        {"answer": Answer(200, {"data": "?"})},
        {"answer": Answer(400, {"error": "?"})},
        {"answer": Answer(418, {"error": OTHER_KEY})},
    ],
)
def test_an_answer_that_cannot_be_used_is_found(
    kapso_sandbox: Sandbox, fault: dict[str, Any]
) -> None:
    assert "kapso-answer-unclear" not in codes()
    kapso_sandbox.fail_next(**fault)
    found = the("kapso-answer-unclear")
    assert found.level == "error"
    assert found.what == "Kapso's answer cannot be used, so nothing is known of the API key."
    assert found.details
    assert "may have carried out" not in found.details


@pytest.mark.parametrize(
    ("seconds", "words"), [(-90, r"9\d seconds ahead"), (95, "seconds behind"), (30, ""), (-30, "")]
)
def test_a_wrong_clock_is_found(kapso_sandbox: Sandbox, seconds: int, words: str) -> None:
    date = format_datetime(datetime.now(zone.utc) + timedelta(seconds=seconds))
    kapso_sandbox.fail_next(answer=Answer(401, {"error": "no"}, {"Date": date}), times=2)
    if words:
        assert re.search(words, the("clock-wrong").what)
        assert "clock-right" not in codes()
    else:
        assert the("clock-right").level == "info"
        assert "clock-wrong" not in codes()


def test_a_link_that_was_revoked_in_kapso_is_found(
    kapso_sandbox: Sandbox, sales: InboxEmbed
) -> None:
    assert "link-revoked-at-kapso" not in codes()
    [record] = kapso_sandbox.project().active_embeds()
    kapso_sandbox.project().revoke(record["id"])
    assert the("link-revoked-at-kapso").embed == "sales"
