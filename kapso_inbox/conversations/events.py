"""The events that Kapso's webhooks deliver, as immutable values. It knows no model and no setting.

Kapso's bodies come in two versions, singly and in batches, and vary: fields are missing, null or
new. Reading never fails because of that: what is not recognised is an `Unrecognised`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from kapso_inbox.kapso.conversations import epoch_or_iso


@dataclass(frozen=True)
class Person:
    """The person a conversation is with. What Kapso leaves out is blank.

    Attributes:
        phone: their number with its country code, digits only. WhatsApp can hide it.
        business_scoped_user_id: WhatsApp's id of the person for this business.
        username: their WhatsApp user name, without the “@”.
        name: the name of the contact at Kapso.
    """

    phone: str = ""
    business_scoped_user_id: str = ""
    username: str = ""
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened in a conversation.

    Attributes:
        project: the alias of the Kapso project.
        conversation_id: the conversation's id at Kapso.
        phone_number_id: the WhatsApp number it is with, or "".
        person: who it is with.
        at: when it happened, in UTC.
        key: what tells this event from all others of its project; holds no content.
        status: Kapso's status of the conversation, or "".
        status_at: when it had that status.
    """

    name: ClassVar[str]
    project: str
    conversation_id: str
    phone_number_id: str = ""
    person: Person = Person()
    at: datetime
    key: str
    status: str = ""
    status_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class MessageEvent(Event):
    """Something that happened to a message.

    Attributes:
        message_id: WhatsApp's id of the message. It contains the person's number.
        message_type: such as `text`, `image` or `reaction`.
        text: the message's text, or the caption of a file; "" if there is none.
        origin: `cloud_api` for what was sent through Kapso, by a person or a program;
            `business_app` for the WhatsApp app; `history_sync` for old messages.
    """

    message_id: str
    message_type: str = ""
    text: str = field(default="", repr=False)
    origin: str = ""

    @property
    def is_conversational(self) -> bool:
        """Return whether it is a message of now: no reaction, and none from an imported history."""
        return self.message_type != "reaction" and self.origin != "history_sync"


@dataclass(frozen=True, kw_only=True)
class MessageReceived(MessageEvent):
    """The person wrote.

    Attributes:
        is_new_conversation: whether a conversation began with it.
    """

    name = "whatsapp.message.received"
    is_new_conversation: bool = False


@dataclass(frozen=True, kw_only=True)
class MessageSent(MessageEvent):
    """Somebody, or a program, wrote to the person."""

    name = "whatsapp.message.sent"


@dataclass(frozen=True, kw_only=True)
class MessageFailed(MessageEvent):
    """A message did not reach the person.

    Attributes:
        errors: WhatsApp's reasons, such as “Message undeliverable (131026)”.
    """

    name = "whatsapp.message.failed"
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ConversationCreated(Event):
    """A conversation began."""

    name = "whatsapp.conversation.created"


@dataclass(frozen=True, kw_only=True)
class ConversationEnded(Event):
    """A conversation ended: somebody ended it, or nobody wrote for a day."""

    name = "whatsapp.conversation.ended"


@dataclass(frozen=True, kw_only=True)
class HandoffRequested(Event):
    """A workflow asks for a human.

    Attributes:
        reason: the workflow's reason, or "".
    """

    name = "workflow.execution.handoff"
    reason: str = field(default="", repr=False)


@dataclass(frozen=True)
class Ignored:
    """An event that is known to be of no interest here.

    Attributes:
        event: its name.
        key: what tells it from all others.
    """

    event: str
    key: str


@dataclass(frozen=True)
class Unrecognised:
    """A body, or a part of a batch, that could not be read.

    Attributes:
        event: the name that it came under.
        key: what tells it from all others.
        keys: the names of its fields, and none of their values.
    """

    event: str
    key: str
    keys: str


#: Events that change nothing here: a customer's phone received or showed a message, and so on.
UNINTERESTING = (
    "whatsapp.message.delivered",
    "whatsapp.message.read",
    "whatsapp.conversation.inactive",
    "whatsapp.phone_number.created",
    "whatsapp.phone_number.deleted",
    "workflow.execution.failed",
)
#: Longer than Kapso's UUIDs and WhatsApp's ids of numbers.
_LONGEST_ID = 64
_KINDS: dict[str, type[Event]] = {
    one.name: one
    for one in (
        MessageReceived,
        MessageSent,
        MessageFailed,
        ConversationCreated,
        ConversationEnded,
        HandoffRequested,
    )
}
_MESSAGES = {one.name: one for one in (MessageReceived, MessageSent, MessageFailed)}
_CONVERSATIONS = {one.name: one for one in (ConversationCreated, ConversationEnded)}

Read = Event | Ignored | Unrecognised


def read_events(project: str, body: bytes, header: str, *, received_at: datetime) -> Iterator[Read]:
    """Yield what a webhook's body says, one for each event in it.

    Args:
        project: the alias of the project that it is from.
        body: the raw body.
        header: the value of `X-Webhook-Event`, or "".
        received_at: now, in UTC; an event cannot be later than that.
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        yield _unrecognised(header, data, digest(body.hex()))
        return
    event = _event_name(data, header)
    parts = data.get("data") if data.get("batch") or isinstance(data.get("data"), list) else [data]
    if not isinstance(parts, list):
        parts = [data]
    for part in parts:
        try:
            yield _read_event(project, event, part, received_at)
        except Exception:  # noqa: BLE001 (Kapso would send again what no try can read)
            yield _unrecognised(event, part, digest(event, json.dumps(part, sort_keys=True)))


def digest(*parts: str) -> str:
    """Return 64 characters that stand for the parts and reveal nothing of them."""
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()


def _event_name(data: Mapping[str, Any], header: str) -> str:
    """Return the event's name. Only the header has that of a message."""
    for name in (header, data.get("event"), data.get("type")):
        if isinstance(name, str) and name.strip():
            return name.strip()[:64]
    return ""


def _read_event(project: str, event: str, data: Any, received_at: datetime) -> Read:
    """Read one event.

    Raises:
        ValueError: it has another shape than those that are known.
    """
    if event in UNINTERESTING:
        return Ignored(event, digest(event, json.dumps(data, sort_keys=True)))
    if not isinstance(data, dict):
        raise ValueError("not an object")
    if event == HandoffRequested.name:
        return _read_handoff(project, data, received_at)
    if event in _MESSAGES:
        return _read_message(project, event, data, received_at)
    if event in _CONVERSATIONS:
        common = _read_conversation(project, data, received_at)
        # Its own time is when it was created or ended.
        at = common.pop("status_at", None) or received_at
        if event == ConversationEnded.name:
            common["status"] = "ended"
        key = digest(event, common["conversation_id"], at.isoformat())
        return _CONVERSATIONS[event](**common, at=at, status_at=at, key=key)
    raise ValueError("not a known event")


def _read_message(
    project: str, event: str, data: Mapping[str, Any], received_at: datetime
) -> MessageEvent:
    message = _object(data, "message")
    common = _read_conversation(project, data, received_at)
    details = _object_or_empty(message, "kapso")
    message_id = _text(message, "id", "whatsapp_message_id")
    if not message_id:
        raise ValueError("a message without an id")
    values: dict[str, Any] = {
        **common,
        "at": _time(message, "timestamp", "created_at", "sent_at", latest=received_at)
        or received_at,
        "message_id": message_id,
        "message_type": _text(message, "type", "message_type"),
        "text": _text_of_message(message),
        "origin": _text(details, "origin") or _text(message, "origin"),
        "key": digest(event, message_id),
    }
    if event == MessageReceived.name:
        return MessageReceived(
            **values, is_new_conversation=data.get("is_new_conversation") is True
        )
    if event == MessageFailed.name:
        return MessageFailed(**values, errors=tuple(_errors(details)))
    return MessageSent(**values)


def _read_handoff(project: str, data: Mapping[str, Any], received_at: datetime) -> HandoffRequested:
    conversation = _object_or_empty(data, "conversation", "whatsapp_conversation")
    conversation_id = _text(data, "whatsapp_conversation_id", "conversation_id") or _text(
        conversation, "id"
    )
    if not 0 < len(conversation_id) <= _LONGEST_ID:
        raise ValueError("a hand-off without a conversation")
    at = _time(data, "occurred_at", "timestamp", "created_at", latest=received_at) or received_at
    execution = _text(data, "workflow_execution_id") or conversation_id
    return HandoffRequested(
        project=project,
        conversation_id=conversation_id,
        phone_number_id=_number_id(data, conversation),
        person=_person(conversation),
        at=at,
        key=digest(HandoffRequested.name, execution, at.isoformat()),
        reason=_text(_object_or_empty(data, "handoff"), "reason"),
    )


def _read_conversation(
    project: str, data: Mapping[str, Any], received_at: datetime
) -> dict[str, Any]:
    conversation = _object(data, "conversation")
    conversation_id = _text(conversation, "id")
    if not 0 < len(conversation_id) <= _LONGEST_ID:
        raise ValueError("a conversation without an id")
    config = _object_or_empty(data, "whatsapp_config")
    return {
        "project": project,
        "conversation_id": conversation_id,
        "phone_number_id": _number_id(data, conversation, config),
        "person": _person(conversation),
        "status": _text(conversation, "status"),
        "status_at": _time(conversation, "updated_at", "last_active_at", latest=received_at),
    }


def _number_id(*objects: Mapping[str, Any]) -> str:
    found = next(filter(None, (_text(one, "phone_number_id") for one in objects)), "")
    return found if len(found) <= _LONGEST_ID else ""


def _person(conversation: Mapping[str, Any]) -> Person:
    details = _object_or_empty(conversation, "kapso")
    phone = _text(conversation, "phone_number")
    return Person(
        phone="".join(letter for letter in phone if letter in "0123456789")[:32],
        business_scoped_user_id=_text(conversation, "business_scoped_user_id")[:140],
        username=_text(conversation, "username").lstrip("@")[:128],
        name=(_text(details, "contact_name") or _text(conversation, "contact_name"))[:255],
    )


def _text_of_message(message: Mapping[str, Any]) -> str:
    """Return what the person wrote. `kapso.content` has sentences of Kapso's for other types."""
    kind = _text(message, "type", "message_type")
    part = message.get(kind) if kind else None
    if isinstance(part, dict):
        return _text(part, "body", "caption")
    return _text(message, "content") if kind in ("", "text") else ""


def _errors(details: Mapping[str, Any]) -> Iterator[str]:
    statuses = details.get("statuses")
    for status in statuses if isinstance(statuses, list) else ():
        errors = status.get("errors") if isinstance(status, dict) else None
        for error in errors if isinstance(errors, list) else ():
            if isinstance(error, dict):
                title, code = _text(error, "title", "message"), _text(error, "code")
                yield f"{title} ({code})" if code else title


def _unrecognised(event: str, data: Any, key: str) -> Unrecognised:
    names = sorted(data) if isinstance(data, dict) else [type(data).__name__]
    keys = ", ".join(name[:40] for name in names)[:500]
    return Unrecognised(_clean(event)[:64], key, _clean(keys))


def _object(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not an object")
    return value


def _object_or_empty(data: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        if isinstance(value := data.get(name), dict):
            return value
    return {}


def _text(data: Mapping[str, Any], *names: str) -> str:
    """Return the first of the named values that is text or a number, or ""."""
    for name in names:
        value = data.get(name)
        if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
            return _clean(str(value))
    return ""


def _clean(text: str) -> str:
    """Return the text without what no database stores: half surrogates and NUL."""
    return text.encode(errors="replace").decode().replace("\0", "")


def _time(data: Mapping[str, Any], *names: str, latest: datetime) -> datetime | None:
    """Return the first of the named values that is a time: ISO 8601, or an epoch in any form."""
    for name in names:
        if moment := epoch_or_iso(data.get(name)):
            return min(moment, latest)
    return None


def as_json(event: Event) -> dict[str, Any]:
    """Return an event as plain values, for a queue. `from_json` reads them."""
    values = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(event).items()
    }
    return {"name": event.name, **values}


def from_json(values: Mapping[str, Any]) -> Event:
    """Return the event that `as_json` returned as plain values."""
    fields = {name: value for name, value in values.items() if name != "name"}
    fields["person"] = Person(**fields["person"])
    for name in ("at", "status_at"):
        fields[name] = fields[name] and datetime.fromisoformat(fields[name])
    if "errors" in fields:
        fields["errors"] = tuple(fields["errors"])
    return _KINDS[values["name"]](**fields)
