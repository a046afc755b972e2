"""`python -m benchmarks.page`: what the inbox adds to a page, compared with Kapso's iframe.

It measures one page of a CRM: without an inbox (none), with the iframe that Kapso documents,
`<iframe src="<secret address>">` (bare), and with the app's component, plain (ours) and with views,
settings and a theme to follow (full). Chromium loads them in turns: with an empty cache, again with
the cache that this filled, and with an empty cache and a main thread four times as slow. The CRM
and the sandbox's inbox are two sites behind real HTTP on this machine, in their own process.

Each table has medians, and then differences: the median of the differences within a round, and
their quartiles in brackets. The difference between a bare iframe and the one of the round before is
noise. Paints, and the load of the frame, are in milliseconds since the navigation began. The main
thread's time is the time that the page's own thread computes; the frame has another. Bytes are
those that came over the network, headers included; the app's static files are compressed, the page
is not. It requires playwright, and Chromium: `CHROMIUM`, or one on the PATH, or playwright's own.
"""

from __future__ import annotations

import argparse
import gzip
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from tests.browser import chromium

from .host import KEY, configure, signed_in
from .tools import child, table, until_over

if TYPE_CHECKING:  # playwright is optional
    from playwright.sync_api import Browser, BrowserContext, Page, Request

FILES = ("kapso_inbox.js", "kapso_inbox.css")
FOR_EVER = "max-age=31536000, immutable"

#: Name -> the content of the page's place for the inbox.
INBOXES = {
    "none": "",
    "bare": '<iframe src="{{ secret_url }}" width="100%" height="100%" frameborder="0"></iframe>',
    "ours": '{% kapso_inbox "sales" %}',
    "full": (
        '{% kapso_inbox "sales" views=1 settings=1 theme_source="html[data-theme]" mode="light" %}'
    ),
}
#: Each has its own cache: title of a load -> how many times as slow the processor is.
PROFILES = ({"nothing cached": 1, "cached": 1}, {"nothing cached, CPU 4 times as slow": 4})
FIGURES = (
    "first paint, ms",
    "first contentful paint, ms",
    "inbox loaded, ms",
    "layout shift, score",
    "main thread, ms",
    "- script",
    "- style and layout",
    "requests, page",
    "requests, frame",
    "bytes, page",
    "bytes, frame",
)

PAGE = """{% load kapso_inbox %}<!doctype html>
<html lang="en" data-theme="light">
<head><meta charset="utf-8"><title>Customers</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/crm.css">
<script>
document.addEventListener("load", (event) => {
  const { localName, hidden } = event.target;
  if (localName === "iframe" && !hidden) performance.mark("inbox");
}, true);
</script></head>
<body><h1>Customers</h1>
<div class="place">INBOX</div>
<table>{% for number in numbers %}<tr><td>Customer {{ number }}</td>
<td>+55 11 91234-{{ number }}</td></tr>{% endfor %}</table></body>
</html>"""
STYLES = """body { margin: 1rem; font: 1rem/1.5 sans-serif }
.place { height: 600px }
td { padding: .25rem 1rem; border-bottom: 1px solid #ddd }
"""

#: After two more paints, the page has done everything that the load of the iframe causes.
UNTIL_PAINTED = """() => new Promise((done) =>
    requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"""
INBOX_IS_LOADED = "() => performance.getEntriesByName('inbox').length"
#: Chromium reports a paint when it is on the screen, which can be later than that.
PAINT_IS_KNOWN = "() => performance.getEntriesByName('first-contentful-paint').length"
TIMES = "() => Object.fromEntries(performance.getEntries().map((e) => [e.name, e.startTime]))"
#: How much what was visible has moved without anybody's doing: 0.1 and less counts as good.
SHIFT = """() => new Promise((done) => {
    let shift = 0;
    new PerformanceObserver((list) => {
        list.getEntries().forEach(({ value }) => (shift += value));
    }).observe({ type: "layout-shift", buffered: true });
    setTimeout(() => done(shift), 50);
})"""
COMPONENTS = """() => [...document.querySelectorAll("kapso-inbox")].map(
    (one) => [one.dataset.state, getComputedStyle(one).display])"""


def main() -> None:
    """Measure, and print a table for each condition."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="at least 5")
    parser.add_argument("--site", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.site:
        _serve()
        return
    if options.rounds < 5:
        parser.error("fewer than 5 rounds say too little")
    with child("benchmarks.page", "--site") as site, _chromium() as browser:
        measured = _measure(browser, site, options.rounds)
    for title, pages in measured.items():
        _print_table(title, pages)
    _print_files()


# ------------------------------------------------------------------ the two sites


def _serve() -> None:
    """Serve the CRM and the sandbox until the benchmark is over."""
    from kapso_inbox.sandbox.engine import Sandbox
    from kapso_inbox.sandbox.server import SandboxServer

    sandbox = Sandbox(rate_limit=10**9)
    sandbox.add_project(KEY)
    with tempfile.TemporaryDirectory() as directory, SandboxServer(sandbox) as kapso:
        file = str(Path(directory) / "crm.sqlite3")
        configure(
            {"BASE_URL": kapso.base_url, "INBOX_ORIGINS": [kapso.inbox_origin]},
            {"ENGINE": "django.db.backends.sqlite3", "NAME": file},
            LOGGING_CONFIG=None,
        )
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

        class Handler(WSGIRequestHandler):
            # Headers and body go out in two writes; without this the second waits for an ACK.
            disable_nagle_algorithm = True

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
                """Print nothing."""

        server = ThreadedWSGIServer(("127.0.0.1", 0), Handler)
        # Not the site of the inbox, so that a browser gives each its own process.
        origin = f"http://localhost:{server.server_port}"
        link, cookie = _fill(origin)
        server.set_app(_application(link.reveal_url()))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        until_over({"origin": origin, "cookie": cookie})
        server.shutdown()
        server.server_close()


def _fill(origin: str) -> tuple[Any, str]:
    """Create an embed and a user who may open it; return its link and the session's key."""
    from kapso_inbox.lifecycle import create_embed

    embed = create_embed(slug="sales", name="Sales", allowed_origins=[origin])
    return embed.current_link, signed_in("open_inboxembed")[1]


def _application(secret_url: str) -> Any:
    """Return the CRM as a WSGI application."""
    from types import ModuleType

    from django.conf import settings
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, HttpResponse
    from django.template import RequestContext, Template
    from django.urls import include, path

    templates = {name: Template(PAGE.replace("INBOX", body)) for name, body in INBOXES.items()}

    def show(request: HttpRequest, name: str) -> HttpResponse:
        values = {"secret_url": secret_url, "numbers": range(1000, 1050)}
        response = HttpResponse(templates[name].render(RequestContext(request, values)))
        response["Cache-Control"] = "no-store"
        return response

    def styles(request: HttpRequest) -> HttpResponse:
        return HttpResponse(STYLES, "text/css", headers={"Cache-Control": FOR_EVER})

    class Static(StaticFilesHandler):
        """Serves static files as in production: compressed, and cached for a year."""

        def serve(self, request: HttpRequest) -> Any:
            found: Any = super().serve(request)
            content = gzip.compress(found.getvalue(), mtime=0)
            headers = {"Content-Encoding": "gzip", "Cache-Control": FOR_EVER}
            return HttpResponse(content, found["Content-Type"], headers=headers)

    urls: Any = ModuleType("crm")
    urls.urlpatterns = [
        path("crm.css", styles),
        path("customers/<slug:name>/", show),
        path("kapso-inbox/", include("kapso_inbox.urls")),
    ]
    settings.ROOT_URLCONF = urls
    return Static(get_wsgi_application())


# ------------------------------------------------------------------ the browser


@contextmanager
def _chromium() -> Iterator[Browser]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise SystemExit("playwright is not installed") from None
    with sync_playwright() as playwright:
        executable = chromium.find(playwright.chromium)
        if executable is None:
            raise SystemExit(chromium.MISSING)
        browser = playwright.chromium.launch(
            executable_path=executable, args=[*chromium.OPTIONS, "--site-per-process"]
        )
        yield browser
        browser.close()


#: Figure -> its value in each round.
Rounds = dict[str, list[float]]


def _measure(browser: Browser, site: dict[str, str], rounds: int) -> dict[str, dict[str, Rounds]]:
    """Load all pages in every round, in a rotating order."""
    measured: dict[str, dict[str, Rounds]] = {
        title: {name: {figure: [] for figure in FIGURES} for name in INBOXES}
        for profile in PROFILES
        for title in profile
    }
    names = list(INBOXES)
    for number in range(-1, rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            for profile in PROFILES:
                context = _signed_in(browser, site)
                for title, slower in profile.items():
                    figures = _load(context, site["origin"], name, slower)
                    if title == "cached" and figures["requests, page"] != 1:
                        raise SystemExit(f"{name}: more than the page itself was requested again")
                    if number >= 0:  # the first round is a warm-up
                        for figure, value in figures.items():
                            measured[title][name][figure].append(value)
                context.close()
    return measured


def _signed_in(browser: Browser, site: dict[str, str]) -> BrowserContext:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(15_000)
    context.add_cookies([{"name": "sessionid", "value": site["cookie"], "url": site["origin"]}])
    return context


def _load(context: BrowserContext, origin: str, name: str, slower: int) -> dict[str, float]:
    """Load a page and its inbox, check that the inbox is shown, and return the figures."""
    page = context.new_page()
    requests: list[Request] = []
    page.on("request", lambda request: requests.append(request))
    devtools = context.new_cdp_session(page)
    # The thread's own clock leaves out the work of other programs.
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": slower})
    page.goto(f"{origin}/customers/{name}/", wait_until="load")
    if name != "none":
        page.wait_for_function(INBOX_IS_LOADED)
    page.evaluate(UNTIL_PAINTED)
    answer = devtools.send("Performance.getMetrics")
    spent = {metric["name"]: metric["value"] * 1000 for metric in answer["metrics"]}
    _check(page, name)
    page.wait_for_function(PAINT_IS_KNOWN)
    times = page.evaluate(TIMES)
    figures = {
        "first paint, ms": times["first-paint"],
        "first contentful paint, ms": times["first-contentful-paint"],
        "layout shift, score": page.evaluate(SHIFT),
        "main thread, ms": spent["TaskDuration"],
        "- script": spent["ScriptDuration"],
        "- style and layout": spent["RecalcStyleDuration"] + spent["LayoutDuration"],
    }
    if name != "none":
        figures["inbox loaded, ms"] = times["inbox"]
    for where in ("page", "frame"):
        # A resource from the cache counts as a request that takes no bytes.
        taken = [
            sizes["responseHeadersSize"] + sizes["responseBodySize"]
            for sizes in (
                request.sizes()
                for request in requests
                if (request.frame == page.main_frame) == (where == "page")
            )
        ]
        figures[f"requests, {where}"] = sum(size > 0 for size in taken)
        figures[f"bytes, {where}"] = sum(taken)
    page.close()
    return figures


def _check(page: Page, name: str) -> None:
    """Check that the page shows what it should.

    Raises:
        SystemExit: the frame shows no conversations, or the component does not work.
    """
    # Beside it, the component asks in a hidden frame whether the inbox's host answers.
    shown = "iframe:not([hidden])"
    frames = page.locator(shown).count()
    rows = page.frame_locator(shown).locator("[data-testid=conversations] [data-conversation]")
    if frames != (name != "none") or (frames and not rows.count()):
        raise SystemExit(f"{name}: {frames} frames, which show no conversations")
    if name in ("ours", "full"):
        states = page.evaluate(COMPONENTS)
        if states != [["ready", "block"]]:
            raise SystemExit(f"{name}: the component is not ready, or has no styles: {states}")


# ------------------------------------------------------------------ the tables


def _print_table(title: str, pages: dict[str, Rounds]) -> None:
    rows = []
    for figure in FIGURES:
        rounds = {name: own[figure] for name, own in pages.items()}
        bare = rounds["bare"]
        pairs = [(rounds["ours"], bare), (rounds["full"], bare), (bare[1:], bare)]
        digits = 3 if "shift" in figure else 0
        medians = [f"{median(own):,.{digits}f}" if own else "" for own in rounds.values()]
        rows.append((figure, *medians, *(_difference(*pair) for pair in pairs)))
    table([title, *pages, "ours - bare", "full - bare", "noise"], rows)
    print()


def _difference(some: list[float], others: list[float]) -> str:
    """Return the median of the differences by round, and their quartiles if they differ."""
    low, middle, high = quantiles((a - b for a, b in zip(some, others, strict=False)), n=4)
    return f"{middle:+,.1f}" + (f" ({low:+.1f} {high:+.1f})" if low != high else "")


def _print_files() -> None:
    import kapso_inbox

    directory = Path(kapso_inbox.__file__).parent / "static" / "kapso_inbox"
    contents = {name: (directory / name).read_bytes() for name in FILES}
    sizes = [(name, len(one), len(gzip.compress(one, mtime=0))) for name, one in contents.items()]
    together = ("together", *(sum(size) for size in list(zip(*sizes, strict=True))[1:]))
    rows = [(name, f"{size:,}", f"{packed:,}") for name, size, packed in (*sizes, together)]
    table(["files of ours", "bytes", "gzipped"], rows)


if __name__ == "__main__":
    main()
