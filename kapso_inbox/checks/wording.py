"""How the checks say what they find."""

from __future__ import annotations

from collections.abc import Sequence

from django.core import checks
from django.core.checks import CheckMessage, Error


def make_error(number: str, text: str, hint: str) -> CheckMessage:
    """Return an error: nothing works with it, so that it stops commands."""
    return Error(text, hint=hint, id=f"kapso_inbox.{number}")


def make_warning(number: str, text: str, hint: str) -> CheckMessage:
    """Return a warning."""
    return checks.Warning(text, hint=hint, id=f"kapso_inbox.{number}")


def as_warnings(errors: Sequence[CheckMessage], number: str) -> list[CheckMessage]:
    """Return warnings with the same texts, of another number."""
    return [make_warning(number, error.msg, error.hint or "") for error in errors]
