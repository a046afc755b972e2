"""`/whatsapp/conversations`: which conversations there are, and who wrote last in each."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from .cursors import cursor_pages
from .resources import readable_text, timestamp

if TYPE_CHECKING:
    # It loads requests: see `KapsoClient`.
    from .transport import Transport

_EPOCH = r"\d{1,12}(?:\.\d{1,9})?"


@dataclass(frozen=True)
class ListedConversation:
    """A conversation as Kapso lists it. What is missing or cannot be read is "" or None.

    Attributes:
        phone_number: the customer's number, digits only; "" for a person who shows none.
        business_scoped_user_id: Kapso's id of a person. It outlives a change of number.
        phone_number_id: the WhatsApp number of the project that the customer wrote to.
        last_message_text: "" unless it was asked for.
    """

    id: str
    phone_number: str = ""
    business_scoped_user_id: str = ""
    username: str = ""
    contact_name: str = ""
    status: str = ""
    phone_number_id: str = ""
    last_active_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    last_inbound_at: datetime | None = None
    last_outbound_at: datetime | None = None
    last_message_type: str = ""
    last_message_timestamp: datetime | None = None
    last_message_text: str = field(default="", repr=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, texts: bool = False) -> ListedConversation:
        """Read one of Kapso's objects.

        Args:
            data: the object.
            texts: whether to read the text of the last message.
        """
        kapso = data.get("kapso")
        kapso = kapso if isinstance(kapso, dict) else {}
        return cls(
            id=readable_text(data.get("id")),
            phone_number=re.sub(r"[^0-9]", "", readable_text(data.get("phone_number"))),
            business_scoped_user_id=readable_text(data.get("business_scoped_user_id")),
            username=readable_text(data.get("username")),
            contact_name=readable_text(kapso.get("contact_name")),
            status=readable_text(data.get("status")),
            phone_number_id=readable_text(data.get("phone_number_id")),
            last_active_at=epoch_or_iso(data.get("last_active_at")),
            created_at=epoch_or_iso(data.get("created_at")),
            updated_at=epoch_or_iso(data.get("updated_at")),
            last_inbound_at=epoch_or_iso(kapso.get("last_inbound_at")),
            last_outbound_at=epoch_or_iso(kapso.get("last_outbound_at")),
            last_message_type=readable_text(kapso.get("last_message_type")),
            last_message_timestamp=epoch_or_iso(kapso.get("last_message_timestamp")),
            last_message_text=readable_text(kapso.get("last_message_text")) if texts else "",
        )


class Conversations:
    """`GET /whatsapp/conversations`, from cursor to cursor."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self, *, texts: bool = False, **filters: str | datetime
    ) -> Iterator[ListedConversation]:
        """Iterate over the conversations of all pages. Otherwise the same as `pages`."""
        for page in self.pages(texts=texts, **filters):
            yield from page

    def pages(
        self, *, texts: bool = False, **filters: str | datetime
    ) -> Iterator[Sequence[ListedConversation]]:
        """Iterate over the pages. If the loop ends without an exception, it saw all of them.

        A conversation without an id, with which nothing can be done, is left out.

        Args:
            texts: whether to read the text of each conversation's last message.
            filters: `phone_number_id`, `status` (`active`, `ended`), `assigned_user_id`,
                `last_active_after` (an aware datetime); blank ones are left out.

        Raises:
            KapsoError: a page could not be read.
            ValueError: a time has no time zone.
        """
        read = partial(ListedConversation.from_json, texts=texts)
        for page in cursor_pages(self._transport, "/whatsapp/conversations", read, filters):
            yield [conversation for conversation in page if conversation.id]


def epoch_or_iso(value: Any) -> datetime | None:
    """Return the moment in one of Kapso's times as an aware datetime in UTC, or None.

    Times of messages are seconds since 1970, as text or as a number; all others are ISO 8601.
    """
    if isinstance(value, str) and re.fullmatch(_EPOCH, value.strip(), re.ASCII):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return timestamp(value)
    try:
        moment = datetime.fromtimestamp(value, timezone.utc) if math.isfinite(value) else None
    except (OverflowError, ValueError, OSError):
        return None
    return moment
