"""What the tests of conversations share: deliveries as Kapso sends them."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from kapso_inbox.models import InboxEmbed

SECRET = "webhook-secret-of-the-tests-0123456789"
NUMBER = "106540352242922"
#: Times in the tests are minutes after this one.
START = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(hours=2)

Post = Callable[..., Any]


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def sign(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def conversation(
    conversation_id: str = "c-1", *, phone: str | None = "+14155550123", **fields: Any
) -> dict[str, Any]:
    return {
        "id": conversation_id,
        "phone_number": phone,
        "status": "active",
        "phone_number_id": NUMBER,
        "kapso": {"contact_name": "Lucía Ferrer"},
        **fields,
    }


def message(
    minutes: float, *, text: str = "Hi", message_id: str = "", kind: str = "text", **kapso: Any
) -> dict[str, Any]:
    return {
        "id": message_id or f"wamid.{uuid.uuid4().hex}",
        "timestamp": str(int(at(minutes).timestamp())),
        "type": kind,
        kind: {"body": text},
        "kapso": {"origin": "cloud_api", **kapso},
    }


def about(
    minutes: float,
    conversation_id: str = "c-1",
    *,
    talk: dict[str, Any] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Return the body of an event about a message of that minute."""
    moment = at(minutes).isoformat()
    return {
        "message": message(minutes, **fields),
        "conversation": {**conversation(conversation_id), "updated_at": moment, **(talk or {})},
        "is_new_conversation": False,
        "phone_number_id": NUMBER,
    }


def ended(minutes: float, conversation_id: str = "c-1") -> dict[str, Any]:
    moment = at(minutes).isoformat()
    talk = {**conversation(conversation_id), "status": "ended", "updated_at": moment}
    return {"conversation": talk, "phone_number_id": NUMBER}


def handoff(minutes: float, conversation_id: str = "c-1", execution: str = "") -> dict[str, Any]:
    return {
        "event": "workflow.execution.handoff",
        "occurred_at": at(minutes).isoformat(),
        "workflow_execution_id": execution or uuid.uuid4().hex,
        "status": "handoff",
        "channel": "whatsapp",
        "whatsapp_conversation_id": conversation_id,
        "handoff": {"reason": "asked for a person", "source": "agent"},
    }


@pytest.fixture(autouse=True)
def webhook_secrets(settings: Any) -> None:
    settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, "WEBHOOK_SECRETS": {"default": SECRET}}


@pytest.fixture
def browser(embed: InboxEmbed, ana: Any) -> Client:
    """Return the browser of an agent who may open the inbox `sales`."""
    client = Client()
    client.force_login(ana)
    return client


@pytest.fixture
def post(client: Client) -> Post:
    """Return a function that delivers a body as Kapso does."""

    def deliver(
        event: str,
        body: Any,
        *,
        project: str = "default",
        secret: str = SECRET,
        key: str | None = "",
        via: Client = client,
        **headers: str,
    ) -> Any:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"X-Webhook-Event": event, "X-Webhook-Signature": sign(raw, secret)}
        if key is not None:
            sent["X-Idempotency-Key"] = key or str(uuid.uuid4())
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        address = reverse("kapso_inbox:webhook", args=[project])
        return via.post(address, raw, content_type="application/json", headers=sent)

    return deliver
