"""Look-ups at Kapso: read page by page, kept for a short time, found by any word."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from kapso_inbox import lookups
from kapso_inbox.kapso import CredentialsError
from kapso_inbox.lookups import Kind
from kapso_inbox.sandbox.engine import Answer, Sandbox

from .conftest import age_cache


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()


@pytest.fixture
def many(kapso_sandbox: Sandbox) -> Sandbox:
    """Fill the project with 1,250 customers: 13 pages."""
    kapso_sandbox.project().customers[:] = [
        {"id": f"id-{n}", "name": f"Customer {n}", "external_customer_id": f"C-{n:04d}"}
        for n in range(1250)
    ]
    return kapso_sandbox


def test_a_number_is_found_by_its_name_and_by_its_digits(kapso_sandbox: Sandbox) -> None:
    known = kapso_sandbox.project().phone_numbers[0]
    digits = "".join(filter(str.isdigit, known["display_phone_number"]))
    for text in (known["name"].upper(), digits, f"+{digits}", known["phone_number_id"]):
        found = lookups.search(Kind.PHONE_NUMBER, text)
        assert known["phone_number_id"] in [choice.id for choice in found.choices]
        assert found.next_page is None
    [choice] = [
        c for c in lookups.search(Kind.PHONE_NUMBER).choices if c.id == known["phone_number_id"]
    ]
    assert (choice.name, choice.detail) == (known["name"], known["display_phone_number"])
    assert choice.internal_id == known["internal_id"]


@pytest.mark.parametrize(
    "typed",
    ["+55 11 91234-5678", "+55 (11) 91234 5678", "5511912345678", "91234-56", "+55-11-91234.5678"],
)
def test_a_number_is_found_however_it_is_written(kapso_sandbox: Sandbox, typed: str) -> None:
    known = kapso_sandbox.project().phone_numbers[0]
    for shown in ("+55 11 91234-5678", "+55 11 9123 45678", "+5511912345678"):
        lookups.forget()
        known["display_phone_number"] = shown
        for text in (typed, f"{known['name']} {typed.replace(' ', '-')}"):
            [found] = lookups.search(Kind.PHONE_NUMBER, text).choices
            assert found.id == known["phone_number_id"]


def test_all_words_must_occur(kapso_sandbox: Sandbox) -> None:
    user = kapso_sandbox.project().users[0]
    first = user["name"].split()[0]
    assert lookups.search(Kind.USER, f"{first} {user['email']}").choices
    assert not lookups.search(Kind.USER, f"{first} nobody").choices


def test_a_page_is_kept_for_a_while_and_read_again_on_request(kapso_sandbox: Sandbox) -> None:
    for _time in range(3):
        lookups.search(Kind.USER)
    assert len(kapso_sandbox.requests) == 1
    age_cache(10)
    lookups.search(Kind.USER)
    assert len(kapso_sandbox.requests) == 1
    lookups.search(Kind.USER, refresh=True)
    assert len(kapso_sandbox.requests) == 2


def test_a_page_is_not_read_again_within_seconds(kapso_sandbox: Sandbox) -> None:
    for _time in range(20):
        lookups.search(Kind.USER, refresh=True)
    assert len(kapso_sandbox.requests) == 1


def test_a_search_in_thousands_of_rows_reads_a_few_pages_and_continues_there(
    many: Sandbox,
) -> None:
    found = lookups.search(Kind.CUSTOMER, "C-1249")
    assert found == lookups.Found([], 6)
    assert len(many.requests) == lookups.PAGES_AT_ONCE
    found = lookups.search(Kind.CUSTOMER, "C-1249", page=6)
    assert found == lookups.Found([], 11)
    found = lookups.search(Kind.CUSTOMER, "C-1249", page=11)
    assert [choice.name for choice in found.choices] == ["Customer 1249"]
    assert found.next_page is None


def test_a_search_stops_after_the_page_that_reaches_the_limit(many: Sandbox) -> None:
    found = lookups.search(Kind.CUSTOMER, limit=50)
    assert len(found.choices) == 100
    assert found.next_page == 2
    assert len(many.requests) == 1


def test_what_one_key_sees_is_not_shown_to_another(kapso_sandbox: Sandbox) -> None:
    seen = lookups.search(Kind.CUSTOMER).choices
    assert seen
    with override_settings(KAPSO_INBOX={"API_KEY": "another-key"}):
        kapso_sandbox.add_project("another-key", seed=False)
        assert lookups.search(Kind.CUSTOMER).choices == []


def test_a_failure_is_remembered_for_some_seconds_with_its_text(kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.fail_next(answer=Answer(401, {"error": "no"}))
    for word in ("", "a", "an", "ana"):
        with pytest.raises(CredentialsError) as raised:
            lookups.search(Kind.CUSTOMER, word)
        assert (raised.value.status, raised.value.detail) == (401, "no")
    assert len(kapso_sandbox.requests) == 1
    age_cache(10)
    assert lookups.search(Kind.CUSTOMER).choices


def test_a_failed_refresh_leaves_what_is_kept(kapso_sandbox: Sandbox) -> None:
    kept = lookups.search(Kind.CUSTOMER)
    age_cache(10)
    kapso_sandbox.fail_next(answer=Answer(401, {"error": "no"}))
    for _time in range(20):
        with pytest.raises(CredentialsError):
            lookups.search(Kind.CUSTOMER, refresh=True)
    assert len(kapso_sandbox.requests) == 2
    assert lookups.search(Kind.CUSTOMER) == kept


def test_the_failure_of_one_list_is_not_that_of_another(kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.fail_next(answer=Answer(401, {"error": "no"}))
    with pytest.raises(CredentialsError):
        lookups.search(Kind.CUSTOMER)
    assert lookups.search(Kind.USER).choices


@override_settings(CACHES={"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}})
def test_without_a_cache_kapso_is_asked_each_time(kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.fail_next(answer=Answer(401, {"error": "no"}))
    with pytest.raises(CredentialsError):
        lookups.search(Kind.CUSTOMER)
    for _time in range(3):
        assert lookups.search(Kind.CUSTOMER).choices
    assert len(kapso_sandbox.requests) == 4


def test_an_unknown_project_is_an_error(db: None) -> None:
    with pytest.raises(ImproperlyConfigured):
        lookups.search(Kind.CUSTOMER, project="nowhere")


def test_what_a_key_sees_can_be_named(many: Sandbox) -> None:
    told = lookups.visible_names(Kind.CUSTOMER, most=2)
    assert told == "Customer 0 · C-0000, Customer 1 · C-0001, …"
    many.fail_next(answer=Answer(500))
    assert lookups.visible_names(Kind.USER) == ""


def test_no_key_of_the_cache_holds_the_api_key(kapso_sandbox: Sandbox) -> None:
    lookups.search(Kind.CUSTOMER)
    kept = repr(getattr(cache, "_cache", {}).keys())
    assert "lookup" in kept
    assert "kapso-key-of-the-tests" not in kept


def test_an_object_has_its_name_for_as_long_as_its_page_is_kept(many: Sandbox) -> None:
    assert lookups.kept_name(Kind.CUSTOMER, "id-150") == ""
    lookups.search(Kind.CUSTOMER, "nobody")
    sent = len(many.requests)
    assert lookups.kept_name(Kind.CUSTOMER, "id-150") == "Customer 150 · C-0150"
    assert lookups.kept_name(Kind.CUSTOMER, "id-1249") == ""
    assert len(many.requests) == sent
