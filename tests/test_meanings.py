"""Every error that can reach a person or a program has its meaning, in one table."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, IntegrityError
from django.utils import translation

from kapso_inbox import refusals
from kapso_inbox.api.errors import CODES
from kapso_inbox.exceptions import ConfigurationError, KapsoInboxError
from kapso_inbox.kapso import (
    CredentialsError,
    KapsoError,
    NotFoundError,
    RateLimitedError,
    UncertainError,
    UnreachableError,
)
from kapso_inbox.lifecycle import BusyError, LifecycleError
from kapso_inbox.meanings import MEANINGS, RETRY_AFTER, fill_in, meaning_of, retry_after


def subclasses_of(kind: type[Exception]) -> set[type[Exception]]:
    found = set(kind.__subclasses__())
    return found.union(*map(subclasses_of, found))


@pytest.mark.parametrize("root", [KapsoError, LifecycleError])
def test_every_class_of_errors_is_in_the_table(root: type[Exception]) -> None:
    ours = {kind for kind in subclasses_of(root) if kind.__module__.startswith("kapso_inbox.")}
    assert ours
    assert ours <= set(MEANINGS)


def test_every_code_is_one_of_the_api() -> None:
    for meaning in MEANINGS.values():
        assert meaning.code in CODES
        assert not meaning.read_code or meaning.read_code in CODES


@pytest.mark.parametrize("kind", [kind for kind in MEANINGS if issubclass(kind, KapsoError)])
def test_an_error_of_kapso_means_something_to_everybody(kind: type[KapsoError]) -> None:
    error = kind("The summary", status=418, code="a-code", detail="100 %(percent)s")
    meaning = meaning_of(error)
    for text in (meaning.outcome, meaning.cause, meaning.found, meaning.hint):
        assert fill_in(text, error)
    assert meaning.finding


def test_a_subclass_means_what_its_nearest_class_means() -> None:
    class LaterError(BusyError):
        pass

    class UnknownOfKapsoError(KapsoError):
        pass

    assert meaning_of(LaterError()) is MEANINGS[BusyError]
    assert meaning_of(IntegrityError()) is MEANINGS[DatabaseError]
    assert meaning_of(UnknownOfKapsoError()) is MEANINGS[UncertainError]


@pytest.mark.parametrize("error", [ValueError(), KapsoInboxError()])
def test_a_mistake_in_the_program_has_no_meaning(error: Exception) -> None:
    with pytest.raises(LookupError, match=type(error).__name__):
        meaning_of(error)


def test_a_refusal_by_cloudflare_differs_from_a_refused_key_for_the_operator_only() -> None:
    key = meaning_of(CredentialsError(status=403))
    cloudflare = meaning_of(CredentialsError(status=403, code="cloudflare-1010"))
    assert (key.finding, cloudflare.finding) == ("api-key-refused", "refused-by-cloudflare")
    assert (key.code, key.cause) == (cloudflare.code, cloudflare.cause)


def test_only_a_rate_limit_says_how_long_to_wait() -> None:
    assert retry_after(RateLimitedError(retry_after=7.0)) == 7
    assert retry_after(RateLimitedError()) == RETRY_AFTER
    assert retry_after(UnreachableError()) is None


def test_texts_are_in_the_language_that_is_active_when_they_are_filled_in() -> None:
    error = ConfigurationError("100 %(percent)s")
    assert refusals.cause(error) == "The settings are not valid: 100 %(percent)s"
    with translation.override("es"):
        assert "100 %(percent)s" in refusals.cause(error)
        assert refusals.cause(error) != "The settings are not valid: 100 %(percent)s"


def test_kapsos_own_text_is_quoted_but_not_for_a_rate_limit() -> None:
    refused = NotFoundError(detail="No such 100% thing")
    assert refusals.cause(refused).endswith("Kapso says: “No such 100% thing”")
    assert refusals.texts(refused).endswith("Kapso says: “No such 100% thing”")
    limited = RateLimitedError(detail="Slow down", retry_after=1)
    assert "Slow down" not in refusals.cause(limited) + refusals.texts(limited)
    assert refusals.texts(limited).endswith("Try again in 1 second.")
