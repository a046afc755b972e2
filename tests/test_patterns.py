"""No text of any kind keeps the app busy: each pattern and each reader of text is linear."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from kapso_inbox.admin.records import _cell
from kapso_inbox.inbox import phone
from kapso_inbox.inbox.params import with_params
from kapso_inbox.kapso.errors import error_for
from kapso_inbox.kapso.redaction import known_secrets, plain_text, redacted
from kapso_inbox.kapso.resources import timestamp
from kapso_inbox.models import name_without_reference, reference_in
from kapso_inbox.origins import is_allowed_origin, origin_of

from .patterns import SIZE, Use, grows_too_fast, uses, worst_texts


def test_every_pattern_of_the_package_is_linear_on_its_worst_text() -> None:
    """In a process of its own, which is ended if a pattern never returns."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.patterns"],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert json.loads(done.stdout) == []


def test_every_pattern_is_found() -> None:
    found, unknown = uses()
    files = {use.place.partition(":")[0] for use in found}
    assert {
        "api/base.py",
        "inbox/phone.py",
        "kapso/errors.py",
        "kapso/redaction.py",
        "kapso/resources.py",
        "models/links.py",
        "origins.py",
        "static/kapso_inbox/admin.js",
        "templatetags/kapso_inbox.py",
        "kapso_inbox.urls",
    } <= files
    # These patterns are made of what a test or the settings say, in the sandbox alone.
    assert unknown == {"sandbox/engine.py", "sandbox/interception.py", "sandbox/server.py"}


@pytest.mark.parametrize(
    ("pattern", "method", "size"),
    [
        (r"\s*#ki-([0-9a-f]{10})$", "search", SIZE // 5),
        (r"(?:tel:)?[\s(\[]*[+]?[\s(\[]*\d", "match", SIZE // 5),
        # A fast machine needs the whole size to be slow.
        (r"error(?: code)?:?\s*(?:<[^>]{0,200}>\s*)*(1\d{3})\b", "search", SIZE),
    ],
)
def test_a_quadratic_pattern_is_noticed(pattern: str, method: str, size: int) -> None:
    use = Use("", re.compile(pattern), method)
    call = getattr(use.pattern, method)
    assert any(grows_too_fast(call, make, size) for make in worst_texts(use))


def _search_text(text: str) -> None:
    with suppress(phone.NotANumberError):
        phone.search_text(text)


READERS: dict[str, Callable[[str], Any]] = {
    "error page": lambda text: error_for(403, {}, text.encode(), None, api_key="key-of-tests"),
    "error text": lambda text: error_for(422, {}, b"", {"error": text}, api_key="key-of-tests"),
    "field errors": lambda text: error_for(
        422,
        {},
        b"",
        {"errors": {f"{number} {text}": [text] * 2 for number in range(2)}, "token": text},
        api_key="key-of-tests",
    ),
    "redacted": lambda text: redacted(text, known_secrets(text, {"token": text})),
    "plain_text": plain_text,
    "timestamp": timestamp,
    "reference_in": reference_in,
    "name_without_reference": name_without_reference,
    "search_text": _search_text,
    "origin_of": origin_of,
    "is_allowed_origin": is_allowed_origin,
    "with_params": lambda text: with_params(f"/launch/?{text}", {"mode": "dark"}),
    "CSV cell": _cell,
}

PARTS = [
    *(" ", "\t", "(", "[", "+", "<", "<>", "&", "&#", "%", "%25", "\\", "\\/", "\\u005c", "=", ";"),
    *(
        "error",
        "error ",
        "<error<x>",
        "error code: ",
        "#ki-",
        " #ki-0123456789",
        "/embed/",
        "token",
    ),
    *(
        "token=",
        "bearer ",
        "1",
        "a",
        "a1-",
        ".",
        "a.",
        "*.",
        ":",
        "://",
        "é",
        "\u200b",
        "2026-11-28T",
    ),
]


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_of_foreign_text_is_linear(reader: str) -> None:
    for part in PARTS:

        def make(size: int, part: str = part) -> str:
            return part * (size // len(part)) + "!"

        assert not grows_too_fast(READERS[reader], make), part
