"""Embeds as an administrator saw them when they decided: what the form of a verb carries."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from kapso_inbox.models import AccessLink, InboxEmbed

_REVOKED = "revoked"


def was_revoked(embed: InboxEmbed) -> bool:
    """Return whether somebody revoked the embed, whether Kapso has confirmed it or not."""
    return embed.current_link is not None and embed.current_link.state in AccessLink.OVER


def is_id(text: str) -> bool:
    """Return whether the text can be a primary key; databases refuse a number that is too long."""
    return text.isascii() and text.isdecimal() and len(text) < 19


class Target(NamedTuple):
    """An embed as the administrator saw it when they decided; the form carries it as a string.

    Attributes:
        embed_id: the embed's primary key.
        newest: the primary key of its newest link, or None.
        was_revoked: whether the embed was revoked.
    """

    embed_id: int
    newest: UUID | None = None
    was_revoked: bool = False

    def __str__(self) -> str:
        return f"{self.embed_id}:{self.newest or ''}:{_REVOKED if self.was_revoked else ''}"

    @classmethod
    def of(cls, embed: InboxEmbed, newest: UUID | None) -> Target:
        """Return the target for an embed as it is shown now.

        Args:
            embed: the embed, with its current link.
            newest: the primary key of its newest link, or None.
        """
        return cls(embed.pk, newest, was_revoked(embed))

    @classmethod
    def parse(cls, text: str) -> Target:
        """Return the target that a form carries.

        Raises:
            ValueError: the text was written by hand.
        """
        embed_id, _separator, seen = text.partition(":")
        newest, _separator, was_revoked = seen.partition(":")
        if not is_id(embed_id):
            raise ValueError(embed_id[:20])
        return cls(int(embed_id), UUID(newest) if newest else None, was_revoked == _REVOKED)
