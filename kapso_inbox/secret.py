"""Text that its `repr` does not reveal."""

from __future__ import annotations


class Secret(str):
    """A key or a secret address, as a string whose `repr` hides it.

    Error pages and debuggers show the `repr` of local variables, and containers the `repr` of their
    items. Text that is made from it (a slice, a concatenation) is an ordinary string again.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[secret]'"
