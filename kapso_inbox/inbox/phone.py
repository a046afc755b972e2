"""The search text for Kapso's inbox, from a phone number as people write it."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

from django.utils.translation import gettext as _

from kapso_inbox import conf
from kapso_inbox.exceptions import KapsoInboxError

from .coercion import as_text

#: No number has fewer digits with its area code, or more with its country code (ITU-T E.164).
MIN_DIGITS, MAX_DIGITS = 6, 15

#: How WhatsApp names people whose number it does not show: a business-scoped id, or a user name.
_HIDDEN = re.compile(r"[A-Za-z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}|@[\w.]{1,64}")
#: What WhatsApp's own ID of a mobile number begins and ends with in Brazil, Mexico and Argentina,
#: and the digit that may stand between. The ID can have it where the number that people dial lacks
#: it, and the other way round.
EXTRA_DIGITS = (
    (re.compile(r"(55\d\d)9?(\d{8})"), "9"),
    (re.compile(r"(52)1?(\d{10})"), "1"),
    (re.compile(r"(54)9?(\d{10})"), "9"),
)
_BEGINS_AS_NUMBER = re.compile(r"(?:tel:)?[\s(\[]*(?:[+\N{FULLWIDTH PLUS SIGN}][\s(\[]*)?\d")


class NotANumberError(KapsoInboxError, ValueError):
    """A value is not a phone number. The text says so to people."""


def search_text(value: Any) -> str:
    """Return the text that finds the conversations with a phone number in the inbox.

    With the phonenumbers library (the extra `phone`), this is the whole number with its country
    code, as WhatsApp writes it, without an extension. The library reads national forms of
    `PHONE_REGION` and international forms of every country. Digits alone may also be an
    international number without its "+", such as WhatsApp's own IDs.

    Without the library, and for a national form without a `PHONE_REGION`, the text is the digits as
    written, without leading zeros: no number has those after its country code.

    The first call loads the library, which takes some 20 ms, and a millisecond more for each new
    country. After that a number takes about 0.02 ms.

    Args:
        value: the number as text, as an integer, or as one of the library's own objects.

    Returns:
        At most `MAX_DIGITS` digits.

    Raises:
        NotANumberError: the value is not a phone number, or is blank.
    """
    library = _library()
    if library and isinstance(value, library.PhoneNumber):
        value = _e164(library, value)
    given = as_text(value).strip()
    if not given:
        raise NotANumberError(_("The phone number is missing."))
    if _HIDDEN.fullmatch(given):
        raise NotANumberError(_("WhatsApp does not show the phone number of this contact."))
    region = conf.value("PHONE_REGION")
    is_international = given.removeprefix("tel:").startswith(("+", "\N{FULLWIDTH PLUS SIGN}"))
    if not _BEGINS_AS_NUMBER.match(given) or "@" in given:
        digits = ""
    elif library and (region or is_international):
        digits = _parsed(library, given, region, is_whole=is_international or given.isdecimal())
    else:
        digits = _digits_as_written(given)
    if not MIN_DIGITS <= len(digits) <= MAX_DIGITS:
        raise NotANumberError(_("“%(text)s” is not a phone number.") % {"text": given[:40]})
    return digits


def _library() -> ModuleType | None:
    # Inside the function: the package is an extra, and takes some 20 ms to load.
    try:
        import phonenumbers
    except ImportError:
        return None
    return phonenumbers


def _parsed(library: ModuleType, given: str, region: str | None, *, is_whole: bool) -> str:
    """Return the digits of the whole number, or "" if the text is not a number."""
    digits = _digits_as_written(given)
    ids = [(match, extra) for id_, extra in EXTRA_DIGITS if (match := id_.fullmatch(digits))]
    if is_whole and any(digits == match[1] + extra + match[2] for match, extra in ids):
        # Some versions of the library take the digit away, as people do who dial the number.
        return digits
    number = _parse(library, given, region)
    if number and library.is_valid_number(number):
        return _e164(library, number)
    if given.isdecimal():
        whole = _parse(library, f"+{given}", None)
        if whole and library.is_valid_number(whole):
            return _e164(library, whole)
    # Countries open new ranges faster than hosts update the library: a possible length is enough.
    possible = library.ValidationResult.IS_POSSIBLE
    if number and library.is_possible_number_with_reason(number) == possible:
        return _e164(library, number)
    # The library knows the numbers that people dial, and WhatsApp's IDs can differ from them.
    return digits if ids else ""


def _parse(library: ModuleType, given: str, region: str | None) -> Any:
    try:
        return library.parse(given, region)
    except library.NumberParseException:
        return None


def _e164(library: ModuleType, number: Any) -> str:
    return str(library.format_number(number, library.PhoneNumberFormat.E164)).lstrip("+")


def _digits_as_written(given: str) -> str:
    """Return the digits as written, without leading zeros, or "" if the text has letters."""
    given = given.removeprefix("tel:").replace("(0)", "")
    if any(letter.isalpha() for letter in given):
        return ""
    return "".join(str(int(letter)) for letter in given if letter.isdecimal()).lstrip("0")
