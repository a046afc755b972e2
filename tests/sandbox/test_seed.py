from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import pytest

from kapso_inbox.sandbox.embeds import from_iso
from kapso_inbox.sandbox.seed import CONTACTS, seed_for

NOW = datetime(2026, 11, 5, 9, 30, tzinfo=timezone.utc)


@pytest.fixture(params=[0, 1, 2])
def seed(request):
    return seed_for(request.param, NOW)


def ids(seed):
    return {
        value
        for rows in (seed.phone_numbers, seed.customers, seed.users, seed.conversations)
        for row in rows
        for key, value in row.items()
        if key in ("phone_number_id", "internal_id", "user_id")
        or (key == "id" and len(str(value)) > 9)
    }


def test_the_seed_of_a_project_is_always_the_same():
    assert seed_for(0, NOW) == seed_for(0, NOW)
    assert ids(seed_for(0, NOW)) == ids(seed_for(0, NOW + timedelta(days=9)))


def test_projects_have_nothing_in_common():
    first, second, third = (seed_for(index, NOW) for index in range(3))
    assert not ids(first) & ids(second)
    assert not ids(first) & ids(third)
    assert {one["email"] for one in first.users} >= {
        "ana@example.com",
        "bruno@example.com",
        "carla@example.com",
    }
    assert not {one["email"] for one in first.users} & {one["email"] for one in second.users}
    phones = [{one["phone"] for one in seed.conversations} for seed in (first, second)]
    assert not phones[0] & phones[1]


def test_a_conversation_refers_to_existing_records(seed):
    numbers = {one["internal_id"] for one in seed.phone_numbers}
    customers = {one["id"] for one in seed.customers}
    users = {one["user_id"] for one in seed.users} | {None}
    for one in seed.conversations:
        assert one["whatsapp_config_id"] in numbers
        assert one["customer_id"] in customers
        assert one["assigned_user_id"] in users
    assert {one["whatsapp_config_id"] for one in seed.conversations} == numbers


def test_a_conversations_times_run_forward_and_end_at_its_last_activity(seed):
    for one in seed.conversations:
        times = [from_iso(message["timestamp"]) for message in one["messages"]]
        assert times == sorted(times)
        assert times[-1] == from_iso(one["last_active_at"]) <= NOW


def test_unread_messages_are_from_the_contact_and_come_last(seed):
    for one in seed.conversations:
        for message in one["messages"][-one["unread_count"] :] if one["unread_count"] else []:
            assert message["direction"] == "inbound"
        for message in one["messages"]:
            assert (message["status"] is None) == (message["direction"] == "inbound")


def test_every_kind_of_conversation_occurs():
    rows = seed_for(0, NOW).conversations
    assert 30 <= len(rows) <= 40
    assert {one["status"] for one in rows} == {"active", "ended"}
    assert any(one["handoff"] for one in rows)
    assert any(one["unread_count"] for one in rows)
    assert {message["type"] for one in rows for message in one["messages"]} == {
        "text",
        "image",
        "audio",
        "document",
        "template",
    }


def test_the_contacts_are_the_people_of_the_first_project():
    assert len({one.phone for one in CONTACTS}) == len(CONTACTS) == 24
    assert all(re.fullmatch(r"\+\d{10,13}", one.phone) for one in CONTACTS)
    assert all(one.email.endswith(".example") for one in CONTACTS)
    assert {one["phone"] for one in seed_for(0, NOW).conversations} == {
        one.phone for one in CONTACTS
    }
