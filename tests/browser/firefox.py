"""Firefox as its users have it, driven by WebDriver BiDi (https://w3c.github.io/webdriver-bidi/).

Playwright drives releases of Firefox only where they know its newest commands: Debian's does not.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import PAGE_SECONDS, START_SECONDS, STOP_SECONDS, without_browser

try:
    from websockets.sync.client import connect
except ImportError:  # these tests need it, nothing else does
    connect = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

NAMES = ("firefox-esr", "firefox")
MISSING = "Firefox is not installed: set FIREFOX to its path"
ESCAPE = "\ue00c"  # WebDriver's code for the key


class FirefoxError(Exception):
    """Firefox refused a command, such as one about a document that it has just left."""


@dataclass(frozen=True)
class Document:
    """What a tab or a frame shows, whichever document that is."""

    connection: ClientConnection
    context: str = ""

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command, and return its result."""
        number = next(_numbers)
        self.connection.send(json.dumps({"id": number, "method": method, "params": params}))
        answer: dict[str, Any] = {}
        while answer.get("id") != number:  # events come in between
            try:
                answer = json.loads(self.connection.recv(timeout=PAGE_SECONDS))
            except TimeoutError:
                pytest.fail(f"Firefox does not answer {method} with {params}")
        if answer["type"] == "error":
            raise FirefoxError(f"{method}: {answer['error']}: {answer['message']}")
        return dict(answer["result"])

    def tab(self) -> Document:
        """Open another tab."""
        return Document(self.connection, self.send("browsingContext.create", type="tab")["context"])

    def frame(self) -> Document:
        """Return what the first frame shows."""
        [tree] = self.send("browsingContext.getTree", root=self.context)["contexts"]
        if not tree["children"]:
            raise FirefoxError("there is no frame")
        return Document(self.connection, tree["children"][0]["context"])

    def open(self, url: str) -> None:
        """Navigate to an address, and wait until it has loaded."""
        self.send("browsingContext.navigate", context=self.context, url=url, wait="complete")

    def go(self, steps: int) -> None:
        """Begin to go through the history, as the buttons Back and Forward do."""
        self.send("browsingContext.activate", context=self.context)
        # WebDriver's own command waits for a load, which a page that was kept alive may lack.
        self.evaluate(f"void setTimeout(() => history.go({steps}))")

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression."""
        answer = self.send(
            "script.evaluate",
            expression=f"(async () => JSON.stringify((await ({expression})) ?? null))()",
            target={"context": self.context},
            awaitPromise=True,
        )
        if answer["type"] == "exception":
            raise FirefoxError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    def click(self, role: str, name: str) -> None:
        """Click in the middle of the element with this role and name, once there is one."""
        named = {"type": "accessibility", "value": {"role": role, "name": name}}

        def find() -> list[dict[str, Any]]:
            found = self.send("browsingContext.locateNodes", context=self.context, locator=named)
            return list(found["nodes"])

        [node] = until(find)
        target = {"sharedId": node["sharedId"]}
        self.send(
            "script.callFunction",
            functionDeclaration="(one) => one.scrollIntoView()",
            arguments=[target],
            target={"context": self.context},
            awaitPromise=False,
        )
        element = {"type": "element", "element": target}
        press = [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        self._act("pointer", {"type": "pointerMove", "x": 0, "y": 0, "origin": element}, *press)

    def type(self, text: str) -> None:
        """Press keys, in whatever has the focus."""
        self._act(
            "key", *({"type": kind, "value": k} for k in text for kind in ("keyDown", "keyUp"))
        )

    def _act(self, device: str, *actions: dict[str, Any]) -> None:
        source = {"type": device, "id": device, "actions": actions}
        self.send("input.performActions", context=self.context, actions=[source])


_numbers = count(1)


def until(look: Any) -> Any:
    """Return what `look` returns, once that is true. A document may be replaced meanwhile."""
    deadline = time.monotonic() + PAGE_SECONDS
    while True:
        problem = None
        try:
            if seen := look():
                return seen
        except FirefoxError as error:
            problem = error
        assert time.monotonic() < deadline, problem or "it never came"
        time.sleep(0.1)


@contextmanager
def running_firefox(directory: Path, pages_kept: int) -> Iterator[Document]:
    """Start Firefox, and return a tab of it: `FIREFOX`, or one on the PATH.

    Args:
        directory: an empty directory for its profile.
        pages_kept: how many pages it keeps alive when it leaves them, in its back/forward cache.
    """
    program = os.environ.get("FIREFOX") or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        without_browser(MISSING)
    if connect is None:
        without_browser("websockets is not installed")
    preference = f'user_pref("browser.sessionhistory.max_total_viewers", {pages_kept});'
    (directory / "user.js").write_text(preference)
    said = directory / "said.txt"
    with said.open("wb") as output:
        process = subprocess.Popen(
            [program, "--headless", "--remote-debugging-port=0", "--profile", str(directory)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (listening := re.search(r"BiDi listening on (ws://\S+)", said.read_text())):
            if process.poll() is not None or time.monotonic() > deadline:
                without_browser(f"{program} did not start:\n{said.read_text()}")
            time.sleep(0.1)
        # Not through a proxy: it is on this machine.
        with connect(f"{listening[1]}/session", proxy=None) as connection:
            browser = Document(connection)
            browser.send("session.new", capabilities={})
            yield browser.tab()
            browser.send("browser.close")
        process.wait(STOP_SECONDS)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
