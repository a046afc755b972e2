"""A stranger has the README, an empty directory and the newest Python, and sees an inbox."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.browser.conftest import PAGE_SECONDS, expect, running_chromium

from . import host as packaging
from .distribution import build
from .host import PASSWORD, QUICKSTART, Environment, block, blocks, quickstart, unavailable

pytestmark = pytest.mark.browser

PYTHONS = ("3.14", "3.13", "3.12")
DJANGO = "django~=6.1.0"


def newest_python() -> str:
    """Return the newest Python of this machine that the newest Django runs on."""
    elsewhere = Path.home() / ".pyenv" / "versions"
    for version in PYTHONS:
        found = [shutil.which(f"python{version}"), *elsewhere.glob(f"{version}.*/bin/python")]
        for python in filter(None, found):
            # pyenv has a command for each version, which fails if that version is not chosen.
            done = subprocess.run([python, "-c", ""], capture_output=True)
            if done.returncode == 0:
                return str(python)
    unavailable(f"{DJANGO} requires one of Python {', '.join(PYTHONS)}.")
    raise AssertionError("unreachable")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """Serve the site of somebody who has followed the README; return its address."""
    if find_spec("build") is None:
        unavailable("The package build is not installed.")
    wheel = build(tmp_path / "built", isolated=False).wheel
    environment = Environment(tmp_path / "environment", python=newest_python())
    with quickstart(environment, tmp_path / "project", str(wheel), DJANGO) as host:
        print(
            host.run("python", "-c", "import django, sys; print(sys.version, django.__version__)")
        )
        assert "6.1" in host.run("django-admin", "--version")
        with host.serving() as browser:
            yield browser.site


def test_a_stranger_who_follows_the_readme_sees_an_inbox_on_a_page(site: str) -> None:
    # What the README says to press, in its words.
    for words in ("**Inbox embeds**", "**Add**", "**Name**", "**Number**", "**Save**"):
        assert words in QUICKSTART
    with running_chromium() as chromium:
        page = chromium.new_page()
        page.set_default_timeout(PAGE_SECONDS * 1000)
        page.goto(f"{site}/admin/")
        page.get_by_label("Username").fill("mona")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("row", name="Inbox embeds").get_by_role("link", name="Add").first.click()
        page.get_by_label("Name").first.fill("Support")
        page.locator("#id_scope_id").click()
        page.locator("#id_scope_id_list [role=option]").first.click()
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_text(block("django", "kapso_inbox").split("\n")[1])).to_be_visible()
        page.goto(f"{site}/contact/")
        inbox = page.frame_locator("kapso-inbox iframe")
        expect(inbox.locator("[data-conversation]").first).to_be_visible()


@pytest.mark.parametrize("language", ["sh", "python", "django"])
def test_each_step_of_the_readme_is_taken(language: str) -> None:
    """And so a step that is missing from the README is missing from the path."""
    source = Path(packaging.__file__).read_text()
    for step in blocks(language):
        taken = [one for one in MARKS[language] if one in step]
        assert len(taken) == 1, step
    for mark in MARKS[language]:
        assert f'block("{language}", {json.dumps(mark)})' in source


#: Language of a block -> what tells each of them from the others.
MARKS = {
    "sh": (
        "pip install",
        "kapso_sandbox",
        "kapso_generate_key\n",
        "export",
        "migrate",
        "runserver",
    ),
    "python": ("ENCRYPTION_KEYS", "LOGIN_URL", "BASE_URL", "urlpatterns"),
    "django": ("kapso_inbox",),
}
