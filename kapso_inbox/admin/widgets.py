"""The inputs and fields of an embed's form that admin.js helps to fill in."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget
from django.contrib.admin.widgets import AdminTextInputWidget as TextInput
from django.utils.translation import gettext as _

from kapso_inbox import conf, lookups


def only_project() -> str:
    """Return the alias of the first project; a system check reports if none is configured."""
    return next(iter(conf.project_aliases()), conf.DEFAULT_PROJECT)


class PickerInput(TextInput):
    """An input for an ID at Kapso, picked by name from a list; without JavaScript, typed.

    Attributes:
        kind: the `lookups.Kind` of what is picked; "" = the value of the control `scope_type`.
        lookup_url: the address to search at; the form sets it. "" = the user may only type.
        label: the name of the current value, if it is known.
    """

    def __init__(self, kind: str = "") -> None:
        super().__init__({"autocomplete": "off", "spellcheck": "false"})
        self.kind = kind
        self.lookup_url = ""
        self.label = ""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """Add what admin.js reads to the attributes."""
        context = super().get_context(name, value, attrs)
        if not self.lookup_url:
            return context
        context["widget"]["attrs"] |= {
            "data-kapso-picker": self.lookup_url,
            "data-kapso-project-from": "kapso_project",
            "data-kapso-project": only_project(),
            "data-kapso-label": self.label,
            **(
                {"data-kapso-kind": self.kind}
                if self.kind
                else {"data-kapso-kind-from": "scope_type"}
            ),
            "data-kapso-texts": json.dumps(
                {
                    **self._texts_by_kind(),
                    "refresh": _("Refresh the list"),
                    "by_hand": _("Type an ID by hand"),
                    "from_list": _("Pick from the list"),
                    "none": _("Nothing found"),
                    "loading": _("Asking Kapso…"),
                    "searching_on": _("Still searching…"),
                    "more": _("Show more"),
                    "clear": _("Clear"),
                    "failed": _("The list could not be read. Type the ID by hand."),
                    "found": _("Found:"),
                }
            ),
        }
        return context

    def _texts_by_kind(self) -> dict[str, str]:
        """Return what the picker says of each kind that it may be used for."""
        if self.kind == lookups.Kind.USER:
            return {
                "search_user": _("Search by name or e-mail"),
                "pick_user": pick_from_list(lookups.Kind.USER),
            }
        return {
            "label_phone_number": _("Number"),
            "label_customer": _("Customer"),
            "search_phone_number": _("Search by name or number"),
            "search_customer": _("Search by name or ID"),
            "pick_phone_number": pick_from_list(lookups.Kind.PHONE_NUMBER),
            "pick_customer": pick_from_list(lookups.Kind.CUSTOMER),
            "id_help": _("The ID at Kapso."),
        }


def pick_from_list(kind: str) -> str:
    """Return the text that asks to pick an object of this kind, instead of only typing its name."""
    return {
        lookups.Kind.PHONE_NUMBER.value: _("Pick a number from the list."),
        lookups.Kind.CUSTOMER.value: _("Pick a customer from the list."),
        lookups.Kind.USER.value: _("Pick a team member from the list."),
    }[kind]


class OriginsInput(AdminTextareaWidget):
    """A text area for origins, one per line, with warnings about unwise ones.

    Attributes:
        here: the origin of this site; the form sets it.
    """

    def __init__(self) -> None:
        super().__init__({"rows": 3, "spellcheck": "false"})
        self.here = ""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """Add what admin.js reads to the attributes."""
        context = super().get_context(name, value, attrs)
        context["widget"]["attrs"] |= {
            "data-kapso-origins": json.dumps(origin_warnings(self.here)),
            "data-kapso-here": self.here,
        }
        return context


class OriginsField(forms.CharField):
    """A list of origins, one per line."""

    widget = OriginsInput

    def prepare_value(self, value: Any) -> Any:
        """Show a list as lines."""
        return "\n".join(map(str, value)) if isinstance(value, (list, tuple)) else value

    def to_python(self, value: Any) -> Any:
        """Return the lines that are not blank."""
        lines = (value or "").replace(",", "\n").splitlines()
        return [line.strip() for line in lines if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare as lists: neither white space nor the hidden input's line ends count."""
        return bool(self.to_python(self.prepare_value(initial)) != self.to_python(data))


def origin_warnings(here: str = "") -> dict[str, str]:
    """Return the warnings about unwise origins; admin.js picks by key.

    Args:
        here: the origin of this site, for the warning that it is missing.
    """
    missing = _("This site is not in the list, so the inbox would stay blank here. Add: %(here)s")
    return {
        "none": _("Any site can show this inbox."),
        "any": _("“*” means any site: the same as ticking “Any site may show it”."),
        "local": _("localhost is the reader's own computer. Use it only for development."),
        "missing": missing % {"here": here},
    }
