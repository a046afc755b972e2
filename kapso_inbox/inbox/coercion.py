"""Values of any type, from templates, addresses and hosts' functions, as text."""

from __future__ import annotations

from typing import Any


def as_text(value: Any) -> str:
    """Return a value as text, or "" for None and for an object whose `str()` fails."""
    try:
        return "" if value is None else str(value)
    except Exception:  # noqa: BLE001 (an odd value must not break the host's page)
        return ""
