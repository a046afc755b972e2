"""The types of the made-up people and conversations of the sandbox."""

from __future__ import annotations

from typing import NamedTuple


class Contact(NamedTuple):
    """A person who writes to the business, with the telephone number in E.164."""

    name: str
    phone: str
    company: str
    email: str
    city: str
    tag: str


class Number(NamedTuple):
    """A WhatsApp number of the business."""

    name: str
    phone_number_id: int
    display: str


class Dialogue(NamedTuple):
    """A conversation.

    Attributes:
        script: one message a line, `<` from the contact and `>` from the business. Before it, `I`
            stands for an image, `A` a voice note, `D` a document, `T` a template.
        assigned: the local part of an agent's e-mail address.
        ticks: the status of the business's messages that nobody has answered.
    """

    contact: str
    number: str
    minutes_ago: int
    script: str
    unread: int = 0
    handoff: bool = False
    assigned: str = ""
    ended: bool = False
    ticks: str = "read"


class Business(NamedTuple):
    """Everything that one project consists of."""

    name: str
    prefix: str
    numbers: tuple[Number, ...]
    users: tuple[tuple[str, str, str], ...]
    contacts: tuple[Contact, ...]
    dialogues: tuple[Dialogue, ...]
