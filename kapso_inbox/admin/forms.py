"""The forms of an embed. They check what was typed, and leave saving to the lifecycle."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.admin.widgets import AdminRadioSelect, AdminSplitDateTime
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from kapso_inbox import conf, lookups
from kapso_inbox.lifecycle import links, values
from kapso_inbox.models import InboxEmbed, Language, Mode, ScopeType

from .widgets import OriginsField, OriginsInput, PickerInput, only_project, pick_from_list

if TYPE_CHECKING:
    EmbedModelForm = forms.ModelForm[InboxEmbed]
else:
    EmbedModelForm = forms.ModelForm

NEVER, ON_DATE = "never", "date"
#: What an ID at Kapso looks like: a row of digits, or a UUID.
_LIKE_AN_ID = re.compile(r"\d+|[0-9a-fA-F-]{32,36}")
#: The numbers of days that are offered for an expiry.
DAYS = (7, 30, 90, 365)


def expiry_choices() -> list[tuple[str, str]]:
    """Return the choices for when an inbox expires."""
    in_days = [(str(days), _("in %(days)d days") % {"days": days}) for days in DAYS]
    return [(NEVER, _("never")), *in_days, (ON_DATE, _("on a date"))]


class ExpiryFields(forms.Form):
    """When an inbox expires: never, on a date, or in a number of days."""

    expiry = forms.ChoiceField(label=gettext_lazy("Expires"), choices=expiry_choices)
    expires_at = forms.SplitDateTimeField(
        label=gettext_lazy("Expires on"), required=False, widget=AdminSplitDateTime
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Django 5.2 gives the two inputs of a SplitDateTimeField no label of their own.
        names = (_("Date"), capfirst(_("time")))
        parts: Any = self.fields["expires_at"].widget
        for part, name in zip(parts.widgets, names, strict=True):
            part.attrs["aria-label"] = name
        self.fields["expiry"].widget.attrs |= {
            "data-kapso-reveals": "id_expires_at_0",
            "data-kapso-reveal-value": ON_DATE,
        }

    def clean(self) -> dict[str, Any]:
        """Turn the choice into a time, `expires_at`."""
        cleaned = super().clean() or self.cleaned_data
        choice = cleaned.get("expiry")
        if choice == NEVER:
            cleaned["expires_at"] = None
        elif choice and choice != ON_DATE:
            cleaned["expires_at"] = in_days(int(choice))
        elif choice and not cleaned.get("expires_at") and "expires_at" not in self.errors:
            self.add_error("expires_at", _("Enter the date."))
        elif choice and "expires_at" in self.changed_data and "expires_at" not in self.errors:
            _check(self, {"expires_at": cleaned["expires_at"]})
        return cleaned


def _check(form: forms.Form | EmbedModelForm, settings: Mapping[str, Any]) -> None:
    """Add the errors that the lifecycle would find in these settings, each at its field.

    Args:
        form: the form, while it is cleaned. What is wrong with a field already is not checked.
        settings: the settings, by field.
    """
    unchecked = {name: value for name, value in settings.items() if name not in form.errors}
    try:
        values.clean_settings(unchecked)
    except ValidationError as error:
        for field, errors in error.error_dict.items():
            form.add_error(field, errors)


def warning_of_new_slug(old: str) -> str:
    """Return the text that says what breaks if an embed has no longer this slug."""
    return _(
        "Templates with %(tag)s will no longer show this inbox. Change the slug in them, too."
    ) % {"tag": f'{{% kapso_inbox "{old}" %}}'}


def in_days(days: int) -> datetime:
    """Return the time this many days from now, to the second."""
    return (timezone.now() + timedelta(days=days)).replace(microsecond=0)


class EmbedForm(ExpiryFields, EmbedModelForm):
    """The base of the forms that add and change an embed.

    Attributes:
        refusal: why the lifecycle refused these values, shown at the fields that it names.
        lookup_url: the address where the pickers search. "" = the user may not search.
        here: the origin of this site, taken from the request.
    """

    refusal: ValidationError | None = None
    lookup_url = ""
    here = ""

    allowed_origins = OriginsField(
        label=gettext_lazy("Allowed origins"),
        required=False,
        help_text=gettext_lazy(
            "The sites that may show the inbox, one per line, such as https://crm.example.com."
        ),
    )
    any_site = forms.BooleanField(
        label=gettext_lazy("Any site may show it"),
        required=False,
        help_text=gettext_lazy(
            "Any site can then show the inbox. Leave the origins blank, or write *."
        ),
    )
    default_mode = forms.ChoiceField(
        label=gettext_lazy("Theme"),
        choices=Mode.choices,
        initial=Mode.SYSTEM,
        help_text=gettext_lazy("Used when the reader has not chosen one."),
    )
    language = forms.ChoiceField(
        label=gettext_lazy("Language"),
        required=False,
        choices=[("", gettext_lazy("Kapso's default")), *Language.choices],
    )

    class Meta:
        model = InboxEmbed
        fields = ["name", "slug", "groups", "allowed_origins", "default_mode", "language"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            if isinstance(field.widget, PickerInput):
                field.widget.lookup_url = self.lookup_url
            elif isinstance(field.widget, OriginsInput):
                field.widget.here = self.here

    def clean(self) -> dict[str, Any]:
        """Check that any site is a choice, and add the errors with which the lifecycle refused."""
        cleaned = super().clean()
        self._clean_sites(cleaned)
        if self.refusal is not None:
            for field, errors in self.refusal.error_dict.items():
                self.add_error(field if field in self.fields else None, errors)
        return cleaned

    def _clean_sites(self, cleaned: dict[str, Any]) -> None:
        """Take `*` for the check box, and check that any site is a choice."""
        origins = cleaned.get("allowed_origins")
        if origins == ["*"]:
            cleaned.update(allowed_origins=[], any_site=True)
        elif origins and "*" in origins:
            text = _("“*” means any site. Write it alone, or leave it out.")
            self.add_error("allowed_origins", text)
        elif origins and cleaned.get("any_site"):
            self.add_error("any_site", _("Untick this, or leave the origins blank."))
        elif origins == [] and not cleaned.get("any_site"):
            self.add_error("allowed_origins", _("Enter a site, or tick “Any site may show it”."))

    def validate_unique(self) -> None:
        """Report a slug that is taken together with what else is wrong.

        Alone it is left to the lifecycle, because a button that is pressed twice is not an error.
        """
        slug = self.cleaned_data.get("slug")
        if not slug or not self.errors or self.refusal is not None:
            return
        if links.embeds().filter(slug=slug).exclude(pk=self.instance.pk).exists():
            self.add_error(None, values.slug_taken())


class AddEmbedForm(EmbedForm):
    """The form that adds an embed."""

    kapso_project = forms.ChoiceField(
        label=gettext_lazy("Kapso project"),
        choices=lambda: [(a, a) for a in conf.project_aliases()],
    )
    scope_type = forms.ChoiceField(
        label=gettext_lazy("Shows"),
        choices=ScopeType.choices,
        initial=ScopeType.PHONE_NUMBER,
        widget=AdminRadioSelect,
        help_text=gettext_lazy(
            "Whose conversations the inbox shows. This cannot be changed later."
        ),
    )
    scope_id = forms.CharField(
        label=gettext_lazy("Number or customer"),
        required=False,
        max_length=64,
        widget=PickerInput,
        help_text=gettext_lazy("The ID at Kapso. Leave it blank for the whole project."),
    )
    assigned_user_id = forms.CharField(
        label=gettext_lazy("Only assigned to"),
        required=False,
        max_length=64,
        widget=PickerInput(lookups.Kind.USER),
        help_text=gettext_lazy(
            "Shows only the conversations that are assigned to this team member. This "
            "cannot be changed later."
        ),
    )

    class Meta(EmbedForm.Meta):
        fields = [*EmbedForm.Meta.fields, "scope_type", "scope_id", "assigned_user_id"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if len(conf.project_aliases()) < 2:
            del self.fields["kapso_project"]  # There is nothing to choose.
        if self.is_bound and self.lookup_url:
            self._name_what_was_picked()

    def _name_what_was_picked(self) -> None:
        """Give the pickers of a form that is shown again the names of what was picked."""
        project = self.data.get("kapso_project") or only_project()
        if project not in conf.project_aliases():
            return
        picked = {"scope_id": self.data.get("scope_type"), "assigned_user_id": lookups.Kind.USER}
        for name, kind in picked.items():
            id_ = self.data.get(name)
            if id_ and kind in lookups.Kind.values:
                label = lookups.kept_name(lookups.Kind(kind), id_, project=project)
                self.fields[name].widget.label = label

    def clean(self) -> dict[str, Any]:
        """Check that a number or a customer is picked if the scope needs one."""
        cleaned = super().clean()
        scope = cleaned.get("scope_type")
        if scope == ScopeType.PROJECT:
            cleaned["scope_id"] = ""
        elif scope and not cleaned.get("scope_id") and "scope_id" not in self.errors:
            self.add_error("scope_id", pick_from_list(scope))
        self._refuse_what_is_no_id(cleaned)
        _check(self, self._settings(cleaned))
        return cleaned

    def _refuse_what_is_no_id(self, cleaned: dict[str, Any]) -> None:
        """Ask to pick from the list where a name was typed and nothing was picked."""
        if not self.lookup_url:
            return
        kinds = {"scope_id": cleaned.get("scope_type"), "assigned_user_id": lookups.Kind.USER}
        for name, kind in kinds.items():
            typed = cleaned.get(name)
            if typed and kind in lookups.Kind.values and not _LIKE_AN_ID.fullmatch(typed):
                self.add_error(name, pick_from_list(kind))

    def cleaned_settings(self) -> dict[str, Any]:
        """Return the keyword arguments for `lifecycle.create_embed`."""
        return {
            **self._settings(self.cleaned_data),
            "project": self.cleaned_data.get("kapso_project") or only_project(),
        }

    def _settings(self, cleaned: Mapping[str, Any]) -> dict[str, Any]:
        names = {*values.MUTABLE, *values.FIXED, *values.LOCAL}
        return {name: value for name, value in cleaned.items() if name in names}


class ChangeEmbedForm(EmbedForm):
    """The form that changes an embed. Only the fields that were changed in it are used.

    Each field carries the value that it had when the form was shown, so that what somebody else has
    changed since is not changed back.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.show_hidden_initial = True
        for name, known in (("default_mode", Mode.values), ("language", Language.values)):
            current = getattr(self.instance, name)
            if name in self.fields and current and current not in known:
                # Kapso may answer with values that no document names yet.
                choices: Any = self.fields[name]
                choices.choices = [*choices.choices, (current, current)]
        language: Any = self.fields.get("language")
        if language is not None and self.instance.language:
            # The choice was left to Kapso, and Kapso has chosen: that cannot be undone.
            language.choices = [one for one in language.choices if one[0]]
        if "slug" in self.fields and not self.instance.personal_to:
            self.fields["slug"].widget.attrs |= {
                "data-kapso-was": self.instance.slug,
                "data-kapso-warning": warning_of_new_slug(self.instance.slug),
            }
        self.initial.setdefault("any_site", not self.instance.allowed_origins)
        self.initial.setdefault("expiry", ON_DATE if self.instance.expires_at else NEVER)
        self.initial.setdefault("expires_at", self.instance.expires_at)

    def clean(self) -> dict[str, Any]:
        """Accept an expiry that was not changed, even one that Django refuses as ambiguous.

        Clocks show the hour in which summer time ends twice.
        """
        if "expires_at" in self.errors and "expires_at" not in self.changed_data:
            del self.errors["expires_at"]
            self.cleaned_data["expires_at"] = self.instance.expires_at
        cleaned = super().clean()
        _check(self, {name: cleaned[name] for name in self._changed() if name in cleaned})
        return cleaned

    def changes(self) -> Mapping[str, Any]:
        """Return the keyword arguments for `lifecycle.update_embed`."""
        return {name: self.cleaned_data[name] for name in self._changed()}

    def _changed(self) -> set[str]:
        """Return the names of the settings that were changed."""
        names = set(self.changed_data)
        if names & {"expiry", "expires_at"}:
            names = names - {"expiry"} | {"expires_at"}
        # A site that is named, or not named any more, is in allowed_origins as well.
        names.discard("any_site")
        return names
