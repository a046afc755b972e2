"""Kapso's two styles of lists: numbered pages, and cursors."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from .wire import Answer, JsonDict, RefusedRequestError, Request

#: Where a list that has cursors ends if it is asked for numbered pages.
_LAST_PAGE = 50

Row = TypeVar("Row")


def numbered(
    rows: Sequence[Row],
    request: Request,
    most: int,
    show: Callable[[Row], object] = lambda row: row,
) -> Answer:
    """Return the page that a request asks for with `page` and `per_page`.

    Args:
        rows: the whole list.
        request: the request.
        most: the most rows on one page.
        show: returns a row as the answer shows it. Only the rows of the page are shown.
    """
    page = _positive(request.query.get("page"), 1)
    per_page = min(_positive(request.query.get("per_page"), 20), most)
    start = (page - 1) * per_page
    meta = {
        "page": page,
        "per_page": per_page,
        "total_pages": -(-len(rows) // per_page),
        "total_count": len(rows),
    }
    shown = [show(row) for row in rows[start : start + per_page]]
    return Answer(200, {"data": shown, "meta": meta})


def by_cursor(
    rows: Sequence[JsonDict],
    key: Callable[[JsonDict], str],
    show: Callable[[JsonDict], JsonDict],
    request: Request,
    most: int,
) -> Answer:
    """Return the part of a list that a request asks for with `limit`, `after` and `before`.

    Args:
        rows: the list in any order.
        key: what it is sorted by, the largest first. It is unique.
        show: returns a row as the answer shows it.
        request: the request.
        most: the most rows in one answer.

    Raises:
        RefusedRequestError: a cursor is invalid, or a numbered page is beyond the last.
    """
    rows = sorted(rows, key=key, reverse=True)
    query = request.query
    if "page" in query:
        if _positive(query["page"], 1) > _LAST_PAGE:
            raise bad_request(f"page must not exceed {_LAST_PAGE}: use a cursor")
        return numbered(rows, request, most, show)
    limit = min(_positive(query.get("limit"), 20), most)
    if query.get("after"):
        place = _opened(query["after"])
        start = sum(1 for row in rows if key(row) >= place)
    elif query.get("before"):
        place = _opened(query["before"])
        start = max(sum(1 for row in rows if key(row) > place) - limit, 0)
    else:
        start = 0
    shown = rows[start : start + limit]
    first = _sealed(key(shown[0])) if shown else None
    last = _sealed(key(shown[-1])) if shown else None
    paging = {
        "cursors": {"before": first, "after": last},
        "next": last if start + limit < len(rows) else None,
        "previous": first if start else None,
    }
    return Answer(200, {"data": [show(row) for row in shown], "paging": paging})


def bad_request(message: str) -> RefusedRequestError:
    """Return the refusal of a request that cannot be understood."""
    return RefusedRequestError(400, {"error": {"message": message, "code": "bad_request"}})


def _sealed(place: str) -> str:
    return base64.urlsafe_b64encode(place.encode()).decode()


def _opened(cursor: str) -> str:
    try:
        return base64.b64decode(cursor, b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise bad_request("This is not a cursor") from None


def _positive(text: str | None, otherwise: int) -> int:
    return int(text) if text and re.fullmatch(r"0*[1-9][0-9]{0,8}", text) else otherwise
