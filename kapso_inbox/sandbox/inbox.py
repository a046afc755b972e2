"""The content of the embedded inbox once it is opened with a token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from . import embeds as rules
from .project import SandboxProject
from .wire import JsonDict

_STATUSES = ("active", "ended", "all")


@dataclass(frozen=True)
class InboxPage:
    """The page of an inbox.

    Attributes:
        status: the HTTP status.
        context: the content, as JSON can hold it and without the token; empty after a refusal.
    """

    status: int
    context: JsonDict = field(repr=False)


def page_for(project: SandboxProject, embed: JsonDict, query: Mapping[str, str]) -> InboxPage:
    """Return the page for an embed that may be opened.

    Query values that Kapso does not know are ignored. The filters only decide what the page shows
    first: the context has all conversations in the embed's scope.
    """
    numbers = project.visible_numbers(embed)
    number = query.get("whatsapp_config_id", "all")
    mode = query.get("mode", "")
    language = query.get("language", "")
    status = query.get("status", "")
    return InboxPage(
        200,
        {
            "name": embed["scope_name"],
            "allowed_origins": list(embed["allowed_origins"]),
            "language": language if language in rules.LANGUAGES else embed["language"],
            "mode": mode if mode in rules.MODES else embed["default_mode"],
            # A mode in the address overrides what the reader chose in an earlier visit.
            "mode_forced": mode in rules.MODES,
            "filters": {
                "status": status if status in _STATUSES else "active",
                "search": query.get("search", ""),
                "number": number if number in {one["internal_id"] for one in numbers} else "all",
                "unread": query.get("unread") in ("1", "true"),
                "handoff": query.get("handoff") in ("1", "true"),
            },
            "conversation": query.get("conversation_id", ""),
            "numbers": [
                {
                    "id": one["internal_id"],
                    "name": one["name"],
                    "phone": one["display_phone_number"],
                }
                for one in numbers
            ],
            "users": {user["user_id"]: user["name"] for user in project.users},
            "conversations": project.visible_conversations(embed),
        },
    )
