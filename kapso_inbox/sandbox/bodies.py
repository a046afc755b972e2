"""What Kapso sends to a webhook: the bodies in both versions, and their signature."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping, Sequence

from .conversations import kapso_part, number_of, shown_conversation, shown_message
from .wire import JsonDict

#: The version of a body -> the body.
Forms = Mapping[str, JsonDict]

#: The events whose conversation is without Kapso's own part.
_WITHOUT_KAPSO = (
    "whatsapp.message.delivered",
    "whatsapp.message.failed",
    "whatsapp.conversation.inactive",
)


def message_forms(
    event: str,
    numbers: Sequence[JsonDict],
    conversation: JsonDict,
    message: JsonDict,
    *,
    is_new: bool = False,
) -> Forms:
    """Return the bodies of an event about a message."""
    number = number_of(numbers, conversation)
    old = {
        "id": message["id"],
        "message_type": message["type"],
        "content": message["text"],
        "direction": message["direction"],
        "status": message["status"] or "received",
        "whatsapp_message_id": message["id"],
        "created_at": message["timestamp"],
    }
    return {
        "v2": {
            "message": shown_message(conversation, message),
            "conversation": _conversation(event, numbers, conversation),
            "is_new_conversation": is_new,
            "phone_number_id": number["phone_number_id"],
        },
        "v1": {
            "message": old,
            "conversation": _old_conversation(numbers, conversation),
            "is_new_conversation": is_new,
            "whatsapp_config": _config(number),
        },
    }


def conversation_forms(event: str, numbers: Sequence[JsonDict], conversation: JsonDict) -> Forms:
    """Return the bodies of an event about a conversation."""
    number = number_of(numbers, conversation)
    return {
        "v2": {
            "conversation": _conversation(event, numbers, conversation),
            "phone_number_id": number["phone_number_id"],
        },
        "v1": {
            "conversation": _old_conversation(numbers, conversation),
            "whatsapp_config": _config(number),
        },
    }


def handoff_forms(conversation: JsonDict, reason: str, occurred_at: str) -> Forms:
    """Return the body of a hand-off: as in production, without a number and a `tracking_id`."""
    body = {
        "event": "workflow.execution.handoff",
        "occurred_at": occurred_at,
        "project_id": str(uuid.uuid4()),
        "workflow_id": str(uuid.uuid4()),
        "workflow_execution_id": str(uuid.uuid4()),
        "status": "handoff",
        "channel": "whatsapp",
        "whatsapp_conversation_id": conversation["id"],
        "handoff": {"reason": reason, "source": "agent"},
    }
    return {"v2": body, "v1": body}


def batch_of(event: str, items: Sequence[JsonDict]) -> JsonDict:
    """Return one body for several."""
    return {
        "type": event,
        "batch": True,
        "data": list(items),
        "batch_info": {"size": len(items)},
    }


def sealed(
    webhook: JsonDict, event: str, content: JsonDict, *, batch_size: int = 0
) -> tuple[bytes, dict[str, str]]:
    """Return a body as it is sent, and its headers with the signature.

    Args:
        webhook: the record of the webhook.
        event: the name of the event.
        content: the body.
        batch_size: how many bodies it stands for; 0 if it is no batch.
    """
    # Without spaces, as Kapso writes it: a receiver that checks what it has parsed and written
    # again computes another signature.
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    signature = hmac.new(webhook["secret_key"].encode(), body, hashlib.sha256).hexdigest()
    headers = {
        **webhook["headers"],
        "Content-Type": "application/json",
        "X-Webhook-Event": event,
        "X-Webhook-Signature": signature,
        "X-Idempotency-Key": str(uuid.uuid4()),
        "X-Webhook-Payload-Version": webhook["payload_version"],
    }
    if batch_size:
        headers |= {"X-Webhook-Batch": "true", "X-Batch-Size": str(batch_size)}
    return body, headers


def _conversation(event: str, numbers: Sequence[JsonDict], conversation: JsonDict) -> JsonDict:
    shown = shown_conversation(numbers, conversation)
    shown["phone_number"] = conversation["phone"]  # here with its plus sign
    for name in ("business_scoped_user_id", "username"):
        if not shown[name]:
            del shown[name]
    if event in _WITHOUT_KAPSO:
        del shown["kapso"]
    return shown


def _old_conversation(numbers: Sequence[JsonDict], conversation: JsonDict) -> JsonDict:
    shown = _conversation("", numbers, conversation)
    del shown["kapso"]
    return {**shown, "contact_name": kapso_part(conversation)["contact_name"]}


def _config(number: JsonDict) -> JsonDict:
    return {
        "id": number.get("internal_id"),
        "name": number["name"],
        "phone_number_id": number["phone_number_id"],
        "display_phone_number": number["display_phone_number"],
    }
