"""The published files, and a new project that follows the README with them."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

import kapso_inbox

from .distribution import ROOT, Distributions, build, description, project, tracked
from .host import (
    PASSWORD,
    Browser,
    Environment,
    Host,
    blocks,
    frame_in,
    quickstart,
    unavailable,
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        unavailable("Requires git and a checkout, which say what belongs into the distributions.")
    if find_spec("build") is None:
        unavailable("The package build is not installed.")
    return build(tmp_path_factory.mktemp("built"), isolated=False)


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(built: Distributions) -> None:
    package = {name for name in tracked("kapso_inbox") if not name.endswith(".po")}
    about = f"django_kapso_inbox-{kapso_inbox.__version__}.dist-info"
    assert built.files_of_the_wheel() == package | {
        f"{about}/{name}"
        for name in (
            "METADATA",
            "RECORD",
            "WHEEL",
            "entry_points.txt",
            "licenses/LICENSE",
            "top_level.txt",
        )
    }


def test_the_wheel_holds_the_files_that_are_not_python(built: Distributions) -> None:
    # Named here, and not only compared with git: the app does not work without these files.
    assert built.files_of_the_wheel() >= {
        "kapso_inbox/py.typed",
        "kapso_inbox/locale/es/LC_MESSAGES/django.mo",
        "kapso_inbox/locale/pt_BR/LC_MESSAGES/django.mo",
        "kapso_inbox/sandbox/assets/inbox.html",
        "kapso_inbox/static/kapso_inbox/kapso_inbox.js",
        "kapso_inbox/static/kapso_inbox/reach.js",
        "kapso_inbox/templates/kapso_inbox/component.html",
        "kapso_inbox/conversations/static/kapso_inbox/waiting.js",
        "kapso_inbox/conversations/templates/kapso_inbox/waiting.html",
    }


def test_the_sdist_holds_the_package_and_documents_but_no_tests_and_no_pictures(
    built: Distributions,
) -> None:
    documents = {name for name in tracked("docs") if not name.startswith("docs/images/")}
    made = {name for name in built.files_of_the_sdist() if ".egg-info/" in name}
    assert built.files_of_the_sdist() - made == tracked("kapso_inbox") | documents | {
        "CHANGELOG.md",
        "LICENSE",
        "MANIFEST.in",
        "PKG-INFO",
        "README.md",
        "SECURITY.md",
        "pyproject.toml",
        "setup.cfg",
    }


def test_pypi_would_accept_the_distributions(built: Distributions) -> None:
    if find_spec("twine") is None:
        unavailable("The package twine is not installed.")
    assert built.refusal() == ""


def test_pypi_shows_the_readme_with_links_that_work_there(built: Distributions) -> None:
    shown = built.metadata().get_payload(decode=True)
    assert isinstance(shown, bytes)
    assert shown.decode() == description()


def test_another_folder_user_and_time_make_the_same_bytes(
    built: Distributions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "mona")
    before = os.umask(0o077)
    try:
        again = build(tmp_path / "another folder", isolated=False)
    finally:
        os.umask(before)
    assert again.wheel.read_bytes() == built.wheel.read_bytes()
    assert again.sdist.read_bytes() == built.sdist.read_bytes()


def test_the_versions_that_are_claimed_are_those_that_tox_runs() -> None:
    claimed = "\n".join(project()["classifiers"])
    environments = (ROOT / "tox.ini").read_text().split("env_list =")[1].split("\n\n")[0]
    pythons, djangos = (
        {
            f"{one[0]}.{one[1:]}"
            for group in re.findall(pattern, environments)
            for one in group.split(",")
        }
        for pattern in (r"py\{?([\d,]+)", r"django\{?([\d,]+)")
    )
    assert {*re.findall(r"Python :: (\d\.\d+)", claimed)} == pythons
    assert {*re.findall(r"Django :: (\d\.\d+)", claimed)} == djangos


# The README's quickstart


@dataclass
class Crm:
    """The new project, and the browser of a user who is signed in."""

    host: Host
    browser: Browser


@pytest.fixture(scope="module")
def host(built: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Yield a new project in which the quickstart was followed, with a sandbox as Kapso."""
    folder = tmp_path_factory.mktemp("project")
    assert ROOT not in folder.parents
    environment = Environment(folder / "environment")
    with quickstart(environment, folder / "project", str(built.wheel)) as host:
        assert "No module named" in host.run("python", "-c", "import tests", status=1)
        imported = host.run("python", "-c", "import kapso_inbox; print(kapso_inbox.__file__)")
        assert environment.packages in Path(imported.strip()).parents
        yield host


@pytest.fixture(scope="module")
def crm(host: Host) -> Iterator[Crm]:
    """Serve the project, with the embed that the page on the installation creates in Python."""
    installation = (ROOT / "docs/installation.md").read_text()
    (code,) = (one for one in blocks("python", installation) if "ensure_embed(" in one)
    with host.serving() as browser:
        host.shell(code)
        browser.sign_in("mona", PASSWORD)
        yield Crm(host, browser)


@pytest.mark.parametrize("path", ["/contact/", "/kapso-inbox/support/"])
def test_after_following_the_readme_a_page_shows_the_inbox(crm: Crm, path: str) -> None:
    page = crm.browser.get(path)
    assert page.status_code == 200, page.text
    launch = crm.browser.enter(path, frame_in(page.text))
    assert launch.status_code == 302, launch.text
    assert launch.headers["Location"].startswith(crm.host.secrets["INBOX"])
    inbox = crm.browser.get(launch.headers["Location"])
    assert inbox.status_code == 200
    assert "<title>" in inbox.text


def test_the_wheel_includes_script_and_stylesheet(crm: Crm) -> None:
    page = crm.browser.get("/contact/").text
    assets = re.findall(r'(?:src|href)="(/static/kapso_inbox/[^"]+)"', page)
    assert len(assets) == 2
    assert [crm.browser.get(asset).status_code for asset in assets] == [200, 200]


def test_a_visitor_who_is_not_signed_in_is_redirected_to_the_login(crm: Crm) -> None:
    answer = Browser(crm.browser.site).get("/kapso-inbox/support/")
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/admin/login/")


def test_the_admin_lists_the_embed_and_offers_kapsos_numbers(crm: Crm) -> None:
    embeds = crm.browser.get("/admin/kapso_inbox/inboxembed/")
    assert embeds.status_code == 200
    assert "Support inbox" in embeds.text
    form = crm.browser.get("/admin/kapso_inbox/inboxembed/add/")
    assert form.status_code == 200
    assert 'name="scope_type"' in form.text


def test_the_wheel_includes_the_spanish_texts(crm: Crm) -> None:
    said = crm.host.shell(
        "from django.utils import translation\n"
        "from kapso_inbox.models import InboxEmbed\n"
        "translation.activate('es')\n"
        "print(InboxEmbed._meta.verbose_name_plural)"
    )
    assert "inboxes" not in said
    assert "embeds" not in said


# The extras


WithExtra = Callable[[str], Host]


@pytest.fixture(scope="module")
def with_extra(
    host: Host, built: Distributions, tmp_path_factory: pytest.TempPathFactory
) -> WithExtra:
    """Return a function that returns the project with exactly one extra installed."""
    folder = tmp_path_factory.mktemp("extras")

    def prepared(name: str) -> Host:
        environment = Environment(folder / name / "environment", below=host.environment)
        environment.install(f"{built.wheel}[{name}]")
        return host.copy(environment, folder / name / "project")

    # All at once, because an installation mostly waits for the registry.
    names = ("api", "phone", "progress", "testing")
    with ThreadPoolExecutor() as pool:
        hosts = dict(zip(names, pool.map(prepared, names), strict=True))
    return hosts.__getitem__


def test_without_its_extra_the_api_says_which_one_to_install(host: Host) -> None:
    said = host.run("python", "manage.py", "shell", "-c", "import kapso_inbox.api.urls", status=1)
    assert "install django-kapso-inbox[api]" in said


def test_with_its_extra_the_api_answers(with_extra: WithExtra) -> None:
    documented = (ROOT / "docs/api.md").read_text()
    (address,) = set(re.findall(r'(path\("api/.*?"\)\))', documented))
    with_api = with_extra("api")
    with_api.append(with_api.settings, 'INSTALLED_APPS += ["rest_framework"]\n')
    with_api.append(with_api.urls, f"urlpatterns += [{address}]\n")
    with_api.run("python", "manage.py", "check")
    with with_api.serving() as browser:
        assert browser.get("/api/kapso-inbox/embeds/").status_code in (401, 403)
        browser.sign_in("mona", PASSWORD)
        embeds = browser.get("/api/kapso-inbox/embeds/", Accept="application/json")
        assert embeds.status_code == 200, embeds.text
        numbers = browser.get("/api/kapso-inbox/phone-numbers/", Accept="application/json")
        assert "106540352242910" in numbers.text


def test_the_extra_phone_reads_national_numbers(host: Host, with_extra: WithExtra) -> None:
    region = 'KAPSO_INBOX["PHONE_REGION"] = "BR"\n'
    code = "from kapso_inbox.inbox.phone import search_text; print(search_text('(11) 98765-4321'))"
    with_phone = with_extra("phone")
    with_phone.append(with_phone.settings, region)
    with_phone.run("python", "manage.py", "check")
    assert "5511987654321" in with_phone.shell(code)
    with_phone.environment = host.environment
    said = with_phone.run("python", "manage.py", "check", status=1)
    assert "django-kapso-inbox[phone]" in said


def test_the_extra_progress_draws_a_bar_on_a_terminal(host: Host, with_extra: WithExtra) -> None:
    with_bar = with_extra("progress")
    assert _on_a_terminal(host) == ""
    assert "default: " in _on_a_terminal(with_bar)


def _on_a_terminal(host: Host) -> str:
    """Return what `kapso_sync` writes to standard error if that is a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    try:
        command = ["python", "manage.py", "kapso_sync"]
        done = subprocess.run(command, cwd=host.folder, env=host.variables(), stderr=theirs)
        assert done.returncode == 0
        os.set_blocking(ours, False)
        return os.read(ours, 65536).decode()
    except BlockingIOError:
        return ""
    finally:
        os.close(ours)
        os.close(theirs)


def test_the_extra_testing_provides_the_fixture_for_a_hosts_tests(with_extra: WithExtra) -> None:
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs/testing.md").read_text(), re.DOTALL | re.MULTILINE
    )
    with_testing = with_extra("testing")
    (with_testing.folder / "test_ours.py").write_text("\n".join(blocks))
    command = ("python", "-m", "pytest", "-q", "--ds=crm.settings", "-p", "no:cacheprovider")
    shown = len(re.findall(r"^ *def test_", "\n".join(blocks), re.MULTILINE))
    assert shown
    assert f"{shown} passed" in with_testing.run(*command)
