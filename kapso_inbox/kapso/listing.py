"""The lists of Kapso that are read page by page: `page`, `per_page` and `meta`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from .errors import UncertainError

if TYPE_CHECKING:
    # It loads requests: see `KapsoClient`.
    from .transport import Transport

#: How many objects a page is asked for. Kapso may send fewer, and `meta` then says so.
PER_PAGE = 100

T = TypeVar("T")


class ListPage(NamedTuple):
    """A page of a list.

    Attributes:
        objects: what is on it.
        pages: the number of pages of the whole list, or None if Kapso omits it.
        total: the number of objects in the whole list, or 0 if Kapso omits it.
    """

    objects: Sequence[Any]
    pages: int | None
    total: int


class Listing(Generic[T]):
    """One of Kapso's lists, read page by page."""

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

        If the loop ends without an exception, it has seen the whole list.

        Args:
            filters: query parameters of the endpoint; blank ones are left out.

        Raises:
            KapsoError: a page could not be read.
        """
        for page in self.pages(**filters):
            yield from page

    def pages(self, **filters: str) -> Iterator[Sequence[T]]:
        """Iterate over the pages, each a list of objects. Otherwise the same as `list`."""
        number = 1
        previous: Sequence[Any] | None = None
        listed, least = 0, 0
        while True:
            objects, last, total = self._get(number, filters)
            # Pages are compared by ids: other values can change between two answers.
            ids = [getattr(item, self._key) or item for item in objects]
            if ids == previous:
                if last is not None:
                    raise UncertainError("Kapso returned the same page of its list twice")
                # A list that does not give its number of pages ends with an empty page, or has one
                # page, which it returns for every number.
                break
            yield objects
            # A list that grows while it is read shifts entries to the next page, and counts more.
            listed += sum(1 for key in ids if key not in (previous or ()))
            least = min(least, total) if previous is not None else total
            if number >= last if last is not None else not objects:
                break
            number, previous = number + 1, ids
        if listed < least:
            raise UncertainError(
                f"Kapso's list has fewer entries ({listed}) than it says itself ({least})"
            )

    def page(self, number: int, **filters: str) -> tuple[Sequence[T], bool]:
        """Return one page, and whether it is known to be the last.

        With this, a caller can stop after any page and go on later.

        Args:
            number: the page's number, from 1.
            filters: as for `list`.

        Raises:
            KapsoError: the page could not be read.
        """
        objects, last, _ = self._get(number, filters)
        is_last = number >= last if last is not None else len(objects) < PER_PAGE
        return objects, is_last

    def _get(self, number: int, filters: Mapping[str, str]) -> ListPage:
        """Return a page of the list."""
        params: dict[str, str | int] = {k: v for k, v in filters.items() if v}
        return self._transport.request(
            "GET",
            self._path,
            read=partial(self._read_page, number),
            params={**params, "page": number, "per_page": PER_PAGE},
        )

    def _read_page(self, number: int, data: Any) -> ListPage:
        """Read `{"data": [...], "meta": {...}}`.

        Raises:
            UncertainError: the answer has another shape, or is another page.
        """
        items = data.get("data") if isinstance(data, dict) else None
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise UncertainError("Kapso's answer contains no list")
        meta = data.get("meta")
        meta = meta if isinstance(meta, dict) else {}
        returned = _first_integer(meta, "page", "current_page")
        if returned is not None and returned != number:
            raise UncertainError("Kapso returned another page of its list than the one requested")
        pages, total = (_first_integer(meta, name) for name in ("total_pages", "total_count"))
        return ListPage([self._read(item) for item in items], pages, total or 0)


def _first_integer(meta: Mapping[str, Any], *names: str) -> int | None:
    """Return the first of the named values that is an integer, or None."""
    for name in names:
        value = meta.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None
