"""What the database holds of one Kapso project, counted while its rows are read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SampleLink:
    """A link at Kapso with which an API key can be tried out."""

    kapso_id: str
    slug: str
    state: str


@dataclass
class ProjectTotals:
    """What the database holds of one Kapso project.

    Attributes:
        embeds: the number of embeds.
        of_other_keys: the number of links at Kapso that were created with another API key.
        sample: the link that says most about the API key: the newest of another key, otherwise
            the newest of all.
        has_old_links: whether a link has been at Kapso for longer than `links.SYNC_EVERY`.
        was_seen_lately: whether a link has been in Kapso's list within `links.SYNC_EVERY`.
        opened: the number of secrets that can be decrypted.
        closed: the number of secrets that cannot.
        under_older_keys: ID of an encryption key that is not the first -> secrets under it.
    """

    embeds: int = 0
    of_other_keys: int = 0
    sample: SampleLink | None = None
    has_old_links: bool = False
    was_seen_lately: bool = False
    opened: int = 0
    closed: int = 0
    under_older_keys: Counter[str] = field(default_factory=Counter)
