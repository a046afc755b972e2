"""`/whatsapp/webhooks`, and those of a number: where Kapso tells what happens.

Kapso's answers repeat the secret key of a webhook. It is kept in no value and no error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kapso_inbox.secret import hides_frames

from .errors import UncertainError
from .listing import Listing
from .resources import readable_text

if TYPE_CHECKING:
    # It loads requests: see `KapsoClient`.
    from .transport import Transport


@dataclass(frozen=True)
class Webhook:
    """A webhook as Kapso lists it, without its secret key.

    Attributes:
        events: the names of the events that Kapso sends to it.
        active: False if Kapso, or somebody, has paused it.
        payload_version: `v2`, or `v1` for the old bodies.
        buffer_enabled: whether Kapso collects messages and sends them in batches.
        phone_number_id: the number that it belongs to; "" if it is the project's.
    """

    id: str
    url: str = ""
    events: tuple[str, ...] = ()
    active: bool = True
    payload_version: str = ""
    buffer_enabled: bool = False
    phone_number_id: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, phone_number_id: str = "") -> Webhook:
        """Read one of Kapso's objects; a value that cannot be read has its default.

        Args:
            data: the object.
            phone_number_id: the number below which it was found.
        """
        events = data.get("events")
        names = map(readable_text, events) if isinstance(events, list) else ()
        return cls(
            id=readable_text(data.get("id")),
            url=readable_text(data.get("url")),
            events=tuple(name for name in names if name),
            active=data.get("active") is not False,
            payload_version=readable_text(data.get("payload_version")),
            buffer_enabled=data.get("buffer_enabled") is True,
            phone_number_id=phone_number_id,
        )


class Webhooks:
    """The webhooks of a number, or of the project if no number is named."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, phone_number_id: str = "") -> Iterator[Webhook]:
        """Iterate over all webhooks.

        Args:
            phone_number_id: the number; "" for the project's own webhooks.

        Raises:
            KapsoError: a page could not be read.
        """
        read = partial(Webhook.from_json, phone_number_id=phone_number_id)
        return Listing(self._transport, _path(phone_number_id), read).list()

    @hides_frames
    def create(
        self,
        phone_number_id: str = "",
        *,
        url: str,
        secret_key: str,
        events: Sequence[str],
        payload_version: str = "v2",
        buffer_enabled: bool = False,
    ) -> Webhook:
        """Create a webhook and return it. The request is sent once and never repeated.

        Args:
            phone_number_id: the number; "" for one of the project.
            url: the address to which Kapso sends.
            secret_key: what Kapso signs with.
            events: the events to send.
            payload_version: the form of the bodies.
            buffer_enabled: whether to collect messages and send them in batches.

        Raises:
            KapsoError: the subclass says whether Kapso may have created it.
        """
        fields = {
            "kind": "kapso",
            "url": url,
            "secret_key": secret_key,
            "events": list(events),
            "active": True,
            "payload_version": payload_version,
            "buffer_enabled": buffer_enabled,
        }
        return self._transport.request(
            "POST",
            _path(phone_number_id),
            read=partial(_read_webhook, phone_number_id=phone_number_id),
            payload={"whatsapp_webhook": fields},
        )

    @hides_frames
    def update(
        self, webhook_id: str, changes: Mapping[str, Any], phone_number_id: str = ""
    ) -> Webhook:
        """Change a webhook and return it as Kapso then describes it. The request is sent once.

        Args:
            webhook_id: Kapso's id.
            changes: field -> new value. `{"active": True}` switches a paused one on again.
            phone_number_id: the number; "" for one of the project.
        """
        fields = {
            name: list(value) if isinstance(value, (tuple, set, frozenset)) else value
            for name, value in changes.items()
        }
        read = partial(_read_webhook, phone_number_id=phone_number_id, expected_id=webhook_id)
        return self._transport.request(
            "PATCH",
            _path(phone_number_id, webhook_id),
            read=read,
            payload={"whatsapp_webhook": fields},
        )

    def delete(self, webhook_id: str, phone_number_id: str = "") -> None:
        """Delete a webhook. Any 2xx is success."""
        path = _path(phone_number_id, webhook_id)
        self._transport.request("DELETE", path, read=_ignore)

    def test(self, webhook_id: str, event_type: str, phone_number_id: str = "") -> None:
        """Let Kapso send a made-up event to a webhook. Any 2xx is success.

        Args:
            webhook_id: Kapso's id.
            event_type: the name of the event.
            phone_number_id: the number; "" for one of the project.
        """
        self._transport.request(
            "POST",
            f"{_path(phone_number_id, webhook_id)}/test",
            read=_ignore,
            params={"event_type": event_type},
        )


def _path(phone_number_id: str, webhook_id: str | None = None) -> str:
    number = f"/phone_numbers/{_quoted(phone_number_id)}" if phone_number_id else ""
    webhook = "" if webhook_id is None else f"/{_quoted(webhook_id)}"
    return f"/whatsapp{number}/webhooks{webhook}"


def _quoted(part: str) -> str:
    if part in ("", ".", ".."):
        # These would address the list itself, or what is above it.
        raise ValueError("This is not the id of a number or a webhook")
    return quote(part, safe="")


def _read_webhook(data: Any, *, phone_number_id: str, expected_id: str = "") -> Webhook:
    """Read `{"data": {...}}`.

    Raises:
        UncertainError: there is no object, or it has no id, or another one than the expected.
    """
    inner = data.get("data") if isinstance(data, dict) else None
    if not isinstance(inner, dict) or not readable_text(inner.get("id")):
        raise UncertainError("Kapso's answer contains no webhook")
    webhook = Webhook.from_json(inner, phone_number_id=phone_number_id)
    if expected_id and webhook.id != expected_id:
        raise UncertainError("Kapso's answer is about another webhook")
    return webhook


def _ignore(data: Any) -> None:
    """Read no part of an answer whose status says it all."""
