"""An agent's own inbox, which shows the conversations that are assigned to them at Kapso."""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.http import HttpRequest
from django.utils.translation import gettext as _

from kapso_inbox import conf, lookups
from kapso_inbox.exceptions import KapsoInboxError
from kapso_inbox.failures import remembered_failures
from kapso_inbox.lifecycle import BusyError, ensure_embed
from kapso_inbox.models import AccessLink, InboxEmbed, Outcome, own_slug

from .coercion import as_text

logger = logging.getLogger(__name__)


class NoMatchError(KapsoInboxError):
    """A user cannot be matched to one team member at Kapso. The text tells people why.

    Attributes:
        is_ambiguous: whether more than one team member, or more than one user, fits.
    """

    def __init__(self, reason: str, *, is_ambiguous: bool = False) -> None:
        super().__init__(reason)
        self.is_ambiguous = is_ambiguous


class UnsettledError(KapsoInboxError):
    """It is unknown whether Kapso created the user's inbox, or another request is creating it."""


def team_member_id(user: Any) -> str:
    """Return the ID of the team member at Kapso that a user is.

    The host's `TEAM_MEMBER` decides. Without it, the e-mail address does, in the project `default`.
    An address that another user of the site also has matches nobody: users who can enter any
    address in their profile must not get a colleague's conversations by that.

    Args:
        user: a user of the site.

    Returns:
        Kapso's `user_id` of the team member.

    Raises:
        NoMatchError: no team member fits, or more than one.
        KapsoError: Kapso could not be asked.
        ConfigurationError: the project `default` is missing or malformed.
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
    """Return the slug of a user's own embed: `mine-` and their primary key or its digest."""
    return own_slug(str(user.pk))


def own_embed(user: Any) -> InboxEmbed | None:
    """Return a user's own embed, whether it opens now or not, or None if it is not set up."""
    embeds = InboxEmbed.objects.select_related("current_link")
    embed = embeds.filter(slug=slug_for(user), personal_to=str(user.pk)).first()
    return None if embed is None or embed.obstacle() == Outcome.NOT_READY else embed


def is_unsettled(user: Any) -> bool:
    """Return whether Kapso may have created a user's inbox that is not known here yet."""
    links = AccessLink.objects.filter(embed__slug=slug_for(user))
    return links.filter(state__in=AccessLink.UNCERTAIN).exists()


def set_up(request: HttpRequest) -> InboxEmbed:
    """Set up an inbox of their own for the request's user, unless there is one already.

    The team member is looked up once, when the inbox is created, since Kapso cannot change it
    later. Call this outside of transactions.

    Args:
        request: a request of a user for whom `AccessPolicy.may_have_own` is true.

    Raises:
        NoMatchError: the user cannot be matched to one team member.
        UnsettledError: it is unknown what became of an earlier try, or another request is at it.
        Exception: one of `refusals.REFUSALS`.
    """
    user = request.user
    if is_unsettled(user):
        raise UnsettledError
    slug, member = slug_for(user), team_member_id(user)
    here = f"{request.scheme}://{request.get_host()}"
    try:
        # Each failure leaves records here, and a user can press again at once.
        with remembered_failures(f"kapso_inbox:setup:{slug}"):
            return ensure_embed(
                slug,
                name=_name(user),
                assigned_user_id=member,
                personal_to=str(user.pk),
                # This site alone, if no setting names the sites of new embeds.
                allowed_origins=[here] if conf.value("ALLOWED_ORIGINS") is None else None,
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
    # An administrator may have added the user to the team a moment ago, because nobody was found.
    # It takes `lookups.REFRESHED_AFTER` until that is seen.
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
    """Return a user's e-mail address or "", and whether another user here has it as well."""
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
    """Return the IDs of the team members at Kapso with an e-mail address."""
    found: set[str] = set()
    page: int | None = 1
    while page is not None:
        part = lookups.search(lookups.Kind.USER, email, page=page, refresh=refresh)
        found |= {one.id for one in part.choices if one.id and _is_same(one.detail.strip(), email)}
        page = part.next_page
    return found


def _is_same(one: str, other: str) -> bool:
    # Beyond ASCII, ignoring case can make the addresses of different people equal.
    if one.isascii() and other.isascii():
        return one.lower() == other.lower()
    return one == other


def _name(user: Any) -> str:
    """Return the name of the embed, here and at Kapso, in one line."""
    names = (getattr(user, "get_full_name", str)(), user.get_username(), slug_for(user))
    lines = (" ".join(as_text(name).split()) for name in names)
    return next(line for line in lines if line)[:120]
