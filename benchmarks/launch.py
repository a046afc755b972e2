"""`python -m benchmarks.launch`: what the tag adds to a page, and what a launch costs.

A page with `{% kapso_inbox "sales" %}` is compared with the same page without it and with one that
is written by hand; a launch with a view that only finds an address and redirects to it
(`by_hand.py`). All take turns, through WSGI, for a user who is signed in. A time is a median, and a
ratio the median of the ratios of all rounds. The link was verified recently, as it is for all
launches but one in `VERIFY_AFTER` seconds.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

from .host import FRAME, Browser, database_name, own_database, signed_in
from .kapso import sandbox
from .tools import in_turns, queries, ratio, table


def main() -> None:
    """Measure, and print three tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500, help="at least 10")
    parser.add_argument("--launches", type=int, default=5000, help="for the memory")
    options = parser.parse_args()
    if options.rounds < 10:
        parser.error("fewer than 10 rounds say too little")
    with sandbox() as kapso, own_database(kapso):
        browser = _fill()
        launch = partial(browser.get, "/kapso-inbox/sales/launch/", 302, FRAME)
        pages: dict[str, Callable[[], Any]] = {
            "the page without an inbox": partial(browser.get, "/without/", 200),
            "an iframe by hand": partial(browser.get, "/by-hand/sales/", 200),
            '`{% kapso_inbox "sales" %}`': partial(browser.get, "/tag/", 200),
        }
        _compare(pages, options.rounds)
        print()
        views: dict[str, Callable[[], Any]] = {
            "a query and a redirect": partial(browser.get, "/redirect/sales/", 302),
            "the checks and the record by hand": partial(browser.get, "/guarded/sales/", 302),
            "a launch": launch,
        }
        _compare(views, options.rounds)
        print()
        _print_memory(launch, options.launches)


def _fill() -> Browser:
    """Create an inbox of each kind and a user who may open them; return that user's browser."""
    from kapso_inbox.lifecycle import create_embed

    from .models import PlainInbox

    embed = create_embed(slug="sales", name="Sales", allowed_origins=["http://testserver"])
    link = embed.current_link
    assert link is not None
    PlainInbox.objects.create(slug="sales", url=link.reveal_url())
    _user, session = signed_in("open_inboxembed")
    return Browser(session)


def _compare(sides: dict[str, Callable[[], Any]], rounds: int) -> None:
    counts = [queries(side) for side in sides.values()]
    times = in_turns(list(sides.values()), rounds)
    rows = [
        (name, count, f"{median(own):.2f}", *(f"{ratio(own, other):.2f}" for other in times[:-1]))
        for name, count, own in zip(sides, counts, times, strict=True)
    ]
    others = [f"times {name}" for name in list(sides)[:-1]]
    table([database_name(), "queries", "ms", *others], rows)


def _print_memory(launch: Callable[[], Any], launches: int) -> None:
    """Print the peak memory of the process after more and more launches."""
    rows = []
    done = 0
    for number in (launches // 10, launches // 2, launches):
        while done < number:
            launch()
            done += 1
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rows.append((f"{number:,}", f"{peak / (1e6 if sys.platform == 'darwin' else 1e3):.1f}"))
    table(["launches", "the process at most, MB"], rows)


if __name__ == "__main__":
    main()
