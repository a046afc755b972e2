"""Reasons and details are stored as codes, and told in the language of whoever reads them."""

from __future__ import annotations

import json
import string

import pytest
from django.utils import translation

from kapso_inbox.kapso import InboxOriginError, InvalidRequestError, KapsoError
from kapso_inbox.lifecycle import create_embed, rotate_embed
from kapso_inbox.lifecycle.links import reason_of
from kapso_inbox.meanings import MEANINGS
from kapso_inbox.models import AccessLink, ReasonCode, read_reason, reason, reason_code
from kapso_inbox.reasons import describe_differences, describe_reason
from kapso_inbox.sandbox.engine import Answer, Sandbox


@pytest.mark.parametrize("code", ReasonCode)
def test_every_code_has_a_text_that_its_values_fill_in(code: ReasonCode) -> None:
    values = {"differences": "scope_type=customer", "reference": "0123456789"}
    if code == ReasonCode.CHANGED:
        values = {"changes": {"name": ["Sales", "Support"]}}  # type: ignore[dict-item]
    told = describe_reason(reason(code, **values))
    assert told
    assert "%" not in told
    assert told[0] in string.ascii_uppercase


def test_what_is_stored_is_the_code_and_its_values() -> None:
    stored = reason(ReasonCode.MADE_ELSEWHERE, reference="0123456789")
    assert json.loads(stored) == {"code": "made_elsewhere", "reference": "0123456789"}
    assert reason_code(stored) == "made_elsewhere"


@pytest.mark.parametrize("text", ["", "It broke.", "7", "null", '["code"]', '{"code": "later"}'])
def test_any_other_text_is_told_as_it_is(text: str) -> None:
    assert describe_reason(text) == text
    assert read_reason(text) == {}
    assert reason_code(text) == ""


@pytest.mark.parametrize("kind", [kind for kind in MEANINGS if issubclass(kind, KapsoError)])
def test_an_error_of_kapso_is_told_by_its_meaning_with_kapsos_own_words_quoted(
    kind: type[KapsoError],
) -> None:
    stored = reason_of(kind("In English", status=418, request_id="r-1", detail="100 % “odd”"))
    told = describe_reason(stored)
    assert "(HTTP 418, r-1)." in told
    if MEANINGS[kind].quotes_kapso:
        assert told.endswith("Kapso says: “100 % “odd””")


def test_an_origin_that_the_settings_lack_is_named_in_the_reason() -> None:
    error = InboxOriginError(origin="https://a.example", inbox_origins=["https://b.example"])
    assert "https://a.example" in describe_reason(reason_of(error))
    assert "https://b.example" in describe_reason(reason_of(error))


def test_a_change_is_told_by_the_labels_of_its_fields_from_old_to_new() -> None:
    changes = {
        "name": ["Sales", "Support"],
        "default_mode": ["system", "dark"],
        "allowed_origins": [[], ["https://a.example", "https://b.example"]],
        "groups": [["Agents"], []],
        "expires_at": [None, "2026-11-28T15:05:00+00:00"],
    }
    told = describe_reason(reason(ReasonCode.CHANGED, changes=changes))
    assert "Name: Sales → Support" in told
    assert "https://a.example, https://b.example" in told
    assert "Groups: Agents → —" in told
    assert "Nov. 28, 2026" in told
    assert "default_mode" not in told


def test_differences_name_the_fields_as_the_forms_do() -> None:
    told = describe_differences("scope_type=project, assigned_user_id=")
    assert "scope_type" not in told
    assert told.endswith(": —")


@pytest.mark.django_db
def test_what_kapso_refused_is_stored_as_a_code_and_quoted_to_people(
    kapso_sandbox: Sandbox,
) -> None:
    embed = create_embed(slug="acme", name="Acme")
    kapso_sandbox.fail_next(answer=Answer(422, {"error": "Ningún número"}))
    with pytest.raises(InvalidRequestError):
        rotate_embed(embed)
    link = AccessLink.objects.get(state=AccessLink.State.FAILED)
    assert reason_code(link.reason) == "kapso_error"
    assert describe_reason(link.reason).endswith("Kapso says: “Ningún número”")
    with translation.override("es"):
        assert not describe_reason(link.reason).startswith("Kapso refused")
        assert "Ningún número" in describe_reason(link.reason)
