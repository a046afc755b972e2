"""`python -m benchmarks.lists`: how long pages of the admin and the API take with more embeds.

There are 100, 10,000 and 100,000 embeds, each with a link and a group. The API's pages are compared
with the same pages in plain REST framework (`plain.py`), and with the time that the database takes
to count the rows, which every such page does. All take turns; times are medians, and growth is
relative to 100 embeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

from .host import NOWHERE, Browser, database_name, own_database, signed_in
from .tools import in_turns, queries, table

SIZES = (100, 10_000, 100_000)
PAGE = 50


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    api = ["rest_framework", "drf_spectacular"]
    with own_database(NOWHERE, apps=api, urls="benchmarks.plain"):
        from django.contrib.auth.models import Group

        from .embeds import fill

        groups = [Group.objects.create(name=f"Team {number}") for number in range(3)]
        _user, session = signed_in("view_inboxembed", "change_inboxembed", is_staff=True)
        browser = Browser(session)
        found: dict[str, list[tuple[int, float]]] = {}
        for size in SIZES:
            fill(size, groups)
            sides = _sides(browser, last=size // PAGE)
            counts = [queries(side) for side in sides.values()]
            times = in_turns(list(sides.values()), options.rounds)
            for name, count, own in zip(sides, counts, times, strict=True):
                found.setdefault(name, []).append((count, median(own)))
        rows = []
        for name, measured in found.items():
            counted = " / ".join(dict.fromkeys(str(count) for count, _ms in measured))
            growth = measured[-1][1] / measured[0][1]
            rows.append((name, counted, *(f"{ms:.1f}" for _count, ms in measured), f"{growth:.1f}"))
        sizes = [f"{size:,} embeds, ms" for size in SIZES]
        table([database_name(), "queries", *sizes, "growth"], rows)


def _sides(browser: Browser, last: int) -> dict[str, Callable[[], Any]]:
    from kapso_inbox.models import InboxEmbed

    return {
        "the admin's list": partial(browser.get, "/admin/kapso_inbox/inboxembed/", 200),
        "the admin's health page": partial(
            browser.get, "/admin/kapso_inbox/inboxembed/health/", 200
        ),
        "the API's, first page": partial(browser.get, "/api/embeds/", 200),
        "plain REST framework's": partial(browser.get, "/plain/embeds/", 200),
        "the API's, last page": partial(browser.get, f"/api/embeds/?page={last}", 200),
        "plain REST framework's last": partial(browser.get, f"/plain/embeds/?page={last}", 200),
        "to count them": InboxEmbed.objects.count,
    }


if __name__ == "__main__":
    main()
