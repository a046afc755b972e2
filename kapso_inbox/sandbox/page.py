"""Render the embedded inbox as HTML, with the headers that Kapso sends."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from .inbox import InboxPage
from .texts import TEXTS
from .wire import Answer

_FILES = Path(__file__).parent / "assets"
_ASSETS = ("inbox.css", "inbox.js", "theme.js")


def asset(name: str) -> bytes | None:
    """Return the content of a static file of the page, or None if it has no such file."""
    return (_FILES / name).read_bytes() if name in _ASSETS else None


def render(opened: InboxPage) -> Answer:
    """Return the inbox as a browser receives it, or a plain page for a refusal."""
    if opened.status != 200:
        refusal = "<!doctype html><meta charset=utf-8><title>401</title><p>Unauthorized</p>"
        return Answer(opened.status, refusal, _headers([]))
    context = opened.context
    filters = context["filters"]
    texts = TEXTS[context["language"]]
    values = {
        "language": context["language"],
        "mode": context["mode"],
        "mode_forced": _flag(context["mode_forced"]),
        "status": filters["status"],
        "search": filters["search"],
        "number": filters["number"],
        "unread": _flag(filters["unread"]),
        "handoff": _flag(filters["handoff"]),
        "name": context["name"],
        **{f"t_{key}": text for key, text in texts.items()},
    }
    content = Template((_FILES / "inbox.html").read_text(encoding="utf-8")).substitute(
        {key: html.escape(value) for key, value in values.items()},
        data=_script_json({**context, "texts": texts}),
    )
    return Answer(200, content, _headers(context["allowed_origins"]))


def _headers(allowed_origins: Sequence[str]) -> dict[str, str]:
    # Without allowed origins Kapso lets any site frame the inbox.
    ancestors = " ".join(allowed_origins) or "*"
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        f" connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}"
    )
    return {
        "Content-Security-Policy": policy,
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def _script_json(value: Any) -> str:
    """Return JSON that is safe inside a script element."""
    text = json.dumps(value, ensure_ascii=True)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _flag(value: bool) -> str:
    return "true" if value else "false"
