"""Each agent's own inbox: narrowed to the conversations that are assigned to them at Kapso."""

from __future__ import annotations

import hashlib
import logging
import re
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.http import HttpRequest
from django.utils.translation import gettext as _

from kapso_inbox import conf, lookups
from kapso_inbox.exceptions import KapsoInboxError
from kapso_inbox.models import MINE, AccessLink, InboxEmbed, Outcome

from .coercion import as_text

logger = logging.getLogger(__name__)

_IN_A_SLUG = re.compile(r"[-a-zA-Z0-9_]{1,40}")


class NoMatchError(KapsoInboxError):
    """A user is not known to be any one member of the team at Kapso; the text says why to people.

    Attributes:
        is_ambiguous: more than one could be meant.
    """

    def __init__(self, reason: str, *, is_ambiguous: bool = False) -> None:
        super().__init__(reason)
        self.is_ambiguous = is_ambiguous


class UnsettledError(KapsoInboxError):
    """Whether Kapso made the user's inbox is not known yet, or another request is at it."""


def match(user: Any) -> str:
    """Return the team member at Kapso that a user is.

    By the host's `TEAM_MEMBER`, otherwise by e-mail, in the project `default`. An e-mail that
    another account of the site has, too, matches nobody: who can write any address into their own
    profile must not get a colleague's conversations by it.

    Args:
        user: a user of the site.

    Returns:
        Kapso's `user_id` of the member.

    Raises:
        NoMatchError: there is none, or more than one.
        KapsoError: Kapso could not be asked.
        ConfigurationError: there is no project `default`.
    """
    function = conf.team_member()
    if function is None:
        return _by_email(user)
    try:
        found = as_text(function(user)).strip()
    except Exception:
        logger.exception("TEAM_MEMBER failed for the user %s.", user.pk)
        found = ""
    if not found:
        raise NoMatchError(_("This site does not know which team member at Kapso you are."))
    return found


def slug_for(user: Any) -> str:
    """Return the slug of a user's own embed: `mine-` and the primary key, or a digest of it."""
    key = str(user.pk)
    if not _IN_A_SLUG.fullmatch(key):
        key = hashlib.sha256(key.encode()).hexdigest()[:40]
    return f"{MINE}-{key}"


def own_embed(user: Any) -> InboxEmbed | None:
    """Return a user's own embed if it was set up, whether it opens now or not."""
    embeds = InboxEmbed.objects.select_related("current_link")
    embed = embeds.filter(slug=slug_for(user), personal_to=str(user.pk)).first()
    return None if embed is None or embed.obstacle() == Outcome.NOT_READY else embed


def is_unsettled(user: Any) -> bool:
    """Say whether Kapso may have made, or be making, a user's inbox that is not there yet."""
    links = AccessLink.objects.filter(embed__slug=slug_for(user))
    return links.filter(state__in=AccessLink.UNCERTAIN).exists()


def set_up(request: HttpRequest) -> InboxEmbed:
    """Make sure that the request's user has an inbox of their own; doing it again changes nothing.

    Whom they are at Kapso is asked once, when it is made, and kept: it cannot be changed there.

    Args:
        request: of a user for whom `AccessPolicy.may_have_own` holds, outside of transactions.

    Raises:
        NoMatchError: they are not known to be any one team member.
        UnsettledError: it is not known what became of an earlier try.
        Exception: one of `refusals.REFUSALS`.
    """
    # Not at import: requests is only loaded in a process that really talks to Kapso.
    from kapso_inbox.lifecycle import BusyError, ensure_embed

    user = request.user
    if is_unsettled(user):
        raise UnsettledError
    here = f"{request.scheme}://{request.get_host()}"
    try:
        return ensure_embed(
            slug_for(user),
            name=_name(user),
            assigned_user_id=match(user),
            personal_to=str(user.pk),
            allowed_origins=conf.value("ALLOWED_ORIGINS") or [here],
            actor=user,
        )
    except BusyError:
        raise UnsettledError from None


def _by_email(user: Any) -> str:
    email, is_shared = _email(user)
    if not email:
        raise NoMatchError(_("Your account has no e-mail address to find you at Kapso by."))
    if is_shared:
        raise NoMatchError(
            _("Another account of this site has your e-mail address, %(email)s, too.")
            % {"email": email},
            is_ambiguous=True,
        )
    # Somebody may have been added to the team a moment ago, just because nobody was found.
    members = _members(email, refresh=False) or _members(email, refresh=True)
    if not members:
        raise NoMatchError(
            _("No team member at Kapso has your e-mail address, %(email)s.") % {"email": email}
        )
    if len(members) > 1:
        raise NoMatchError(
            _("More than one team member at Kapso has your e-mail address, %(email)s.")
            % {"email": email},
            is_ambiguous=True,
        )
    return members.pop()


def _email(user: Any) -> tuple[str, bool]:
    """Return a user's address, and whether somebody else here has it; "" where there is none."""
    model = get_user_model()
    name = model.get_email_field_name()
    try:
        model._meta.get_field(name)
    except FieldDoesNotExist:
        return "", False
    email = as_text(getattr(user, name)).strip()
    others = model._default_manager.exclude(pk=user.pk)
    return email, bool(email) and others.filter(**{f"{name}__iexact": email}).exists()


def _members(email: str, *, refresh: bool) -> set[str]:
    found: set[str] = set()
    page: int | None = 1
    while page is not None:
        part = lookups.search(lookups.Kind.USER, email, page=page, refresh=refresh)
        found |= {one.id for one in part.choices if one.id and _is_same(one.detail.strip(), email)}
        page = part.next_page
    return found


def _is_same(one: str, other: str) -> bool:
    # Beyond ASCII, letters of different people fall together when their case does.
    if one.isascii() and other.isascii():
        return one.lower() == other.lower()
    return one == other


def _name(user: Any) -> str:
    """Return what the embed is called, here and at Kapso, in one line."""
    names = (getattr(user, "get_full_name", str)(), user.get_username(), slug_for(user))
    lines = (" ".join(as_text(name).split()) for name in names)
    return next(line for line in lines if line)[:120]
