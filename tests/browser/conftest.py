"""Fixtures that run the demo as a real process, and Chromium to look at it.

Nothing here uses Django: the tests see only what a browser, a file system and Kapso see. The
sandbox's control surface (`/_sandbox/...`) shows what somebody at Kapso could look up.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from . import axe, chromium

try:
    from playwright.sync_api import expect, sync_playwright
except ImportError:  # the browser tests need it, nothing else does
    expect = sync_playwright = None

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, BrowserType, Page

ROOT = Path(__file__).resolve().parent.parent.parent
MANAGE = ROOT / "example_project" / "manage.py"
START_SECONDS = 90
#: Seconds that a page may take before a test fails. A busy machine has needed 17.
PAGE_SECONDS = 60
STOP_SECONDS = 20
PASSWORD = "demo"


@dataclass(frozen=True)
class Demo:
    """A running demo."""

    process: subprocess.Popen[bytes]
    ports: tuple[int, int, int]
    data_dir: Path
    console: Path

    @property
    def url(self) -> str:
        return f"http://localhost:{self.ports[0]}"

    @property
    def inbox_origin(self) -> str:
        return f"http://127.0.0.1:{self.ports[2]}"

    @property
    def sandbox(self) -> str:
        return f"http://127.0.0.1:{self.ports[1]}"

    def at_kapso(self, method: str, path: str, **options: Any) -> Any:
        """Send a request to the sandbox, and return the `data` of its answer."""
        with requests.Session() as session:
            session.trust_env = False
            headers = {"X-API-Key": "sandbox-key"}
            answer = session.request(
                method, f"{self.sandbox}{path}", headers=headers, timeout=10, **options
            )
        answer.raise_for_status()
        return answer.json()["data"] if answer.content else None

    def embeds(self) -> list[dict[str, Any]]:
        """Return all embeds at Kapso, with their tokens."""
        return list(self.at_kapso("GET", "/_sandbox/embeds"))

    def tokens(self) -> list[str]:
        """Return the tokens of all embeds: every secret there is."""
        tokens = [embed["token"] for embed in self.embeds()]
        assert len(tokens) >= 2
        return tokens

    def run(self, code: str) -> str:
        """Run code in a process of the CRM, and return what it printed."""
        told = subprocess.run(
            [sys.executable, str(MANAGE), "shell", "--verbosity=0", "--command", code],
            env={
                **demo_environment(),
                "DJANGO_SETTINGS_MODULE": "tests.browser.settings",
                "CRM_DATA_DIR": str(self.data_dir),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        return told.stdout

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send the demo a signal, and return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


def free_ports(count: int) -> tuple[int, ...]:
    """Return ports that nobody uses at this moment."""
    with ExitStack() as sockets:
        probes = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return tuple(probe.getsockname()[1] for probe in probes)


def is_free(port: int) -> bool:
    """Return whether nobody listens on a port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) != 0


def demo_command(ports: tuple[int, ...], data_dir: Path) -> list[str]:
    """Return the command that starts a demo."""
    web, sandbox, inbox = ports
    return [
        sys.executable,
        str(MANAGE),
        "demo",
        f"--port={web}",
        f"--sandbox-port={sandbox}",
        f"--inbox-port={inbox}",
        f"--data-dir={data_dir}",
    ]


def demo_environment() -> dict[str, str]:
    """Return an environment without any configuration, whatever the current one holds."""
    # pytest-django has set the settings of the app's own tests.
    ours = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    # Blank, not absent: otherwise a developer's own example_project/.env would decide.
    blank = {"KAPSO_API_KEY": "", "DATABASE_URL": ""}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**ours, **blank, "DEBUG": "True", "PYTHONPATH": path}


@contextmanager
def running_demo(directory: Path, **environment: str) -> Iterator[Demo]:
    """Start a demo in `directory`, wait for it, and check at the end that all of it stopped.

    Args:
        directory: the directory for its data and its output.
        environment: variables that override `demo_environment`. Without
            `DJANGO_SETTINGS_MODULE`, the demo runs with `settings.py` of these tests.
    """
    ports = free_ports(3)
    console = directory / "console.txt"
    with console.open("wb") as output:
        process = subprocess.Popen(
            demo_command(ports, directory / "data"),
            cwd=directory,
            env={
                **demo_environment(),
                "DJANGO_SETTINGS_MODULE": "tests.browser.settings",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    web, sandbox, inbox = ports
    demo = Demo(process, (web, sandbox, inbox), directory / "data", console)
    try:
        deadline = time.monotonic() + START_SECONDS
        while "ready" not in console.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"The demo did not start:\n{console.read_text()}")
            time.sleep(0.1)
        yield demo
    finally:
        if process.poll() is None:
            status = demo.stop()
            assert status == 0, console.read_text()
        assert all(is_free(port) for port in ports), "a child of the demo outlived it"


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Run the demo that most tests share: they read, and change nothing at Kapso."""
    with running_demo(tmp_path_factory.mktemp("demo")) as running:
        yield running


@pytest.fixture
def own_demo(tmp_path: Path) -> Iterator[Demo]:
    """Run a demo whose embeds this test changes; a module may override this."""
    with running_demo(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Run the demo with the pages of hosts; a module may override this."""
    directory = tmp_path_factory.mktemp("crm")
    with running_demo(directory, DJANGO_SETTINGS_MODULE="tests.browser.host_settings") as demo:
        yield demo


@pytest.fixture(scope="module")
def browser_options() -> list[str]:
    """Return more command line options for Chromium; a module may override this."""
    return []


@pytest.fixture(scope="module")
def browser(browser_options: list[str]) -> Iterator[Browser]:
    """Start Chromium: `CHROMIUM`, or one on the PATH, or playwright's own.

    It ends with the module: as long as playwright's event loop runs in this thread, Django refuses
    the database to every other test.
    """
    with running_chromium(*browser_options) as running:
        yield running


@contextmanager
def running_chromium(*options: str, is_whole: bool = False) -> Iterator[Browser]:
    """Start Chromium, as `launch_options` describes it."""
    if sync_playwright is None:
        without_browser("playwright is not installed: pip install -r tests/requirements.txt")
    if not axe.is_installed():
        without_browser(axe.MISSING)
    expect.set_options(timeout=PAGE_SECONDS * 1000)
    with sync_playwright() as playwright:
        launch = launch_options(playwright.chromium, *options, is_whole=is_whole)
        running = playwright.chromium.launch(**launch)
        yield running
        running.close()


def launch_options(
    browser_type: BrowserType, *options: str, is_whole: bool = False
) -> dict[str, Any]:
    """Return playwright's options to launch Chromium.

    Args:
        browser_type: playwright's Chromium.
        options: more command line options.
        is_whole: whether it must be a browser with a back/forward cache, which it then has.
    """
    names = chromium.WHOLE if is_whole else chromium.NAMES
    executable = chromium.find(browser_type, names)
    if executable is None:
        without_browser(chromium.MISSING)
    return {
        "executable_path": executable,
        "args": [*chromium.OPTIONS, "--disable-quic", *options],
        "ignore_default_args": ["--disable-back-forward-cache"] if is_whole else None,
    }


def without_browser(reason: str) -> None:
    """Skip the test, but let it fail in CI, where nothing else guards a release."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture
def new_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Return a function that opens a page in a new browser context, with nobody signed in."""
    contexts: list[BrowserContext] = []

    def open_page(**options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        context.set_default_timeout(PAGE_SECONDS * 1000)
        contexts.append(context)
        return context.new_page()

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def agent(crm: Demo, new_page: Callable[..., Page]) -> Page:
    """Return the page of a signed-in agent of Sales."""
    page = new_page()
    enter(page, crm, "ana")
    return page


@pytest.fixture
def sign_in(demo: Demo, new_page: Callable[..., Page]) -> Callable[..., Page]:
    """Return a function that signs a user in and returns their page, the list of contacts."""

    def as_user(username: str, **options: Any) -> Page:
        page = new_page(**options)
        enter(page, demo, username)
        return page

    return as_user


#: Demo and user -> the cookies of an earlier sign-in. Reusing them takes a quarter of the time.
_signed_in: dict[tuple[str, str], Any] = {}


def enter(page: Page, demo: Demo, username: str) -> None:
    """Sign a user in, by the form or by the cookies of an earlier sign-in."""
    start = f"{demo.url}/"
    page.context.add_cookies(_signed_in.get((start, username), []))
    page.goto(start)
    if page.url == start:
        return
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(start)
    _signed_in[start, username] = page.context.cookies()
