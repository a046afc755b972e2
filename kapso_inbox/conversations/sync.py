"""Making up for webhooks that were missed: the part of `kapso_sync` that is about conversations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from functools import partial

from django.db import router, transaction
from django.db.models import Min, Q
from django.utils import timezone as django_timezone

from kapso_inbox import conf
from kapso_inbox.clock import as_stored
from kapso_inbox.kapso import KapsoError, ListedConversation
from kapso_inbox.models import InboxEmbed
from kapso_inbox.sync.notes import NoteCode
from kapso_inbox.sync.run import Run, until_done

from .models import (
    Conversation,
    ConversationQuerySet,
    ConversationRead,
    WebhookDelivery,
    WhatsAppNumber,
)
from .secrets import webhook_secrets
from .waiting import note_change

#: How far the first reading goes back.
FIRST_READING = timedelta(days=7)
#: How far each reading goes back before the end of the previous one.
OVERLAP = timedelta(minutes=10)
#: How long deliveries are kept. Kapso repeats one for two and a half minutes.
DELIVERIES_KEPT = timedelta(days=7)


def sync_conversations(run: Run) -> None:
    """Read the conversations of a project that changed since the last time, and forget old ones.

    Args:
        run: the sync of the project. What goes wrong becomes one of its problems. Those of a
            project without a secret for its webhooks are not read: it has not been set up for
            conversations, or no longer is, and then what it left here is forgotten in time.
    """
    if webhook_secrets(run.report.project):
        try:
            _read(run)
        except KapsoError as error:
            run.problem(NoteCode.CONVERSATIONS_UNREAD, error=error)
    elif not _conversations(run).exists():
        return
    received = run.client.received
    # With a wrong clock, of which the sync has told, nothing is known to be old.
    if received and abs(received.skew or timedelta(0)) < timedelta(hours=1) and not run.dry_run:
        _prune(run, as_stored(received.at))


def _read(run: Run) -> None:
    project = run.report.project
    _mirror_numbers(run)
    now = _time_at_kapso(run)
    last = ConversationRead.objects.for_write().filter(project=project).first()
    since = (_aware(last.read_until) if last else now - FIRST_READING) - OVERLAP
    read = mended = 0
    for page in run.client.conversations.pages(last_active_after=since):
        read += len(page)
        mended += _learn(run, page)
    mended += _find_ends(run, since)
    _mirror_assignments(run)
    note_change()
    run.report.further["conversations read"] = read
    run.report.further["conversations mended"] = mended
    if not run.dry_run:
        reads = ConversationRead.objects.for_write()
        state = ConversationRead(project=project, read_until=as_stored(now))
        until_done(partial(reads.bulk_create, [state], ignore_conflicts=True))
        until_done(partial(reads.filter(project=project).update, read_until=as_stored(now)))


def _conversations(run: Run) -> ConversationQuerySet:
    return Conversation.objects.for_write().filter(project=run.report.project)


def _learn(run: Run, page: Sequence[ListedConversation]) -> int:
    """Add what a page of Kapso's list says, and return how many conversations that changed.

    A change counts if somebody would notice it: the conversation is new, or waits or waits no more.
    """
    # A longer ID is none of Kapso's, and the database would refuse it.
    listed = {one.id: one for one in page if 0 < len(one.id) <= 64}
    read_at = _time_at_kapso(run)
    if run.dry_run:
        known = {row.kapso_id: row for row in _conversations(run).filter(kapso_id__in=listed)}
        rows = [known.get(one) or _new(run, one) for one in listed]
        return sum(_changes(row, listed[row.kapso_id], read_at) for row in rows)
    mended = 0

    def write() -> None:
        nonlocal mended
        with transaction.atomic(using=router.db_for_write(Conversation)):
            mended = _write(run, listed, read_at)

    until_done(write)
    return mended


def _write(run: Run, listed: Mapping[str, ListedConversation], read_at: datetime) -> int:
    """Store what a page says, inside a transaction; return how many conversations it changed."""
    before = _conversations(run).filter(kapso_id__in=listed).values_list("kapso_id", flat=True)
    known = set(before)
    # A webhook may create the same ones at the same time.
    Conversation.objects.for_write().bulk_create(
        [_new(run, one) for one in sorted(listed) if one not in known], ignore_conflicts=True
    )
    stored = _conversations(run).filter(kapso_id__in=listed).order_by("kapso_id")
    mended = 0
    for row in stored.select_for_update():
        was = dict(row.__dict__)
        is_new = row.kapso_id not in known
        mended += _changes(row, listed[row.kapso_id], read_at) or is_new
        if is_new or was != row.__dict__:
            row.save()
    return mended


def _new(run: Run, kapso_id: str) -> Conversation:
    return Conversation(project=run.report.project, kapso_id=kapso_id)


def _changes(row: Conversation, listed: ListedConversation, read_at: datetime) -> bool:
    """Let a conversation learn what Kapso lists, and return whether it waits otherwise than before.

    Kapso counts a reaction as the last message, and it needs no answer. The status is the one at
    the time of the answer: whether `updated_at` tells when a conversation ended is not documented.
    """
    before = _state(row)
    reacted_at = listed.last_message_timestamp if listed.last_message_type == "reaction" else None
    row.learn(
        at=listed.last_active_at,
        phone_number_id=listed.phone_number_id,
        phone=listed.phone_number,
        business_scoped_user_id=listed.business_scoped_user_id,
        username=listed.username,
        name=listed.contact_name,
        status=listed.status,
        status_at=max(read_at, listed.updated_at or read_at),
        inbound_at=_unless(reacted_at, listed.last_inbound_at),
        outbound_at=_unless(reacted_at, listed.last_outbound_at),
    )
    return _state(row) != before


def _unless(reacted_at: datetime | None, moment: datetime | None) -> datetime | None:
    """Return a time, or None if it is the one of a reaction, which may be told in whole seconds."""
    if reacted_at and moment and reacted_at in (moment, moment.replace(microsecond=0)):
        return None
    return moment


def _state(row: Conversation) -> tuple[object, ...]:
    is_inbound = row.last_inbound_at is not None and row.last_message_at == row.last_inbound_at
    is_unanswered = is_inbound and row.last_inbound_at != row.last_outbound_at
    return row.status, is_unanswered, row.handoff_at


def _find_ends(run: Run, since: datetime) -> int:
    """Find out which conversations that wait here have ended, and return how many.

    A conversation that ends is not active at that time, so the reading by activity misses it.
    """
    waiting = _conversations(run).waiting().filter(last_active_at__lt=as_stored(since))
    # Kapso ends a conversation after a day without a message. What still waits after a week is one
    # that Kapso does not list any more, such as a deleted one.
    forgotten = waiting.filter(last_active_at__lt=as_stored(_time_at_kapso(run) - FIRST_READING))
    count = forgotten.count()
    if not run.dry_run:
        ended = {"status": "ended", "handoff_at": None, "updated_at": django_timezone.now()}
        until_done(partial(forgotten.update, **ended))
    oldest = waiting.aggregate(oldest=Min("last_active_at"))["oldest"]
    if oldest is None:
        return count
    start = _aware(oldest) - timedelta(seconds=1)
    pages = run.client.conversations.pages(status="ended", last_active_after=start)
    return count + sum(_learn(run, page) for page in pages)


def _mirror_assignments(run: Run) -> None:
    """Note which conversations are assigned to the team members that embeds are limited to.

    Kapso has no event for an assignment.
    """
    project = run.report.project
    members = InboxEmbed.objects.for_write().filter(project=project).exclude(assigned_user_id="")
    for member in sorted(set(members.values_list("assigned_user_id", flat=True))):
        assigned: set[str] = set()
        pages = run.client.conversations.pages(status="active", assigned_user_id=member)
        for page in pages:
            _learn(run, page)
            assigned |= {one.id for one in page if one.id}
        if not run.dry_run:
            known = _conversations(run).filter(assigned_user_id=member)
            noted = set(known.values_list("kapso_id", flat=True))
            _assign(run, assigned - noted, member)
            _assign(run, noted - assigned, "")


def _assign(run: Run, kapso_ids: Iterable[str], member: str) -> None:
    ids = sorted(kapso_ids)
    for start in range(0, len(ids), 500):
        rows = _conversations(run).filter(kapso_id__in=ids[start : start + 500])
        changed_at = django_timezone.now()
        until_done(partial(rows.update, assigned_user_id=member, updated_at=changed_at))


def _mirror_numbers(run: Run) -> None:
    """Store which numbers the project has, and which customers they belong to."""
    listed = {one.phone_number_id: one for one in run.client.phone_numbers.list()}
    if run.dry_run:
        return
    numbers = WhatsAppNumber.objects.for_write().filter(project=run.report.project)
    known = {row.phone_number_id: row for row in numbers}
    until_done(numbers.exclude(phone_number_id__in=listed).delete)
    for phone_number_id, one in listed.items():
        row = known.get(phone_number_id) or WhatsAppNumber(
            project=run.report.project, phone_number_id=phone_number_id
        )
        was = dict(row.__dict__)
        row.customer_id, row.name = one.customer_id[:64], one.name[:255]
        row.display_phone_number = one.display_phone_number[:64]
        if row.pk is None:
            # Another sync may store it at the same time.
            until_done(partial(numbers.bulk_create, [row], ignore_conflicts=True))
        elif was != row.__dict__:
            until_done(row.save)


def _prune(run: Run, now: datetime) -> None:
    """Delete conversations after `CONVERSATION_RETENTION`, and what is known of old deliveries."""
    if retention := conf.duration("CONVERSATION_RETENTION"):
        end = now - retention
        is_old = Q(last_active_at__lt=end) | Q(last_active_at=None, created_at__lt=end)
        run.report.pruned += _conversations(run).filter(is_old).delete()[0]
    if not conf.value("STORE_TEXT"):
        _conversations(run).exclude(last_text="").update(last_text="")
    deliveries = WebhookDelivery.objects.for_write().filter(project=run.report.project)
    deliveries.filter(received_at__lt=now - DELIVERIES_KEPT).delete()


def _time_at_kapso(run: Run) -> datetime:
    """Return the time of Kapso's last answer, by Kapso's clock: Kapso compares with that one."""
    received = run.client.received
    return (received and received.date) or datetime.now(timezone.utc)


def _aware(moment: datetime) -> datetime:
    """Return a stored time with its zone, also on a site without USE_TZ."""
    return django_timezone.make_aware(moment) if django_timezone.is_naive(moment) else moment
