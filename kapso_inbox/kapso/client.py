"""The part of Kapso's Platform API that this app uses. It knows no Django model and no setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kapso_inbox.secret import hides_frames

from .conversations import Conversations
from .errors import UncertainError
from .listing import Listing, ListPage
from .resources import CreatedEmbed, Customer, Embed, PhoneNumber, User
from .webhooks import Webhooks

if TYPE_CHECKING:
    # It loads requests: see `KapsoClient`.
    from .transport import Received, Transport

BASE_URL = "https://api.kapso.ai/platform/v1"


class KapsoClient:
    """A client for one Kapso project.

    A call that fails raises a `KapsoError`, whose subclass says what to do.

    Args:
        api_key: the project's API key, sent as `X-API-Key`.
        base_url: the API's address.
        options: `timeout`, `deadline`, `patience`, `proxies`, `ca_bundle`, `tries` and
            `read_only`: see `Transport`.

    Attributes:
        inbox_embeds: creates, reads, changes and revokes embeds.
        phone_numbers: `GET /whatsapp/phone_numbers`.
        customers: `GET /customers`.
        users: `GET /users`, the team members.
        conversations: `GET /whatsapp/conversations`.
        webhooks: creates, reads, changes, tests and deletes webhooks.

    Raises:
        ConfigurationError: the key, the address or the certificates cannot be used.
    """

    @hides_frames
    def __init__(self, api_key: str, base_url: str = BASE_URL, **options: Any) -> None:
        # Not at import, because it loads requests (2.34), which most processes of a host never
        # need: 60 ms by `python -X importtime -c "import requests"`, and in a process that has
        # loaded Django another 30 ms and 5 MB.
        from .transport import Transport

        transport = Transport(api_key, base_url, **options)
        self.inbox_embeds = InboxEmbeds(transport)
        self.phone_numbers = Listing(
            transport, "/whatsapp/phone_numbers", PhoneNumber.from_json, key="phone_number_id"
        )
        self.customers = Listing(transport, "/customers", Customer.from_json)
        self.users = Listing(transport, "/users", User.from_json, key="user_id")
        self.conversations = Conversations(transport)
        self.webhooks = Webhooks(transport)
        self._transport = transport

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._transport.base_url}>"

    @property
    def received(self) -> Received | None:
        """The headers of the last answer, an error's included, or None if no answer arrived."""
        return self._transport.received


class InboxEmbeds(Listing[Embed]):
    """`/inbox_embeds`: the embeddable inbox access links. `list` yields the most recent first."""

    def __init__(self, transport: Transport) -> None:
        super().__init__(transport, "/inbox_embeds", Embed.from_json)

    def _read_page(self, number: int, data: Any) -> ListPage:
        # The callers conclude that an embed which is not in the list is gone. An embed without its
        # id must not lead to that.
        page = super()._read_page(number, data)
        if not all(embed.id for embed in page.objects):
            raise UncertainError("Kapso's list contains an embed without its id")
        return page

    def get(self, embed_id: str) -> Embed:
        """Return one embed, without its secret.

        Raises:
            KapsoError: it could not be read, or the answer is about another one.
        """
        read = partial(_read_embed, expected_id=embed_id)
        return self._transport.request("GET", self._path_of(embed_id), read=read)

    def create(
        self,
        *,
        name: str,
        scope_type: str = "project",
        scope_id: str = "",
        allowed_origins: Sequence[str] = (),
        default_mode: str = "system",
        language: str = "",
        expires_at: datetime | None = None,
        assigned_user_id: str = "",
    ) -> CreatedEmbed:
        """Create an embed.

        The request is sent once and never repeated, because Kapso documents no idempotency key.

        Args:
            name: the name that Kapso lists it under.
            scope_type: `project`, `customer` or `phone_number`.
            scope_id: blank for a project, a customer's UUID, or a WhatsApp phone_number_id.
            allowed_origins: the sites that may frame it; empty means any.
            default_mode: `system`, `light` or `dark`.
            language: `en` or `es`; blank leaves the choice to Kapso.
            expires_at: when the link stops working; None means never.
            assigned_user_id: limits it to conversations assigned to that team member.

        Returns:
            The embed with its secret address, which Kapso reveals only in this answer.

        Raises:
            KapsoError: the subclass says whether Kapso may have created it. A 2xx without an id or
                an address is an `UncertainError`.
        """
        fields: dict[str, Any] = {
            "name": name,
            "scope_type": scope_type,
            "allowed_origins": list(allowed_origins),
            "default_mode": default_mode,
        }
        optional = {
            "scope_id": scope_id,
            "language": language,
            "assigned_user_id": assigned_user_id,
            "expires_at": expires_at and _to_json(expires_at),
        }
        fields |= {name: value for name, value in optional.items() if value}
        return self._transport.request(
            "POST", self._path, read=_read_created, payload={"inbox_embed": fields}
        )

    def update(self, embed_id: str, changes: Mapping[str, Any]) -> Embed:
        """Change settings of an embed and return it as Kapso then describes it.

        The request is sent once. The scope cannot be changed.

        Args:
            embed_id: Kapso's id.
            changes: field -> new value: text, a list of origins, a datetime, None.
        """
        fields = {name: _to_json(value) for name, value in changes.items()}
        return self._transport.request(
            "PATCH",
            self._path_of(embed_id),
            read=partial(_read_embed, expected_id=embed_id),
            payload={"inbox_embed": fields},
        )

    def revoke(self, embed_id: str) -> None:
        """Revoke the embed's link at once. Kapso keeps it in its list as `revoked`.

        Any 2xx is success: Kapso does not document whether it answers 200 or 204.
        """
        self._transport.request("DELETE", self._path_of(embed_id), read=_read_nothing)

    def _path_of(self, embed_id: str) -> str:
        if embed_id in ("", ".", ".."):
            # These would address the list itself, or what is above it.
            raise ValueError("This is not the id of an embed")
        return f"{self._path}/{quote(embed_id, safe='')}"


def _to_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, (tuple, set, frozenset)) else value


def _read_embed(data: Any, expected_id: str = "") -> Embed:
    """Read `{"data": {...}}`.

    Raises:
        UncertainError: there is no object, or it has no id, or another one than the expected.
    """
    inner = data.get("data") if isinstance(data, dict) else None
    embed = Embed.from_json(inner) if isinstance(inner, dict) else None
    if embed is None or not embed.id:
        raise UncertainError("Kapso's answer contains no embed")
    if expected_id and embed.id != expected_id:
        raise UncertainError("Kapso's answer is about another embed")
    return embed


def _read_created(data: Any) -> CreatedEmbed:
    """Read what `_read_embed` reads, with its `embed_url`.

    Raises:
        UncertainError: there is no object, or it has no id or no address.
    """
    embed = _read_embed(data)
    embed_url = data["data"].get("embed_url")
    if not isinstance(embed_url, str) or not embed_url:
        raise UncertainError("Kapso's answer contains no embed_url")
    return CreatedEmbed(embed, embed_url)


def _read_nothing(data: Any) -> None:
    """Read no part of an answer whose status says it all."""
