"""What webhooks tell, written to the database: each event once, and never back in time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.db import IntegrityError, OperationalError, router, transaction
from django.utils import timezone

from .events import (
    Event,
    HandoffRequested,
    Ignored,
    MessageEvent,
    MessageReceived,
    MessageSent,
    Read,
    Unrecognised,
    digest,
)
from .models import Conversation, WebhookDelivery
from .waiting import note_change

_Outcome = WebhookDelivery.Outcome
_TRIES = 5
#: At most one row for refused signatures is written in this time: nobody may fill the table without
#: a secret.
_REFUSALS_EVERY = timedelta(minutes=1)


def take_in(project: str, idempotency_key: str, found: list[Read]) -> list[Event]:
    """Record what a webhook delivered, in one transaction.

    Nearly every delivery is new, so it is stored without asking. If the database knows one of its
    events, or another process writes the same rows at the same time, nothing of it is stored, and
    it starts again with only what is unknown.

    Args:
        project: the alias of the project.
        idempotency_key: the delivery's key, or "". The same at each repetition.
        found: what was read from its body.

    Returns:
        The events that are new, to tell the host of.

    Raises:
        DatabaseError: nothing was stored.
    """
    key = idempotency_key if len(idempotency_key) <= 64 else digest(idempotency_key)
    rows = list({row.event_key: (row, one) for row, one in _rows(project, found)}.values())
    for tries_left in reversed(range(_TRIES)):
        if rows:
            rows[0][0].idempotency_key = key or None
        try:
            events = _store(project, rows)
        except (IntegrityError, OperationalError):
            if not tries_left:
                raise
        else:
            note_change()
            return events
        rows = _unknown(project, key, rows)
    raise AssertionError("unreachable")


def record_refused(project: str) -> None:
    """Remember that a delivery's signature was refused, for the doctor.

    Args:
        project: the alias of a project.
    """
    now = timezone.now()
    rows = WebhookDelivery.objects.for_write().filter(project=project, outcome=_Outcome.REFUSED)
    if not rows.filter(received_at__gt=now - _REFUSALS_EVERY).exists():
        rows.create(
            project=project,
            event_key=digest("refused", now.isoformat()),
            outcome=_Outcome.REFUSED,
        )


def _rows(project: str, found: list[Read]) -> Iterator[tuple[WebhookDelivery, Read]]:
    for one in found:
        row = WebhookDelivery(project=project, event_key=one.key, event=_name_of(one))
        if isinstance(one, Unrecognised):
            row.outcome, row.keys = _Outcome.UNRECOGNISED, one.keys
        else:
            row.outcome = _Outcome.APPLIED if _matters(one) else _Outcome.IGNORED
        yield row, one


def _store(project: str, rows: list[tuple[WebhookDelivery, Read]]) -> list[Event]:
    if not rows:
        return []
    events = [one for _, one in rows if isinstance(one, Event) and _matters(one)]
    with transaction.atomic(using=router.db_for_write(Conversation)):
        # First of all a write: SQLite cannot turn a transaction that has read into one that writes
        # while another process writes.
        WebhookDelivery.objects.for_write().bulk_create([row for row, _ in rows])
        # In one order, so that two batches do not wait for each other.
        for conversation_id in sorted({event.conversation_id for event in events}):
            _apply(project, conversation_id, events)
    return events


def _apply(project: str, conversation_id: str, events: list[Event]) -> None:
    rows = Conversation.objects.for_write().filter(project=project, kapso_id=conversation_id)
    row = next(iter(rows.select_for_update().order_by()), None)
    is_new = row is None
    row = row or Conversation(project=project, kapso_id=conversation_id)
    before = dict(row.__dict__)
    for event in events:
        if event.conversation_id == conversation_id:
            _learn(row, event)
    if is_new:
        row.save(force_insert=True)
    elif changed := {name: value for name, value in row.__dict__.items() if value != before[name]}:
        # Not `save`, which writes every field: this is half of what a webhook costs.
        rows.update(**changed, updated_at=timezone.now())


def _learn(row: Conversation, event: Event) -> None:
    """Let a conversation know of an event."""
    is_message = isinstance(event, (MessageReceived, MessageSent))
    row.learn(
        at=event.at,
        phone_number_id=event.phone_number_id,
        phone=event.person.phone,
        business_scoped_user_id=event.person.business_scoped_user_id,
        username=event.person.username,
        name=event.person.name,
        # Old bodies do not tell the status. A conversation in which somebody writes is active.
        status=event.status or ("active" if is_message else ""),
        status_at=event.status_at or event.at,
        inbound_at=event.at if isinstance(event, MessageReceived) else None,
        outbound_at=event.at if isinstance(event, MessageSent) else None,
        handoff_at=event.at if isinstance(event, HandoffRequested) else None,
        text=event.text if isinstance(event, (MessageReceived, MessageSent)) else None,
    )


def _unknown(
    project: str, idempotency_key: str, rows: list[tuple[WebhookDelivery, Read]]
) -> list[tuple[WebhookDelivery, Read]]:
    """Return those rows whose events are not on record."""
    known = WebhookDelivery.objects.for_write().filter(project=project)
    if idempotency_key and known.filter(idempotency_key=idempotency_key).exists():
        return []
    keys = known.filter(event_key__in=[row.event_key for row, _ in rows])
    on_record = set(keys.values_list("event_key", flat=True))
    return [
        (WebhookDelivery(**_fields(row)), one)
        for row, one in rows
        if row.event_key not in on_record
    ]


def _fields(row: WebhookDelivery) -> dict[str, str]:
    return {
        name: getattr(row, name) for name in ("project", "event_key", "event", "outcome", "keys")
    }


def _name_of(one: Read) -> str:
    return one.name if isinstance(one, Event) else one.event


def _matters(one: Read) -> bool:
    """Return whether an event changes something here. An imported history wakes nobody."""
    if isinstance(one, MessageEvent):
        return one.is_conversational
    return not isinstance(one, (Ignored, Unrecognised))
