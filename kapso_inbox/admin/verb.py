"""What a verb is: something that an administrator can do to embeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from django.forms import Form
from django.utils.functional import Promise

from kapso_inbox.models import InboxEmbed

from .targets import Target


class Result(NamedTuple):
    """What a verb did to one embed.

    Attributes:
        outcome: `done`; `nothing` = there was nothing to do; `failed` = it, or a part of it, was
            not done.
        text: the outcome in words.
        changed: the fields of the embed that it changed, for Django's history.
    """

    outcome: Literal["done", "nothing", "failed"]
    text: str
    changed: Sequence[str] = ()


class Instead(NamedTuple):
    """A verb that may be what the administrator wants instead.

    Attributes:
        verb: its name.
        label: the text of its button.
        text: what is different about it.
    """

    verb: str
    label: str
    text: str


class Verb:
    """Something that can be done to embeds.

    Attributes:
        name: its name in addresses.
        label: the text of its button.
        permission: the permission for embeds that it requires: `change` or `delete`.
        consequence: what it will do to each embed, shown before it is confirmed.
        is_dangerous: whether it ends something.
        only_reads: whether it changes nothing at Kapso.
        form: what it asks for, if anything.
    """

    name: str
    label: str | Promise
    permission = "change"
    consequence: str | Promise
    is_dangerous = False
    only_reads = False
    form: type[Form] | None = None

    def obstacle(self, embed: InboxEmbed) -> str:
        """Return why the verb cannot or need not be applied to the embed; "" if it can.

        Args:
            embed: the embed, read with its condition.
        """
        raise NotImplementedError

    def bulk_obstacle(self, embed: InboxEmbed) -> str:
        """Return why the embed is left out if others were chosen with it; "" if it is not.

        Args:
            embed: an embed without an obstacle.
        """
        return ""

    def note(self, embed: InboxEmbed) -> str:
        """Return what the verb undoes or ends that somebody else did to this embed, or "".

        Args:
            embed: the embed, read with its condition.
        """
        return ""

    def button(self, embed: InboxEmbed) -> str:
        """Return the text of the button that confirms the verb for this embed alone."""
        return str(self.label)

    def instead(self, embed: InboxEmbed) -> Instead | None:
        """Return the verb to offer beside this one for this embed alone, if there is one."""
        return None

    def run(
        self, embed: InboxEmbed, *, target: Target, actor: Any, values: Mapping[str, Any]
    ) -> Result:
        """Apply the verb to an embed.

        Args:
            embed: the embed.
            target: the embed as the administrator saw it when they decided.
            actor: the administrator.
            values: the cleaned data of the verb's form.

        Raises:
            refusals.REFUSALS: it was not done, or it is uncertain whether it was.
        """
        raise NotImplementedError
