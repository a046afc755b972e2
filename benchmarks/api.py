"""`python -m benchmarks.api`: what the REST API costs, compared with the simplest alternative.

The list, one embed and a launch are compared with plain REST framework over the same rows
(`plain.py`), and a creation with a bare `requests.post` of the same body to the same Kapso, a
sandbox behind real HTTP in its own process. Both sides take turns, signed in by the same session.
A time is the median, and a ratio the median of the ratios of all rounds. `lists.py` measures how
lists grow.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

from .host import KEY, database_name, own_database, signed_in
from .kapso import sandbox
from .tools import in_turns, queries, ratio, table

EMBEDS = 50  # a page


def main() -> None:
    """Measure both sides, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="at least 6")
    options = parser.parse_args()
    if options.rounds < 6:
        parser.error("fewer than 6 rounds say too little")
    api = ["rest_framework", "drf_spectacular"]
    with sandbox() as kapso, own_database(kapso, apps=api, urls="benchmarks.plain"):
        site = _Site(kapso["BASE_URL"])
        rows = []
        for name, (ours, plain) in _pairs(site).items():
            counts = [(queries(side), site.requests_of(side)) for side in (ours, plain)]
            times = in_turns([ours, plain], options.rounds)
            rows.append(
                (
                    name,
                    *(" / ".join(map(str, both)) for both in zip(*counts, strict=True)),
                    " / ".join(f"{median(own):.1f}" for own in times),
                    f"{ratio(*times):.2f}",
                )
            )
    table([f"ours / plain, {database_name()}", "queries", "to Kapso", "ms", "ratio"], rows)


class _Site:
    """A CRM with a user who may do everything, and the sandbox that it uses."""

    def __init__(self, base_url: str) -> None:
        import requests
        from django.contrib.auth.models import Group
        from django.test import Client

        from .embeds import fill

        actions = ("add", "change", "view", "open")
        user, session = signed_in(*(f"{action}_inboxembed" for action in actions))
        groups = [Group.objects.create(name=name) for name in ("Sales", "Support", "Billing")]
        user.groups.set(groups)
        fill(EMBEDS, groups)
        self._client = Client()
        self._client.cookies["sessionid"] = session
        self._pool = requests.Session()
        self._pool.headers["X-API-Key"] = KEY
        self._base_url = base_url

    def get(self, address: str) -> Any:
        """Return the JSON at an address of this site."""
        return _json_of(self._client.get(address), 200)

    def post(self, address: str, body: dict[str, str]) -> Any:
        """Create an object, and return the answer's JSON."""
        return _json_of(self._client.post(address, body, content_type="application/json"), 201)

    def post_to_kapso(self, body: Any) -> Any:
        """Create an embed at the sandbox with nothing but `requests` and a pool."""
        url = f"{self._base_url}/inbox_embeds"
        return _json_of(self._pool.post(url, json=body, timeout=10), 201)

    def requests(self) -> list[Any]:
        """Return all requests that the sandbox has received."""
        url = f"{self._base_url.removesuffix('/platform/v1')}/_sandbox/requests"
        requests: list[Any] = _json_of(self._pool.get(url, timeout=10), 200)["data"]
        return requests

    def requests_of(self, do: Callable[[], Any]) -> int:
        """Return how many requests to Kapso an action takes."""
        before = len(self.requests())
        do()
        return len(self.requests()) - before


def _pairs(site: _Site) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """Return the actions of both sides by name, after checking that their answers agree."""
    new = (f"new-{number}" for number in itertools.count())

    def create() -> Any:
        slug = next(new)
        return site.post("/api/embeds/", {"slug": slug, "name": f"Customer {slug}"})

    create()
    sent = site.requests()[-1]["json"]
    one = "embeds/embed-1/"
    pairs: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        f"list, {EMBEDS} rows": (
            partial(site.get, "/api/embeds/"),
            partial(site.get, "/plain/embeds/"),
        ),
        "retrieve": (partial(site.get, f"/api/{one}"), partial(site.get, f"/plain/{one}")),
        "create": (create, partial(site.post_to_kapso, sent)),
        "launch": (
            partial(site.post, f"/api/{one}launch/", {}),
            partial(site.post, f"/plain/{one}launch/", {}),
        ),
    }
    listed, retrieved, *_rest = ([side() for side in pair] for pair in list(pairs.values())[:2])
    for ours, plain in (*zip(*(both["results"] for both in listed), strict=True), retrieved):
        differing = [name for name, value in plain.items() if ours[name] != value]
        if differing:
            raise SystemExit(f"{ours['slug']}: the two sides differ in {differing}")
    return pairs


def _json_of(response: Any, status: int) -> Any:
    if response.status_code != status:
        raise SystemExit(f"{response.status_code} instead of {status}: {response.content!r}")
    return response.json()


if __name__ == "__main__":
    main()
