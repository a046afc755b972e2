"""What became of embeds to which a verb was applied: kept in the session, to be shown by a GET."""

from __future__ import annotations

from typing import TypedDict

from django.http import HttpRequest
from django.utils.crypto import get_random_string

#: How many results are kept in a session.
KEPT = 3
_IN_SESSION = "kapso_inbox_results"


class Row(TypedDict):
    """What became of one embed.

    Attributes:
        id: its primary key.
        name: its name then.
        slug: its slug then.
        outcome: the outcome of a `Result`.
        text: the text of a `Result`.
    """

    id: int
    name: str
    slug: str
    outcome: str
    text: str


class Results(TypedDict):
    """What became of several embeds. Sessions can hold it as it is, and nothing in it is secret.

    Attributes:
        key: its name in addresses.
        verb: the name of the verb.
        rows: the results so far.
        rest: the targets for which no time was left, as a form carries them.
        typed: what was typed into the verb's form.
    """

    key: str
    verb: str
    rows: list[Row]
    rest: list[str]
    typed: dict[str, str]


def new_key() -> str:
    """Return a random name for results."""
    return get_random_string(10)


def keep(request: HttpRequest, results: Results) -> None:
    """Keep results, in the place of those with the same key. The oldest are forgotten."""
    others = [one for one in request.session.get(_IN_SESSION, []) if one["key"] != results["key"]]
    request.session[_IN_SESSION] = [*others, results][-KEPT:]


def find(request: HttpRequest, key: str) -> Results | None:
    """Return the results with this key, or None if they were never kept or are forgotten."""
    kept: list[Results] = request.session.get(_IN_SESSION, [])
    return next((one for one in kept if one["key"] == key), None)
