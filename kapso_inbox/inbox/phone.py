"""A phone number as people write it, as the text that Kapso's inbox is searched for."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

from django.utils.translation import gettext as _

from kapso_inbox import conf
from kapso_inbox.exceptions import KapsoInboxError

from .coercion import as_text

#: Nobody's number has fewer digits with its area, or more with its country (ITU-T E.164).
LEAST_DIGITS, MOST_DIGITS = 6, 15

_BEGINS_AS_NUMBER = re.compile(r"(?:tel:)?[\s(\[]*[+\N{FULLWIDTH PLUS SIGN}]?[\s(\[]*\d")


class NotANumberError(KapsoInboxError, ValueError):
    """What was given is no phone number; the text says so to people."""


def search_text(value: Any) -> str:
    """Return what to search the inbox for to find the conversations with a phone number.

    With the phonenumbers library (the extra `phone`), these are the digits of the whole number,
    country first, as WhatsApp has them: of any national form in `PHONE_REGION`, of an international
    one from anywhere, without its extension. A number of digits alone may also be international
    without its "+", as WhatsApp's own ids are.

    Without the library, and for a national form without a `PHONE_REGION`, they are the digits as
    they stand, less the zeros they begin with: no number has those behind its country.

    The library is loaded by the first call: some 20 ms, and a millisecond for each country that
    turns up. A number then takes about 0.02 ms.

    Args:
        value: a number as text, as an integer, or as one of the library's own objects.

    Returns:
        Digits, at most `MOST_DIGITS`.

    Raises:
        NotANumberError: it is none, or there is none.
    """
    library = _library()
    if library and isinstance(value, library.PhoneNumber):
        value = _e164(library, value)
    given = as_text(value).strip()
    if not given:
        raise NotANumberError(_("There is no phone number."))
    region = conf.value("PHONE_REGION")
    is_international = given.removeprefix("tel:").startswith(("+", "\N{FULLWIDTH PLUS SIGN}"))
    if not _BEGINS_AS_NUMBER.match(given) or "@" in given:
        digits = ""
    elif library and (region or is_international):
        digits = _parsed(library, given, region)
    else:
        digits = _as_they_stand(given)
    if not LEAST_DIGITS <= len(digits) <= MOST_DIGITS:
        raise NotANumberError(_("“%(text)s” is no phone number.") % {"text": given[:40]})
    return digits


def _library() -> ModuleType | None:
    try:
        import phonenumbers
    except ImportError:
        return None
    return phonenumbers


def _parsed(library: ModuleType, given: str, region: str | None) -> str:
    """Return the digits of a number in full; "" where it is none."""
    number = _parse(library, given, region)
    if number and library.is_valid_number(number):
        return _e164(library, number)
    if given.isdecimal():
        whole = _parse(library, f"+{given}", None)
        if whole and library.is_valid_number(whole):
            return _e164(library, whole)
    # Countries open new ranges faster than hosts update the library: the right length is enough.
    possible = library.ValidationResult.IS_POSSIBLE
    if number and library.is_possible_number_with_reason(number) == possible:
        return _e164(library, number)
    return ""


def _parse(library: ModuleType, given: str, region: str | None) -> Any:
    try:
        return library.parse(given, region)
    except library.NumberParseException:
        return None


def _e164(library: ModuleType, number: Any) -> str:
    return str(library.format_number(number, library.PhoneNumberFormat.E164)).lstrip("+")


def _as_they_stand(given: str) -> str:
    """Return the digits of a number without reading it; "" where there is more than a number."""
    given = given.removeprefix("tel:").replace("(0)", "")
    if any(letter.isalpha() for letter in given):
        return ""
    return "".join(str(int(letter)) for letter in given if letter.isdecimal()).lstrip("0")
