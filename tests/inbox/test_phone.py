"""The search text for a phone number as people write it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import phonenumbers
import pytest
from django.core import checks as django_checks
from django.test import override_settings

from kapso_inbox.checks import check_settings
from kapso_inbox.inbox.params import clean_params
from kapso_inbox.inbox.phone import NotANumberError, search_text
from tests.settings import KAPSO_INBOX


@pytest.fixture
def region() -> Iterator[Callable[[str | None], None]]:
    """Let a test set `PHONE_REGION`, the country of the CRM's national numbers."""
    overrides = []

    def choose(code: str | None) -> None:
        override = override_settings(KAPSO_INBOX={**KAPSO_INBOX, "PHONE_REGION": code})
        override.enable()
        overrides.append(override)

    yield choose
    for override in reversed(overrides):
        override.disable()


@pytest.fixture(params=["with the library", "without"])
def either_library(request: pytest.FixtureRequest) -> None:
    """Run the test with the library, and again without it."""
    if request.param == "without":
        request.getfixturevalue("no_library")


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a host that did not install the extra `phone`."""
    monkeypatch.setitem(sys.modules, "phonenumbers", None)


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError


NO_NUMBER = [
    "ana@example.com",
    "ana.5511912345678@example.com",
    "5511912345678:12@s.whatsapp.net",
    "none",
    "12345",
    "+12",
    "0000000",
    "-",
    "+",
    "1234567890123456",
    "+1234567890123456",
    "see 5511912345678",
    "\ud8005511912345678",
    ValueError,
    [],
]


@pytest.mark.parametrize(
    ("value", "digits"),
    [
        ("+55 11 91234-5678", "5511912345678"),
        ("  +55 (11) 91234-5678\n", "5511912345678"),
        ("tel:+55-11-91234-5678", "5511912345678"),
        ("+44 (0)20 7946 0018", "442079460018"),
        ("\N{FULLWIDTH PLUS SIGN}55 11 91234 5678", "5511912345678"),
        ("+" + "".join(chr(0x660 + int(digit)) for digit in "5511912345678"), "5511912345678"),
        # A number that nobody has, but with a possible length: hosts test with such numbers.
        ("+1 555 010 0123", "15550100123"),
    ],
)
@pytest.mark.usefixtures("either_library")
@pytest.mark.parametrize("code", [None, "BR", "US"])
def test_an_international_number_is_its_digits(
    value: str,
    digits: str,
    code: str | None,
    region: Callable[[str | None], None],
) -> None:
    region(code)
    assert search_text(value) == digits


@pytest.mark.usefixtures("either_library")
@pytest.mark.parametrize("code", [None, "US", "MX", "BR", "AR"])
@pytest.mark.parametrize(
    ("value", "digits"),
    [
        ("5215555550107", "5215555550107"),
        ("+52 1 55 5555 0107", "5215555550107"),
        ("553187654321", "553187654321"),
        ("+55 31 8765-4321", "553187654321"),
        ("5491123456789", "5491123456789"),
        ("+54 9 11 2345-6789", "5491123456789"),
    ],
)
def test_whatsapps_own_id_of_a_mobile_number_finds_its_conversations(
    value: str,
    digits: str,
    code: str | None,
    region: Callable[[str | None], None],
) -> None:
    region(code)
    assert search_text(value) == digits


@pytest.mark.parametrize(
    ("code", "value", "digits"),
    [
        ("BR", "(11) 91234-5678", "5511912345678"),
        ("BR", "011 91234 5678", "5511912345678"),
        ("BR", "0 15 11 91234-5678", "5511912345678"),
        ("BR", 11912345678, "5511912345678"),
        ("GB", "020 7946 0018", "442079460018"),
        ("GB", "0055 11 91234 5678", "5511912345678"),
        ("US", "(415) 555-2671", "14155552671"),
        ("US", "1-800-FLOWERS", "18003569377"),
        ("US", "415 555 2671 x12", "14155552671"),
        ("US", "+1 415 555 2671 ext. 12", "14155552671"),
        ("AR", "011 15-2345-6789", "5491123456789"),
        ("IT", "06 698 12345", "390669812345"),
        # WhatsApp's own IDs are international numbers without the plus sign.
        ("BR", "5511912345678", "5511912345678"),
        ("US", "5511912345678", "5511912345678"),
        ("US", 5511912345678, "5511912345678"),
    ],
)
def test_a_national_number_gets_its_country(
    code: str, value: Any, digits: str, region: Callable[[str | None], None]
) -> None:
    region(code)
    assert search_text(value) == digits


@pytest.mark.parametrize("value", NO_NUMBER, ids=repr)
@pytest.mark.parametrize("code", [None, "BR"])
def test_a_value_that_is_not_a_number_is_an_error(
    value: Any, code: str | None, region: Callable[[str | None], None]
) -> None:
    region(code)
    with pytest.raises(NotANumberError, match="is not a phone number"):
        search_text(value)


@pytest.mark.parametrize("value", [*NO_NUMBER, "1-800-FLOWERS", "415 555 2671 x12"], ids=repr)
@pytest.mark.usefixtures("no_library")
def test_without_the_library_letters_are_an_error_as_well(value: Any) -> None:
    with pytest.raises(NotANumberError, match="is not a phone number"):
        search_text(value)


@pytest.mark.parametrize("value", [None, "", " \n", Unprintable()], ids=type)
def test_a_blank_number_is_an_error_of_its_own(value: Any) -> None:
    with pytest.raises(NotANumberError, match="The phone number is missing"):
        search_text(value)


def test_a_local_number_without_its_area_code_is_an_error(region: Callable[..., None]) -> None:
    region("US")
    with pytest.raises(NotANumberError):
        search_text("555-2671")


@pytest.mark.parametrize(
    ("value", "digits"),
    [
        ("(11) 91234-5678", "11912345678"),
        ("020 7946 0018", "2079460018"),
        ("0055 11 91234 5678", "5511912345678"),
        (5511912345678, "5511912345678"),
        ("123456", "123456"),
        ("123456789012345", "123456789012345"),
    ],
)
@pytest.mark.usefixtures("either_library")
def test_a_number_of_an_unknown_country_is_its_digits_without_leading_zeros(
    value: Any, digits: str
) -> None:
    assert search_text(value) == digits


def test_the_librarys_own_objects_are_numbers() -> None:
    assert search_text(phonenumbers.parse("020 7946 0018", "GB")) == "442079460018"
    with pytest.raises(NotANumberError):
        search_text(phonenumbers.PhoneNumber())


def test_the_launch_accepts_the_search_text() -> None:
    assert clean_params({"search": search_text("+55 11 91234-5678")})


def test_the_error_does_not_repeat_a_long_text_in_full() -> None:
    with pytest.raises(NotANumberError) as caught:
        search_text("x" * 1000)
    assert len(str(caught.value)) < 100


@pytest.mark.usefixtures("no_library")
def test_a_region_without_the_library_is_a_finding(region: Callable[[str | None], None]) -> None:
    region("BR")
    [finding] = check_settings()
    assert finding.id == "kapso_inbox.E019"
    assert finding.level == django_checks.ERROR
    assert "The phonenumbers library is not installed." in finding.msg
    assert "django-kapso-inbox[phone]" in (finding.hint or "")


def test_the_library_is_loaded_by_the_first_number_and_not_before() -> None:
    program = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
from django.core.checks import run_checks
django.setup()
import kapso_inbox.urls
from kapso_inbox.inbox.phone import search_text
run_checks()
assert "phonenumbers" not in sys.modules
print(search_text("+55 11 91234-5678"))
assert "phonenumbers" in sys.modules
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ran.stdout, ran.returncode) == ("5511912345678\n", 0), ran.stderr
