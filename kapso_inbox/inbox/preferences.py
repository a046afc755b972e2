"""A user's own theme and filters for an embed, and the form in the frame that changes them."""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping
from typing import Any

from django import forms
from django.db import IntegrityError, router, transaction
from django.utils.html import escape
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from kapso_inbox import lookups
from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.models import InboxEmbed, InboxPreference, Language, Mode, ScopeType

from .params import clean_params, trusted_params

logger = logging.getLogger(__name__)

#: Seconds that the form waits for each page of Kapso's list of numbers (one is read, for most).
#: It does without it rather than wait.
PATIENCE = 2.0

_LOOK = ("mode", "language")
_STATUSES = (
    ("active", pgettext_lazy("conversations", "Active")),
    ("ended", pgettext_lazy("conversations", "Ended")),
    ("all", pgettext_lazy("conversations", "All")),
)


class PreferenceForm(forms.Form):
    """What a user chooses for themselves; blank = as the page, or else the embed, has it."""

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
        """Offer what there is to choose.

        Args:
            data: what was sent.
            saved: the user's own parameters until now.
            asked: what the page asks for in any case: it comes before a user's own.
            numbers: id and name of each; without any, there is no choosing one.
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
            field.choices = [("", _("As the page asks")), *offered]
        for name in self.fields.keys() & asked.keys():
            label = dict(choices.get(name, [])).get(asked[name])
            self.fields[name].help_text = (
                _("This page asks for “%(value)s”. Your choice counts on others.")
                % {"value": escape(label)}  # Django's template takes a help text for HTML
                if label
                else _("This page asks for it in any case. Your choice counts on others.")
            )

    def look(self) -> list[forms.BoundField]:
        """Return the fields of what the inbox looks like."""
        return [field for field in self if field.name in _LOOK]

    def filters(self) -> list[forms.BoundField]:
        """Return the fields of which conversations it begins with."""
        return [field for field in self if field.name not in _LOOK]

    def params(self) -> dict[str, str]:
        """Return what was chosen, of what the form offers."""
        return clean_params(self.cleaned_data)


def saved(user: Any, embed: InboxEmbed) -> dict[str, str]:
    """Return a user's parameters for an embed; what is not in order is left out."""
    rows = InboxPreference.objects.filter(user=user.pk, embed=embed)
    params = rows.values_list("params", flat=True).first()
    return trusted_params("a saved preference", params)


def save(
    user: Any, embed: InboxEmbed, params: Mapping[str, str], *, decided: Container[str]
) -> dict[str, str]:
    """Save a user's parameters for an embed.

    Args:
        user: whose they are.
        embed: for which they are.
        params: the new ones, cleaned.
        decided: names of all that the user has decided now: one that is not in `params` is taken
            away. Of the others, what was saved before stays.

    Returns:
        All that is saved now.

    Raises:
        InboxPreference.DoesNotExist: the embed, or the user, was deleted meanwhile.
    """
    using = router.db_for_write(InboxPreference)
    rows = InboxPreference.objects.using(using)
    # Made before it is locked: two that lock what is not there yet are a deadlock on MariaDB.
    try:
        made, _is_new = rows.get_or_create(user=user, embed=embed)
    except IntegrityError:
        raise InboxPreference.DoesNotExist("Its user or embed was deleted.") from None
    with transaction.atomic(using=using):
        # A write is the lock: a transaction that reads first cannot always write on SQLite.
        rows.filter(pk=made.pk).update(embed=embed)
        row = rows.get(pk=made.pk)
        before = row.params if isinstance(row.params, dict) else {}
        kept = {name: before[name] for name in before if name not in decided}
        row.params = {**kept, **params}
        row.save(using=using, update_fields=["params"])
    return dict(row.params)


def numbers(embed: InboxEmbed) -> list[tuple[str, str]] | None:
    """Return the numbers that an embed's conversations may be narrowed to: id and name.

    Those of the whole project, for an embed that shows all of it. A customer's embed has none to
    choose: what other numbers the project has is none of its users' business.

    Returns:
        None where Kapso could not be asked.
    """
    from kapso_inbox.kapso import KapsoError

    if embed.scope_type != ScopeType.PROJECT:
        return []
    kind = lookups.Kind.PHONE_NUMBER
    try:
        found = lookups.search(kind, project=embed.project, limit=100, deadline=PATIENCE)
    except (KapsoError, ConfigurationError) as error:
        logger.warning("The numbers of the inbox %r are not known: %s", embed.slug, error)
        return None
    return [(one.internal_id, str(one)) for one in found.choices if one.internal_id]
