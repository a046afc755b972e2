"""A file that keeps the sandbox's embeds over a restart."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .wire import JsonDict

State = dict[str, dict[str, JsonDict]]
"""Project's fingerprint -> embed's id -> record."""


def fingerprint(api_key: str) -> str:
    """Return what stands for a project in the file, which holds no API key."""
    return hashlib.sha256(api_key.encode()).hexdigest()


def read(path: Path) -> State:
    """Return what the file holds, nothing where there is none; raises ``ValueError`` for a file
    that is not a sandbox's.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("kapso_sandbox"), dict):
        raise ValueError(f"{path} is not the state of a sandbox")
    state: State = content["kapso_sandbox"]
    return state


def write(path: Path, state: Mapping[str, Mapping[str, JsonDict]]) -> None:
    """Replace the file whole, so that a crash leaves the old one; only its owner can read it."""
    # mkstemp makes the file with mode 0600.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"kapso_sandbox": state}, file, ensure_ascii=False, indent=1)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
