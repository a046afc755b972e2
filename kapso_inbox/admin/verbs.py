"""The verbs: what an administrator can do to embeds, what each requires, and what it does."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.db import DatabaseError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from kapso_inbox import conf, lifecycle, refusals
from kapso_inbox.kapso import KapsoError
from kapso_inbox.lifecycle import ForeignError
from kapso_inbox.lifecycle.links import embeds, links_of, newest_link
from kapso_inbox.lifecycle.values import RECORDED
from kapso_inbox.models import AccessLink, Condition, InboxEmbed
from kapso_inbox.reasons import describe_changes, format_time

from .descriptions import condition_of, has_unsettled_links
from .forms import ExpiryFields
from .targets import Target, was_revoked
from .verb import Instead, Result, Verb

logger = logging.getLogger(__name__)

_State = AccessLink.State
#: What most verbs change.
_LINK = ("current_link",)


class Rotate(Verb):
    """Replaces the current link by a new one."""

    name = "rotate"
    label = gettext_lazy("Rotate the link")
    consequence = gettext_lazy(
        "The inbox gets a new secret link, and its current one is revoked. Pages of this "
        "site need no change. Inboxes that are open must be opened again, and copies of "
        "the old address stop working."
    )

    def obstacle(self, embed: InboxEmbed) -> str:
        """Refuse an embed that must be adopted or extended instead."""
        if condition_of(embed) == Condition.UNMANAGED:
            return _("It was not created here. Adopt it instead.")
        if condition_of(embed) == Condition.EXPIRED:
            return _("It has expired. Change its expiry instead.")
        return ""

    def bulk_obstacle(self, embed: InboxEmbed) -> str:
        """Leave out a revoked embed, whose end is easily overlooked among many."""
        if was_revoked(embed):
            return _(
                "Somebody revoked it, so it is left out. If you rotate it by itself, it "
                "opens again."
            )
        return ""

    def note(self, embed: InboxEmbed) -> str:
        """Say that a revoked embed opens again."""
        return _("It was revoked, and opens again.") if was_revoked(embed) else ""

    def run(
        self, embed: InboxEmbed, *, target: Target, actor: Any, values: Mapping[str, Any]
    ) -> Result:
        """Rotate once, however often the button is pressed.

        A link or a revocation that is newer than what the administrator saw stops the rotation.
        """
        try:
            lifecycle.rotate_embed(
                embed, actor=actor, expected_link=target.newest, revive=target.was_revoked
            )
        except (lifecycle.ReplacedError, lifecycle.RevokedError) as error:
            return Result("nothing", refusals.texts(error))
        except KapsoError as error:
            # The new link can work although the old one could not be revoked yet.
            now = embeds().get(pk=embed.pk)
            if now.current_link_id in (None, embed.current_link_id):
                raise
            text = _(
                "It has a new link. The old one is not revoked yet, so its address may "
                "still work. Press “%(resolve)s” to revoke it, or let kapso_sync do so. "
                "(%(reason)s)"
            )
            said = {"resolve": VERBS["resolve"].label, "reason": refusals.cause(error)}
            return Result("failed", text % said, _LINK)
        if target.was_revoked:
            return Result("done", _("It has a new link, and opens again."), _LINK)
        return Result("done", _("It has a new link, and the old one is revoked."), _LINK)


class Adopt(Rotate):
    """Replaces a link that was created elsewhere by one of our own."""

    name = "adopt"
    label = gettext_lazy("Adopt")
    consequence = gettext_lazy(
        "The inbox gets a link of this site's own, and the one that was created elsewhere "
        "is revoked: anyone who uses that address loses the inbox. Afterwards, change its "
        "slug to the one that your templates use."
    )

    def obstacle(self, embed: InboxEmbed) -> str:
        """Refuse an embed that is managed already."""
        if condition_of(embed) != Condition.UNMANAGED:
            return _("It is managed here already.")
        return foreign(embed)


class Revoke(Verb):
    """Revokes all links of an embed."""

    name = "revoke"
    label = gettext_lazy("Revoke")
    permission = "delete"
    is_dangerous = True
    consequence = gettext_lazy(
        "From now on nobody can open the inbox, not even with a copy of its address. Pages "
        "that show it say that it was closed. Rotating its link brings it back."
    )

    def obstacle(self, embed: InboxEmbed) -> str:
        """Refuse an embed that has nothing to revoke, or that others have made."""
        if has_unsettled_links(embed):
            return ""
        if text := foreign(embed):
            return text
        if condition_of(embed) == Condition.REVOKED:
            return _("It is revoked already.")
        return _("It has no link.") if condition_of(embed) == Condition.NO_LINK else ""

    def note(self, embed: InboxEmbed) -> str:
        """Say that a link made elsewhere has users elsewhere."""
        if condition_of(embed) == Condition.UNMANAGED:
            return _("It was created elsewhere: anyone who uses that address loses the inbox.")
        return ""

    def run(
        self, embed: InboxEmbed, *, target: Target, actor: Any, values: Mapping[str, Any]
    ) -> Result:
        """Revoke the embed here at once, and at Kapso as soon as Kapso answers."""
        try:
            embed = lifecycle.revoke_embed(embed, actor=actor)
        except refusals.REFUSALS as error:
            if isinstance(error, lifecycle.LifecycleError):
                raise
            text = _(
                "It no longer opens here, but Kapso has not confirmed that it is revoked, "
                "so its address may still work. Revoke it again, or let kapso_sync do so. "
                "(%(reason)s)"
            )
            return Result("failed", text % {"reason": refusals.cause(error)}, _LINK)
        if links_of(embed).filter(state__in=AccessLink.UNCERTAIN).exists():
            text = _(
                "It is revoked. Kapso may have created one more link: find out in a few "
                "minutes, or let kapso_sync do so."
            )
            return Result("done", text, _LINK)
        return Result("done", _("It is revoked."), _LINK)


class Extend(Verb):
    """Changes when an embed expires."""

    name = "extend"
    label = gettext_lazy("Change the expiry")
    consequence = gettext_lazy(
        "The inbox will expire at the time that you set here, instead of the current one."
    )
    form = ExpiryFields

    def obstacle(self, embed: InboxEmbed) -> str:
        """Refuse nothing: an embed without a live link keeps the expiry for its next one."""
        return ""

    def note(self, embed: InboxEmbed) -> str:
        """Say that an expired embed opens again."""
        is_expired = condition_of(embed) == Condition.EXPIRED
        return _("It has expired, and opens again.") if is_expired else ""

    def run(
        self, embed: InboxEmbed, *, target: Target, actor: Any, values: Mapping[str, Any]
    ) -> Result:
        """Set the expiry, which is an absolute time: setting it twice changes nothing."""
        embed = lifecycle.update_embed(embed, actor=actor, expires_at=values["expires_at"])
        if embed.expires_at is None:
            return Result("done", _("It never expires."), ["expires_at"])
        text = _("New expiry: %(when)s") % {"when": format_time(embed.expires_at)}
        return Result("done", text, ["expires_at"])


class Refresh(Verb):
    """Copies what Kapso now says about an embed."""

    name = "refresh"
    only_reads = True
    label = gettext_lazy("Refresh from Kapso")
    consequence = gettext_lazy("This site copies Kapso's current values. Nothing changes at Kapso.")

    def obstacle(self, embed: InboxEmbed) -> str:
        """Refuse an embed that Kapso cannot be asked about."""
        link = embed.current_link
        if link is None or link.state == _State.REVOKED:
            return _("It has no link at Kapso to refresh.")
        return ""

    def run(
        self, embed: InboxEmbed, *, target: Target, actor: Any, values: Mapping[str, Any]
    ) -> Result:
        """Ask Kapso once."""
        now = lifecycle.refresh_embed(embed, actor=actor)
        link = now.current_link
        if link is not None and link.state == _State.REVOKED:
            return Result("done", _("It was revoked at Kapso, and is revoked here now."), _LINK)
        changes = {
            name: [getattr(embed, name), getattr(now, name)]
            for name in RECORDED
            if getattr(embed, name) != getattr(now, name)
        }
        if not changes:
            return Result("done", _("It is up to date."))
        text = _("It was changed at Kapso and is now the same here. %(changes)s")
        return Result("done", text % {"changes": describe_changes(changes)}, list(changes))


class Resolve(Verb):
    """Finds out what became of uncertain links, and resumes revocations."""

    name = "resolve"
    label = gettext_lazy("Find out what became of it")
    consequence = gettext_lazy(
        "This searches Kapso's whole list for the link whose answer was lost. If the link "
        "is there, it is revoked, because its address is lost. If it is missing twice, a "
        "few minutes apart, it was never created. A link that waits to be revoked is "
        "revoked."
    )

    def obstacle(self, embed: InboxEmbed) -> str:
        """Refuse an embed whose links are all settled."""
        if condition_of(embed) == Condition.WAITING or has_unsettled_links(embed):
            return ""
        return _("Nothing about it is uncertain.")

    def run(
        self, embed: InboxEmbed, *, target: Target, actor: Any, values: Mapping[str, Any]
    ) -> Result:
        """Settle each link that is uncertain or waits to be revoked."""
        unsettled = set(links_of(embed).unsettled().values_list("pk", flat=True))
        if not unsettled:
            return Result("nothing", _("Nothing about it is uncertain any more."))
        embed = lifecycle.resolve_embed(embed, actor=actor)
        links = list(links_of(embed).filter(pk__in=unsettled))
        unknown = [link for link in links if link.state == _State.UNKNOWN]
        for link in unknown:
            if link.absent_at is None:
                text = _(
                    "Only the API key that was used to create it can say what became of "
                    "it. Put that key back, or look in Kapso for a name that ends in "
                    "%(link)s."
                )
                return Result("failed", text % {"link": link})
        if unknown:
            text = _(
                "Its uncertain link is not in Kapso's list. Look again in five minutes to be sure."
            )
        elif any(link.state == _State.REVOKED for link in links):
            text = _("Its uncertain link was found at Kapso, and is revoked now.")
        else:
            text = _("Its uncertain link was never created.")
        if not unknown and embed.obstacle() is not None:
            text += " " + _("Rotate the link to get one that works.")
        return Result("done", text, _LINK if len(unknown) < len(links) else ())


class Delete(Verb):
    """Deletes the row of an embed; one that may still work is revoked first."""

    name = "delete"
    label = gettext_lazy("Delete the record")
    permission = "delete"
    is_dangerous = True
    consequence = gettext_lazy(
        "The inbox is removed from this list, with the preferences that users saved for "
        "it. The record of openings and changes stays."
    )

    def obstacle(self, embed: InboxEmbed) -> str:
        """Refuse an embed that others have made, or of which Kapso may have a link unknown here."""
        link = embed.current_link
        is_ending = link is not None and link.state == _State.REVOKING
        if condition_of(embed) == Condition.WAITING and not is_ending:
            return _("Kapso may have created a link for it. Find out what became of it first.")
        return foreign(embed)

    def bulk_obstacle(self, embed: InboxEmbed) -> str:
        """Leave out an embed that may work, whose end is easily overlooked among many."""
        if _may_work(embed):
            return _("A link of it may still work, so it is left out. Revoke it first.")
        return ""

    def note(self, embed: InboxEmbed) -> str:
        """Say that a live embed ends, and that only the record keeps a revoked one revoked."""
        if _may_work(embed):
            return _("It is revoked first: nobody can open it any more.")
        if not was_revoked(embed):
            return ""
        if embed.personal_to:
            return _("Without the record, its user can set it up again.")
        return _("Without the record, a program of this site can create it again.")

    def button(self, embed: InboxEmbed) -> str:
        """Name both of what happens to an embed that may work."""
        return _("Revoke it and delete the record") if _may_work(embed) else super().button(embed)

    def instead(self, embed: InboxEmbed) -> Instead | None:
        """Offer to revoke an embed that may work: this can be undone."""
        if not _may_work(embed):
            return None
        text = _(
            "A link of it may still work. If you only revoke it, the record stays, and rotating "
            "its link opens it again. If you delete it, it is revoked first, and the record "
            "cannot be brought back."
        )
        return Instead("revoke", _("Only revoke it"), text)

    def run(
        self, embed: InboxEmbed, *, target: Target, actor: Any, values: Mapping[str, Any]
    ) -> Result:
        """Revoke the embed if it may work, then delete the row.

        A link that is newer than what the administrator saw stops both. The lifecycle checks again
        that no link may still work.
        """
        may_work = _may_work(embed)
        if may_work:
            if newest_link(embed) != target.newest:
                return Result("nothing", refusals.texts(lifecycle.ReplacedError()))
            revoked = VERBS["revoke"].run(embed, target=target, actor=actor, values=values)
            if revoked.outcome != "done":
                return revoked
        try:
            lifecycle.delete_embed(embed, actor=actor)
        except lifecycle.LiveError:
            if not may_work:
                raise
            text = _(
                "It is revoked. Kapso may have created one more link, so the record stays: "
                "find out in a few minutes what became of it, then delete it."
            )
            return Result("failed", text, _LINK)
        return Result("done", _("It is deleted."))


def _may_work(embed: InboxEmbed) -> bool:
    """Return whether a link of the embed may still work at Kapso."""
    is_over = condition_of(embed) in (Condition.REVOKED, Condition.NO_LINK)
    return has_unsettled_links(embed) or not is_over


def foreign(embed: InboxEmbed) -> str:
    """Return why the embed is left to those who made it; "" if it is not."""
    is_foreign = condition_of(embed) == Condition.UNMANAGED and conf.shares_projects()
    return refusals.texts(ForeignError()) if is_foreign else ""


#: All verbs by name, in the order of their buttons.
VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (Rotate(), Adopt(), Extend(), Refresh(), Resolve(), Revoke(), Delete())
}


def why_not(verb: Verb, embed: InboxEmbed, *, in_bulk: bool = False) -> str:
    """Return why a verb is not applied to an embed; "" if it is.

    Args:
        verb: the verb.
        embed: the embed, read with its condition.
        in_bulk: whether others were chosen with it.
    """
    if not verb.only_reads and (notice := refusals.read_only_notice()):
        return notice
    return verb.obstacle(embed) or (verb.bulk_obstacle(embed) if in_bulk else "")


def carry_out(
    verb: Verb,
    embed: InboxEmbed,
    target: Target,
    actor: Any,
    values: Mapping[str, Any],
    *,
    in_bulk: bool = False,
) -> Result:
    """Apply a verb to one embed. Whatever Kapso or the database does, return what became of it.

    Args:
        verb: the verb.
        embed: the embed as it is now, read with its condition.
        target: the embed as it was when the administrator decided.
        actor: the administrator.
        values: the cleaned data of the verb's form.
        in_bulk: whether others were chosen with it.
    """
    try:
        if obstacle := why_not(verb, embed, in_bulk=in_bulk):
            return Result("nothing", obstacle)
        return verb.run(embed, target=target, actor=actor, values=values)
    except InboxEmbed.DoesNotExist:
        return Result("nothing", _("It no longer exists."))
    except refusals.REFUSALS as error:
        return Result("failed", refusals.texts(error))
    except DatabaseError as error:
        logger.exception("The database failed during the verb %s.", verb.name)
        return Result("failed", refusals.texts(error))
