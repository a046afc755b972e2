"""The documents name what the code has, no more and no less."""

from __future__ import annotations

import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand
from django.dispatch import Signal
from django.template import Engine, TemplateSyntaxError
from django.template.backends.django import get_installed_libraries
from django.template.loader import get_template
from django.template.loader_tags import BlockNode
from django.test import override_settings
from django.urls import URLResolver
from django.utils.module_loading import import_string

import kapso_inbox
from kapso_inbox import access, checks, conf, lifecycle, signals, urls
from kapso_inbox.admin.verbs import VERBS
from kapso_inbox.api import urls as api_urls
from kapso_inbox.conversations.templatetags.kapso_conversations import BadgeNode
from kapso_inbox.diagnosis.site import CHECK_IDS
from kapso_inbox.inbox import component, outcomes
from kapso_inbox.inbox.params import PARAMETERS, clean_params
from kapso_inbox.models import AccessLink, Condition, InboxEmbed
from kapso_inbox.templatetags import kapso_inbox as tags
from tests.test_checks import IDS

from . import DOCS, DOCUMENTS, ROOT, rows, words

PACKAGE = Path(kapso_inbox.__file__).parent
README = (ROOT / "README.md").read_text()
EXTRAS = (ROOT / "pyproject.toml").read_text().split("optional-dependencies]")[1].split("\n[")[0]
STYLES = "".join(path.read_text() for path in PACKAGE.glob("static/kapso_inbox/*.css"))
BADGE_STYLES = (PACKAGE / "conversations/static/kapso_inbox/waiting.css").read_text()
COMMANDS = sorted(path.stem for path in PACKAGE.glob("**/management/commands/kapso_*.py"))


def addresses() -> dict[str, str]:
    return {
        f"{module.app_name}:{pattern.name}": str(pattern.pattern)
        for module in (urls, api_urls)
        for one in module.urlpatterns
        for pattern in (one.url_patterns if isinstance(one, URLResolver) else [one])
    }


def errors() -> dict[str, str]:
    """Return each exception of the package and what it is one of."""
    names = (info.name for info in pkgutil.walk_packages(kapso_inbox.__path__, "kapso_inbox."))
    modules = [
        import_module(name)
        for name in names
        if not re.search("sandbox|migrations|wagtail|conversations.tasks", name)
    ]
    return {
        name: kind.__bases__[0].__name__
        for module in modules
        for name, kind in inspect.getmembers(module, inspect.isclass)
        if re.fullmatch(r"[A-Z]\w*Error", name) and kind.__module__.startswith("kapso_inbox.")
    }


#: document, first heading of a table -> the names that its first column must have.
NAMES: dict[tuple[str, str], Callable[[], Iterable[Any]]] = {
    ("settings.md", "setting"): lambda: (*conf.REQUIRED, *conf.DEFAULTS),
    ("settings.md", "check | meaning"): lambda: (
        *(f"kapso_inbox.{number}" for number in (*IDS, "E035", "W018")),
        *CHECK_IDS.values(),
    ),
    ("installation.md", "extra"): lambda: re.findall(r"^(\w+) = \[", EXTRAS, re.MULTILINE),
    ("themes.md", "parameter"): lambda: PARAMETERS,
    ("links.md", "state of a link"): lambda: AccessLink.State.values,
    ("inbox.md", "state | status"): lambda: [outcome.value for outcome in outcomes.STATUS],
    ("admin.md", "state"): lambda: map(str, Condition.labels),
    ("admin.md", "button"): lambda: [str(verb.label) for verb in VERBS.values()],
    ("reference.md", "tag"): lambda: tags.register.tags,
    ("conversations.md", "argument of `kapso_waiting`"): lambda: (
        "the first ones",
        *BadgeNode.names,
    ),
    ("conversations.md", "property of a badge"): lambda: {
        *re.findall(r"var\((--kapso-waiting-[\w-]+)", BADGE_STYLES)
    },
    ("reference.md", "signal"): lambda: [
        name for name, value in vars(signals).items() if isinstance(value, Signal)
    ],
    ("reference.md", "permission"): lambda: [
        *(f"kapso_inbox.{name}" for name, _ in InboxEmbed._meta.permissions),
        *(f"kapso_inbox.{name}_inboxembed" for name in InboxEmbed._meta.default_permissions),
        "kapso_inbox.view_launchattempt",
        "kapso_inbox.view_inboxchange",
    ],
    ("reference.md", "permission of conversations"): lambda: [
        f"kapso_conversations.{action}_{model._meta.model_name}"
        for model in apps.get_app_config("kapso_conversations").get_models()
        for action in model._meta.default_permissions
    ],
    ("reference.md", "name"): addresses,
    ("reference.md", "method of `AccessPolicy`"): lambda: [
        name for name, _ in inspect.getmembers(access.AccessPolicy, inspect.isfunction)
    ],
    ("reference.md", "property"): lambda: {*re.findall(r"var\((--kapso-inbox-[\w-]+)", STYLES)},
    ("reference.md", "template"): lambda: [
        f"kapso_inbox/{path.name}" for path in (PACKAGE / "templates/kapso_inbox").glob("*.html")
    ],
}


@pytest.mark.parametrize(("document", "heading"), NAMES)
def test_a_table_names_all_that_the_code_has_and_nothing_else(document: str, heading: str) -> None:
    assert sorted(rows(document, heading)) == sorted(NAMES[document, heading]())


@pytest.mark.parametrize(
    ("document", "heading"),
    [
        ("inbox.md", "state of the component"),
        ("mine.md", "state of an own inbox"),
        ("reference.md", "attribute"),
    ],
)
def test_a_name_in_a_table_is_one_that_the_code_has(document: str, heading: str) -> None:
    files = (path for kind in ("py", "html", "js") for path in PACKAGE.rglob(f"*.{kind}"))
    found = {*re.findall(r"[\w-]+", " ".join(path.read_text() for path in files))}
    assert {*rows(document, heading)} <= found


@pytest.mark.parametrize("name", [*conf.REQUIRED, *conf.DEFAULTS])
def test_a_setting_has_the_type_default_and_check_that_its_row_says(name: str) -> None:
    kind, default, check, _ = rows("settings.md", "setting")[name]
    if name in conf.DEFAULTS:
        value = conf.DEFAULTS[name]
        assert eval(default.strip("`"), {"timedelta": timedelta}) == value  # noqa: S307 (our own)
        type_name = type(value).__name__
        assert {"int": "float", "NoneType": "None"}.get(type_name, type_name) in kind
    with override_settings(KAPSO_INBOX={name: object()}):
        assert check.strip("`") in {finding.id for finding in checks.check_settings()}


def arguments_in_the_table(tag: str) -> set[str]:
    _, cell = rows("reference.md", "tag")[tag]
    several = {"parameters": PARAMETERS, "options": component.OPTIONS}
    return {*words(cell), *(name for kind in several if kind in cell for name in several[kind])}


@pytest.mark.parametrize("tag", sorted(tags.register.tags))
def test_a_tag_takes_the_arguments_that_its_row_names_and_no_others(tag: str) -> None:
    engine = Engine(libraries=get_installed_libraries())
    slug = '"x"' if "slug" in rows("reference.md", "tag")[tag][1] else ""
    for name in {*rows("reference.md", "argument"), *PARAMETERS}:
        template = f"{{% load kapso_inbox %}}{{% {tag} {slug} {name}=value %}}"
        if name in arguments_in_the_table(tag):
            engine.from_string(template)
        else:
            with pytest.raises(TemplateSyntaxError):
                engine.from_string(template)


def test_an_argument_is_explained_with_the_tags_that_take_it() -> None:
    table = rows("reference.md", "argument")
    taken = {name: arguments_in_the_table(name) - {*PARAMETERS} for name in tags.register.tags}
    assert {*table} == {*component.OPTIONS}.union(*taken.values())
    for name, (takers, *_) in table.items():
        own = [] if name in component.OPTIONS else [tag for tag in taken if name in taken[tag]]
        assert sorted(words(takers)) == sorted(own), name


def test_a_value_that_a_table_names_is_one_that_the_tag_takes() -> None:
    for name, (values,) in rows("themes.md", "parameter").items():
        for value in words(values):
            clean_params({name: value})
    for value in words(rows("reference.md", "argument")["variant"][1]):
        component.clean_options({"variant": value})


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_explained_with_its_default(name: str) -> None:
    common = {action.dest for action in BaseCommand().create_parser("", "")._actions}
    options = {}
    for option in load_command_class(get_commands()[name], name).create_parser("", "")._actions:
        if option.dest not in common:
            value = "" if option.nargs == 0 else f" {option.metavar or option.dest.upper()}"
            options[option.option_strings[-1] + value] = option.default
    explained = rows("reference.md", f"option of `{name}`")
    assert list(explained) == list(options)
    for option_name, default in options.items():
        text = explained[option_name][0].replace("`", "")
        assert default in (None, False) or str(default) in text


def arguments_of(function: Any) -> list[str]:
    stars = {inspect.Parameter.VAR_KEYWORD: "**"}
    taken = inspect.signature(function).parameters.items()
    return [stars.get(kind.kind, "") + name for name, kind in taken if name != "self"]


def test_a_function_in_the_reference_takes_the_arguments_that_its_row_names() -> None:
    table = rows("reference.md", "function")
    for path, (arguments, _) in table.items():
        assert words(arguments) == arguments_of(import_string(f"kapso_inbox.{path}")), path
    for name, (arguments, _) in rows("reference.md", "method of `AccessPolicy`").items():
        assert words(arguments) == arguments_of(getattr(access.AccessPolicy, name)), name
    functions = [name for name in lifecycle.__all__ if name[0].islower()]
    assert [name for name in functions if f"lifecycle.{name}" not in table] == []


def test_every_exception_is_explained_with_what_it_is_one_of() -> None:
    table = rows("reference.md", "exception")
    assert {path.rsplit(".")[-1]: words(base)[0] for path, (base, _) in table.items()} == errors()
    for path in table:
        assert inspect.isclass(import_string(f"kapso_inbox.{path}"))


def test_a_row_has_the_value_that_belongs_to_its_name() -> None:
    table = rows("reference.md", "name")
    assert {name: words(cells[0])[0] for name, cells in table.items()} == addresses()
    statuses = {outcome.value: str(status) for outcome, status in outcomes.STATUS.items()}
    table = rows("inbox.md", "state | status")
    assert {name: cells[0] for name, cells in table.items()} == statuses
    for name, cells in rows("settings.md", "check | meaning").items():
        assert cells[1] == ("`check --deploy`" if name in CHECK_IDS.values() else "`check`"), name
    needed = {str(verb.label): verb.permission for verb in VERBS.values()}
    assert {name: cells[0] for name, cells in rows("admin.md", "button").items()} == needed


def test_a_template_has_the_blocks_that_its_row_names() -> None:
    common: set[str] = set()
    for name, (_, told) in rows("reference.md", "template").items():
        nodes = get_template(name).template.nodelist.get_nodes_by_type(BlockNode)
        found = {node.name for node in nodes}
        if "those of" in told:
            assert found <= common, name
        else:
            assert found == {*words(told)}, name
            common = found


def test_every_part_and_file_that_the_architecture_names_is_there() -> None:
    parts = re.findall(r"[\w/]+(?:\.py|/)", " ".join(rows("architecture.md", "part")))
    walk = str(rows("architecture.md", "to change").values())
    files = re.findall(r"[\w/]+\.(?:py|html)", walk)
    assert [part for part in parts if not list(PACKAGE.rglob(part.rstrip("/")))] == []
    assert len(files) > 10
    assert [file for file in files if not (PACKAGE / file).exists()] == []


def anchors(path: Path) -> set[str]:
    """Return what GitHub calls the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_between_documents_leads_somewhere_on_github(path: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", path.read_text()):
        if "://" not in target:
            file = path.parent / target if target else path
            assert file.exists(), target
            assert not anchor or anchor in anchors(file), f"{target}#{anchor}"


def test_the_site_builds_without_a_broken_link(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr


def test_every_picture_is_shown_and_all_of_them_are_small() -> None:
    shown = {
        picture
        for path in DOCUMENTS
        for picture in re.findall(r"\]\((?:docs/)?images/([^)]+)\)", path.read_text())
    }
    pictures = list((DOCS / "images").iterdir())
    assert {path.name for path in pictures} == shown
    assert sum(path.stat().st_size for path in pictures) < 3_000_000
