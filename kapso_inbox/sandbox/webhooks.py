"""The webhooks of a project and of its numbers: what Kapso validates, stores and shows."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from .bodies import Forms
from .deliveries import Outbox
from .embeds import to_iso
from .wire import JsonDict, RefusedRequestError

NUMBER_EVENTS = (
    "whatsapp.message.received",
    "whatsapp.message.sent",
    "whatsapp.message.delivered",
    "whatsapp.message.read",
    "whatsapp.message.failed",
    "whatsapp.conversation.created",
    "whatsapp.conversation.ended",
    "whatsapp.conversation.inactive",
)
PROJECT_EVENTS = (
    "workflow.execution.handoff",
    "workflow.execution.failed",
    "whatsapp.phone_number.created",
    "whatsapp.phone_number.deleted",
)
_DEFAULTS: JsonDict = {
    "kind": "kapso",
    "url": "",
    "secret_key": "",
    "events": [],
    "active": True,
    "headers": {},
    "payload_version": "v2",
    "buffer_enabled": False,
    "inactivity_minutes": 60,
}
_NOT_IN_LIST = "is not included in the list"


class SandboxWebhooks:
    """The webhooks of one project, and what is on its way to them.

    Attributes:
        records: id -> the whole record; Kapso shows all of it, the secret key included.
        outbox: the deliveries.
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        lock: threading.RLock,
        save: Callable[[], None],
    ) -> None:
        self.records: dict[str, JsonDict] = {}
        self.outbox = Outbox(clock, lock)
        self._clock, self._lock, self._save = clock, lock, save

    def reset(self) -> None:
        """Remove every webhook and delivery."""
        with self._lock:
            self.records.clear()
            self.outbox.clear()

    def listed(self, phone_number_id: str | None) -> list[JsonDict]:
        """Return the webhooks of a number, or of the project for None, the oldest first."""
        return [one for one in self.records.values() if one["phone_number_id"] == phone_number_id]

    def find(self, webhook_id: str, phone_number_id: str | None) -> JsonDict:
        """Return a webhook of a number, or of the project.

        Raises:
            RefusedRequestError: it has none with this id (404).
        """
        for one in self.listed(phone_number_id):
            if one["id"] == webhook_id:
                return one
        raise RefusedRequestError(404, {"error": "Webhook not found"})

    def create(self, settings: JsonDict, phone_number_id: str | None = None) -> JsonDict:
        """Create a webhook and return its record.

        Raises:
            RefusedRequestError: the settings are invalid (422).
        """
        with self._lock:
            now = to_iso(self._clock())
            webhook = {
                "id": str(uuid.uuid4()),
                **_DEFAULTS,
                **_known(settings),
                "phone_number_id": phone_number_id,
                "created_at": now,
                "updated_at": now,
            }
            _require_valid(webhook)
            self.records[webhook["id"]] = webhook
            self._save()
            return webhook

    def update(
        self, webhook_id: str, settings: JsonDict, phone_number_id: str | None = None
    ) -> JsonDict:
        """Change a webhook and return its record. Switching one off drops what waits for it.

        Raises:
            RefusedRequestError: there is no such webhook (404), or the settings are invalid (422).
        """
        with self._lock:
            webhook = self.find(webhook_id, phone_number_id)
            _require_valid({**webhook, **_known(settings)})
            webhook.update(_known(settings), updated_at=to_iso(self._clock()))
            if not webhook["active"]:
                self.outbox.drop(webhook_id)
            self._save()
            return webhook

    def delete(self, webhook_id: str, phone_number_id: str | None = None) -> None:
        """Delete a webhook and what waits for it.

        Raises:
            RefusedRequestError: there is no such webhook (404).
        """
        with self._lock:
            self.find(webhook_id, phone_number_id)
            del self.records[webhook_id]
            self.outbox.drop(webhook_id)
            self._save()

    def announce(
        self, event: str, forms: Forms, *, conversation_id: str, phone_number_id: str | None
    ) -> None:
        """Queue an event for every active webhook that is subscribed to it."""
        with self._lock:
            for webhook in self.listed(phone_number_id):
                if webhook["active"] and event in webhook["events"]:
                    self.outbox.add(webhook, event, forms, conversation_id)


def _known(settings: JsonDict) -> JsonDict:
    return {name: value for name, value in settings.items() if name in _DEFAULTS}


def _require_valid(webhook: JsonDict) -> None:
    errors = {name: [error] for name, error in _errors_in(webhook) if error}
    if errors:
        raise RefusedRequestError(422, {"errors": errors})


def _errors_in(webhook: JsonDict) -> list[tuple[str, str]]:
    events = NUMBER_EVENTS if webhook["phone_number_id"] else PROJECT_EVENTS
    secret = webhook["secret_key"]
    return [
        ("kind", "" if webhook["kind"] == "kapso" else _NOT_IN_LIST),
        ("url", "" if _is_address(webhook["url"]) else "is not a valid URL"),
        ("secret_key", "" if isinstance(secret, str) and secret.strip() else "can't be blank"),
        ("events", _events_error(webhook["events"], events)),
        ("active", "" if isinstance(webhook["active"], bool) else _NOT_IN_LIST),
        ("headers", "" if isinstance(webhook["headers"], dict) else "must be an object"),
        ("payload_version", "" if webhook["payload_version"] in ("v1", "v2") else _NOT_IN_LIST),
        ("buffer_enabled", "" if isinstance(webhook["buffer_enabled"], bool) else _NOT_IN_LIST),
    ]


def _events_error(given: Any, known: tuple[str, ...]) -> str:
    if not isinstance(given, list) or not given:
        return "can't be blank"
    unknown = [name for name in given if name not in known]
    return f"{unknown[0]!r} {_NOT_IN_LIST}" if unknown else ""


def _is_address(url: Any) -> bool:
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        return parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False
