"""What the site's middleware does to the headers of this app's answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from django.utils.translation import gettext as _

from .findings import Finding, error, warning
from .permissions import permissions_header_findings, permissions_policy_findings
from .site import blocking_embedder_policy, embedder_policy_findings, is_covered
from .tracing import Trace


def header_findings(trace: Trace) -> Iterator[Finding]:
    """Check the headers with which a page of this app reaches a browser.

    The page passes the same middleware as the pages of the site that show an inbox.
    """
    for header, (is_kept, make) in _KEPT.items():
        value = trace.final.headers.get(header.lower(), "")
        if not is_kept(value):
            texts = {"header": header, "value": value[:100], "sender": _sender(trace, header)}
            yield make(
                "launch-header-changed",
                _(
                    "The middleware %(sender)s changes the header %(header)s of this app's "
                    "answers to “%(value)s”."
                )
                % texts
                + f" {_consequence(header)}",
                _(
                    "Let that middleware keep a header that the response has already: "
                    "response.setdefault(…)."
                ),
            )
    header = "Cross-Origin-Embedder-Policy"
    value = blocking_embedder_policy(trace.final.headers.get(header.lower(), ""))
    if value and not [*embedder_policy_findings()]:
        yield warning(
            "coep-blocks",
            _(
                "The middleware %(sender)s sends the header Cross-Origin-Embedder-Policy: "
                "%(value)s. In a page with this header, browsers refuse to show the inbox."
            )
            % {"sender": _sender(trace, header), "value": value},
            _("Leave that header out of the pages that show an inbox."),
        )
    header = "Permissions-Policy"
    if not [*permissions_policy_findings()]:
        value = trace.final.headers.get(header.lower(), "")
        yield from permissions_header_findings(value, _sender(trace, header))


def _sender(trace: Trace, header: str) -> str:
    """Return the middleware that gave a header the value that the browser gets."""
    values = [layer.answer and layer.answer.headers.get(header.lower()) for layer in trace.layers]
    changes = [number for number in range(1, len(values)) if values[number] != values[number - 1]]
    return trace.layers[changes[-1]].name if changes else ""


def _may_be_framed(policy: str) -> bool:
    """Return whether a Content Security Policy lets this site frame the page."""
    for directive in policy.replace(",", ";").split(";"):
        name, *sources = directive.split() or [""]
        if name.lower() == "frame-ancestors" and not is_covered("'self'", sources):
            return False
    return True


def _tells_the_origin(policy: str) -> bool:
    """Return whether a Referrer-Policy lets Kapso see which site asks. Browsers take the last."""
    last = policy.rpartition(",")[2].strip().lower()
    return last not in ("no-referrer", "same-origin", "")


#: Header of this app's answers -> (whether a value does what is needed, the level otherwise).
_KEPT: dict[str, tuple[Callable[[str], bool], Callable[..., Finding]]] = {
    "X-Frame-Options": (lambda value: value.upper() in ("SAMEORIGIN", ""), warning),
    "Content-Security-Policy": (_may_be_framed, warning),
    "Referrer-Policy": (_tells_the_origin, error),
    "Cache-Control": (lambda value: "no-store" in value.lower(), error),
}


def _consequence(header: str) -> str:
    """Return what it means that a header was changed."""
    return {
        "Referrer-Policy": _("Kapso then cannot see which site asks, and shows no inbox."),
        "Cache-Control": _("Browsers and proxies may then keep the secret address of an inbox."),
    }.get(
        header,
        _(
            "Browsers may then show nothing in place of this app's pages in the frame, such as the "
            "one that asks to sign in."
        ),
    )
