"""The settings of an embed: checked before anything is sent, and mirrored from Kapso's answers."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from datetime import timezone as dt_timezone
from difflib import get_close_matches
from typing import Any, TypedDict

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db.models import Field
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from kapso_inbox import conf
from kapso_inbox.kapso import Embed
from kapso_inbox.models import (
    MINE,
    InboxEmbed,
    Language,
    Mode,
    ScopeType,
    name_without_reference,
    own_slug,
)
from kapso_inbox.origins import is_allowed_origin

#: Settings that Kapso takes in a PATCH, settings that nobody can change, and settings stored here
#: alone.
MUTABLE = ("name", "allowed_origins", "default_mode", "language", "expires_at")
FIXED = ("project", "scope_type", "scope_id", "assigned_user_id")
LOCAL = ("slug", "groups", "personal_to")

#: What is mirrored of every embed, and what besides if its conversations are those that this app
#: asked for, or if it was created elsewhere.
_MIRRORED = (*MUTABLE, "last_used_at")
_MIRRORED_NAMES = ("scope_name", "assigned_user_name")
#: What decides whose conversations a link shows. Kapso cannot change it.
NARROWING = ("scope_type", "scope_id", "assigned_user_id")
#: What is recorded when it was changed at Kapso.
RECORDED = frozenset({*MUTABLE, *NARROWING})
#: By how much Kapso may round an expiry.
_ROUNDING = timedelta(minutes=1)
_NOT_IN_A_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
#: What `kapso_sync` calls an embed that it finds at Kapso: by the ID there.
_FOUND_AT_KAPSO = re.compile(r"kapso-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SCOPE_KEYS = {"scope_type", "scope_id"}


class EmbedSettings(TypedDict, total=False):
    """The settings that `ensure_embed` takes, as `create_embed` explains them."""

    name: str
    scope_type: str
    scope_id: str
    project: str
    allowed_origins: Iterable[str] | None
    default_mode: str
    language: str
    expires_at: datetime | None
    assigned_user_id: str | None
    groups: Iterable[Group]
    personal_to: str


class EmbedChanges(EmbedSettings, total=False):
    """The settings that `update_embed` takes."""

    slug: str


def refuse_unknown(function: str, given: Mapping[str, Any], known: type) -> None:
    """Refuse keyword arguments that a function does not have, as Python itself would.

    Args:
        function: the function's name.
        given: its keyword arguments.
        known: the TypedDict that names those it has.

    Raises:
        TypeError: there is an unknown one.
    """
    for name in given:
        if name not in known.__annotations__:
            close = get_close_matches(name, known.__annotations__, n=1)
            hint = f". Did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}{hint}")


def clean_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of an embed as the model stores them.

    Args:
        values: any of `MUTABLE`, `FIXED` and `LOCAL`; `scope_type` and `scope_id` go together.

    Raises:
        ValidationError: a value is not valid; with a text for each such field.
    """
    cleaned: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    for name, value in values.items():
        try:
            cleaned[name] = _clean_one(name, value)
        except ValidationError as error:
            errors[name] = error
    if cleaned.keys() >= _SCOPE_KEYS:
        try:
            cleaned["scope_id"] = _clean_scope_id(cleaned["scope_type"], cleaned["scope_id"])
        except ValidationError as error:
            errors["scope_id"] = error
    if errors:
        raise ValidationError(errors)
    return cleaned


def refuse_own_for_nobody(values: Mapping[str, Any]) -> None:
    """Refuse a user's own embed that is not limited to a team member: nobody could open it.

    Args:
        values: all settings that the embed will have.

    Raises:
        ValidationError: it is such an embed.
    """
    if values["personal_to"] and not values["assigned_user_id"]:
        text = _("A user's own inbox must be limited to a team member.")
        raise ValidationError({"assigned_user_id": text})


def refuse_slug_of_own(values: Mapping[str, Any]) -> None:
    """Refuse the slug of a user's own embed for any other embed: that user could never have one.

    Args:
        values: all settings that the embed will have.

    Raises:
        ValidationError: it is such a slug, and the embed is not that user's own.
    """
    slug, owner = values["slug"], values["personal_to"]
    # Without regard to case, as some databases compare slugs.
    if slug.lower().startswith(f"{MINE}-") and not (owner and slug == own_slug(owner)):
        text = _("Slugs that begin with “mine-” are for users' own inboxes. Choose another slug.")
        raise ValidationError({"slug": text})


def slug_taken() -> ValidationError:
    """Return the error for a slug that another embed has, with the code `taken`."""
    error = ValidationError(_("There is an embed with this slug already."), code="taken")
    return ValidationError({"slug": error})


def for_kapso(value: Any) -> Any:
    """Return a setting as the client takes it: a time with its zone, anything else unchanged."""
    if isinstance(value, datetime) and timezone.is_naive(value):
        return timezone.make_aware(value)
    return value


def mirror(embed: InboxEmbed, answer: Embed, *, created_here: bool = True) -> dict[str, Any]:
    """Copy what Kapso answered to an embed. A field that the answer lacks changes nothing.

    Whose conversations an embed shows is decided when it is created here, and is never taken from
    Kapso: see `differences`.

    Args:
        embed: the embed, which is not saved.
        answer: what Kapso says of the embed's current link.
        created_here: whether this app created the link.

    Returns:
        The name of each field that has changed -> its old value.
    """
    names: tuple[str, ...] = _MIRRORED
    if not created_here:
        names += (*NARROWING, *_MIRRORED_NAMES)
    elif not differences(embed, answer):
        names += _MIRRORED_NAMES
    before = {name: getattr(embed, name) for name in names}
    return {name: before[name] for name in names if _take_over(embed, answer, name)}


def differences(embed: InboxEmbed, answer: Embed) -> str:
    """Return how the conversations that a link shows differ from those that it was created for.

    Args:
        embed: the embed, whose scope and team member are those that were asked for.
        answer: what Kapso says of its link. A field that is missing does not differ.

    Returns:
        Kapso's values, such as `scope_type=project, scope_id=`, or "" if all is as it was asked.
    """
    different = [
        f"{name}={getattr(answer, name)[: _field(name).max_length]}"
        for name in NARROWING
        if name in answer.present
        # The scope of a project needs no id. IDs are UUIDs or digits: their case says nothing.
        and not (name == "scope_id" and ScopeType.PROJECT == embed.scope_type == answer.scope_type)
        and getattr(answer, name).casefold() != getattr(embed, name).casefold()
    ]
    return ", ".join(different)


def widens_origins(asked: Iterable[str], answer: Embed) -> bool:
    """Return whether Kapso lets more sites frame a link than it was asked to.

    Args:
        asked: the origins in the request; none means any.
        answer: what Kapso says of the link.
    """
    wanted = {_without_scheme(origin) for origin in asked}
    if not wanted or "*" in wanted or "allowed_origins" not in answer.present:
        return False
    origins = {_without_scheme(origin) for origin in answer.allowed_origins}
    return not origins or not origins <= wanted


def agree(changes: Mapping[str, Any], answer: Embed) -> bool:
    """Return whether Kapso's answer holds all of these settings, with these values."""
    wanted = InboxEmbed(**changes)
    return changes.keys() <= answer.present and not changes.keys() & mirror(wanted, answer).keys()


def outlives(expires_at: datetime | None, answer: Embed) -> bool:
    """Return whether Kapso lets a link live longer than it was asked to.

    Args:
        expires_at: the expiry in the request; None means never.
        answer: what Kapso says of the link. Its clock may have coarser units than ours.
    """
    if expires_at is None or "expires_at" not in answer.present:
        return False
    return answer.expires_at is None or answer.expires_at > for_kapso(expires_at) + _ROUNDING


def _without_scheme(origin: str) -> str:
    """Return an origin in one form: Kapso may add a scheme, or write it in lower case."""
    return origin.casefold().rpartition("://")[2].rstrip("/")


def _take_over(embed: InboxEmbed, answer: Embed, name: str) -> bool:
    """Copy one field of an answer; return whether that changed it."""
    if name not in answer.present:
        return False
    value = getattr(answer, name)
    if name == "name":
        value = name_without_reference(value)
        if not value:
            return False  # people need something to call it
    if isinstance(value, tuple):
        value = list(value)
    elif isinstance(value, str):
        value = value[: _field(name).max_length]
    elif isinstance(value, datetime) and not settings.USE_TZ:
        try:
            value = timezone.make_naive(value)
        except OverflowError:  # the year 1 or 9999, and beyond it here
            return False
    if getattr(embed, name) == value:
        return False
    setattr(embed, name, value)
    return True


def _field(name: str) -> Field[Any, Any]:
    field = InboxEmbed._meta.get_field(name)
    assert isinstance(field, Field)  # noqa: S101 (for the type checker: no setting is a relation)
    return field


def _clean_one(name: str, value: Any) -> Any:
    if name == "groups":
        return _clean_groups(value)
    if name == "allowed_origins":
        return _clean_origins(value)
    if isinstance(value, str):
        value = value.strip()
    if value is None and name != "expires_at":
        value = ""
    value = _field(name).clean(value, None)
    check = _CHECKS.get(name)
    return check(value) if check else value


def _clean_groups(value: Any) -> list[Group]:
    groups = list(value) if isinstance(value, Iterable) else [value]
    if not all(isinstance(group, Group) for group in groups):
        raise ValidationError(
            _("Give the groups as Group objects, such as Group.objects.get(name=…), not by name.")
        )
    return groups


def _clean_slug(slug: str) -> str:
    if _FOUND_AT_KAPSO.fullmatch(slug.lower()):
        raise ValidationError(
            _("Slugs of this form are for inboxes found at Kapso. Choose another slug.")
        )
    return slug


def _clean_name(name: str) -> str:
    if _NOT_IN_A_LINE.search(name):
        raise ValidationError(_("A name must be one line of text."))
    if name_without_reference(name) != name:
        raise ValidationError(_("A name cannot end in a reference such as #ki-0123456789."))
    return name


def _clean_project(alias: str) -> str:
    if alias not in conf.project_aliases():
        raise ValidationError(
            _("There is no Kapso project “%(alias)s” in the settings."), params={"alias": alias}
        )
    return alias


def _clean_scope_id(scope_type: str, scope_id: str) -> str:
    if scope_type == ScopeType.PROJECT:
        if scope_id:
            raise ValidationError(_("The whole project needs no scope id: leave it blank."))
        return ""
    if scope_type == ScopeType.CUSTOMER:
        return _clean_uuid(scope_id)
    if not (scope_id.isascii() and scope_id.isdigit()):
        raise ValidationError(
            _("The ID of a phone number is its phone_number_id at WhatsApp, which has only digits.")
        )
    return scope_id


def _clean_uuid(value: str) -> str:
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise ValidationError(
            _("Enter a UUID such as 123e4567-e89b-12d3-a456-426614174000.")
        ) from None


def _clean_assigned_user_id(value: str) -> str:
    return _clean_uuid(value) if value else ""


def _clean_origins(value: Iterable[str] | None) -> list[str]:
    if value is None:
        raise ValidationError(
            _(
                "Give the sites that may show the inbox, or set "
                'KAPSO_INBOX["ALLOWED_ORIGINS"], which every new inbox gets. An empty list '
                "allows any site."
            )
        )
    given = None if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
    if given is None or not all(isinstance(origin, str) for origin in given):
        raise ValidationError(_("Give the origins as a list."))
    origins = list(dict.fromkeys(origin.strip() for origin in given))
    wrong = [f"“{origin}”" for origin in origins if not is_allowed_origin(origin)]
    if wrong:
        text = ngettext(
            "%(origins)s is not an origin. Write https://crm.example.com or *.example.com.",
            "%(origins)s are not origins. Write each as https://crm.example.com or *.example.com.",
            len(wrong),
        )
        raise ValidationError(text, params={"origins": ", ".join(wrong)})
    return origins


def _clean_choice(choices: Iterable[str], value: str) -> str:
    if value not in choices:
        raise ValidationError(
            _("“%(value)s” is not valid. It must be one of: %(choices)s."),
            params={"value": value, "choices": ", ".join(choices)},
        )
    return value


def _clean_default_mode(value: str) -> str:
    return _clean_choice(Mode.values, value)


def _clean_language(value: str) -> str:
    return _clean_choice(Language.values, value) if value else ""


def _clean_expires_at(value: datetime | None) -> datetime | None:
    if value is None:
        return None
    if settings.USE_TZ and timezone.is_naive(value):
        value = timezone.make_aware(value)
    if not settings.USE_TZ and timezone.is_aware(value):
        value = timezone.make_naive(value)
    if value <= timezone.now():
        raise ValidationError(_("This time is in the past."))
    try:
        for_kapso(value).astimezone(dt_timezone.utc)  # as databases and Kapso do
    except OverflowError:
        raise ValidationError(_("This time is too far in the future.")) from None
    # Kapso's clock has no finer hands as far as is known; the same time again is then no change.
    return value.replace(microsecond=0)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "slug": _clean_slug,
    "name": _clean_name,
    "project": _clean_project,
    "assigned_user_id": _clean_assigned_user_id,
    "default_mode": _clean_default_mode,
    "language": _clean_language,
    "expires_at": _clean_expires_at,
}
