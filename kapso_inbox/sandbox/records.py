"""The conversations of a project: finding them, adding to them, and telling the webhooks."""

from __future__ import annotations

import re
import secrets
import threading
import uuid
from collections.abc import Callable
from datetime import datetime

from .bodies import conversation_forms, message_forms
from .conversations import digits, known_conversation, number_of
from .embeds import to_iso
from .webhooks import SandboxWebhooks
from .wire import JsonDict

_BUSINESS_SCOPED = re.compile(r"[A-Za-z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}")


class ConversationRecords:
    """The part of a project that holds conversations. `ConversationEvents` is what happens in them.

    Attributes:
        conversations: the conversations with their messages, which a test may change.
        phone_numbers: the numbers of the project.
        webhooks: the webhooks, and what is on its way to them.
        version: grows with every change that a method makes.
    """

    conversations: list[JsonDict]
    phone_numbers: list[JsonDict]
    webhooks: SandboxWebhooks
    version: int
    _clock: Callable[[], datetime]
    _lock: threading.RLock
    _on_their_way: list[JsonDict]

    def _conversation(self, conversation_id: str) -> JsonDict:
        return known_conversation(self.conversations, conversation_id)

    def _conversations_of(self, person: str) -> list[JsonDict]:
        """Return somebody's conversations, the latest first."""
        number = digits(person) if re.fullmatch(r"[+\d\s().-]+", person) else None
        found = [
            row
            for row in self.conversations
            if person in (row["contact_name"], row.get("business_scoped_user_id"))
            or (number and digits(row["phone"]) == number)
        ]
        return sorted(found, key=lambda row: str(row["last_active_at"]), reverse=True)

    def _number(self, wanted: str) -> JsonDict:
        for one in self.phone_numbers:
            if wanted in ("", one["name"], one["phone_number_id"], one["internal_id"]):
                return one
        raise LookupError(f"the project has no number {wanted!r}")

    def _begin(self, person: JsonDict, number: JsonDict) -> JsonDict:
        now = to_iso(self._clock())
        conversation = {
            "id": str(uuid.uuid4()),
            **{name: person.get(name) for name in _OF_A_PERSON},
            "whatsapp_config_id": number["internal_id"],
            "status": "active",
            "unread_count": 0,
            "handoff": False,
            "assigned_user_id": None,
            "assignments": [],
            "created_at": now,
            "last_active_at": now,
            "messages": [],
        }
        self.conversations.append(conversation)
        return conversation

    def _add(
        self, conversation: JsonDict, direction: str, kind: str, text: str, **more: str | None
    ) -> JsonDict:
        now = to_iso(self._clock())
        message = new_message(direction, kind, text, now, **more)
        conversation["messages"].append(message)
        conversation["last_active_at"] = now
        if direction == "inbound" and kind != "reaction":
            conversation["unread_count"] += 1
            for earlier in conversation["messages"]:
                if earlier["status"] in ("sent", "delivered"):
                    earlier["status"] = "read"
        elif direction == "outbound":
            conversation["unread_count"] = 0
        return message

    def _quietly(self, conversation_id: str, **changes: object) -> JsonDict:
        with self._lock:
            conversation = self._conversation(conversation_id)
            conversation.update(changes)
            self.version += 1
            return conversation

    def _tell(
        self, event: str, conversation: JsonDict, message: JsonDict, *, is_new: bool = False
    ) -> None:
        self.version += 1
        self.webhooks.announce(
            event,
            message_forms(event, self.phone_numbers, conversation, message, is_new=is_new),
            conversation_id=conversation["id"],
            phone_number_id=number_of(self.phone_numbers, conversation)["phone_number_id"],
        )

    def _tell_conversation(self, event: str, conversation: JsonDict) -> None:
        self.version += 1
        self.webhooks.announce(
            event,
            conversation_forms(event, self.phone_numbers, conversation),
            conversation_id=conversation["id"],
            phone_number_id=number_of(self.phone_numbers, conversation)["phone_number_id"],
        )


#: What a new conversation of the same person takes from an earlier one.
_OF_A_PERSON = (
    "contact_name",
    "phone",
    "business_scoped_user_id",
    "username",
    "company",
    "customer_id",
)


def somebody_new(person: str, name: str, username: str) -> JsonDict:
    """Return what a new conversation knows of a person.

    Raises:
        LookupError: this is neither a number nor a business-scoped id.
    """
    is_scoped = _BUSINESS_SCOPED.fullmatch(person) is not None
    number = re.sub(r"\D", "", person)
    if not is_scoped and not re.fullmatch(r"\+?[\d\s().-]{5,}", person):
        raise LookupError(f"nobody is called {person!r}")
    return {
        "contact_name": name or username or ("" if is_scoped else f"+{number}"),
        "phone": None if is_scoped else f"+{number}",
        "business_scoped_user_id": person if is_scoped else None,
        "username": username or None,
        "company": "",
        "customer_id": None,
    }


def new_message(direction: str, kind: str, text: str, at: str, **more: str | None) -> JsonDict:
    """Return a message as a conversation holds it."""
    return {
        "id": f"wamid.{secrets.token_urlsafe(24)}",
        "direction": direction,
        "type": kind,
        "text": text,
        "status": None if direction == "inbound" else "sent",
        "timestamp": at,
        **more,
    }


def assigned(user_id: str, at: str, notes: object = None) -> JsonDict:
    """Return an active assignment as a conversation holds it."""
    return {
        "id": str(uuid.uuid4()),
        "user_id": user_id,
        "notes": notes,
        "active": True,
        "created_at": at,
        "updated_at": at,
    }
