"""Values from templates, addresses and hosts' functions, as text."""

from __future__ import annotations

from typing import Any


def as_text(value: Any) -> str:
    """Return a value as text; "" for None and for an object whose `str()` fails.

    Args:
        value: anything that a template's context may hold.
    """
    try:
        return "" if value is None else str(value)
    except Exception:  # noqa: BLE001 (the host's page must not break for it)
        return ""
