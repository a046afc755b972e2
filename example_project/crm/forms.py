"""The CRM's forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import forms

from crm.models import Contact, User

if TYPE_CHECKING:
    ContactModelForm = forms.ModelForm[Contact]
    UserModelForm = forms.ModelForm[User]
else:
    ContactModelForm = UserModelForm = forms.ModelForm


class ContactForm(ContactModelForm):
    """The fields that an agent changes during a conversation."""

    class Meta:
        model = Contact
        fields = ["stage", "notes"]
        widgets = {
            "notes": forms.Textarea(attrs={"rows": 4, "placeholder": "What should the team know?"})
        }


class ThemeForm(UserModelForm):
    """A user's own theme."""

    class Meta:
        model = User
        fields = ["theme"]
