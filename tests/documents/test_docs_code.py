"""The code in the documents works, in a CRM that has what the examples take for granted."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from configparser import ConfigParser
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import django
import pytest
from django.conf import settings
from django.contrib import admin
from django.core.management import get_commands, load_command_class
from django.template import Context, Engine
from django.template.backends.django import get_installed_libraries
from django.test import RequestFactory, override_settings
from django.urls import resolve
from jinja2 import Environment, StrictUndefined

from kapso_inbox.api.errors import CODES
from kapso_inbox.checks import check_settings
from kapso_inbox.lifecycle import create_embed
from kapso_inbox.sandbox.interception import intercepted
from kapso_inbox.templatetags.kapso_inbox import register

from . import DOCUMENTS, ROOT, Block, blocks, rows

pytestmark = pytest.mark.table

BLOCKS = [block for path in DOCUMENTS for block in blocks(path)]
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"


def in_language(*languages: str) -> Any:
    found = [block for block in BLOCKS if block.language in languages]
    assert found
    return pytest.mark.parametrize("block", found, ids=str)


def is_test(block: Block) -> bool:
    return bool(re.search(r"^ *def test_", block.code, re.MULTILINE))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_block_is_closed_not_indented_and_of_a_language_that_is_tested(path: Path) -> None:
    fences = re.findall(r"^ *```", path.read_text(), re.MULTILINE)
    assert len(fences) == 2 * len(list(blocks(path)))
    tested = {"python", "django", "jinja", "css", "ini", "json", "sh", "cron", "http", "js", "text"}
    assert {block.language for block in blocks(path)} <= tested


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_python_of_a_document_runs_from_top_to_bottom(
    path: Path,
    admin_user: Any,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    projects = {"clinic": {"API_KEY": "one"}, "shop": {"API_KEY": "two"}}
    own = {**settings.KAPSO_INBOX, "PROJECTS": projects}
    with (
        override_settings(KAPSO_INBOX=own),
        patch.dict(admin.site._registry),  # an example registers an admin of its own
        intercepted() as sandbox,
    ):
        names = what_the_examples_find(sandbox.project(), admin_user, monkeypatch)
        shown = [one for one in blocks(path) if one.language == "python" and not is_test(one)]
        if not any(re.search(r'_embed\(\s*(slug=)?"support"', block.code) for block in shown):
            create_embed(slug="support", name="Support inbox")
        for block in shown:
            if "django.utils.csp" in block.code and django.VERSION < (6, 0):
                continue
            if block.code.startswith("# crm/models.py"):
                continue  # it takes an app: see test_tenancy.py
            with django_capture_on_commit_callbacks(execute=True):
                exec(compile(block.code, str(block), "exec"), names)  # noqa: S102 (our own)
            own = {**own, **names.get("KAPSO_INBOX", {})}
            if module := re.match(r"# crm/(\w+)\.py", block.code):
                monkeypatch.setitem(sys.modules, f"crm.{module[1]}", SimpleNamespace(**names))
            named = re.findall(r'KAPSO_INBOX = \{\.\.\., "(\w+)": "([\w.]+)"\}', block.code)
            with override_settings(KAPSO_INBOX={**own, **dict(named)}):
                assert check_settings() == [], str(block)


def what_the_examples_find(
    project: Any, user: Any, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Return the names that the examples use and do not make."""
    project.phone_numbers[0]["phone_number_id"] = "106540352242910"
    user.first_name, user.email = "Ana", project.users[0]["email"]
    customer = project.customers[0]["id"]
    monkeypatch.setenv("KAPSO_API_KEY", "kapso-key")
    monkeypatch.setenv("KAPSO_INBOX_KEY_2026", KEY)
    monkeypatch.setenv("KAPSO_INBOX_ENCRYPTION_KEYS", f"2026={KEY}")
    monkeypatch.setitem(sys.modules, "crm", ModuleType("crm"))
    return {
        "__name__": "example",
        "env": lambda name: f"key-of-{name}",
        **{name: [] for name in ("INSTALLED_APPS", "MIDDLEWARE", "urlpatterns")},
        "user": user,
        "organisation": SimpleNamespace(name="Acme", inbox_slug="acme", kapso_customer_id=customer),
    }


#: The tests that a document shows to hosts run here as they stand there.
for block in BLOCKS:
    if is_test(block):
        exec(compile(block.code, str(block), "exec"))  # noqa: S102 (our own documents)


@in_language("django")
def test_a_template_renders_without_a_problem(
    block: Block, admin_user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    request = RequestFactory().get("/")
    request.user = admin_user
    contact = SimpleNamespace(name="Rosa", phone="+55 11 91234-5678")
    names = {"request": request, "contact": contact, "customer": contact}
    code, templates = block.code, {}
    if own := re.match(r'\{% extends "(kapso_inbox/\w+\.html)" %\}', code):
        code, templates = '{% load kapso_inbox %}{% kapso_inbox "support" %}', {own[1]: code}
    loaders = ("locmem.Loader", templates), ("app_directories.Loader",)
    engine = Engine(
        libraries=get_installed_libraries(),
        loaders=[(f"django.template.loaders.{name}", *more) for name, *more in loaders],
    )
    with override_settings(DEBUG=True):
        page = engine.from_string(code).render(Context(names))
    assert caplog.messages == []
    assert "kapso-inbox" in page
    assert 'role="alert"' not in page
    for text in re.findall(r"\{% block \w+ %\}(.*?)\{% endblock %\}", block.code):
        assert text in page


@in_language("jinja")
def test_a_jinja2_template_renders_without_a_problem(
    block: Block, caplog: pytest.LogCaptureFixture
) -> None:
    extensions = ["kapso_inbox.jinja2.KapsoInboxExtension"]
    environment = Environment(extensions=extensions, undefined=StrictUndefined, autoescape=True)
    template = environment.from_string(block.code)
    page = template.render(customer=SimpleNamespace(phone="+55 11 91234-5678"))
    assert caplog.messages == []
    assert "<kapso-inbox" in page
    functions = {*re.findall(r"`(\w+)`", block.path.read_text())} & {*register.tags}
    assert functions <= set(environment.globals)


@in_language("ini")
def test_an_ini_file_has_options_that_pytest_knows(
    block: Block, request: pytest.FixtureRequest
) -> None:
    ini = ConfigParser()
    ini.read_string(block.code)
    for name in ini["pytest"]:
        known = request.config.getini(name if name.startswith("kapso") else name.upper())
        assert known is not None


@in_language("css")
def test_a_stylesheet_sets_custom_properties_that_there_are(block: Block) -> None:
    assert {*re.findall(r"--[\w-]+(?=:)", block.code)} <= {*rows("reference.md", "property")}


@in_language("http", "js", "sh")
def test_an_address_of_ours_leads_to_a_view(block: Block) -> None:
    for address in re.findall(r"/(?:api/)?kapso-inbox/[\w/-]+/", block.code):
        assert resolve(address).namespace in ("kapso_inbox", "kapso_inbox_api"), address


@in_language("http", "json")
def test_what_is_shown_as_json_is_json(block: Block) -> None:
    shown = json.loads(block.code[block.code.index("{") :])
    assert "error" not in shown or shown["error"]["code"] in CODES


@in_language("sh", "cron")
def test_a_command_has_the_names_and_options_that_are_shown(block: Block) -> None:
    code = block.code.replace("\\\n", " ")
    django_command = r"(\S*manage\.py|django-admin|-m django) ([\w-]+)([^&|;#\n]*)"
    for program, name, options in re.findall(django_command, code):
        if program.startswith("example_project/"):
            assert list(ROOT.glob(f"example_project/*/management/commands/{name}.py"))
        else:
            parser = load_command_class(get_commands()[name], name).create_parser("", name)
            parser.parse_args(options.split())
    for module in re.findall(r"python3? -m ([\w.]+)", code):
        assert find_spec(module), module
    extras = re.findall(r"django-kapso-inbox\[(\w+)\]", code)
    assert {*extras} <= {*rows("installation.md", "extra")}
    paths = re.findall(r"(?<![\w/])(?:tests|example_project|\.ci)/[\w./]+", code)
    assert [path for path in paths if not (ROOT / path).exists()] == []
