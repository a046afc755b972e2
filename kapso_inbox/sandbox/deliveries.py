"""The queue of what Kapso sends to webhooks: in order, in batches, again, and then no more.

Nothing here sends anything: who does asks for what is `due`, and tells what was answered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from .bodies import Forms, batch_of, sealed
from .wire import JsonDict

#: How long after each failure a delivery is tried again.
RETRY_AFTER = (timedelta(seconds=10), timedelta(seconds=40), timedelta(seconds=90))
#: How long a delivery waits for an earlier one of the same conversation.
IN_ORDER_FOR = timedelta(seconds=30)
#: How long, and how many, messages are collected for a batch.
BATCH_WINDOW, BATCH_SIZE = timedelta(seconds=5), 50
#: A webhook is paused if so many tries in this time had so many failures, and so large a part.
PAUSE_WINDOW, PAUSE_TRIES, PAUSE_FAILURES, PAUSE_PART = timedelta(minutes=15), 20, 10, 0.85
#: How many deliveries that are over are kept to be looked at.
_KEPT = 1000


@dataclass(eq=False)
class QueuedDelivery:
    """A body on its way to a webhook.

    Attributes:
        webhook_id: the webhook.
        url: where it is sent.
        event: the name of the event.
        body: the body as it is sent.
        headers: its headers, with the signature.
        conversation_id: the conversation that it is about.
        created_at: when it was queued.
        due_at: when it is to be tried next.
        statuses: what was answered to each try; 0 stands for no answer.
        state: `waiting`, `under_way`, `delivered`, `failed` or `dropped`.
        items: the bodies that a batch consists of.
    """

    webhook_id: str
    url: str
    event: str
    body: bytes = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    conversation_id: str
    created_at: datetime
    due_at: datetime
    statuses: list[int] = field(default_factory=list)
    state: str = "waiting"
    items: list[JsonDict] = field(default_factory=list, repr=False)

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state not in ("waiting", "under_way")


@dataclass(eq=False)
class _Batch:
    webhook: JsonDict
    event: str
    conversation_id: str
    opened_at: datetime
    items: list[JsonDict] = field(default_factory=list)


class Outbox:
    """The deliveries of one project, safe to use from several threads.

    Attributes:
        deliveries: all of them, the oldest first; of those that are over, the last 1000.
    """

    def __init__(self, clock: Callable[[], datetime], lock: threading.RLock) -> None:
        self._clock, self._lock = clock, lock
        self.clear()

    def clear(self) -> None:
        """Forget all deliveries."""
        self.deliveries: list[QueuedDelivery] = []
        self._batches: list[_Batch] = []
        self._tries: dict[str, list[tuple[datetime, bool]]] = {}
        self._webhooks: dict[str, JsonDict] = {}

    def add(self, webhook: JsonDict, event: str, forms: Forms, conversation_id: str) -> None:
        """Queue a body for a webhook, or put it into the batch that is being collected."""
        with self._lock:
            self._webhooks[webhook["id"]] = webhook
            content = forms[webhook["payload_version"]]
            if webhook["buffer_enabled"] and event.startswith("whatsapp.message."):
                self._collect(webhook, event, content, conversation_id)
            else:
                self._queue(webhook, event, content, conversation_id)

    def due(self) -> list[QueuedDelivery]:
        """Return what is to be sent now, and hold it for under way until it is `answered`."""
        with self._lock:
            now = self._clock()
            for batch in list(self._batches):
                if now - batch.opened_at >= BATCH_WINDOW:
                    self._close(batch)
            waiting_before: set[tuple[str, str]] = set()
            found = []
            for one in self.deliveries:
                if one.is_over:
                    continue
                place = (one.webhook_id, one.conversation_id)
                is_free = place not in waiting_before or now - one.created_at >= IN_ORDER_FOR
                if one.state == "waiting" and one.due_at <= now and is_free:
                    found.append(one)
                    one.state = "under_way"
                waiting_before.add(place)
            return found

    def waiting(self) -> list[QueuedDelivery]:
        """Return everything that waits, now or for later, as under way, with open batches."""
        with self._lock:
            for batch in list(self._batches):
                self._close(batch)
            found = [one for one in self.deliveries if one.state == "waiting"]
            for one in found:
                one.state = "under_way"
            return found

    def answered(self, delivery: QueuedDelivery, status: int) -> None:
        """Record the answer to a delivery that was under way; 0 stands for no answer.

        Only a 200 is a success. After a failure it waits for its next try; after the last one a
        batch is sent again as single bodies. A webhook that fails too often is paused.
        """
        with self._lock:
            webhook = self._webhooks.get(delivery.webhook_id)
            if delivery.is_over or webhook is None:
                return
            delivery.statuses.append(status)
            if status == 200:
                delivery.state = "delivered"
            elif len(delivery.statuses) <= len(RETRY_AFTER):
                delivery.state = "waiting"
                delivery.due_at = self._clock() + RETRY_AFTER[len(delivery.statuses) - 1]
            else:
                delivery.state = "failed"
                for item in delivery.items:
                    self._queue(webhook, delivery.event, item, delivery.conversation_id)
            self._pause_if_it_fails(webhook, status != 200)

    def release(self, deliveries: list[QueuedDelivery]) -> None:
        """Let deliveries that were under way, and were not sent, wait again."""
        with self._lock:
            for one in deliveries:
                if one.state == "under_way":
                    one.state = "waiting"

    def drop(self, webhook_id: str) -> None:
        """Send nothing more of what was queued for a webhook."""
        with self._lock:
            self._tries.pop(webhook_id, None)
            self._batches = [one for one in self._batches if one.webhook["id"] != webhook_id]
            for one in self.deliveries:
                if one.webhook_id == webhook_id and not one.is_over:
                    one.state = "dropped"

    def _collect(
        self, webhook: JsonDict, event: str, content: JsonDict, conversation_id: str
    ) -> None:
        wanted = (webhook["id"], event, conversation_id)
        for batch in self._batches:
            if (batch.webhook["id"], batch.event, batch.conversation_id) == wanted:
                break
        else:
            batch = _Batch(webhook, event, conversation_id, self._clock())
            self._batches.append(batch)
        batch.items.append(content)
        if len(batch.items) >= BATCH_SIZE:
            self._close(batch)

    def _close(self, batch: _Batch) -> None:
        self._batches.remove(batch)
        content = batch_of(batch.event, batch.items)
        self._queue(batch.webhook, batch.event, content, batch.conversation_id, items=batch.items)

    def _queue(
        self,
        webhook: JsonDict,
        event: str,
        content: JsonDict,
        conversation_id: str,
        *,
        items: list[JsonDict] | None = None,
    ) -> None:
        now = self._clock()
        body, headers = sealed(webhook, event, content, batch_size=len(items or ()))
        self.deliveries.append(
            QueuedDelivery(
                webhook_id=webhook["id"],
                url=webhook["url"],
                event=event,
                body=body,
                headers=headers,
                conversation_id=conversation_id,
                created_at=now,
                due_at=now,
                items=items or [],
            )
        )
        over = [one for one in self.deliveries if one.is_over]
        for one in over[: max(len(over) - _KEPT, 0)]:
            self.deliveries.remove(one)

    def _pause_if_it_fails(self, webhook: JsonDict, has_failed: bool) -> None:
        since = self._clock() - PAUSE_WINDOW
        tries = [one for one in self._tries.get(webhook["id"], ()) if one[0] >= since]
        tries.append((self._clock(), has_failed))
        self._tries[webhook["id"]] = tries
        failures = sum(failed for _, failed in tries)
        if (
            len(tries) >= PAUSE_TRIES
            and failures >= PAUSE_FAILURES
            and failures >= PAUSE_PART * len(tries)
        ):
            webhook["active"] = False
            self.drop(webhook["id"])
