"""Text that does not show itself."""

from __future__ import annotations


class Secret(str):
    """A key or a secret address. It is its text wherever it is used, but for its `repr`.

    Error pages and debuggers show the `repr` of local variables, and containers that of what they
    hold. Text made out of it (a slice, a concatenation) is ordinary text again.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[secret]'"
