"""What collectors of errors find: sentry-sdk with its defaults, and one that looks closer."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import sentry_sdk
from django.db.models import Manager, QuerySet
from sentry_sdk.integrations.logging import BreadcrumbHandler, EventHandler
from sentry_sdk.transport import Transport

TESTS = str(Path(__file__).parents[1])
_DEPTH = 6


def exceptions_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and every one that can be reached from it."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
        waiting += [arg for arg in one.args if isinstance(arg, BaseException)]


def texts_of(value: Any, depth: int = _DEPTH) -> Iterator[str]:
    """Yield a value as text, as `repr` and, for bytes, decoded; and what a container holds."""
    if isinstance(value, (QuerySet, Manager)) or depth == 0:
        return  # its repr would ask the database
    if isinstance(value, (bytes, bytearray)):
        yield bytes(value).decode("latin-1")
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield from texts_of(name, depth - 1)
            yield from texts_of(one, depth - 1)
        return
    elif isinstance(value, (list, tuple, set, frozenset)):
        for one in value:
            yield from texts_of(one, depth - 1)
        return
    for show in (str, repr):
        try:
            yield show(value)
        except Exception:  # noqa: BLE001, S112 (an object that is half made, say)
            continue


def places_of(error: BaseException) -> Iterator[tuple[str, str]]:
    """Yield every text in an exception and in the frames that it leads to, each with its place."""
    for one in exceptions_of(error):
        name = type(one).__name__
        for text in texts_of([one.args, vars(one)]):
            yield f"{name} itself", text
        trace: TracebackType | None = one.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            if not code.co_filename.startswith(TESTS):
                for local, value in trace.tb_frame.f_locals.items():
                    for text in texts_of(value):
                        yield f"{name}: {local} in {code.co_name}", text
            trace = trace.tb_next


class Collected(logging.Handler):
    """Every exception that was raised out of the app or logged, as collectors store it.

    Attributes:
        sent: what sentry-sdk sent, as text.
        errors: how many exceptions were seen.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.sent: list[str] = []
        self.errors = 0
        self._places: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Look at what was logged."""
        self._places += (("a log line", text) for text in texts_of([record.msg, record.args]))
        if record.exc_info and record.exc_info[1] is not None:
            self._add(record.exc_info[1])

    def add(self, error: BaseException) -> None:
        """Look at an exception that reached the host."""
        self._add(error)
        sentry_sdk.capture_exception(error)

    def _add(self, error: BaseException) -> None:
        self.errors += 1
        self._places += places_of(error)

    def told(self, secrets: list[str]) -> set[str]:
        """Return the places that hold one of the secrets, and forget everything."""
        forms = [form for secret in secrets for form in forms_of(secret)]
        places = [*self._places, *(("an event of sentry-sdk", text) for text in self.sent)]
        self._places.clear()
        self.sent.clear()
        sentry_sdk.get_isolation_scope().clear_breadcrumbs()
        return {place for place, text in places if any(form in text for form in forms)}


def forms_of(secret: str) -> set[str]:
    """Return how a secret may be written: an encryption key also as the bytes it stands for."""
    try:
        raw = base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4))
    except ValueError:
        return {secret}
    return {secret, raw.decode("latin-1"), repr(raw)[2:-1]} if len(raw) == 32 else {secret}


@contextmanager
def collecting() -> Iterator[Collected]:
    """Collect what is raised and logged in the block, by sentry-sdk with its defaults and by us."""
    collected = Collected()

    class Captured(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            collected.sent.extend(
                item.get_bytes().decode(errors="replace") for item in envelope.items
            )

    client = sentry_sdk.Client(
        dsn="https://key@sentry.example/1", transport=Captured, default_integrations=False
    )
    handlers = [collected, BreadcrumbHandler(logging.INFO), EventHandler(logging.ERROR)]
    loggers = [logging.getLogger(name) for name in ("kapso_inbox", "django.request")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        for handler in handlers:
            logger.addHandler(handler)
    try:
        with sentry_sdk.isolation_scope(), sentry_sdk.new_scope() as scope:
            scope.set_client(client)
            yield collected
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
            for handler in handlers:
                logger.removeHandler(handler)
        client.close()
