"""Read the CRM's settings from the environment and two files."""

import os
from pathlib import Path

import environ  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_DATA_DIR = ROOT / ".demo"
# `manage.py demo` generates those that are not set.
SECRETS = ("SECRET_KEY", "KAPSO_INBOX_ENCRYPTION_KEYS", "KAPSO_WEBHOOK_SECRET")


def read(data_dir: Path) -> environ.Env:
    """Return the variables of the environment and of two files.

    The first that sets a variable wins: the environment, `example_project/.env` (yours), then
    `<data_dir>/.env` (written by `manage.py demo`).

    The files fill a copy of the environment, so that the processes of one demo do not inherit the
    values in another demo's file.
    """

    class Sources(environ.Env):  # type: ignore[misc]
        # An empty secret would hide the one in the file.
        ENVIRON = {k: v for k, v in os.environ.items() if v or k not in SECRETS}

    for path in (ROOT / ".env", data_dir / ".env"):
        if path.is_file():
            Sources.read_env(path)
    return Sources()
