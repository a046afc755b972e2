"""Failures of Kapso are remembered for some seconds, with all that is known of them."""

from __future__ import annotations

import json

import pytest
from django.core.cache import cache

from kapso_inbox.failures import remembered_failures
from kapso_inbox.kapso import (
    CredentialsError,
    InvalidRequestError,
    KapsoError,
    NetworkRefusedError,
    NotFoundError,
    PaymentRequiredError,
    RateLimitedError,
    ReadOnlyClientError,
    UncertainError,
    UnreachableError,
)

from .conftest import age_cache

FAILURES = [
    KapsoError("Something", status=500),
    CredentialsError("Cloudflare, in front of Kapso, refused", status=403, code="cloudflare-1010"),
    NotFoundError(status=404, request_id="r-1", detail="Not found"),
    InvalidRequestError(status=422, field_errors={"name": ("is blank",)}),
    RateLimitedError(status=429, retry_after=60.0),
    PaymentRequiredError(status=402),
    ReadOnlyClientError(),
    UnreachableError(),
    UncertainError(status=502),
]


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()


def fail(error: Exception) -> None:
    with remembered_failures("the-list"):
        raise error


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_a_remembered_failure_says_all_that_the_first_one_said(error: KapsoError) -> None:
    with pytest.raises(KapsoError):
        fail(error)
    with pytest.raises(type(error)) as raised:
        fail(ZeroDivisionError())
    assert str(raised.value) == str(error)
    assert vars(raised.value) == vars(error)


def test_every_kind_of_failure_is_tried_here() -> None:
    kinds = {KapsoError, *KapsoError.__subclasses__()} - {NetworkRefusedError}
    assert {type(error) for error in FAILURES} == kinds


def test_a_request_that_a_test_may_not_send_is_not_remembered_for_the_next_test() -> None:
    with pytest.raises(NetworkRefusedError):
        fail(NetworkRefusedError())
    with pytest.raises(ZeroDivisionError):
        fail(ZeroDivisionError())


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_a_cache_that_takes_plain_values_only_takes_failures(
    error: KapsoError,
) -> None:
    with pytest.raises(KapsoError):
        fail(error)
    kept = json.loads(json.dumps(cache.get("the-list")))
    cache.set("the-list", kept)
    with pytest.raises(type(error)) as raised:
        fail(ZeroDivisionError())
    assert str(raised.value) == str(error)


def test_only_failures_of_kapso_are_remembered() -> None:
    for error in (ZeroDivisionError(), ValueError()):
        with pytest.raises(type(error)):
            fail(error)


def test_a_failure_is_forgotten_after_ten_seconds() -> None:
    with pytest.raises(UnreachableError):
        fail(UnreachableError())
    age_cache(9)
    with pytest.raises(UnreachableError):
        fail(ZeroDivisionError())
    age_cache(1)
    with pytest.raises(ZeroDivisionError):
        fail(ZeroDivisionError())
