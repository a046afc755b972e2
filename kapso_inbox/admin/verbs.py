"""What an administrator can do to embeds: each verb says what it takes and what will happen."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import DatabaseError
from django.forms import Form
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from kapso_inbox import lifecycle, refusals
from kapso_inbox.kapso import KapsoError
from kapso_inbox.lifecycle.links import embeds, links_of
from kapso_inbox.models import AccessLink, Condition, InboxEmbed

from .forms import ExpiryFields

logger = logging.getLogger(__name__)

State = AccessLink.State

_REVOKED = "revoked"


class NothingToDo(Exception):  # noqa: N818 (no error: a double click ends here)
    """There was nothing to do after all; the text says why."""


class Unfinished(Exception):  # noqa: N818 (no error: the rest is done by kapso_sync)
    """A part was done, and the rest waits; the text says which."""


class Verb:
    """One thing that can be done to embeds.

    Attributes:
        name: its word in addresses.
        label: what its button says.
        permission: which of Django's permissions for embeds it takes: `change` or `delete`.
        consequence: what will happen to each embed, said before.
        is_dangerous: whether something ends by it.
        form: what it asks for, if anything.
    """

    name: str
    label: str | Promise
    permission = "change"
    consequence: str | Promise
    is_dangerous = False
    form: type[Form] | None = None

    def obstacle(self, embed: InboxEmbed) -> str:
        """Say why this cannot or need not be done to the embed; "" where it can.

        Args:
            embed: with its `condition`.
        """
        raise NotImplementedError

    def run(
        self, embed: InboxEmbed, *, target: Target, actor: Any, values: Mapping[str, Any]
    ) -> str:
        """Do it, and say what was done.

        Args:
            embed: which one.
            target: it as the administrator saw it when they decided.
            actor: the administrator.
            values: what the form holds.

        Raises:
            NothingToDo: it was not needed any more.
            Unfinished: a part of it waits for Kapso.
            refusals.REFUSALS: it was not done, or perhaps.
        """
        raise NotImplementedError


def moment(when: datetime | None) -> str:
    """Return a time as the reader's clock and language have it; "" for none."""
    if when is None:
        return ""
    local = timezone.localtime(when) if timezone.is_aware(when) else when
    return date_format(local, "SHORT_DATETIME_FORMAT")


def condition(embed: InboxEmbed) -> Condition:
    """Return how an embed is doing that was read by `conditions.with_condition`."""
    return Condition(embed.condition)  # type: ignore[attr-defined]


def has_unsettled_links(embed: InboxEmbed) -> bool:
    """Say whether a link of the embed beside its current one is not settled."""
    return bool(embed.has_unsettled_links)  # type: ignore[attr-defined]


class Rotate(Verb):
    """A new link in the place of the current one."""

    name = "rotate"
    label = gettext_lazy("Rotate the link")
    consequence = gettext_lazy(
        "It gets a new secret link, and the one it has is revoked. Pages of this site go on as "
        "they are; open inboxes have to be opened again; copies of the old address stop to work."
    )

    def obstacle(self, embed: InboxEmbed) -> str:
        """It lives, or is to live again."""
        if condition(embed) == Condition.UNMANAGED:
            return _("It was not made here. Adopt it instead.")
        if condition(embed) == Condition.EXPIRED:
            return _("It has expired. Extend its expiry instead.")
        return ""

    def run(
        self, embed: InboxEmbed, *, target: Target, actor: Any, values: Mapping[str, Any]
    ) -> str:
        """Once, however often the button was pressed; and never over somebody's revocation."""
        try:
            lifecycle.rotate_embed(
                embed, actor=actor, expected_link=target.newest, revive=target.was_revoked
            )
        except (lifecycle.ReplacedError, lifecycle.RevokedError) as error:
            raise NothingToDo(refusals.texts(error)) from None
        except KapsoError as error:
            # The new one can work although the old one could not be revoked yet.
            now = embeds().get(pk=embed.pk)
            if now.current_link_id in (None, embed.current_link_id):
                raise
            raise Unfinished(
                _(
                    "It has a new link. The old one is not revoked yet, so its address may still "
                    "work. Press “%(resolve)s” to go on with it, or let kapso_sync do so. "
                    "(%(reason)s)"
                )
                % {"resolve": VERBS["resolve"].label, "reason": refusals.cause(error)}
            ) from None
        return _("It has a new link, and the old one is revoked.")


class Adopt(Rotate):
    """A link of our own in the place of one that was made elsewhere."""

    name = "adopt"
    label = gettext_lazy("Adopt")
    consequence = gettext_lazy(
        "It gets a link of this site's own, and the one that was made elsewhere is revoked: "
        "whoever uses that address loses the inbox. Then change its slug to what your templates "
        "call it."
    )

    def obstacle(self, embed: InboxEmbed) -> str:
        """It was made elsewhere."""
        return "" if condition(embed) == Condition.UNMANAGED else _("It is managed here already.")


class Revoke(Verb):
    """The end of all links of an embed."""

    name = "revoke"
    label = gettext_lazy("Revoke")
    permission = "delete"
    is_dangerous = True
    consequence = gettext_lazy(
        "Nobody can open it any more, at once, wherever its address is. Pages that show it say "
        "that it was closed. Rotating its link brings it back."
    )

    def obstacle(self, embed: InboxEmbed) -> str:
        """There is something to revoke."""
        if has_unsettled_links(embed):
            return ""
        if condition(embed) == Condition.REVOKED:
            return _("It is revoked already.")
        return _("It has no link.") if condition(embed) == Condition.NO_LINK else ""

    def run(
        self, embed: InboxEmbed, *, target: Target, actor: Any, values: Mapping[str, Any]
    ) -> str:
        """Here at once; at Kapso as soon as it answers."""
        try:
            embed = lifecycle.revoke_embed(embed, actor=actor)
        except refusals.REFUSALS as error:
            if isinstance(error, lifecycle.LifecycleError):
                raise
            raise Unfinished(
                _(
                    "It does not open here any more, but Kapso has not confirmed its end, so its "
                    "address may still work. Revoke it again, or let kapso_sync go on with it. "
                    "(%(reason)s)"
                )
                % {"reason": refusals.cause(error)}
            ) from None
        if links_of(embed).filter(state__in=AccessLink.UNCERTAIN).exists():
            return _(
                "It is revoked. One link whose making is uncertain is still looked for: resolve it "
                "in some minutes, or let kapso_sync do it."
            )
        return _("It is revoked.")


class Extend(Verb):
    """Another expiry."""

    name = "extend"
    label = gettext_lazy("Change the expiry")
    consequence = gettext_lazy("It ends when you say here, in the place of what is set now.")
    form = ExpiryFields

    def obstacle(self, embed: InboxEmbed) -> str:
        """Always: where nothing of it lives, the expiry is kept for its next link."""
        return ""

    def run(
        self, embed: InboxEmbed, *, target: Target, actor: Any, values: Mapping[str, Any]
    ) -> str:
        """An absolute time, so that twice is as good as once."""
        embed = lifecycle.update_embed(embed, actor=actor, expires_at=values["expires_at"])
        if embed.expires_at is None:
            return _("It never expires.")
        return _("It expires at %(when)s.") % {"when": moment(embed.expires_at)}


class Refresh(Verb):
    """What Kapso says of it now."""

    name = "refresh"
    label = gettext_lazy("Refresh from Kapso")
    consequence = gettext_lazy("What Kapso has of it now is shown here. Nothing changes at Kapso.")

    def obstacle(self, embed: InboxEmbed) -> str:
        """Kapso has something to say."""
        link = embed.current_link
        if link is None or link.state == State.REVOKED:
            return _("Kapso has no link of it that could be asked for.")
        return ""

    def run(
        self, embed: InboxEmbed, *, target: Target, actor: Any, values: Mapping[str, Any]
    ) -> str:
        """One request."""
        embed = lifecycle.refresh_embed(embed, actor=actor)
        link = embed.current_link
        if link is not None and link.state == State.REVOKED:
            return _("It was revoked at Kapso, and is revoked here now.")
        return _("It is up to date.")


class Resolve(Verb):
    """What became of a link whose making is uncertain."""

    name = "resolve"
    label = gettext_lazy("Find out what became of it")
    consequence = gettext_lazy(
        "Kapso's whole list is searched for the link whose answer was lost. Found, it is revoked, "
        "since its address is lost; not found twice, some minutes apart, it was never made. A link "
        "that waits to be revoked is revoked."
    )

    def obstacle(self, embed: InboxEmbed) -> str:
        """Something is uncertain."""
        if condition(embed) == Condition.WAITING or has_unsettled_links(embed):
            return ""
        return _("Nothing about it is uncertain.")

    def run(
        self, embed: InboxEmbed, *, target: Target, actor: Any, values: Mapping[str, Any]
    ) -> str:
        """Each uncertain link, and each that waits to be revoked."""
        unsettled = [link.pk for link in links_of(embed).unsettled()]
        if not unsettled:
            raise NothingToDo(_("Nothing about it is uncertain any more."))
        embed = lifecycle.resolve_embed(embed, actor=actor)
        links = links_of(embed).filter(pk__in=unsettled)
        states = [link.state for link in links]
        for link in links:
            if link.state == State.UNKNOWN and link.absent_at is None:
                text = _(
                    "Only the API key that was in use when it was asked for can say what became of "
                    "it. Put that key back, or look in Kapso for a name that ends in %(link)s."
                )
                raise Unfinished(text % {"link": link})
        if State.UNKNOWN in states:
            return _("Kapso's list does not have it. Look once more in five minutes to be sure.")
        if State.REVOKED in states:
            found = _("It was found at Kapso and is revoked.")
        else:
            found = _("It was never made.")
        if embed.obstacle() is None:
            return found
        return found + " " + _("Rotate the link to get one that works.")


class Delete(Verb):
    """The end of the row of an embed that is over."""

    name = "delete"
    label = gettext_lazy("Delete the record")
    permission = "delete"
    is_dangerous = True
    consequence = gettext_lazy(
        "It goes from this list, with the preferences that users saved for it. What was opened and "
        "changed stays on record."
    )

    def obstacle(self, embed: InboxEmbed) -> str:
        """Nothing of it lives."""
        if has_unsettled_links(embed) or condition(embed) not in (
            Condition.REVOKED,
            Condition.NO_LINK,
        ):
            return _("A link of it may still work at Kapso. Revoke it first.")
        return ""

    def run(
        self, embed: InboxEmbed, *, target: Target, actor: Any, values: Mapping[str, Any]
    ) -> str:
        """The lifecycle looks once more whether nothing lives."""
        lifecycle.delete_embed(embed, actor=actor)
        return _("It is deleted.")


#: In the order of their buttons.
VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (Rotate(), Adopt(), Extend(), Refresh(), Resolve(), Revoke(), Delete())
}


@dataclass
class Result:
    """What became of one embed.

    Attributes:
        embed: which one; without a primary key if it is deleted.
        outcome: `done`, `nothing` (there was nothing to do) or `failed`.
        text: in words.
    """

    embed: InboxEmbed
    outcome: str
    text: str


def is_id(text: str) -> bool:
    """Say whether this can be a primary key: a database refuses a number that is too long."""
    return text.isascii() and text.isdecimal() and len(text) < 19


@dataclass(frozen=True)
class Target:
    """An embed as the administrator saw it when they decided.

    Attributes:
        embed_id: its primary key.
        newest: its newest link's.
        was_revoked: whether it was.
    """

    embed_id: int
    newest: UUID | None = None
    was_revoked: bool = False

    def __str__(self) -> str:
        return f"{self.embed_id}:{self.newest or ''}:{_REVOKED if self.was_revoked else ''}"

    @classmethod
    def of(cls, embed: InboxEmbed, newest: UUID | None) -> Target:
        """Return an embed as it is shown now, with its newest link's primary key."""
        link = embed.current_link
        is_over = link is not None and link.state in (State.REVOKING, State.REVOKED)
        return cls(embed.pk, newest, is_over)

    @classmethod
    def read(cls, text: str) -> Target:
        """Read what a form holds.

        Raises:
            ValueError: somebody wrote it by hand.
        """
        embed_id, _separator, seen = text.partition(":")
        newest, _separator, was_revoked = seen.partition(":")
        if not is_id(embed_id):
            raise ValueError(embed_id[:20])
        return cls(int(embed_id), UUID(newest) if newest else None, was_revoked == _REVOKED)


def carry_out(
    verb: Verb, embed: InboxEmbed, target: Target, actor: Any, values: Mapping[str, Any]
) -> Result:
    """Do it to one embed, whatever may come.

    Args:
        embed: as it is now, with its `condition`.
        target: as it was when the administrator decided.
    """
    name = InboxEmbed(pk=embed.pk, slug=embed.slug, name=embed.name)
    try:
        if obstacle := verb.obstacle(embed):
            raise NothingToDo(obstacle)
        return Result(name, "done", verb.run(embed, target=target, actor=actor, values=values))
    except NothingToDo as reason:
        return Result(name, "nothing", str(reason))
    except Unfinished as state:
        return Result(name, "failed", str(state))
    except InboxEmbed.DoesNotExist:
        return Result(name, "nothing", _("It is not there any more."))
    except refusals.REFUSALS as error:
        return Result(name, "failed", refusals.texts(error))
    except DatabaseError as error:
        logger.exception("The database failed while the verb %s was done.", verb.name)
        return Result(name, "failed", refusals.texts(error))
