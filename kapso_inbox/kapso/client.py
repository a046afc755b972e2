"""Kapso's platform API, as far as this app speaks to it. Knows no Django model and no setting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote

from .errors import UncertainError
from .resources import CreatedEmbed, Customer, Embed, PhoneNumber, User

if TYPE_CHECKING:
    from .transport import Answer, Received, Transport

BASE_URL = "https://api.kapso.ai/platform/v1"
#: What is asked for; Kapso may cap it lower, which `meta` then says.
PER_PAGE = 100

T = TypeVar("T")


class KapsoClient:
    """A Kapso project, by its API key.

    Args:
        api_key: the project's API key, sent as `X-API-Key`.
        base_url: the API's address.
        options: `timeout`, `deadline`, `patience`, `proxies`, `ca_bundle`, as `Transport` takes
            them.

    Attributes:
        inbox_embeds: create, read, change and revoke embeds.
        phone_numbers: `GET /whatsapp/phone_numbers`.
        customers: `GET /customers`.
        users: `GET /users`, the team members.

    Raises:
        ConfigurationError: the key or the address cannot be used.

    Every call raises a `KapsoError`; its subclass says what to do.
    """

    def __init__(self, api_key: str, base_url: str = BASE_URL, **options: Any) -> None:
        # Not at import: requests is only loaded in a process that really talks to Kapso.
        from .transport import Transport

        transport = Transport(api_key, base_url, **options)
        self.inbox_embeds = InboxEmbeds(transport)
        self.phone_numbers = Listing(
            transport, "/whatsapp/phone_numbers", PhoneNumber.from_json, key="phone_number_id"
        )
        self.customers = Listing(transport, "/customers", Customer.from_json)
        self.users = Listing(transport, "/users", User.from_json, key="user_id")
        self._transport = transport

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._transport.base_url}>"

    @property
    def received(self) -> Received | None:
        """What the headers of the last answer said, a refusal's too; None where none arrived."""
        return self._transport.received


class Listing(Generic[T]):
    """A list of Kapso's, page by page."""

    def __init__(
        self,
        transport: Transport,
        path: str,
        read: Callable[[Mapping[str, Any]], T],
        *,
        key: str = "id",
    ) -> None:
        self._transport = transport
        self._path = path
        self._read = read
        self._key = key

    def list(self, **filters: str) -> Iterator[T]:
        """Iterate over every object of every page.

        A loop that ends without an exception has seen the whole list.

        Args:
            filters: query parameters of the endpoint; blank ones are left out.

        Raises:
            KapsoError: a page could not be read.
        """
        for page in self.pages(**filters):
            yield from page

    def pages(self, **filters: str) -> Iterator[Sequence[T]]:
        """Iterate over the pages, each a list. As `list`, for those who work in bulk."""
        number = 1
        previous: Sequence[Any] | None = None
        while True:
            objects, total = self._get(number, filters)
            # By the ids: other values can change between two answers.
            ids = [item.get(self._key, item) for item in objects]
            if ids == previous:
                if total is not None:
                    raise UncertainError("Kapso's list answered the same page twice")
                # A list that tells no number of pages ends with an empty page, or is all on one
                # page that it answers again and again.
                return
            yield [self._read(item) for item in objects]
            if number >= total if total is not None else not objects:
                return
            number, previous = number + 1, ids

    def page(self, number: int, **filters: str) -> tuple[Sequence[T], bool]:
        """Return one page, and whether it is known to be the last; for those who go on later.

        Args:
            number: from 1.
            filters: as for `list`.

        Raises:
            KapsoError: the page could not be read.
        """
        objects, total = self._get(number, filters)
        is_last = number >= total if total is not None else len(objects) < PER_PAGE
        return [self._read(item) for item in objects], is_last

    def _get(
        self, number: int, filters: Mapping[str, str]
    ) -> tuple[Sequence[Mapping[str, Any]], int | None]:
        """Return the objects of a page, and how many pages there are, where Kapso says so."""
        params: dict[str, str | int] = {k: v for k, v in filters.items() if v}
        answer = self._transport.request(
            "GET", self._path, params={**params, "page": number, "per_page": PER_PAGE}
        )
        objects, meta = _page(answer)
        here = _whole(meta, "page", "current_page")
        if here is not None and here != number:
            raise UncertainError("Kapso's list answered another page than the one asked for")
        return objects, _whole(meta, "total_pages")


class InboxEmbeds(Listing[Embed]):
    """`/inbox_embeds`: the embeddable inbox access links. `list` gives the most recent first."""

    def __init__(self, transport: Transport) -> None:
        super().__init__(transport, "/inbox_embeds", Embed.from_json)

    def _get(
        self, number: int, filters: Mapping[str, str]
    ) -> tuple[Sequence[Mapping[str, Any]], int | None]:
        # What is not in the list is concluded to be gone. A list that does not say what is in it
        # must not lead to that.
        objects, total = super()._get(number, filters)
        if not all(item.get(self._key) for item in objects):
            raise UncertainError("Kapso's list holds an embed without its id", status=HTTPStatus.OK)
        return objects, total

    def get(self, embed_id: str) -> Embed:
        """Return one embed, without its secret."""
        return _embed(self._transport.request("GET", self._one(embed_id)))

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
        """Create an embed. Sent once and never repeated: Kapso documents no idempotency key.

        Args:
            name: what Kapso lists it under.
            scope_type: `project`, `customer` or `phone_number`.
            scope_id: blank for a project, a customer's UUID, or a WhatsApp phone_number_id.
            allowed_origins: pages that may frame it; empty = any.
            default_mode: `system`, `light` or `dark`.
            language: `en` or `es`; blank leaves it to Kapso.
            expires_at: when the link stops to work; None = never.
            assigned_user_id: narrows it to conversations assigned to that team member.

        Returns:
            The embed with its secret address, which Kapso tells only here.

        Raises:
            UncertainError: also where a 2xx holds no id or no address.
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
            "expires_at": expires_at and _wire(expires_at),
        }
        fields |= {name: value for name, value in optional.items() if value}
        answer = self._transport.request("POST", self._path, payload={"inbox_embed": fields})
        embed = _embed(answer)
        embed_url = answer.data["data"].get("embed_url")
        if not isinstance(embed_url, str) or not embed_url:
            raise UncertainError("Kapso's answer holds no embed_url", status=answer.status)
        return CreatedEmbed(embed, embed_url)

    def update(self, embed_id: str, changes: Mapping[str, Any]) -> Embed:
        """Change settings of an embed. Sent once; the scope cannot be changed.

        Args:
            embed_id: Kapso's id.
            changes: field -> new value: text, a list of origins, a datetime, None.
        """
        fields = {name: _wire(value) for name, value in changes.items()}
        answer = self._transport.request(
            "PATCH", self._one(embed_id), payload={"inbox_embed": fields}
        )
        return _embed(answer)

    def revoke(self, embed_id: str) -> None:
        """End the embed's link at once. Kapso keeps it in its list as `revoked`.

        Any 2xx is success: whether Kapso answers 200 or 204 is not documented.
        """
        self._transport.request("DELETE", self._one(embed_id))

    def _one(self, embed_id: str) -> str:
        if embed_id in ("", ".", ".."):
            # No id of Kapso's: it would address the list itself, or what stands above it.
            raise ValueError("This is no id of an embed")
        return f"{self._path}/{quote(embed_id, safe='')}"


def _wire(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, (tuple, set, frozenset)) else value


def _embed(answer: Answer) -> Embed:
    """Read `{"data": {...}}`.

    Raises:
        UncertainError: there is no object, or it has no id.
    """
    data = answer.data
    inner = data.get("data") if isinstance(data, dict) else None
    embed = Embed.from_json(inner) if isinstance(inner, dict) else None
    if embed is None or not embed.id:
        raise UncertainError("Kapso's answer holds no embed", status=answer.status)
    return embed


def _page(answer: Answer) -> tuple[list[Mapping[str, Any]], Mapping[str, Any]]:
    """Read `{"data": [...], "meta": {...}}`.

    Raises:
        UncertainError: it is not of that shape.
    """
    data = answer.data
    objects = data.get("data") if isinstance(data, dict) else None
    if not isinstance(objects, list) or not all(isinstance(item, dict) for item in objects):
        raise UncertainError("Kapso's answer holds no list", status=answer.status)
    meta = data.get("meta")
    return objects, meta if isinstance(meta, dict) else {}


def _whole(meta: Mapping[str, Any], *names: str) -> int | None:
    """The first of these that is a whole number."""
    for name in names:
        value = meta.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None
