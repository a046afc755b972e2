"""A user's own theme and filters for an embed, and the form that changes them in the frame."""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping
from typing import Any

from django import forms
from django.db import IntegrityError, router, transaction
from django.utils.html import escape
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext, pgettext_lazy

from kapso_inbox import lookups
from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.kapso import KapsoError
from kapso_inbox.models import InboxEmbed, InboxPreference, Language, Mode, ScopeType

from .params import clean_params, valid_params

logger = logging.getLogger(__name__)

#: Seconds that the form waits for each page of Kapso's list of numbers. Most projects have one
#: page. A form without numbers is better than a slow one.
_NUMBERS_DEADLINE = 2.0

_LOOK = ("mode", "language")
_STATUSES = (
    ("active", pgettext_lazy("conversations", "Active")),
    ("ended", pgettext_lazy("conversations", "Ended")),
    ("all", pgettext_lazy("conversations", "All")),
)


class PreferenceForm(forms.Form):
    """A user's own choices. A blank one leaves it to the page, or else to the embed."""

    mode = forms.ChoiceField(label=gettext_lazy("Theme"), required=False)
    language = forms.ChoiceField(label=gettext_lazy("Language"), required=False)
    status = forms.ChoiceField(label=gettext_lazy("Conversations"), required=False)
    whatsapp_config_id = forms.ChoiceField(label=gettext_lazy("Number"), required=False)
    unread = forms.BooleanField(label=gettext_lazy("Only unread"), required=False)
    handoff = forms.BooleanField(label=gettext_lazy("Only waiting for a human"), required=False)

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        saved: Mapping[str, str],
        asked: Mapping[str, str],
        numbers: list[tuple[str, str]] | None,
    ) -> None:
        """Set the choices, and mark those that the page around the frame overrides.

        Args:
            data: the submitted data.
            saved: the user's parameters as saved before.
            asked: the parameters that the page asks for. They override the user's own.
            numbers: the ID and name of each phone number; without any, the field is left out.
        """
        super().__init__(data, initial=dict(saved), label_suffix="")
        choices: dict[str, Any] = {
            "mode": Mode.choices,
            "language": Language.choices,
            "status": _STATUSES,
        }
        if not numbers:
            del self.fields["whatsapp_config_id"]
        else:
            own = saved.get("whatsapp_config_id", "all")
            known = own == "all" or own in dict(numbers)
            choices["whatsapp_config_id"] = [
                ("all", _("All numbers")),
                *numbers,
                *([] if known else [(own, own)]),
            ]
        for name, offered in choices.items():
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)  # noqa: S101
            field.choices = [("", pgettext("choice", "Default")), *offered]
        for name in self.fields.keys() & asked.keys():
            label = dict(choices.get(name, [])).get(asked[name])
            self.fields[name].help_text = (
                _("This page is set to “%(value)s”. Your choice applies on other pages.")
                % {"value": escape(label)}  # Django's templates treat help texts as HTML
                if label
                else _("For now, this page or its tab decides. Your choice applies on other pages.")
            )

    def look(self) -> list[forms.BoundField]:
        """Return the fields for the appearance of the inbox."""
        return [field for field in self if field.name in _LOOK]

    def filters(self) -> list[forms.BoundField]:
        """Return the fields for the conversations that the inbox shows at first."""
        return [field for field in self if field.name not in _LOOK]

    def params(self) -> dict[str, str]:
        """Return the user's choices as cleaned parameters."""
        return clean_params(self.cleaned_data)


def saved(user: Any, embed: InboxEmbed) -> dict[str, str]:
    """Return a user's saved parameters for an embed, without those that are not valid any more."""
    rows = InboxPreference.objects.filter(user=user.pk, embed=embed)
    params = rows.values_list("params", flat=True).first()
    return valid_params("a saved preference", params)


def save(
    user: Any, embed: InboxEmbed, params: Mapping[str, str], *, decided: Container[str]
) -> dict[str, str]:
    """Save a user's parameters for an embed.

    Args:
        user: the user.
        embed: the embed.
        params: the new parameters, cleaned.
        decided: the names of all parameters that the user has decided about. One that is missing
            from `params` is removed. All others stay as they were saved before.

    Returns:
        All parameters that are saved now.

    Raises:
        InboxPreference.DoesNotExist: the embed or the user was deleted in the meantime.
    """
    using = router.db_for_write(InboxPreference)
    rows = InboxPreference.objects.using(using)
    # Created before it is locked: two transactions that lock a missing row deadlock on MariaDB.
    try:
        created, _is_new = rows.get_or_create(user=user, embed=embed)
    except IntegrityError:
        raise InboxPreference.DoesNotExist("Its user or embed was deleted.") from None
    with transaction.atomic(using=using):
        # The lock is a write: on SQLite, a transaction that reads first cannot always write later.
        rows.filter(pk=created.pk).update(embed=embed)
        row = rows.get(pk=created.pk)
        before = row.params if isinstance(row.params, dict) else {}
        kept = {name: before[name] for name in before if name not in decided}
        row.params = {**kept, **params}
        row.save(using=using, update_fields=["params"])
    return dict(row.params)


def choosable_numbers(embed: InboxEmbed) -> list[tuple[str, str]] | None:
    """Return the phone numbers that a user may narrow an embed's conversations to.

    Only an embed of a whole project has any: all numbers of that project. The users of any other
    embed must not learn which numbers the project has.

    Returns:
        The ID and name of each number, or None if Kapso could not be asked.
    """
    if embed.scope_type != ScopeType.PROJECT:
        return []
    kind = lookups.Kind.PHONE_NUMBER
    try:
        found = lookups.search(kind, project=embed.project, limit=100, deadline=_NUMBERS_DEADLINE)
    except (KapsoError, ConfigurationError) as error:
        logger.warning("The numbers of the inbox %r are unknown: %s", embed.slug, error)
        return None
    return [(one.internal_id, str(one)) for one in found.choices if one.internal_id]
