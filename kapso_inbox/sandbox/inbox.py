"""The content of the embedded inbox once it is opened with a token."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from . import embeds as rules
from .conversations import known_conversation
from .lists import bad_request
from .project import SandboxProject
from .wire import Answer, JsonDict

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
            **_conversations(project, embed),
        },
    )


def talk(
    project: SandboxProject, embed: JsonDict, method: str, query: Mapping[str, str], body: bytes
) -> Answer:
    """Answer the page of an inbox with its conversations.

    A GET that names the `version` that the page has is answered with 204 if nothing has changed. A
    POST names an `event`, the `conversation` if it is about one, and perhaps a `text`.

    Raises:
        RefusedRequestError: the event is unknown, or the embed does not show the conversation.
    """
    if method == "POST":
        _take_place(project, embed, body)
    elif query.get("version") == str(project.version):
        return Answer(204)
    return Answer(200, _conversations(project, embed), {"Cache-Control": "no-store"})


def _conversations(project: SandboxProject, embed: JsonDict) -> JsonDict:
    return {"version": project.version, "conversations": project.visible_conversations(embed)}


def _take_place(project: SandboxProject, embed: JsonDict, body: bytes) -> None:
    try:
        wanted = json.loads(body)
        event, text = str(wanted["event"]), str(wanted.get("text", ""))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise bad_request("An event is missing") from None
    if event == "somebody_writes":
        project.somebody_writes(embed, text)
        return
    rows = project.visible_conversations(embed)
    conversation_id = known_conversation(rows, str(wanted.get("conversation")))["id"]
    if event == "agent_writes" and text.strip():
        project.agent_writes(conversation_id, text)
    elif event == "customer_writes":
        project.same_customer_writes(conversation_id, text)
    elif event == "hand_off":
        project.hand_off(conversation_id)
    elif event == "end_handoff":
        project.end_handoff(conversation_id)
    elif event == "agent_reads":
        project.agent_reads(conversation_id)
    else:
        raise bad_request("There is no such event")
