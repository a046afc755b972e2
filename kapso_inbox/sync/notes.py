"""What a sync tells: a code and values, told in the reader's language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from kapso_inbox.kapso import KapsoError
from kapso_inbox.lifecycle.links import reason_of
from kapso_inbox.models import ReasonCode, read_reason, reason
from kapso_inbox.reasons import advise_on, describe_differences, describe_reason


class NoteCode(models.TextChoices):
    """The codes of notes, each with its text. The values of a note fill in the text."""

    ALIAS_GONE = (
        "alias_gone",
        _(
            "%(count)d links that may work at Kapso belong to the project “%(alias)s”, "
            "which KAPSO_INBOX does not contain: nobody here can revoke them. Put it back."
        ),
    )
    ALIAS_RENAMED = (
        "alias_renamed",
        _(
            "%(count)d inboxes of this Kapso project are stored under the alias "
            "“%(alias)s”, which KAPSO_INBOX does not contain. Put it back; or, if it was "
            "renamed, run: %(command)s"
        ),
    )
    ANOTHER_PROJECT = (
        "another_project",
        _(
            "Under this API key, Kapso knows none of the inboxes that it was asked about: "
            "the key belongs to another project. Nothing was done. If they were deleted at "
            "Kapso, run: %(command)s"
        ),
    )
    CLOCK_AHEAD = (
        "clock_ahead",
        _(
            "This server's clock is ahead of Kapso's by %(hours)d hours or more. Nothing was "
            "renewed, and the audit trail was not pruned."
        ),
    )
    CLOCK_BEHIND = (
        "clock_behind",
        _(
            "This server's clock is behind Kapso's by %(hours)d hours or more. Nothing was "
            "renewed, and the audit trail was not pruned."
        ),
    )
    CONVERSATIONS_UNREAD = (
        "conversations_unread",
        _("The conversations could not be read. The next sync reads them. %(error)s"),
    )
    KEY_MISSING = (
        "key_missing",
        _(
            "The link of the inbox “%(embed)s” could not be renewed: ENCRYPTION_KEYS of this "
            "process does not hold its key “%(key)s”. Put that key back, or restart this process "
            "if it was just added."
        ),
    )
    LEFT_ALIVE = (
        "left_alive",
        _(
            'KAPSO_INBOX["READ_ONLY"] is set, so this is left undone: revoking links that were '
            "found alive (%(count)d)."
        ),
    )
    LEFT_EXPIRING = (
        "left_expiring",
        _(
            'KAPSO_INBOX["READ_ONLY"] is set, so this is left undone: renewing links that are '
            "about to expire (%(count)d)."
        ),
    )
    LEFT_WAITING = (
        "left_waiting",
        _(
            'KAPSO_INBOX["READ_ONLY"] is set, so this is left undone: revoking links that wait for '
            "it (%(count)d)."
        ),
    )
    LIST_MISSING = (
        "list_missing",
        _(
            "Kapso has no list of inboxes at the address in the settings (HTTP %(status)s). Remove "
            "or correct the setting BASE_URL."
        ),
    )
    LIST_UNFINISHED = (
        "list_unfinished",
        _("Kapso's list could not be read to its end. %(error)s"),
    )
    LIST_UNREAD = "list_unread", _("Kapso's list could not be read. %(error)s")
    MANY_MISSING = (
        "many_missing",
        _(
            "%(lacks)d of %(holds)d links are not in Kapso's list. So many at once can be "
            "a wrong answer from Kapso, so nothing was changed. If they were deleted at "
            "Kapso, run: %(command)s"
        ),
    )
    NOT_ASKED = (
        "not_asked",
        _(
            "%(link)s of the inbox “%(embed)s” is not in Kapso's list, and Kapso could not "
            "be asked about it. Nothing was changed. %(error)s"
        ),
    )
    NOT_RENEWED = (
        "not_renewed",
        _("The link of the inbox “%(embed)s” could not be renewed. %(error)s"),
    )
    NOT_REVOKED = (
        "not_revoked",
        _("%(link)s of the inbox “%(embed)s” is not revoked yet. %(error)s"),
    )
    OF_OTHER_KEYS = (
        "of_other_keys",
        _(
            "%(count)d links that were created with another API key are not in Kapso's "
            "list. That key may belong to another project, so nothing was changed."
        ),
    )
    PROJECT_UNPROVEN = (
        "project_unproven",
        _(
            "Kapso could not say whether this API key is still our project's. Nothing was done. "
            "%(error)s"
        ),
    )
    SHOWS_OTHERS = (
        "shows_others",
        _(
            "At Kapso the link of the inbox “%(embed)s” shows conversations that it was "
            "not created for (%(differences)s), so nobody can open it. Rotate the link."
        ),
    )
    UNCLEAR = (
        "unclear",
        _(
            "For over an hour it has been unknown whether %(count)d links exist at Kapso. Look "
            "there for their references, at the end of the name."
        ),
    )


#: The errors whose own text says what exactly went wrong on the way to Kapso or back.
_WITH_TEXT = frozenset({"UncertainError", "UnreachableError"})


@dataclass(frozen=True)
class Note:
    """Something that a sync tells. Its text is in the language that is active when it is read.

    `str` is for operators and programs: it says what exactly went wrong on the way to Kapso or
    back. `what` and `why` are for an administrator.

    Attributes:
        code: what it is about.
        values: what its text names: texts and numbers. `error` is a stored reason.
    """

    code: NoteCode
    values: Mapping[str, Any]

    def __str__(self) -> str:
        return self._told(_tell_error(self.values.get("error", "")))

    @property
    def what(self) -> str:
        """What happened, without the error that it came from."""
        return self._told("").rstrip()

    @property
    def why(self) -> str:
        """The error that it came from, and what to do about it; "" if it came from none."""
        return advise_on(self.values.get("error", ""))

    def _told(self, error: str) -> str:
        values = {**self.values, "error": error}
        if "differences" in values:
            values["differences"] = describe_differences(values["differences"])
        return str(self.code.label) % values


def error_value(error: Exception) -> str:
    """Return an error as the value `error` of a note: nothing of the exception itself is kept."""
    if isinstance(error, KapsoError):
        return reason_of(error)
    said = " ".join(getattr(error, "messages", [str(error)]))
    return reason(ReasonCode.KAPSO_ERROR, error=type(error).__name__, text=said)


def _tell_error(stored: str) -> str:
    """Return an error in words, with what its own text adds for an operator, in English."""
    told, facts = describe_reason(stored), read_reason(stored)
    return f"{told} ({facts['text']})" if facts.get("error") in _WITH_TEXT else told
