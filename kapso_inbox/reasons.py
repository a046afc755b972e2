"""Stored reasons and details, told in the reader's language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from .kapso import UncertainError
from .meanings import MEANINGS, Meaning
from .models import InboxEmbed, ReasonCode, read_reason

#: What stands for a value that is not set.
NOTHING = "—"


def format_time(when: datetime | None, form: str = "DATETIME_FORMAT") -> str:
    """Return a time in the reader's time zone and language; "" for None.

    In some languages it ends in a full stop ("p.m."): no sentence should end with it.

    Args:
        when: the time.
        form: the name of a format of Django's, such as `DATE_FORMAT`.
    """
    if when is None:
        return ""
    local = timezone.localtime(when) if timezone.is_aware(when) else when
    return date_format(local, form)


def describe_reason(stored: str, *, names_answer: bool = True) -> str:
    """Return a stored reason in the active language.

    Args:
        stored: what `reason()` made. Any other text is returned as it is.
        names_answer: whether an error of Kapso's is told with `answer_of`.
    """
    read = read_reason(stored)
    if not read:
        return stored
    code = ReasonCode(read["code"])
    if code == ReasonCode.CHANGED:
        return describe_changes(read.get("changes", {}))
    if code == ReasonCode.KAPSO_ERROR:
        return _describe_error(read, answer_of(stored) if names_answer else "")
    if "differences" in read:
        read["differences"] = describe_differences(read["differences"])
    return str(code.label) % read if len(read) > 1 else str(code.label)


def advise_on(stored: str) -> str:
    """Return the error of Kapso's that a stored reason is about, and what to do about it.

    This is for people without a log. A reason of another kind gives "".
    """
    meaning = meaning_of_reason(stored)
    return _describe_error(read_reason(stored), remedy=str(meaning.remedy)) if meaning else ""


def answer_of(stored: str) -> str:
    """Return by what a log knows Kapso's answer that a stored reason is about, or "".

    That is its status and its request ID.
    """
    read = read_reason(stored)
    status = f"HTTP {read['status']}" if read.get("status") else ""
    return ", ".join(filter(None, [status, read.get("request_id", "")]))


def meaning_of_reason(stored: str) -> Meaning | None:
    """Return what the error means that a stored reason is about; None if it is about none."""
    read = read_reason(stored)
    return _meaning_of(read) if read.get("code") == ReasonCode.KAPSO_ERROR else None


def describe_changes(changes: Mapping[str, Any]) -> str:
    """Return what was changed, in the active language: `Name: Sales → Support; …`.

    Args:
        changes: the name of each field -> its old and its new value.
    """
    told = [
        _("%(field)s: %(old)s → %(new)s")
        % {"field": field_label(name), "old": _value(name, old), "new": _value(name, new)}
        for name, (old, new) in changes.items()
    ]
    return "; ".join(told)


def describe_differences(differences: str) -> str:
    """Return `AccessLink.differences` with the names of the fields in the active language."""
    pairs = (one.partition("=") for one in differences.split(", "))
    return ", ".join(f"{field_label(name)}: {_value(name, value)}" for name, _is, value in pairs)


def field_label(name: str) -> str:
    """Return the name of a field of an embed for people, in the active language."""
    try:
        label = str(InboxEmbed._meta.get_field(name).verbose_name)  # type: ignore[union-attr]
    except (FieldDoesNotExist, AttributeError):
        return name
    return label[:1].upper() + label[1:]


def _value(name: str, value: Any) -> str:
    if value in (None, "", []):
        return NOTHING
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(map(str, value))
    field = InboxEmbed._meta.get_field(name) if name in _NAMES else None
    choices = dict(getattr(field, "flatchoices", ()))
    if value in choices:
        return str(choices[value])
    if name == "expires_at" and isinstance(value, str):
        value = parse_datetime(value) or value
    return format_time(value) if isinstance(value, datetime) else str(value)


_NAMES = frozenset(field.name for field in InboxEmbed._meta.get_fields())


def _meaning_of(facts: Mapping[str, Any]) -> Meaning:
    kinds = {kind.__name__: kind for kind in MEANINGS}
    return MEANINGS[kinds.get(facts.get("error", ""), UncertainError)]


def _describe_error(facts: Mapping[str, Any], answer: str = "", remedy: str = "") -> str:
    """Return an error of Kapso's client: its meaning, its answer, what to do, and Kapso's text."""
    meaning = _meaning_of(facts)
    names = {"origin": "", "setting": "", **facts}
    names["inbox_origins"] = ", ".join(facts.get("inbox_origins", ()))
    text = str(meaning.cause or meaning.outcome) % names
    if answer:
        text = f"{text.rstrip('.')} ({answer})."
    quoted = ""
    if facts.get("detail") and meaning.quotes_kapso:
        quoted = _("Kapso says: “%(text)s”") % {"text": facts["detail"]}
    return " ".join(filter(None, [text, remedy, quoted]))
