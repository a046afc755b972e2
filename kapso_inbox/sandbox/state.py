"""A file that keeps the sandbox's embeds and webhooks over a restart.

Conversations are not kept: their times are relative to the start.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import NamedTuple

from .wire import JsonDict

#: A project's fingerprint -> an id -> its record.
Records = dict[str, dict[str, JsonDict]]


class SavedState(NamedTuple):
    """What a state file holds."""

    embeds: Records
    webhooks: Records


def fingerprint(api_key: str) -> str:
    """Return the name of a project in the file, which must not contain its API key."""
    return hashlib.sha256(api_key.encode()).hexdigest()


def open_state(path: Path) -> SavedState:
    """Return the content of a state file, after writing it once. Create the file if needed.

    Raises:
        ValueError: the file is not the state of a sandbox, or cannot be read or written.
    """
    try:
        state = _read_state(path)
        if path.exists() and not path.stat().st_mode & stat.S_IWUSR:
            # It could be replaced. But somebody wants it to stay as it is.
            raise ValueError(f"The state file {path} is read-only")
        write_state(path, state)
    except OSError as error:
        raise ValueError(f"The state file {path} cannot be used: {error.strerror}") from None
    return state


def _read_state(path: Path) -> SavedState:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return SavedState({}, {})
    except ValueError:
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("kapso_sandbox"), dict):
        raise ValueError(f"The file {path} is not the state of a sandbox")
    # A sandbox of an earlier version kept no webhooks.
    return SavedState(content["kapso_sandbox"], content.get("webhooks", {}))


def write_state(path: Path, state: SavedState) -> None:
    """Replace the file as a whole, so that a crash leaves the old one.

    Only its owner can read it.
    """
    # mkstemp creates the file with mode 0600.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            content = {"kapso_sandbox": state.embeds, "webhooks": state.webhooks}
            json.dump(content, file, ensure_ascii=False, indent=1)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
