"""Wrong values are refused before anything is sent, with an error at their field."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import override_settings

from kapso_inbox.kapso import Embed
from kapso_inbox.lifecycle import create_embed
from kapso_inbox.lifecycle.values import agree, clean_settings, mirror
from kapso_inbox.models import AccessLink, InboxEmbed
from kapso_inbox.sandbox.engine import Sandbox
from tests.hosts.clock import as_stored

UUID = "123e4567-e89b-12d3-a456-426614174000"
PAST = datetime(2020, 1, 1, tzinfo=timezone.utc)

WRONG: list[tuple[str, dict[str, Any]]] = [
    ("slug", {"slug": ""}),
    ("slug", {"slug": "two words"}),
    ("slug", {"slug": "x" * 51}),
    ("slug", {"slug": "sync"}),
    ("name", {"name": "  "}),
    ("name", {"name": "x" * 121}),
    ("name", {"name": "two\nlines"}),
    ("name", {"name": "null\x00byte"}),
    ("name", {"name": "Support #ki-0123456789"}),
    ("scope_type", {"scope_type": "team"}),
    ("scope_id", {"scope_type": "project", "scope_id": "123"}),
    ("scope_id", {"scope_type": "customer", "scope_id": ""}),
    ("scope_id", {"scope_type": "customer", "scope_id": "no-uuid"}),
    ("scope_id", {"scope_type": "phone_number", "scope_id": ""}),
    ("scope_id", {"scope_type": "phone_number", "scope_id": "+15550100"}),
    ("scope_id", {"scope_type": "phone_number", "scope_id": "١٢٣"}),
    ("project", {"project": "nowhere"}),
    ("allowed_origins", {"allowed_origins": ["https://crm.example.com/inbox"]}),
    ("allowed_origins", {"allowed_origins": ["https://crm.example.com/"]}),
    ("allowed_origins", {"allowed_origins": "https://crm.example.com"}),
    ("allowed_origins", {"allowed_origins": [None]}),
    ("allowed_origins", {"allowed_origins": None}),
    ("allowed_origins", {"allowed_origins": 5}),
    ("default_mode", {"default_mode": "black"}),
    ("language", {"language": "pt"}),
    ("expires_at", {"expires_at": PAST}),
    ("expires_at", {"expires_at": "tomorrow"}),
    ("assigned_user_id", {"assigned_user_id": "ana@example.com"}),
    ("groups", {"groups": ["Sales"]}),
    ("groups", {"groups": "Sales"}),
]


@pytest.mark.parametrize(("field", "values"), WRONG, ids=lambda value: repr(value)[:50])
def test_a_wrong_value_is_named_by_its_field(field: str, values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        clean_settings(values)
    assert list(caught.value.message_dict) == [field]
    assert caught.value.message_dict[field][0]


def test_all_wrong_fields_are_named_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        clean_settings({"slug": "", "language": "pt", "scope_type": "project", "scope_id": "1"})
    assert set(caught.value.message_dict) == {"slug", "language", "scope_id"}


def test_valid_values_are_normalised() -> None:
    moment = datetime(2999, 1, 1, 12, 0, 30, 5, tzinfo=timezone.utc)
    assert clean_settings(
        {
            "slug": " support ",
            "name": " Support ",
            "scope_type": "customer",
            "scope_id": UUID.upper(),
            "allowed_origins": (" https://crm.example.com", "https://crm.example.com", "*"),
            "default_mode": "dark",
            "language": "es",
            "expires_at": moment,
            "assigned_user_id": UUID,
        }
    ) == {
        "slug": "support",
        "name": "Support",
        "scope_type": "customer",
        "scope_id": UUID,
        "allowed_origins": ["https://crm.example.com", "*"],
        "default_mode": "dark",
        "language": "es",
        "expires_at": as_stored(moment).replace(microsecond=0),
        "assigned_user_id": UUID,
    }


def test_origins_can_be_any_iterable() -> None:
    origins = (origin for origin in ["https://crm.example.com"])
    assert clean_settings({"allowed_origins": origins}) == {
        "allowed_origins": ["https://crm.example.com"]
    }


@pytest.mark.parametrize("name", ["Equipe 👩‍💻", "Équipe\u00a01", "فريق"])
def test_a_name_can_be_in_any_script(name: str) -> None:
    assert clean_settings({"name": name}) == {"name": name}


def test_none_is_blank() -> None:
    values = {"scope_type": "project", "scope_id": None, "assigned_user_id": None}
    assert clean_settings(values) == {
        "scope_type": "project",
        "scope_id": "",
        "assigned_user_id": "",
    }


def test_a_phone_number_id_consists_of_digits() -> None:
    values = {"scope_type": "phone_number", "scope_id": "1234567890"}
    assert clean_settings(values) == values


def test_a_time_without_a_zone_is_in_the_sites_time_zone() -> None:
    naive = datetime(2999, 1, 1, 12, 0)
    with override_settings(USE_TZ=True):
        cleaned = clean_settings({"expires_at": naive})["expires_at"]
        assert cleaned.isoformat() == "2999-01-01T12:00:00-03:00"
    with override_settings(USE_TZ=False):
        assert clean_settings({"expires_at": naive})["expires_at"] == naive
        aware = datetime(2999, 1, 1, 15, 0, tzinfo=timezone.utc)
        assert clean_settings({"expires_at": aware})["expires_at"] == naive


def test_nothing_is_sent_or_stored_if_a_value_is_wrong(db: None, kapso_sandbox: Sandbox) -> None:
    for values in ({"scope_id": "1"}, {"language": "pt"}, {"slug": "sync"}):
        with pytest.raises(ValidationError):
            create_embed(**{"slug": "support", "name": "Support", **values})
    assert kapso_sandbox.requests == []
    assert not InboxEmbed.objects.exists()
    assert not AccessLink.objects.exists()


def test_the_mirror_changes_only_the_fields_in_kapsos_answer() -> None:
    embed = InboxEmbed(
        name="Old", language="en", default_mode="dark", allowed_origins=["a.example"]
    )
    changed = mirror(
        embed,
        Embed.from_json(
            {
                "id": "1",
                "name": "New #ki-0123456789",
                "allowed_origins": None,
                "language": "pt",
                "scope_name": "x" * 300,
                "invented": True,
            }
        ),
    )
    assert sorted(changed) == ["allowed_origins", "language", "name", "scope_name"]
    assert (embed.name, embed.language, embed.default_mode) == ("New", "pt", "dark")
    assert embed.allowed_origins == []
    assert len(embed.scope_name) == 255


def test_the_mirror_stores_times_in_the_sites_form() -> None:
    answer = Embed.from_json({"id": "1", "expires_at": "2999-01-01T15:00:00.5Z"})
    embed = InboxEmbed()
    with override_settings(USE_TZ=False):
        mirror(embed, answer)
    assert embed.expires_at == datetime(2999, 1, 1, 12, 0, 0, 500000)


def test_a_time_that_the_site_cannot_store_counts_as_missing() -> None:
    embed = InboxEmbed()
    with override_settings(USE_TZ=False):
        answer = {"id": "1", "name": "A", "last_used_at": "0001-01-01T00:00:00Z"}
        assert mirror(embed, Embed.from_json(answer)) == {"name": ""}
    assert embed.last_used_at is None


@pytest.mark.parametrize(
    ("answer", "agreed"),
    [
        ({"id": "1", "name": "A #ki-0123456789", "language": "es"}, True),
        ({"id": "1", "name": "A", "language": "en"}, False),
        ({"id": "1", "name": "A"}, False),
    ],
)
def test_an_answer_agrees_when_it_holds_every_change(answer: dict[str, Any], agreed: bool) -> None:
    assert agree({"name": "A", "language": "es"}, Embed.from_json(answer)) is agreed
