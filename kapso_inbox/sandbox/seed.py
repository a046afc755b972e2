"""The content of a new sandbox project: numbers, customers, users and conversations.

Ids depend only on the project's index and the names, so that tests can rely on them. Times are
relative to the current time.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from .embeds import to_iso
from .seed_aurora_contacts import CONTACTS
from .seed_data import BUSINESSES
from .seed_types import Business, Contact, Dialogue, Number
from .wire import JsonDict

__all__ = ["CONTACTS", "Contact", "Seed", "seed_for"]

_NAMESPACE = uuid.UUID("6d1f5a0e-6b39-5c0e-9a57-5b1c3d2e4f60")
_KINDS = {
    "<": ("inbound", "text"),
    ">": ("outbound", "text"),
    "I<": ("inbound", "image"),
    "I>": ("outbound", "image"),
    "A<": ("inbound", "audio"),
    "D>": ("outbound", "document"),
    "D<": ("inbound", "document"),
    "T>": ("outbound", "template"),
}
#: Minutes between messages, the latest first.
_GAPS = (2, 1, 6, 3, 1, 11, 4, 2, 38)
_SINCE_TEMPLATE = timedelta(hours=21)


@dataclass
class Seed:
    """The lists of a project as Kapso's API shows them, and conversations in a form of our own."""

    name: str
    phone_numbers: list[JsonDict] = field(default_factory=list)
    customers: list[JsonDict] = field(default_factory=list)
    users: list[JsonDict] = field(default_factory=list)
    conversations: list[JsonDict] = field(default_factory=list)


def seed_for(index: int, now: datetime) -> Seed:
    """Return the seed of one project, with times relative to `now`.

    The first two projects differ in everything; later ones repeat their people with other ids.

    Args:
        index: the project's number, from 0.
        now: the current time.
    """
    return _Builder(index, BUSINESSES[index % len(BUSINESSES)], now).build()


class _Builder:
    def __init__(self, index: int, business: Business, now: datetime) -> None:
        self.index, self.business, self.now = index, business, now

    def build(self) -> Seed:
        business = self.business
        companies = list(dict.fromkeys(contact.company for contact in business.contacts))
        contacts = {contact.name: contact for contact in business.contacts}
        return Seed(
            name=business.name,
            phone_numbers=[self._number(number) for number in business.numbers],
            customers=[
                {
                    "id": self._id("customer", company),
                    "name": company,
                    "external_customer_id": f"{business.prefix}-{place:04d}",
                }
                for place, company in enumerate(companies, start=1001)
            ],
            users=[
                {
                    "id": place,
                    "user_id": self._id("user", email),
                    "name": name,
                    "email": email,
                    "role": role,
                }
                for place, (name, email, role) in enumerate(business.users, start=1)
            ],
            conversations=[
                self._conversation(place, dialogue, contacts[dialogue.contact])
                for place, dialogue in enumerate(business.dialogues)
            ],
        )

    def _id(self, kind: str, name: str) -> str:
        return str(uuid.uuid5(_NAMESPACE, f"{self.index}/{kind}/{name}"))

    def _number(self, number: Number) -> JsonDict:
        return {
            # No two projects have the same number, so a repeated business needs other ids.
            "phone_number_id": str(number.phone_number_id + self.index // len(BUSINESSES)),
            "internal_id": self._id("number", number.name),
            "name": number.name,
            "display_phone_number": number.display,
            "display_phone_number_normalized": number.display.replace("+", "").replace(" ", ""),
            "verified_name": f"{self.business.name} {number.name}",
            "status": "CONNECTED",
            "customer_id": None,
        }

    def _conversation(self, place: int, dialogue: Dialogue, contact: Contact) -> JsonDict:
        last_active = self.now - timedelta(minutes=dialogue.minutes_ago)
        email = dialogue.assigned and f"{dialogue.assigned}@example.com"
        messages = list(self._messages(place, dialogue, last_active))
        user_id = self._id("user", email) if email else None
        began = messages[0]["timestamp"]
        assignment = {
            "id": self._id("assignment", str(place)),
            "user_id": user_id,
            "notes": None,
            "active": True,
            "created_at": began,
            "updated_at": began,
        }
        return {
            "id": self._id("conversation", str(place)),
            "contact_name": contact.name,
            "phone": contact.phone,
            "business_scoped_user_id": None,
            "username": None,
            "company": contact.company,
            "whatsapp_config_id": self._id("number", dialogue.number),
            "customer_id": self._id("customer", contact.company),
            "status": "ended" if dialogue.ended else "active",
            "unread_count": dialogue.unread,
            "handoff": dialogue.handoff,
            "assigned_user_id": user_id,
            "assignments": [assignment] if user_id else [],
            "created_at": began,
            "last_active_at": to_iso(last_active),
            "messages": messages,
        }

    def _messages(self, place: int, dialogue: Dialogue, last: datetime) -> Iterator[JsonDict]:
        lines = [line.strip().split(" ", 1) for line in dialogue.script.strip().splitlines()]
        times = [last]
        for back in range(1, len(lines)):
            is_template = lines[-back - 1][0] == "T>"
            gap = timedelta(minutes=_GAPS[(place + back) % len(_GAPS)])
            times.append(times[-1] - (_SINCE_TEMPLATE if is_template else gap))
        for line, (mark, text) in enumerate(lines):
            direction, kind = _KINDS[mark]
            answered = any(later.startswith(("<", "I<", "A<")) for later, _ in lines[line + 1 :])
            yield {
                "id": self._id("message", f"{place}/{line}"),
                "direction": direction,
                "type": kind,
                "text": text,
                "status": None
                if direction == "inbound"
                else "read"
                if answered
                else dialogue.ticks,
                "timestamp": to_iso(times[len(lines) - 1 - line]),
            }
