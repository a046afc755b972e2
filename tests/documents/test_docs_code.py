"""Every block of code in the documents runs: in a CRM that has what the examples take for granted.

A block is run by its language. What cannot be run stands in `NOT_RUN`, with the reason.
"""

from __future__ import annotations

import html
import json
import os
import re
import shlex
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import django
import pytest
from django.conf import settings as django_settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.core import checks
from django.core.management import get_commands, load_command_class
from django.db.models import F
from django.template import Context, Engine
from django.template.backends.django import get_installed_libraries
from django.test import Client, RequestFactory, override_settings
from packaging.requirements import Requirement

from kapso_inbox import conf
from kapso_inbox.api.errors import CODES
from kapso_inbox.lifecycle import create_embed
from kapso_inbox.models import InboxEmbed
from kapso_inbox.sandbox.interception import intercepted
from tests.conftest import FRAME

from . import DOCUMENTS, ROOT, Block, blocks

pytestmark = pytest.mark.table

BLOCKS = [block for path in DOCUMENTS for block in blocks(path)]

#: document and what the block begins with -> why it is not run.
NOT_RUN = {
    ("architecture.md", "faces"): "a drawing; test_docs.py holds it to the house's arrows",
    ("api.md", "pip install schemathesis"): "schemathesis is nothing that the tests bring along",
}

#: A module of Django's -> the version that brings it.
SINCE = {"django.utils.csp": (6, 0)}

PHONE_NUMBER_ID = "106540352242910"
CUSTOMER_ID = "123e4567-e89b-12d3-a456-426614174000"
MEMBER_ID = "9c0d3c1e-0a52-4b5e-8f4e-3a9c5a1d2b10"
EMAIL = "ana@example.com"
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"


def reason_not_to_run(block: Block) -> str:
    return next(
        (
            reason
            for (document, begin), reason in NOT_RUN.items()
            if block.path.name == document and block.code.startswith(begin)
        ),
        "",
    )


def test_what_is_not_run_is_still_in_the_documents() -> None:
    excused = [block for block in BLOCKS if reason_not_to_run(block)]
    assert len(excused) == len(NOT_RUN)


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if not reason_not_to_run(block)], ids=str
)
def test_the_block_runs(block: Block, host: Host) -> None:
    assert block.language in RUNNERS, f"Nothing runs a block in {block.language!r}."
    with host.kapso():
        RUNNERS[block.language](block, host)


class Environment:
    """What django-environ's `env` and `os.environ` give the settings of the examples."""

    VALUES = {
        "KAPSO_API_KEY": "kapso-key",
        "KAPSO_INBOX_ENCRYPTION_KEYS": f"2026={KEY}",
        "KAPSO_INBOX_KEY_2026": KEY,
    }

    def __call__(self, name: str, *args: Any, **kwargs: Any) -> str:
        # A key of an organisation's or a year's own.
        return self.VALUES.get(name) or (f"key-{name}" if "API_KEY" in name else KEY)

    def dict(self, name: str, *args: Any, **kwargs: Any) -> dict[str, str]:
        return dict(pair.split("=", 1) for pair in self(name).split(","))


class Host:
    """A CRM with people, an organisation, a contact, and an inbox called `support`."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        log: pytest.LogCaptureFixture,
        on_commit: Callable[..., Any],
    ) -> None:
        self.monkeypatch, self.log, self.on_commit = monkeypatch, log, on_commit
        self.user = User.objects.create_superuser("ana", EMAIL, "secret", first_name="Ana")
        self.client = Client()
        self.client.force_login(self.user)
        self.organisation = SimpleNamespace(pk=7, name="Acme", kapso_customer_id=CUSTOMER_ID)
        self.contact = SimpleNamespace(name="Rosa", phone="+55 11 91234-5678")
        profile = SimpleNamespace(kapso_user_id=MEMBER_ID)
        reached = InboxEmbed.objects.annotate(inbox_slug=F("slug"))
        for name, value in (
            ("theme", "dark"),
            ("profile", profile),
            ("organisations", reached),
        ):
            monkeypatch.setattr(User, name, value, raising=False)
        for name, value in Environment.VALUES.items():
            monkeypatch.setenv(name, value)

    @contextmanager
    def kapso(self) -> Iterator[None]:
        """A Kapso that knows what the examples name."""
        with intercepted() as sandbox:
            project = sandbox.project()
            project.phone_numbers[0]["phone_number_id"] = PHONE_NUMBER_ID
            project.customers[0]["id"] = CUSTOMER_ID
            project.users[0].update(user_id=MEMBER_ID, email=EMAIL)
            yield

    def make_support(self) -> None:
        create_embed(
            slug="support",
            name="Support inbox",
            scope_type="phone_number",
            scope_id=PHONE_NUMBER_ID,
            allowed_origins=["https://crm.example.com"],
        )

    def names(self) -> dict[str, Any]:
        """What an example finds there already."""
        own = {"kapso_inbox", "rest_framework", "drf_spectacular"}
        return {
            "__name__": "example",
            "env": Environment(),
            "INSTALLED_APPS": [app for app in django_settings.INSTALLED_APPS if app not in own],
            "MIDDLEWARE": list(django_settings.MIDDLEWARE),
            "KAPSO_INBOX": dict(django_settings.KAPSO_INBOX),
            "urlpatterns": [],
            "user": self.user,
            "organisation": self.organisation,
        }

    def opens_inboxes(self) -> None:
        """An agent opens an inbox that is made now, and nothing has to be said in the log."""
        create_embed(slug="opened", name="Opened inbox")
        self.log.clear()
        for address in ("/kapso-inbox/opened/launch/", "/kapso-inbox/mine/launch/"):
            response = self.client.get(address, **FRAME)
            assert response.status_code in (200, 302), response.content
        led = self.client.get("/kapso-inbox/opened/launch/", **FRAME).headers["Location"]
        assert led.startswith(tuple(f"{origin}/embed/" for origin in conf.inbox_origins()))
        response = self.client.post("/kapso-inbox/mine/launch/", **FRAME)
        assert response.status_code in (302, 303), response.content
        assert self.warnings() == []

    def calls_the_api(self) -> None:
        """A program saves a preference and gets a ticket for that inbox."""
        address = "/api/kapso-inbox/embeds/opened/"
        for method, part in (("PATCH", "preferences/"), ("POST", "launch/")):
            body = '{"mode": "dark"}'
            response = self.client.generic(method, address + part, body, "application/json")
            assert response.status_code in (200, 201), response.content

    def warnings(self) -> list[str]:
        return [record.getMessage() for record in self.log.records if record.levelname != "INFO"]


@pytest.fixture
def host(
    db: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> Iterator[Host]:
    caplog.set_level("WARNING", "kapso_inbox")
    registered = dict(admin.site._registry)
    yield Host(monkeypatch, caplog, django_capture_on_commit_callbacks)
    # An admin that an example registers anew is so for that example alone.
    admin.site._registry.clear()
    admin.site._registry.update(registered)


# ---------------------------------------------------------------------------------- Python

#: Tests that a document shows to hosts are tests of this module, run as they stand there.
SHOWN_TESTS: dict[str, Callable[..., Any]] = {}
for shown in BLOCKS:
    if shown.language == "python" and re.search(r"^def test_", shown.code, re.MULTILINE):
        found: dict[str, Any] = {"__name__": __name__}
        exec(compile(shown.code, str(shown), "exec"), found)  # noqa: S102 (our own documents)
        SHOWN_TESTS |= {name: found[name] for name in found if name.startswith("test_")}
globals().update(SHOWN_TESTS)


def run_python(block: Block, host: Host) -> None:
    if names := set(re.findall(r"^def (test_\w+)", block.code, re.MULTILINE)):
        assert names <= SHOWN_TESTS.keys()
        return
    for module, version in SINCE.items():
        if module in block.code and version > django.VERSION:
            pytest.skip(f"{module} comes with Django {version}")
    # A block goes on from the settings and the modules that stand before it.
    earlier: dict[str, Any] = {}
    for other in blocks(block.path):
        if other.line < block.line and other.code.startswith("KAPSO_INBOX = "):
            earlier |= load(other, host)["KAPSO_INBOX"]
        elif other.line < block.line and other.code.startswith("# crm/"):
            load(other, host)
    with in_a_host({"KAPSO_INBOX": earlier}), host.kapso():
        if not re.search(r'(?:create|ensure)_embed\(\s*(?:slug=)?"support"', block.code):
            host.make_support()
        with host.on_commit(execute=True):
            names = load(block, host)
        given = {name: value for name, value in names.items() if name.isupper()}
    if named := re.search(r'KAPSO_INBOX = \{\.\.\., "(\w+)": "([\w.]+)"\}', block.code):
        given["KAPSO_INBOX"] = {named[1]: named[2]}
    with in_a_host(given, names["urlpatterns"]), host.kapso():
        check_the_settings()
        host.opens_inboxes()
        if "REST_FRAMEWORK" in block.code:
            host.calls_the_api()


def load(block: Block, host: Host) -> dict[str, Any]:
    """Run a block's code; where it says which module it is, as that module."""
    names = host.names()
    path = re.match(r"# crm/(\w+)\.py", block.code)
    if path:
        name = f"crm.{path[1]}"
        module = sys.modules.get(name) or ModuleType(name)
        host.monkeypatch.setitem(sys.modules, "crm", ModuleType("crm"))
        host.monkeypatch.setitem(sys.modules, name, module)
        module.__dict__.update({**names, "__name__": name})
        names = module.__dict__
    exec(compile(block.code, str(block), "exec"), names)  # noqa: S102 (our own documents)
    return names


def in_a_host(given: dict[str, Any], urlpatterns: Sequence[Any] = ()) -> override_settings:
    """The settings of the tests, and on top what an example has."""
    own = given.get("KAPSO_INBOX", {})
    given["KAPSO_INBOX"] = {**django_settings.KAPSO_INBOX, **own}
    given["REST_FRAMEWORK"] = {
        **django_settings.REST_FRAMEWORK,
        **given.get("REST_FRAMEWORK", {}),
    }
    apps = given.pop("INSTALLED_APPS", [])
    if more := [app for app in apps if app not in django_settings.INSTALLED_APPS]:
        given["INSTALLED_APPS"] = [*django_settings.INSTALLED_APPS, *more]
    if urlpatterns:
        urls = ModuleType("example_urls")
        urls.urlpatterns = urlpatterns
        given["ROOT_URLCONF"] = urls
    return override_settings(**given)


def check_the_settings() -> None:
    """Django finds no error, and ours finds nothing at all, also for production."""
    found = checks.run_checks(databases=["default"])
    assert [one for one in found if one.level >= checks.ERROR or "kapso_inbox." in one.id] == []
    assert checks.run_checks(tags=["kapso_inbox"], include_deployment_checks=True) == []


# ------------------------------------------------------------------------------- templates


def run_template(block: Block, host: Host) -> None:
    host.make_support()
    code, templates = block.code, {}
    if own := re.match(r'\{% extends "(kapso_inbox/\w+\.html)" %\}', code):
        templates = {own[1]: code}
        code = '{% load kapso_inbox %}{% kapso_inbox "support" %}'
    engine = Engine(
        libraries=get_installed_libraries(),
        loaders=[
            ("django.template.loaders.locmem.Loader", templates),
            "django.template.loaders.app_directories.Loader",
        ],
    )
    request = RequestFactory().get("/")
    request.user = host.user
    names = {"request": request, "contact": host.contact, "customer": host.contact}
    with override_settings(DEBUG=True):
        page = engine.from_string(code).render(Context(names))
    assert host.warnings() == []
    assert 'role="alert"' not in page
    for _, text in re.findall(r"\{% block (\w+) %\}(.*?)\{% endblock %\}", block.code, re.DOTALL):
        assert text in page
    # What it shows, and where it leads to, is there.
    addresses = re.findall(r'(src|href)="(/kapso-inbox/[^"]+)"', page)
    assert addresses
    for _, address in addresses:
        assert host.client.get(html.unescape(address), **FRAME).status_code in (200, 302)


def run_css(block: Block, host: Host) -> None:
    stylesheet = (ROOT / "kapso_inbox/static/kapso_inbox/kapso_inbox.css").read_text()
    used = set(re.findall(r"--[\w-]+(?=:)", block.code))
    assert used
    assert used <= set(re.findall(r"var\((--[\w-]+)", stylesheet))


# -------------------------------------------------------------------------------- requests


def send(host: Host, method: str, address: str, body: str) -> Any:
    host.make_support()
    assert json.loads(body)
    path = urlsplit(address).path
    response = host.client.generic(method, path, body, content_type="application/json")
    assert response.status_code < 300, response.content
    return response


def run_http(block: Block, host: Host) -> None:
    head, body = block.code.split("\n\n", 1)
    method, address = head.split()
    send(host, method, address, body)


def run_javascript(block: Block, host: Host) -> None:
    found = re.search(
        r'fetch\("([^"]+)".*?method: "(\w+)".*?JSON.stringify\((.*?)\)', block.code, re.S
    )
    assert found is not None
    answer = send(host, found[2], found[1], re.sub(r"(\w+):", r'"\1":', found[3])).json()
    for name in re.findall(r"\.json\(\)\)\.(\w+)", block.code):
        assert name in answer


def run_json(block: Block, host: Host) -> None:
    """The one kind there is: how an error is answered."""
    shown = json.loads(block.code)
    host.make_support()
    body = {"slug": "support", "name": "Support"}
    response = host.client.post("/api/kapso-inbox/embeds/", body, content_type="application/json")
    assert response.status_code in CODES[shown["error"]["code"]].statuses
    shown["error"]["message"] = response.json()["error"]["message"]
    assert response.json() == shown


# ------------------------------------------------------------------------------- commands


def run_shell(block: Block, host: Host) -> None:
    for line in block.code.replace("\\\n", " ").splitlines():
        for command in commands(line):
            run_command(command, host)


def run_cron(block: Block, host: Host) -> None:
    for line in block.code.splitlines():
        *times, command = line.split(maxsplit=5)
        assert [time for time in times if not re.fullmatch(r"\*(/\d+)?|\d+(,\d+)*", time)] == []
        for one in commands(command):
            run_command(one, host)


def commands(line: str) -> Iterator[list[str]]:
    """The commands of a line, without what they are joined by and without comments."""
    words = shlex.shlex(line, posix=True, punctuation_chars="&|;")
    words.whitespace_split = True
    for is_operator, command in groupby(words, key=lambda word: set(word) <= set("&|;")):
        if not is_operator:
            yield list(command)


def run_command(command: list[str], host: Host) -> None:
    """See that a command is one, with options that it has; to run it is for the CI."""
    while "=" in command[0]:
        command = command[1:]
    program, arguments = Path(command[0]).name, command[1:]
    if program == "python" and arguments[0] == "-c":
        exec(compile(arguments[1], "-c", "exec"), {})  # noqa: S102 (our own documents)
    elif program in ("python", "python3") and arguments[0] == "-m":
        run_module(arguments[1], arguments[2:], host)
    elif program == "python" and Path(arguments[0]).name == "manage.py":
        manage(arguments[0], arguments[1], arguments[2:])
    elif program in ("pip", "pytest", "mkdocs"):
        run_module(program, arguments, host)
    elif program == "django-admin":
        manage(program, arguments[0], arguments[1:])
    elif program == "curl":
        run_curl(arguments, host)
    elif program == "npm":
        folder = arguments[arguments.index("--prefix") + 1]
        assert (ROOT / folder / "package.json").exists()
    elif program in ("cd", "git"):
        assert arguments
    elif command[0].startswith(".venv/bin/"):
        # A tool of those who work on this project, which need not be installed to run the tests.
        assert re.search(rf"^{program}\b", (ROOT / ".ci/requirements.txt").read_text(), re.M)
    else:
        assert os.access(ROOT / command[0], os.X_OK), f"No test knows the command {command[0]!r}."


def run_module(module: str, arguments: list[str], host: Host) -> None:
    if module == "pip":
        check_requirements(arguments)
    elif module == "django":
        manage("manage.py", arguments[0], arguments[1:])
    elif module == "pytest":
        paths = [one for one in arguments if one.endswith(".py") or one.startswith("tests")]
        assert [path for path in paths if not (ROOT / path.partition("::")[0]).exists()] == []
    else:
        assert find_spec(module) is not None, f"There is no module {module!r}."


def check_requirements(arguments: list[str]) -> None:
    assert arguments[0] == "install"
    extras = set(re.findall(r"^(\w+) = \[", section("project.optional-dependencies"), re.MULTILINE))
    wanted = iter(arguments[1:])
    for one in wanted:
        if one in ("-r", "-e"):
            assert (ROOT / next(wanted)).exists()
        elif not one.startswith("-"):
            requirement = Requirement(one)
            assert requirement.name != "django-kapso-inbox" or requirement.extras <= extras


def section(name: str) -> str:
    text = (ROOT / "pyproject.toml").read_text()
    return text.partition(f"[{name}]\n")[2].partition("\n[")[0]


def manage(path: str, name: str, arguments: list[str]) -> None:
    if path.startswith("example_project/"):
        shown = subprocess.run(
            [sys.executable, ROOT / path, name, "--help"],
            env={name: value for name, value in os.environ.items() if "DJANGO" not in name},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert [one for one in arguments if one.partition("=")[0] not in shown] == []
        return
    app = get_commands()[name]
    parser: ArgumentParser = load_command_class(app, name).create_parser("manage.py", name)
    parser.parse_args(arguments)


def run_curl(arguments: list[str], host: Host) -> None:
    parser = ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("-X", dest="method")
    parser.add_argument("-H", action="append")
    parser.add_argument("-d", dest="body")
    options = parser.parse_args(arguments)
    send(host, options.method, options.url, options.body)


RUNNERS: dict[str, Callable[[Block, Host], None]] = {
    "python": run_python,
    "django": run_template,
    "html": run_template,
    "css": run_css,
    "http": run_http,
    "js": run_javascript,
    "json": run_json,
    "sh": run_shell,
    "cron": run_cron,
}
