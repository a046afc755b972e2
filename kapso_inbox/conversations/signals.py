"""What happens in conversations, for hosts that want to know.

The sender is `Conversation`, and `event` is a frozen value of `kapso_inbox.conversations.events`.
Receivers run once for each event, after what it changed was committed and Kapso was answered. A
receiver that fails is logged by Django and changes nothing.

- `message_received`: a `MessageReceived`.
- `message_sent`: a `MessageSent`.
- `message_failed`: a `MessageFailed`.
- `conversation_ended`: a `ConversationEnded`.
- `handoff_requested`: a `HandoffRequested`.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.dispatch import Signal

from .events import (
    ConversationEnded,
    Event,
    HandoffRequested,
    MessageFailed,
    MessageReceived,
    MessageSent,
)
from .models import Conversation

message_received = Signal()
message_sent = Signal()
message_failed = Signal()
conversation_ended = Signal()
handoff_requested = Signal()

_SIGNALS: dict[type[Event], Signal] = {
    MessageReceived: message_received,
    MessageSent: message_sent,
    MessageFailed: message_failed,
    ConversationEnded: conversation_ended,
    HandoffRequested: handoff_requested,
}


def send_events(events: Iterable[Event]) -> None:
    """Send the signal of each event that has one.

    Args:
        events: what happened.
    """
    for event in events:
        if signal := _SIGNALS.get(type(event)):
            signal.send_robust(Conversation, event=event)
