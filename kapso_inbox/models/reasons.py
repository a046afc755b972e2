"""Why a link is in its state, and what a change changed: stored as codes, told by `reasons`.

A stored reason is a short JSON text with a code and values, such as
`{"code": "made_elsewhere", "reference": "0123456789"}`. It is written once and read in every
language.
"""

from __future__ import annotations

import json
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils.translation import gettext_lazy as _


class ReasonCode(models.TextChoices):
    """The codes of stored reasons, each with its text. The values of a reason fill in the text."""

    ABANDONED = "abandoned", _("Its creation was started and never finished.")
    ANSWER_ANOTHER = (
        "answer_another",
        _("Kapso answered with a different inbox from the one that was asked for."),
    )
    ANSWER_DIFFERENT = (
        "answer_different",
        _("Kapso created something different from what was asked for (%(differences)s)."),
    )
    ANSWER_LONG = (
        "answer_long",
        _("Kapso answered with an address that is too long for a redirect."),
    )
    ANSWER_MORE_SITES = (
        "answer_more_sites",
        _("Kapso created a link for more sites than were asked for."),
    )
    ANSWER_OUTLIVES = (
        "answer_outlives",
        _("Kapso created a link that lasts longer than was asked for."),
    )
    ANSWER_UNSAFE = (
        "answer_unsafe",
        _("Kapso answered with an address that is not https, which an inbox must not have."),
    )
    #: What was changed: the values are `changes`, a dictionary of field -> [old, new].
    CHANGED = "changed", ""
    CREATED_AFTER_ALL = (
        "created_after_all",
        _("Kapso had created it after all, but its address is lost."),
    )
    FOUND_ALIVE = "found_alive", _("It was found working at Kapso.")
    FOUND_REVOKED = "found_revoked", _("It was found revoked at Kapso.")
    FOUND_UNMANAGED = "found_unmanaged", _("It was not created here.")
    #: What Kapso's client raised. `meanings` has the texts, by the name of the class of the error.
    KAPSO_ERROR = "kapso_error", ""
    KEY_UNPROVEN = (
        "key_unproven",
        _("Only the API key that was used to create it can say what became of it."),
    )
    MADE_ELSEWHERE = (
        "made_elsewhere",
        _("Created by another deployment, or before a restore: #ki-%(reference)s"),
    )
    NEVER_CREATED = (
        "never_created",
        _("Two complete lists from Kapso did not contain it, so it was never created."),
    )
    NOT_FOUND = "not_found", _("It is no longer at Kapso.")
    NOT_STORED = "not_stored", _("It was created at Kapso and could not be stored here.")
    NOT_WANTED = "not_wanted", _("It was no longer wanted when Kapso had created it.")
    REVOCATION_DONE = "revocation_done", _("Kapso has confirmed that it is revoked.")
    REVOKED_ALREADY = "revoked_already", _("It was revoked already.")
    REVOKED_MEANWHILE = (
        "revoked_meanwhile",
        _("The inbox was revoked while this link was being created."),
    )
    SECRET_MISSING = "secret_missing", _("Its address is not stored.")
    SECRET_UNREADABLE = (
        "secret_unreadable",
        _(
            "Its stored address cannot be decrypted: it was altered, or the id of its encryption "
            "key now names another key."
        ),
    )
    SHOWS_OTHERS = (
        "shows_others",
        _("At Kapso it shows conversations that it was not created for (%(differences)s)."),
    )
    SHOWS_RIGHT = (
        "shows_right",
        _("At Kapso it shows the conversations that it was created for again."),
    )


def reason(code: ReasonCode, **values: Any) -> str:
    """Return a reason as it is stored.

    Args:
        code: what happened.
        values: what its text names: texts, numbers, times, and lists and dictionaries of them.
    """
    return json.dumps({"code": code.value, **values}, cls=DjangoJSONEncoder, ensure_ascii=False)


def read_reason(stored: str) -> dict[str, Any]:
    """Return the code and the values of a stored reason; {} if the text is not one."""
    try:
        read = json.loads(stored)
    except ValueError:
        return {}
    return read if isinstance(read, dict) and read.get("code") in ReasonCode.values else {}


def reason_code(stored: str) -> str:
    """Return the code of a stored reason, or "" if the text is not one."""
    return str(read_reason(stored).get("code", ""))
