"""A Kapso that fails at random."""

from __future__ import annotations

import copy
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any

from kapso_inbox.models import reference_in
from kapso_inbox.sandbox.engine import Answer, DroppedConnection, Request, Sandbox

#: Longer than the workers wait for an answer.
TOO_LONG = 0.9

#: The kind of fault -> the methods that it happens to, and how often in a thousand requests.
FAULTS: dict[str, tuple[str, int]] = {
    "timeout": ("POST PATCH DELETE GET", 6),
    "lost answer": ("POST PATCH DELETE GET", 25),
    "lost request": ("POST PATCH DELETE GET", 15),
    "500": ("POST PATCH DELETE GET", 15),
    "502 after doing it": ("POST PATCH DELETE", 20),
    "402": ("POST", 15),
    "429": ("POST PATCH DELETE GET", 4),
    "404": ("DELETE", 20),
    "not JSON": ("POST PATCH DELETE GET", 8),
    "empty list": ("LIST", 40),
    "short list": ("LIST", 40),
    # Kapso answers with another embed, or makes one that shows the whole project.
    "another embed": ("POST GET", 15),
    "wider scope": ("POST", 15),
}
#: For some time, Kapso knows nobody: its list is empty, and each ID unknown.
AMNESIA = "amnesia"


class FaultyKapso(Sandbox):
    """A sandbox whose answers fail at random, and that remembers what it was asked to end.

    Args:
        kinds: the kinds of faults that happen.
        seed: of the random numbers.

    Attributes:
        failing: whether faults happen now.
        amnesia_until: until when (`time.monotonic`) Kapso knows nobody.
        ended: the IDs of the embeds that were revoked by a DELETE.
        tokens: every token that was ever made.
        faults: how often each kind has happened.
        told: the last requests that went wrong, in words.
    """

    def __init__(self, kinds: Iterable[str], seed: str, **options: Any) -> None:
        super().__init__(rate_limit=10**9, **options)
        self.failing = False
        self.amnesia_until = 0.0
        self.ended: set[str] = set()
        self.tokens: set[str] = set()
        self.faults: Counter[str] = Counter()
        self.told: deque[tuple[float, str]] = deque(maxlen=5000)
        self._kinds = [kind for kind in FAULTS if kind in set(kinds)]
        self._random = random.Random(seed)
        self._turn = threading.Lock()

    def handle(self, request: Request, *, sleep: Callable[[float], None] = time.sleep) -> Answer:
        """Return Kapso's answer to a request, or fail."""
        is_list = request.method == "GET" and request.path.rstrip("/") == "/inbox_embeds"
        kind = self._draw("LIST" if is_list else request.method)
        if kind:
            with self._turn:
                self.faults[kind] += 1
                self.told.append((time.time(), f"{request.method} {request.path}: {kind}"))
        match kind:
            case "lost request":
                raise DroppedConnection
            case "500":
                return Answer(500, {"error": "Oops"})
            case "402":
                return Answer(402, {"error": "No credits", "code": "service_credits_exhausted"})
            case "404":
                return Answer(404, {"error": "Inbox embed not found"})
            case "429":
                return Answer(429, {"error": "Rate limit exceeded"}, {"Retry-After": "1"})
            case "amnesia":
                if is_list:
                    return Answer(200, {"data": [], "meta": {"page": 1, "total_count": 0}})
                return Answer(404, {"error": "Inbox embed not found"})
        answer = self._done(request, super().handle(request, sleep=sleep))
        match kind:
            case "timeout":
                sleep(TOO_LONG)
            case "lost answer":
                raise DroppedConnection
            case "502 after doing it":
                return Answer(502, "<html>Bad gateway</html>")
            case "not JSON":
                return Answer(200, "<html>Welcome</html>")
            case "wider scope" if answer.status < 300 and isinstance(answer.body, dict):
                made = self.project().embeds[answer.body["data"]["id"]]
                made.update(scope_type="project", scope_id=None)
                return Answer(answer.status, {"data": dict(made)}, answer.headers)
        return self._altered(kind, answer) if kind else answer

    def _draw(self, method: str) -> str:
        """Return the kind of fault that happens to a request, or ""."""
        if not self.failing:
            return ""
        if time.monotonic() < self.amnesia_until and method in ("LIST", "GET"):
            return AMNESIA
        with self._turn:
            drawn = self._random.randrange(1000)
        for kind in self._kinds:
            methods, often = FAULTS[kind]
            if method in methods.split():
                drawn -= often
                if drawn < 0:
                    return kind
        return ""

    def _done(self, request: Request, answer: Answer) -> Answer:
        """Remember what was made and what was ended."""
        if answer.status < 300 and isinstance(answer.body, dict):
            if request.method == "POST":
                self.tokens.add(answer.body["data"]["token"])
            elif request.method == "DELETE":
                self.ended.add(answer.body["data"]["id"])
        return answer

    def _altered(self, kind: str, answer: Answer) -> Answer:
        """Return an answer that is not about what was asked for."""
        if answer.status >= 300 or not isinstance(answer.body, dict):
            return answer
        body = copy.deepcopy(answer.body)
        data = body["data"]
        if kind == "empty list":
            body = {"data": [], "meta": {"page": 1, "per_page": 100, "total_count": 0}}
        elif kind == "short list":
            del data[::2]  # its total_count says so
        elif kind == "another embed":
            # One that the app has made: that an unknown one is another cannot be told.
            others = [one for key, one in self.lives().items() if key != data["id"]]
            with self._turn:
                other = self._random.choice(others) if others else data
            data |= {"id": other["id"], "name": other["name"]}
        return Answer(answer.status, body, answer.headers)

    # What happens at Kapso itself

    def lives(self) -> dict[str, dict[str, Any]]:
        """Return the active embeds that the app has made, by ID."""
        live = self.project().active_embeds()
        return {embed["id"]: embed for embed in live if reference_in(embed["name"])}

    def forget_revoked(self, over: Iterable[str]) -> None:
        """Forget embeds that are revoked, so that the list does not grow for minutes.

        Args:
            over: the IDs whose rows are over, too.
        """
        embeds = self.project().embeds
        with self._lock:
            for key in over:
                if key in embeds and embeds[key]["status"] == "revoked":
                    del embeds[key]
            self.requests.clear()
