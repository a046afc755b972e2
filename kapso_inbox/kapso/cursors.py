"""The lists of Kapso that are read from cursor to cursor: `limit`, `after` and `paging`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from .errors import UncertainError

if TYPE_CHECKING:
    # It loads requests: see `KapsoClient`.
    from .transport import Transport

#: How many objects a page is asked for, and the most that Kapso sends.
LIMIT = 100
#: The longest cursor that is sent back: it is part of the next request's address.
_MAX_CURSOR = 2000

T = TypeVar("T")


class _Page(NamedTuple):
    objects: Sequence[Any]
    after: str


def cursor_pages(
    transport: Transport,
    path: str,
    read: Callable[[Mapping[str, Any]], T],
    filters: Mapping[str, str | datetime],
) -> Iterator[Sequence[T]]:
    """Iterate over the pages of a list. If the loop ends without an exception, it saw all of them.

    Args:
        transport: sends the requests.
        path: the path of the list.
        read: reads one object.
        filters: query parameters; blank ones are left out. Times must be aware, and are sent in
            UTC.

    Raises:
        KapsoError: a page could not be read, or Kapso leads in a circle.
        ValueError: a time has no time zone.
    """
    params = {name: _in_query(value) for name, value in filters.items() if value}
    seen: set[str] = set()
    after = ""
    while True:
        page: _Page = transport.request(
            "GET",
            path,
            read=lambda data: _read_page(data, read),
            params={**params, "limit": LIMIT, **({"after": after} if after else {})},
        )
        yield page.objects
        after = page.after
        if not after:
            return
        if after in seen:
            raise UncertainError("Kapso returned the same cursor of its list twice")
        seen.add(after)


def _in_query(value: str | datetime) -> str:
    if isinstance(value, str):
        return value
    if value.tzinfo is None:
        raise ValueError("A time without a time zone is no moment")
    return value.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def _read_page(data: Any, read: Callable[[Mapping[str, Any]], Any]) -> _Page:
    """Read `{"data": [...], "paging": {"cursors": {"after": ...}, "next": ...}}`.

    Raises:
        UncertainError: the answer has another shape, or does not tell where the list goes on.
    """
    items = data.get("data") if isinstance(data, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise UncertainError("Kapso's answer contains no list")
    paging = data.get("paging")
    if not isinstance(paging, dict):
        if items:
            raise UncertainError("Kapso's answer does not tell whether its list goes on")
        paging = {}
    return _Page([read(item) for item in items], _cursor_in(paging))


def _cursor_in(paging: Mapping[str, Any]) -> str:
    """Return the cursor of the next page, or "" if there is none.

    `next` is a cursor itself, and only its presence is relied on: in other interfaces of this
    style it is an address, and there as here `cursors.after` is also given on the last page.
    """
    if paging.get("next") in (None, "", False):
        return ""
    cursors = paging.get("cursors")
    after = cursors.get("after") if isinstance(cursors, dict) else None
    cursor = after or paging["next"]
    if not isinstance(cursor, str) or len(cursor) > _MAX_CURSOR or "://" in cursor:
        raise UncertainError("Kapso's answer does not tell where its list goes on")
    return cursor
