"""The choices of the models, with the labels that people read."""

from __future__ import annotations

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class ScopeType(TextChoices):
    """What an embed shows, in Kapso's words."""

    PROJECT = "project", _("Whole project")
    CUSTOMER = "customer", _("Customer")
    PHONE_NUMBER = "phone_number", _("Phone number")


class Mode(TextChoices):
    """The inbox's theme."""

    SYSTEM = "system", _("Same as the device")
    LIGHT = "light", _("Light")
    DARK = "dark", _("Dark")


class Language(TextChoices):
    """The languages that Kapso's inbox speaks."""

    ENGLISH = "en", _("English")
    SPANISH = "es", _("Spanish")


class Outcome(TextChoices):
    """How an attempt to open an inbox ended. Every outcome but OPENED shows a page instead."""

    OPENED = "opened", pgettext_lazy("inbox", "Opened")
    NOT_IN_FRAME = "not_in_frame", _("Not asked for by a frame of this site")
    SIGNED_OUT = "signed_out", _("Signed out")
    BAD_PARAMETER = "bad_parameter", _("Wrong parameter")
    NOT_AVAILABLE = "not_available", _("Not allowed, or no such inbox")
    NOT_READY = "not_ready", _("No working link yet")
    REVOKED = "revoked", pgettext_lazy("inbox", "Revoked")
    EXPIRED = "expired", pgettext_lazy("inbox", "Expired")
    SECRET_LOST = "secret_lost", _("Secret lost")
    DIFFERENT = "different", _("Shows other conversations at Kapso")
    NOT_RECORDED = "not_recorded", _("Could not be recorded")
    BAD_TICKET = "bad_ticket", _("Ticket not valid, or used before")
    OTHER_USER = "other_user", _("A ticket of another user than the signed-in one")
    WRONG_ORIGIN = "wrong_origin", _("Its link does not allow the origin of the page")
    NOT_ADMITTED = "not_admitted", _("Not admitted by the access policy")
    IMPERSONATED = "impersonated", _("Somebody else acted as the user")
    FAILED = "failed", _("An error in this site")


class Condition(TextChoices):
    """The state of an embed, as lists and programs show it."""

    WORKS = "works", _("Works")
    EXPIRES_SOON = "expires_soon", _("Expires soon")
    EXPIRED = "expired", pgettext_lazy("inbox", "Expired")
    REVOKED = "revoked", pgettext_lazy("inbox", "Revoked")
    WAITING = "waiting", _("Waiting for Kapso")
    SECRET_LOST = "secret_lost", _("Secret lost")
    UNMANAGED = "unmanaged", pgettext_lazy("inbox", "Unmanaged")
    DIFFERENT = "different", _("Shows other conversations at Kapso")
    UNASSIGNED = "unassigned", _("No longer assigned to anyone")
    NO_LINK = "no_link", _("No link")
