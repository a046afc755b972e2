"""What the CRM does when something happens in a conversation: it adds a line to the timeline."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from crm.models import Contact, TimelineEntry
from kapso_inbox.conversations.events import Event
from kapso_inbox.conversations.models import Conversation
from kapso_inbox.conversations.signals import (
    conversation_ended,
    handoff_requested,
    message_received,
    message_sent,
)

KINDS = {
    message_received: TimelineEntry.Kind.WROTE,
    message_sent: TimelineEntry.Kind.ANSWERED,
    handoff_requested: TimelineEntry.Kind.ASKED,
    conversation_ended: TimelineEntry.Kind.ENDED,
}


@receiver(list(KINDS))
def add_to_the_timeline(sender: Any, signal: Any, event: Event, **kwargs: Any) -> None:
    """Add a line to the timeline of the contact whom an event is about, if there is one."""
    phone = event.person.phone or _phone_of(event)
    contact = Contact.objects.filter(whatsapp=phone).first() if phone else None
    if contact:
        TimelineEntry.objects.create(contact=contact, kind=KINDS[signal], at=event.at)


def _phone_of(event: Event) -> str:
    """Return the number of the person: a hand-off names only the conversation."""
    found = Conversation.objects.filter(project=event.project, kapso_id=event.conversation_id)
    return found.values_list("phone", flat=True).first() or ""
