"""Secrets in memory: text that does not show itself, and errors without the frames that hold it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E", bound=BaseException)


class Secret(str):
    """A key or a secret address, as a string whose `repr` hides it.

    Error pages and debuggers show the `repr` of local variables, and containers the `repr` of their
    items. Text that is made from it (a slice, a concatenation) is an ordinary string again.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[secret]'"


class Hidden:
    """A secret address that only a call returns. A template calls it, as it calls any variable.

    Unlike a `Secret` it is no string: collectors of errors that copy strings find none in it.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self) -> str:
        return self._text


def pasted_with(secret: str) -> str:
    """Return a sentence about what was pasted with a secret, or "". It quotes nothing of it.

    Args:
        secret: a key whose own characters are neither quotation marks nor, but at its end, “=”.
    """
    secret = secret.strip()
    found = [
        words
        for words, pattern in (
            ("the word “export”", r"(?i)export\s"),
            ("the name and the “=” after it", r"(?:\w+\s+)?[\w.-]+\s*=(?!=*$)"),
            ("the quotation marks", r"(?s)[\"'`“”\u2018\u2019]|.*[\"'`“”\u2018\u2019]$"),
        )
        if re.match(pattern, secret)
    ]
    return f"More was pasted than the key. Remove {' and '.join(found)}." if found else ""


def without_frames(error: E) -> E:
    """Return an error after taking from it all that leads to the frames in which it arose."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def hides_frames(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function whose arguments or local variables hold a secret.

    Error pages and collectors of errors show the local variables of every frame of a traceback.
    An error leaves the decorated function without its frame and those below.
    """

    @wraps(function)
    def hidden(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as failure:  # noqa: BLE001 (it is raised again)
            error = without_frames(failure)
        del args, kwargs
        raise error

    return hidden
