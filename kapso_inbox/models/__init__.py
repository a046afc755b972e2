"""What the CRM keeps of Kapso's inbox embeds. Nothing here speaks HTTP."""

from .choices import Condition, Language, Mode, Outcome, ScopeType
from .embeds import MINE, RESERVED_SLUGS, SOON, InboxEmbed, InboxEmbedQuerySet, own_slug
from .links import AccessLink, AccessLinkQuerySet, name_without_reference, reference_in
from .preferences import InboxPreference
from .querysets import InboxQuerySet
from .reasons import ReasonCode, read_reason, reason, reason_code
from .records import InboxChange, LaunchAttempt, Record
from .tickets import LaunchTicket

__all__ = [
    "MINE",
    "RESERVED_SLUGS",
    "SOON",
    "AccessLink",
    "AccessLinkQuerySet",
    "Condition",
    "InboxChange",
    "InboxEmbed",
    "InboxEmbedQuerySet",
    "InboxPreference",
    "InboxQuerySet",
    "Language",
    "LaunchAttempt",
    "LaunchTicket",
    "Mode",
    "Outcome",
    "ReasonCode",
    "Record",
    "ScopeType",
    "name_without_reference",
    "own_slug",
    "read_reason",
    "reason",
    "reason_code",
    "reference_in",
]
