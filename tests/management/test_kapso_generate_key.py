"""`manage.py kapso_generate_key`."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings

from kapso_inbox.encryption import Keyring

ROOT = Path(__file__).resolve().parents[2]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def generate(*options: str, to: io.StringIO | None = None) -> str:
    out = to or io.StringIO()
    call_command("kapso_generate_key", *options, stdout=out)
    return out.getvalue()


def test_a_piped_key_is_one_line_to_paste_and_nothing_else() -> None:
    line = generate("--id", "2026-11")
    assert re.fullmatch(r"2026-11=[A-Za-z0-9_-]{43}\n", line)
    key_id, _, key = line.strip().partition("=")
    keyring = Keyring({key_id: key})
    assert keyring.decrypt(keyring.encrypt("secret", context="row"), context="row") == "secret"
    assert generate("--id", "2026-11") != line


@override_settings(KAPSO_INBOX=None)
def test_on_a_terminal_the_first_key_comes_with_where_to_put_it() -> None:
    line, _, advice = generate(to=Terminal()).partition("\n")
    assert 'KAPSO_INBOX["ENCRYPTION_KEYS"]' in advice
    assert f'export KAPSO_INBOX_ENCRYPTION_KEYS="{line}"\n' in advice
    assert "Keep the key" in advice
    assert "rotate" not in advice


def test_on_a_terminal_a_further_key_comes_with_how_to_rotate() -> None:
    line, _, advice = generate(to=Terminal()).partition("\n")
    assert 'KAPSO_INBOX["ENCRYPTION_KEYS"]' in advice
    assert f'export KAPSO_INBOX_ENCRYPTION_KEYS="test=…,{line}"\n' in advice
    assert "kapso_rotate_keys" in advice
    assert settings.KAPSO_INBOX["ENCRYPTION_KEYS"]["test"] not in advice


def test_the_id_is_the_month_with_a_number_if_that_is_taken() -> None:
    month = f"{datetime.now(timezone.utc):%Y-%m}"
    assert generate().startswith(f"{month}=")
    keys: dict[str, str] = {}
    for name in (month, f"{month}-2", f"{month}-3"):
        configured = {**settings.KAPSO_INBOX, "ENCRYPTION_KEYS": keys}
        with override_settings(KAPSO_INBOX=configured):
            key_id, _, key = generate().strip().partition("=")
        assert key_id == name
        keys = {**keys, key_id: key}


def test_an_id_that_is_taken_is_refused_because_the_old_key_would_be_lost() -> None:
    with pytest.raises(CommandError, match="has a key 'test' already"):
        generate("--id", "test")


@pytest.mark.parametrize("key_id", ["a b", "a.b", "a=b", "a,b", "é", "a" * 33])
def test_an_unusable_id_is_refused(key_id: str) -> None:
    with pytest.raises(CommandError, match="id must be"):
        generate("--id", key_id)


@pytest.mark.parametrize("configured", ["None", "{}", "{'ENCRYPTION_KEYS': 'nonsense'}"])
def test_a_key_can_be_created_before_the_settings_and_the_database_are_ready(
    tmp_path: Path, configured: str
) -> None:
    (tmp_path / "bare_settings.py").write_text(
        "SECRET_KEY = 'x'\n"
        "INSTALLED_APPS = ['django.contrib.contenttypes', 'django.contrib.auth', 'kapso_inbox']\n"
        "USE_TZ = True\n"
        f"KAPSO_INBOX = {configured}\n"
    )
    process = subprocess.run(
        [sys.executable, "-W", "error", "-m", "django", "kapso_generate_key"],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "bare_settings",
            "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert re.fullmatch(r"[0-9]{4}-[0-9]{2}=[A-Za-z0-9_-]{43}\n", process.stdout)
