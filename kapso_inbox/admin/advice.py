"""What is the matter with an embed, and what to press: one sentence each, for its panel."""

from __future__ import annotations

from typing import NamedTuple

from django.conf import settings
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from kapso_inbox import conf
from kapso_inbox.encryption import UnknownKeyError
from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.models import AccessLink, Condition, InboxEmbed, ReasonCode, reason_code
from kapso_inbox.origins import covers, parse_origin

from .descriptions import condition_of, has_unsettled_links
from .verbs import foreign

_State = AccessLink.State

#: Buttons that are not verbs: to fields of the embed's form.
ORIGINS, GROUPS = "origins", "groups"


class Advice(NamedTuple):
    """What is the matter with an embed, and what to press.

    Attributes:
        matter: what is the matter, and what it means; "" = nothing is.
        press: the button that mends it: a key of `VERBS`, `ORIGINS` or `GROUPS`; "" = no button.
        remedy: what to do, with `%(press)s` for the text of that button.
        shows: whether a page of this site with the embed's tag shows the inbox.
    """

    matter: str | Promise = ""
    press: str = ""
    remedy: str | Promise = ""
    shows: bool = False


_ROTATE = _("Press “%(press)s” to open it again with a new link.")

#: The advice about most conditions.
ADVICE: dict[Condition, Advice] = {
    Condition.WORKS: Advice(shows=True),
    Condition.EXPIRES_SOON: Advice(
        _("After that nobody can open it."),
        "extend",
        _("Press “%(press)s” to keep it open."),
        shows=True,
    ),
    Condition.EXPIRED: Advice(
        _("It has expired, so nobody can open it."),
        "extend",
        _("Press “%(press)s” to open it again."),
    ),
    Condition.REVOKED: Advice(_("It was revoked, so nobody can open it."), "rotate", _ROTATE),
    Condition.WAITING: Advice(
        _("Kapso may have created its link, but the answer was lost, so nobody can open it."),
        "resolve",
        _("Press “%(press)s”, and then rotate the link."),
    ),
    Condition.SECRET_LOST: Advice(
        _("Its address cannot be read here, so nobody can open it."), "rotate", _ROTATE
    ),
    Condition.UNMANAGED: Advice(
        _("It was created elsewhere, so nobody can open it here."),
        "adopt",
        _("Press “%(press)s” to replace its link with one of this site's own."),
    ),
    Condition.DIFFERENT: Advice(
        _("Its link shows conversations that it was not created for, so nobody can open it."),
        "rotate",
        _("Press “%(press)s” to get a link that shows the right ones."),
    ),
    Condition.UNASSIGNED: Advice(
        _("Kapso no longer limits it to its user's conversations, so nobody can open it."),
        "revoke",
        _("Press “%(press)s”, and then delete it: its user can set up a new one."),
    ),
    Condition.NO_LINK: Advice(
        _("It has no link, so nobody can open it."), "rotate", _("Press “%(press)s” to get one.")
    ),
}


def advise(embed: InboxEmbed, site: str) -> Advice:
    """Return what is the matter with an embed, and what to press.

    Args:
        embed: the embed, read with its condition.
        site: the origin of the current page.
    """
    condition = condition_of(embed)
    link = embed.current_link
    if link is not None and condition in (Condition.WORKS, Condition.EXPIRES_SOON):
        broken = _about_key(link) or _about_groups(embed) or _about_site(embed, site)
        if broken is not None:
            return broken
    if has_unsettled_links(embed) and condition in (
        Condition.WORKS,
        Condition.EXPIRES_SOON,
        Condition.REVOKED,
    ):
        return Advice(
            _("Another link of it may still work at Kapso."),
            "resolve",
            _("Press “%(press)s” to revoke that one."),
            shows=condition != Condition.REVOKED,
        )
    if condition == Condition.UNMANAGED and (others := foreign(embed)):
        return Advice(others)
    if condition == Condition.WAITING:
        return _about_waiting(embed)
    if condition == Condition.REVOKED:
        return _about_revoked(embed, link)
    return ADVICE[condition]


def _about_key(link: AccessLink) -> Advice | None:
    try:
        link.require_key()
    except UnknownKeyError:
        text = _("Its link works, but this server lacks the encryption key of its address.")
        remedy = _("Put the key back into the settings. If it is lost, press “%(press)s”.")
        return Advice(text, "rotate", remedy)
    except ConfigurationError:
        text = _("Its link works, but the encryption keys in the settings are missing or wrong.")
        return Advice(text, "", _("Correct the settings."))
    return None


def _about_groups(embed: InboxEmbed) -> Advice | None:
    if not embed.restricted or embed.groups.all():
        return None
    text = _("Its link works, but its groups were deleted, so nobody can open it.")
    return Advice(text, GROUPS, _("Press “%(press)s”."))


def _about_site(embed: InboxEmbed, site: str) -> Advice | None:
    """Say that no page of this site may show it. Pages elsewhere that the settings name count."""
    allowed = embed.allowed_origins or ["*"]
    named = (conf.value("ALLOWED_ORIGINS") or (), settings.CSRF_TRUSTED_ORIGINS)
    names = [site, *(name for names in named for name in names), *settings.ALLOWED_HOSTS]
    sites = [origin for origin in map(parse_origin, names) if origin is not None]
    if any(covers(one, origin) for one in allowed for origin in sites):
        return None
    text = _(
        "Its link works, but the inbox stays blank here: this site is not among its "
        "allowed origins."
    )
    return Advice(text, ORIGINS, _("Press “%(press)s” to add this site."))


def _about_waiting(embed: InboxEmbed) -> Advice:
    link = embed.current_link
    if link is not None and link.state == _State.REVOKING:
        text = _("Nobody can open it here, but Kapso has not confirmed yet that it is revoked.")
        return Advice(text, "resolve", _("Press “%(press)s” to continue."))
    creating = AccessLink.objects.using(embed._state.db).filter(embed=embed, state=_State.CREATING)
    if creating.exists():
        text = _("Its link is being created right now.")
        remedy = _("Look again in a minute. If it still says so, press “%(press)s”.")
        return Advice(text, "resolve", remedy)
    return ADVICE[Condition.WAITING]


def _about_revoked(embed: InboxEmbed, link: AccessLink | None) -> Advice:
    advice = ADVICE[Condition.REVOKED]
    found = reason_code(link.reason) if link is not None else ""
    if found == ReasonCode.FOUND_REVOKED:
        advice = advice._replace(matter=_("It was revoked at Kapso, so nobody can open it."))
    elif found == ReasonCode.NOT_FOUND:
        advice = advice._replace(matter=_("Kapso no longer has it, so nobody can open it."))
    if embed.expires_at is not None and embed.expires_at <= timezone.now():
        remedy = _("Its expiry has passed, too: press “%(press)s” first, and then rotate the link.")
        advice = advice._replace(press="extend", remedy=remedy)
    return advice
