"""Send a request through this site's middleware, in this process, and note who answers it."""

from __future__ import annotations

import contextvars
import gzip
import re
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.util import setup_testing_defaults

from django.conf import settings
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.core.handlers.base import BaseHandler
from django.core.handlers.wsgi import WSGIRequest
from django.core.signals import got_request_exception
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch, get_script_prefix, set_urlconf

from kapso_inbox.transactions import database

from .findings import name_failure

#: What a browser sends with the first request of a frame on a page of this site.
_AS_FRAME = {
    "HTTP_USER_AGENT": "Mozilla/5.0 (compatible; kapso_doctor)",
    "HTTP_ACCEPT": "text/html,application/xhtml+xml,*/*;q=0.8",
    "HTTP_SEC_FETCH_DEST": "iframe",
    "HTTP_SEC_FETCH_MODE": "navigate",
    "HTTP_SEC_FETCH_SITE": "same-origin",
}


@dataclass(frozen=True)
class TracedAnswer:
    """What one part of the site answered.

    Attributes:
        status: the HTTP status.
        headers: the headers, by their names in lower case.
        outcome: the outcome that a page of this app names, or "".
        failure: the exception that was raised instead of an answer, as `name_failure` has it; or
            "".
    """

    status: int
    headers: dict[str, str]
    outcome: str = ""
    failure: str = ""


@dataclass
class Layer:
    """The views, or one middleware around them.

    Attributes:
        name: the dotted path of the middleware; "" for the views.
        handler: what Django made of it.
        answer: what it answered; None if nobody asked it.
    """

    name: str
    handler: Callable[..., Any]
    answer: TracedAnswer | None = None

    def note(self, response: Any) -> Any:
        """Note an answer, and return it."""
        if not isinstance(response, HttpResponseBase):
            raise TypeError(f"{self.name or 'The view'} did not return a response.")
        headers = {name.lower(): value for name, value in response.items()}
        self.answer = TracedAnswer(response.status_code, headers, _outcome(response))
        return response

    def note_failure(self, failure: Exception) -> HttpResponse:
        """Note an exception, and return an answer with the status that Django would give it.

        Django would also log it, tell the receivers of its signals and mail the administrators of
        the site. But nobody was refused an inbox.
        """
        status = _status_of(failure)
        self.answer = TracedAnswer(status, {}, failure=name_failure(failure))
        return HttpResponse(status=status)


@dataclass
class Trace:
    """How a request was handled.

    Attributes:
        layers: who could have answered, from the views to the outermost middleware.
        match: the pattern that the address leads to, or None.
        hook: the middleware whose `process_view` or `process_exception` answered or failed, or "".
        failure: an exception that the view caught and reported, or "".
    """

    layers: list[Layer]
    match: ResolverMatch | None = None
    hook: str = ""
    failure: str = ""

    @property
    def final(self) -> TracedAnswer:
        """The answer that a browser gets."""
        return self.layers[-1].answer or TracedAnswer(500, {})


class TracingHandler(BaseHandler):
    """Handles requests as the site does, with middleware of its own, and traces them.

    It depends on this of Django's `load_middleware` (5.2 to 6.1): `adapt_method_mode` is called
    with everything that a middleware is put around, then with the hooks of that middleware, and at
    last with the outermost middleware.
    """

    _middleware_chain: Callable[[HttpRequest], HttpResponseBase]

    def __init__(self) -> None:
        """Load the middleware of the settings.

        Raises:
            Exception: a middleware cannot be loaded.
        """
        self._layers: list[Layer] = []
        self._loading = ""
        self._trace = Trace([])
        self.load_middleware()

    def adapt_method_mode(
        self,
        is_async: bool,
        method: Callable[..., Any],
        method_is_async: bool | None = None,
        debug: bool = False,
        name: str | None = None,
    ) -> Any:
        """Trace what Django adapts while it loads the middleware."""
        if method_is_async is None:
            hook = super().adapt_method_mode(is_async, method, debug=debug, name=name)
            return self._trace_hook(hook, method)
        if not self._layers or self._layers[-1].handler is not method:
            self._layers.append(Layer(self._loading, method))
        # Otherwise the last middleware was not used (`MiddlewareNotUsed`).
        self._loading = (name or "").removeprefix("middleware ")
        traced = _trace_layer(self._layers[-1], method, method_is_async)
        return super().adapt_method_mode(is_async, traced, method_is_async, debug, name)

    def send(self, path: str, host: str) -> Trace:
        """Send a GET over https, signed out, as a frame on a page of this site does.

        What is written meanwhile to the database of this app is rolled back.

        Args:
            path: the path, as `reverse` returns it.
            host: the host, which ALLOWED_HOSTS should include.
        """
        with transaction.atomic(using=database()):
            # In a context of its own, in which the language, the time zone and the URLconf stay
            # that middleware sets.
            trace = contextvars.copy_context().run(self._send, path, host)
            transaction.set_rollback(True, using=database())
        return trace

    def _send(self, path: str, host: str) -> Trace:
        for layer in self._layers:
            layer.answer = None
        self._trace = trace = Trace([])
        prefix = get_script_prefix().rstrip("/")
        environ = {
            "HTTP_HOST": host,
            "HTTPS": "on",
            "SCRIPT_NAME": prefix,
            # WSGI: the bytes of a path as Latin-1
            "PATH_INFO": unquote_to_bytes(path.removeprefix(prefix)).decode("latin-1"),
            "QUERY_STRING": "",
            "REMOTE_ADDR": "127.0.0.1",
            "SERVER_PORT": "443",
            **_AS_FRAME,
        }
        setup_testing_defaults(environ)
        request = WSGIRequest(environ)

        def report(sender: Any, **kwargs: Any) -> None:
            failure = sys.exc_info()[1]
            if kwargs.get("request") is request and failure is not None:
                trace.failure = name_failure(failure)

        got_request_exception.connect(report)
        set_urlconf(settings.ROOT_URLCONF)
        try:
            # `get_response` would log a refusal.
            response = self._middleware_chain(request)
            # `response.close` would also close the connections to the databases.
            for close in getattr(response, "_resource_closers", ()):
                close()
        finally:
            got_request_exception.disconnect(report)
        trace.match = getattr(request, "resolver_match", None)
        # Copied, since the next request changes them.
        trace.layers = [Layer(one.name, one.handler, one.answer) for one in self._layers]
        return trace

    def _trace_hook(self, hook: Callable[..., Any], method: Any) -> Callable[..., Any]:
        kind, middleware = getattr(method, "__name__", ""), self._loading
        if kind not in ("process_view", "process_exception"):
            return hook

        def traced(request: Any, *args: Any) -> Any:
            if kind == "process_exception":
                self._trace.failure = name_failure(args[0])
            try:
                response = hook(request, *args)
            except Exception:
                self._trace.hook = middleware
                raise
            if response:
                self._trace.hook = middleware
            return response

        return traced


def _trace_layer(layer: Layer, method: Callable[..., Any], is_async: bool) -> Callable[..., Any]:
    """Return a handler that notes what a layer answers, and which exceptions it raises."""
    # Without `convert_exception_to_response`, for which see `Layer.note_failure`.
    handler = getattr(method, "__wrapped__", method)

    def handle(request: Any) -> Any:
        try:
            return layer.note(handler(request))
        except Exception as failure:  # noqa: BLE001 (as Django does)
            return layer.note_failure(failure)

    async def handle_async(request: Any) -> Any:
        try:
            return layer.note(await handler(request))
        except Exception as failure:  # noqa: BLE001 (as Django does)
            return layer.note_failure(failure)

    return handle_async if is_async else handle


def _status_of(failure: Exception) -> int:
    if isinstance(failure, Http404):
        return 404
    if isinstance(failure, PermissionDenied):
        return 403
    if isinstance(failure, (BadRequest, SuspiciousOperation, MultiPartParserError)):
        return 400
    return 500


def _outcome(response: HttpResponseBase) -> str:
    """Return the outcome that a page of this app names, or "" for an answer of anybody else."""
    if not isinstance(response, HttpResponse) or not getattr(response, "is_rendered", True):
        return ""
    body = response.content
    if response.get("Content-Encoding") == "gzip":
        try:
            body = gzip.decompress(body)
        except (OSError, EOFError, zlib.error):
            return ""
    # Without quotation marks as well: some sites shorten their HTML.
    match = re.search(rb"data-outcome=[\"']?([a-z_]+)", body)
    return match[1].decode() if match else ""
