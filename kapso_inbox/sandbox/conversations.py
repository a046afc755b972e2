"""How Kapso shows the conversations of a project, their messages and the people in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from .embeds import from_iso
from .lists import bad_request
from .wire import JsonDict, RefusedRequestError

_NO_NUMBER: JsonDict = dict.fromkeys(
    ("phone_number_id", "internal_id", "name", "display_phone_number")
)


def digits(phone: object) -> str | None:
    """Return a number as the API shows it, without the plus sign; None if there is none."""
    return re.sub(r"\D", "", str(phone)) if phone else None


def number_of(numbers: Sequence[JsonDict], conversation: JsonDict) -> JsonDict:
    """Return the number of the project that a conversation belongs to."""
    wanted = conversation["whatsapp_config_id"]
    return next((one for one in numbers if one["internal_id"] == wanted), _NO_NUMBER)


def last_written(conversation: JsonDict, direction: str) -> str | None:
    """Return when somebody last wrote in one direction. A reaction is no message."""
    times = (
        str(message["timestamp"])
        for message in conversation["messages"]
        if message["direction"] == direction and message["type"] != "reaction"
    )
    return max(times, default=None)


def is_unanswered(conversation: JsonDict) -> bool:
    """Return whether the customer wrote last."""
    asked = last_written(conversation, "inbound")
    return asked is not None and asked > (last_written(conversation, "outbound") or "")


def shown_conversation(numbers: Sequence[JsonDict], conversation: JsonDict) -> JsonDict:
    """Return a conversation as the list shows it: the number is without its plus sign."""
    return {
        "id": conversation["id"],
        "phone_number": digits(conversation["phone"]),
        "business_scoped_user_id": conversation.get("business_scoped_user_id"),
        "username": conversation.get("username"),
        "status": conversation["status"],
        "last_active_at": conversation["last_active_at"],
        "created_at": conversation.get("created_at") or conversation["last_active_at"],
        "updated_at": conversation["last_active_at"],
        "metadata": {},
        "phone_number_id": number_of(numbers, conversation)["phone_number_id"],
        "kapso": kapso_part(conversation),
    }


def kapso_part(conversation: JsonDict) -> JsonDict:
    """Return what Kapso adds to a conversation of WhatsApp's."""
    messages = conversation["messages"]
    last = max(messages, key=lambda message: str(message["timestamp"]), default=None)
    return {
        "contact_name": conversation["contact_name"],
        "messages_count": len(messages),
        "last_message_id": last and last["id"],
        "last_message_type": last and last["type"],
        "last_message_timestamp": last and last["timestamp"],
        "last_message_text": last and last["text"],
        "last_inbound_at": last_written(conversation, "inbound"),
        "last_outbound_at": last_written(conversation, "outbound"),
    }


def shown_message(conversation: JsonDict, message: JsonDict) -> JsonDict:
    """Return a message as the list and the webhooks show it."""
    kind, text = message["type"], message["text"]
    content: Any = {
        "text": {"body": text},
        "reaction": {"emoji": text, "message_id": message.get("to")},
        "template": {"name": "reminder", "language": {"code": "en"}},
        "document": {"filename": text},
        "image": {"caption": text},
    }.get(kind, {})
    is_inbound = message["direction"] == "inbound"
    shown: JsonDict = {
        "id": message["id"],
        "timestamp": str(int(from_iso(message["timestamp"]).timestamp())),
        "type": kind,
        kind: content,
        "kapso": {
            "direction": message["direction"],
            "status": "received" if is_inbound else message["status"],
            "processing_status": "completed",
            "origin": message.get("origin", "cloud_api"),
            "has_media": kind in ("image", "audio", "document"),
            # Not the text: Kapso describes some messages in sentences of its own.
            "content": f"Template: {text}" if kind == "template" else text,
        },
    }
    if is_inbound and conversation.get("business_scoped_user_id"):
        shown["from_user_id"] = conversation["business_scoped_user_id"]
    if message.get("error"):
        errors = [{"code": 131026, "title": message["error"], "message": message["error"]}]
        shown["kapso"]["statuses"] = [{"id": message["id"], "status": "failed", "errors": errors}]
    return shown


def shown_contacts(conversations: Sequence[JsonDict]) -> Iterator[JsonDict]:
    """Yield each person once, as the list shows them, those who were active last first."""
    seen = set()
    for row in sorted(conversations, key=lambda one: str(one["last_active_at"]), reverse=True):
        person = row.get("business_scoped_user_id") or row["phone"]
        if person not in seen:
            seen.add(person)
            yield {
                "id": row["id"],
                "wa_id": digits(row["phone"]),
                "business_scoped_user_id": row.get("business_scoped_user_id"),
                "username": row.get("username"),
                "profile_name": row["contact_name"],
                "display_name": row["contact_name"],
                "customer_id": row["customer_id"],
                "last_active_at": row["last_active_at"],
            }


def filtered_conversations(
    numbers: Sequence[JsonDict], rows: Sequence[JsonDict], query: Mapping[str, str]
) -> list[JsonDict]:
    """Return the conversations that a request asks for.

    Raises:
        RefusedRequestError: two filters exclude each other, or a time cannot be read.
    """
    unassigned = query.get("unassigned") in ("1", "true")
    if unassigned and query.get("assigned_user_id"):
        raise bad_request("assigned_user_id and unassigned exclude each other")
    times = {
        (field, word): _moment(query[f"{field[:-3]}_{word}"])
        for field in ("created_at", "last_active_at")
        for word in ("after", "before")
        if query.get(f"{field[:-3]}_{word}")
    }

    def fits(row: JsonDict) -> bool:
        shown = shown_conversation(numbers, row)
        return (
            _agrees(shown, query, ("phone_number_id", "status"))
            and _agrees(row, query, ("assigned_user_id",))
            and (digits(query.get("phone_number")) or "") in (shown["phone_number"] or "")
            and not (unassigned and row["assigned_user_id"])
            and all(
                from_iso(shown[field]) > moment
                if word == "after"
                else from_iso(shown[field]) < moment
                for (field, word), moment in times.items()
            )
        )

    return [row for row in rows if fits(row)]


def filtered_messages(
    numbers: Sequence[JsonDict], rows: Sequence[JsonDict], query: Mapping[str, str]
) -> list[JsonDict]:
    """Return the messages that a request asks for, each with the ids of its conversation."""
    found = []
    for row in rows:
        number = number_of(numbers, row)["phone_number_id"]
        about = {
            "conversation_id": row["id"],
            "phone_number_id": number,
            "business_scoped_user_id": row.get("business_scoped_user_id"),
        }
        if not _agrees(about, query, tuple(about)):
            continue
        if (digits(query.get("phone_number")) or "") not in (digits(row["phone"]) or ""):
            continue
        for message in row["messages"]:
            shown = shown_message(row, message)
            facts = {**shown["kapso"], "message_type": shown["type"]}
            if _agrees(facts, query, ("direction", "status", "message_type")):
                shown["kapso"] |= {"conversation_id": row["id"], "phone_number_id": number}
                found.append({**shown, "phone_number": digits(row["phone"])})
    return found


def _agrees(row: JsonDict, query: Mapping[str, str], names: Sequence[str]) -> bool:
    return all(row[name] == query[name] for name in names if query.get(name))


def _moment(text: str) -> datetime:
    try:
        return from_iso(text)
    except ValueError:
        raise bad_request(f"{text!r} is not a time") from None


def known_conversation(rows: Sequence[JsonDict], conversation_id: str) -> JsonDict:
    """Return the conversation with this id.

    Raises:
        RefusedRequestError: there is none (404).
    """
    for row in rows:
        if row["id"] == conversation_id:
            return row
    raise RefusedRequestError(404, {"error": "Conversation not found"})
