"""Where the CRM's settings come from: the environment, then two files."""

import os
from pathlib import Path

import environ  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_DATA_DIR = ROOT / ".demo"
# What `manage.py demo` generates where nothing sets it
SECRETS = ("SECRET_KEY", "KAPSO_INBOX_ENCRYPTION_KEYS")


def read(data_dir: Path) -> environ.Env:
    """The environment, then ``example_project/.env`` (yours), then ``<data_dir>/.env`` (written by
    ``manage.py demo``); the first that names a variable wins.

    The files fill a copy of the environment and not the environment itself, so that what one
    demo's file holds is not inherited by the processes of another.
    """

    class Sources(environ.Env):  # type: ignore[misc]
        # An empty secret would only hide the file's.
        ENVIRON = {k: v for k, v in os.environ.items() if v or k not in SECRETS}

    for path in (ROOT / ".env", data_dir / ".env"):
        if path.is_file():
            Sources.read_env(path)
    return Sources()
