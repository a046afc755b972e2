"""What a sync has seen in a list and cannot note in the database, kept out of memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable

#: How many keys are looked up at a time: SQLite takes a limited number of parameters.
_AT_A_TIME = 500


class Seen:
    """A set of keys in a temporary file, which SQLite deletes when the set is not used any more."""

    def __init__(self) -> None:
        # Without a name, it is a file that only this connection has.
        self._file = sqlite3.connect("", isolation_level=None)
        self._file.execute("PRAGMA synchronous = OFF")
        self._file.execute("CREATE TABLE seen (key TEXT PRIMARY KEY) WITHOUT ROWID")

    def add(self, keys: Iterable[str]) -> None:
        """Add keys, some of which may be known."""
        self._file.execute("BEGIN")
        self._file.executemany("INSERT OR IGNORE INTO seen VALUES (?)", ((key,) for key in keys))
        self._file.execute("COMMIT")

    def missing(self, keys: Collection[str]) -> set[str]:
        """Return which of these keys were not added."""
        marks = ", ".join("?" * len(keys))
        found = self._file.execute(f"SELECT key FROM seen WHERE key IN ({marks})", [*keys])
        return set(keys) - {key for (key,) in found}
