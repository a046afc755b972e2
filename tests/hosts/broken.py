"""A module of a host that fails when it is imported."""

from __future__ import annotations

raise ValueError("This module cannot be imported.")
