"""What the site around this app does to a request for an inbox, and to the app's static files."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from kapso_inbox import conf
from kapso_inbox.models import Outcome

from .findings import Finding, error, info, name_failure
from .headers import header_findings
from .static_files import static_findings
from .this_site import host_for_requests
from .tracing import Layer, Trace, TracedAnswer, TracingHandler

#: A reserved slug, which no inbox has. So nothing opens, even if the site signs everybody in.
_SLUG = "sync"
_EXPECTED = (Outcome.SIGNED_OUT, Outcome.NOT_AVAILABLE)


def host_findings(*, sends: bool) -> Iterator[Finding]:
    """Check that a launch reaches this app, and that browsers get the app's static files.

    Args:
        sends: whether requests are sent through the site's middleware, in this process.
    """
    handler = None
    if sends:
        try:
            handler = TracingHandler()
        except Exception as failure:  # noqa: BLE001 (whatever a middleware of the site raises)
            yield error(
                "launch-fails",
                _("The middleware of this site cannot be loaded: %(failure)s.")
                % {"failure": name_failure(failure)},
                _("Correct MIDDLEWARE in the settings, or the middleware itself."),
            )
    host = host_for_requests()
    if handler is not None and conf.delivery() == "launch":
        yield from _launch_findings(handler, host)
    yield from static_findings(handler, host)


def _launch_findings(handler: TracingHandler, host: str) -> Iterator[Finding]:
    try:
        path = reverse("kapso_inbox:launch", kwargs={"slug": _SLUG})
    except NoReverseMatch:
        return  # A system check finds that.
    trace = handler.send(path, host)
    if elsewhere := _same_path_elsewhere(trace.final, path, host):
        trace = handler.send(path, elsewhere)
    if _is_ours(trace.final) and not trace.failure:
        yield info("launch-answers", _("A frame that asks for an inbox reaches this app."))
        yield from header_findings(trace)
    else:
        yield _what_is_wrong(trace, path.removesuffix(f"{_SLUG}/launch/"))


def _same_path_elsewhere(answer: TracedAnswer, path: str, host: str) -> str:
    """Return the host that an answer redirects to with the same path (`PREPEND_WWW`), or ""."""
    to = urlsplit(answer.headers.get("location", ""))
    return to.netloc if to.path == path and to.netloc != host else ""


def _is_ours(answer: TracedAnswer | None) -> bool:
    """Return whether this app answered, as it should for a slug that no inbox has."""
    return answer is not None and answer.outcome in _EXPECTED


def _what_is_wrong(trace: Trace, prefix: str) -> Finding:
    """Return who answered in place of this app, or failed.

    Args:
        trace: how the request was handled.
        prefix: the path that all addresses of this app begin with.
    """
    layer, answer = _who_answered(trace)
    middleware = layer.name or trace.hook
    failure = answer.failure or trace.failure
    texts = {
        "answer": _in_words(answer),
        "middleware": middleware,
        "failure": failure,
        "prefix": prefix,
    }
    in_urlconf = _(
        'Put path("kapso-inbox/", include("kapso_inbox.urls")) before any pattern that takes every '
        "address, and do not decorate its views."
    )
    in_code = _("Correct that line: every launch runs into it.")
    if middleware and answer.failure:
        what = _("A launch fails in the middleware %(middleware)s: %(failure)s.")
        return error("launch-fails", what % texts, in_code)
    if middleware:
        what = _("The middleware %(middleware)s answers a launch in place of this app: %(answer)s.")
        hint = _(
            "Let that middleware pass on every request whose path begins with %(prefix)s. This app "
            "decides by itself whom it lets in, and a login page cannot be shown in the frame."
        )
        return _by_another(what % texts, hint % texts)
    if trace.match is None:
        what = _("No pattern of the URLconf takes the address of a launch: %(answer)s.")
        return _by_another(what % texts, in_urlconf)
    if "kapso_inbox" not in trace.match.app_names:
        texts |= {"view": trace.match._func_path, "route": str(trace.match.route)}
        what = _(
            "The address of a launch leads to another view, %(view)s, by the pattern “%(route)s”: "
            "%(answer)s."
        )
        return _by_another(what % texts, in_urlconf)
    if failure:
        return error("launch-fails", _("A launch fails: %(failure)s.") % texts, in_code)
    what = _("Something around this app's own view answers a launch in its place: %(answer)s.")
    return _by_another(what % texts, in_urlconf)


def _by_another(what: str, hint: str) -> Finding:
    return error("launch-answered-by-another", what, hint)


def _who_answered(trace: Trace) -> tuple[Layer, TracedAnswer]:
    """Return the layer whose answer the browser gets, by and large, and that answer.

    It is the innermost that was asked: others only passed its answer on. But if that answer is this
    app's, it is the first to have put another one in its place.
    """
    answered = [(layer, layer.answer) for layer in trace.layers if layer.answer is not None]
    if _is_ours(answered[0][1]):
        return next((pair for pair in answered if not _is_ours(pair[1])), answered[0])
    return answered[0]


def _in_words(answer: TracedAnswer) -> str:
    """Return an answer's status, and where it redirects to or what it is; without any query."""
    to = urlsplit(answer.headers.get("location", ""))
    if to.netloc or to.path:
        return f"{answer.status} → {to.hostname or ''}{to.path}"
    kind = answer.headers.get("content-type", "").partition(";")[0]
    return f"{answer.status} {answer.failure or kind}".strip()
