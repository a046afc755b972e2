"""What the documents say is what the code does."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import subprocess
import sys
from argparse import Action
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.management import load_command_class
from django.core.management.base import BaseCommand
from django.dispatch import Signal
from django.template import Engine, TemplateSyntaxError
from django.template.backends.django import get_installed_libraries
from django.test import override_settings

import kapso_inbox
from kapso_inbox import access, checks, conf, lifecycle
from kapso_inbox import signals as our_signals
from kapso_inbox import urls as page_urls
from kapso_inbox.admin.verbs import VERBS
from kapso_inbox.api import urls as api_urls
from kapso_inbox.diagnosis.site import CHECK_IDS
from kapso_inbox.inbox import component, outcomes, own_views
from kapso_inbox.inbox.params import PARAMETERS, clean_params
from kapso_inbox.models import AccessLink, Condition
from kapso_inbox.templatetags import kapso_inbox as tags
from tests.test_architecture import ALLOWED

from . import DOCS, DOCUMENTS, ROOT, rows, words

PACKAGE = Path(kapso_inbox.__file__).parent
STATIC = PACKAGE / "static/kapso_inbox"
TEMPLATES = PACKAGE / "templates"
README = (ROOT / "README.md").read_text()

KINDS: dict[str, Any] = {kind.__name__: kind for kind in (str, dict, list, tuple, bool)} | {
    "float": (int, float)
}

# ------------------------------------------------------------------------------- settings


def test_every_setting_stands_in_the_table_with_its_default_and_check() -> None:
    table = rows("settings.md", "setting")
    assert list(table) == [*conf.REQUIRED, *conf.DEFAULTS]
    for name, default in conf.DEFAULTS.items():
        assert ast.literal_eval(table[name][1].strip("`")) == default
    for name, (number, _, _) in checks._RULES.items():
        assert table[name][2] == f"`kapso_inbox.{number}`"


@pytest.mark.parametrize("name", rows("settings.md", "setting"))
def test_a_setting_has_the_type_that_the_table_names_and_its_check_refuses_another(
    name: str,
) -> None:
    kind, _, check, _ = rows("settings.md", "setting")[name]
    kinds = [re.sub(r"\[.*", "", word) for word in words(kind)]
    assert kinds[1:] in ([], ["None"])
    default = conf.DEFAULTS.get(name, "" if name == "API_KEY" else {})
    assert isinstance(default, KINDS[kinds[0]]) or (default is None and "None" in kinds)
    with override_settings(KAPSO_INBOX={name: object()}):
        assert check.strip("`") in {finding.id for finding in checks.check_settings()}


def test_every_check_is_explained_with_the_command_that_makes_it() -> None:
    source = Path(checks.__file__).read_text()
    always = {f"kapso_inbox.{number}" for number in re.findall(r"\b([EW]\d{3})\b", source)}
    table = rows("settings.md", "check | meaning")
    assert list(table) == sorted(always | set(CHECK_IDS.values()))
    for name, (meaning, command) in table.items():
        assert meaning
        assert command == ("`check`" if name in always else "`check --deploy`")


def test_every_extra_is_in_the_table_with_what_it_brings() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    extras = re.findall(
        r"^(\w+) = (\[.*\])$",
        project.partition("optional-dependencies]\n")[2].partition("\n[")[0],
        re.M,
    )
    named = {"djangorestframework": "Django REST framework"}
    assert {name: cells[0] for name, cells in rows("installation.md", "extra").items()} == {
        name: ", ".join(
            named.get(package, package)
            for package in (re.split(r"[><=]", one)[0] for one in ast.literal_eval(wanted))
        )
        for name, wanted in extras
    }


# ----------------------------------------------------------------------------------- tags


def test_every_parameter_stands_in_the_table_and_in_the_readme() -> None:
    table = rows("themes.md", "parameter")
    assert list(table) == list(PARAMETERS)
    for name, (values,) in table.items():
        for value in words(values):
            clean_params({name: value})
    pattern = r"\{% kapso_inbox slug (.*?) contact= title= (.*?) %\}"
    tag = re.search(pattern, README)
    assert tag is not None
    assert tag[1].replace("=", "").split() == list(PARAMETERS)
    assert tag[2].replace("=", "").split() == list(component.OPTIONS)


def test_every_tag_is_in_the_table_with_the_arguments_that_it_takes() -> None:
    table = rows("reference.md", "tag")
    assert set(table) == set(tags.register.tags)
    engine = Engine(libraries=get_installed_libraries())
    for tag, (_, arguments) in table.items():
        slug = '"x"' if "slug" in arguments else ""
        with pytest.raises(TemplateSyntaxError) as refusal:
            engine.from_string(f"{{% load kapso_inbox %}}{{% {tag} {slug} nonsense=1 %}}")
        taken = re.search(r"it has: (.*)\.$", str(refusal.value))
        said = {
            *(PARAMETERS if "parameters" in arguments else ()),
            *(component.OPTIONS if "options" in arguments else ()),
            *words(arguments),
        }
        assert set(taken[1].split(", ") if taken else ()) == said


def test_every_argument_of_a_tag_is_explained_with_the_tags_that_take_it() -> None:
    table = rows("reference.md", "argument")
    given: dict[str, list[str]] = {}
    for tag, (_, arguments) in rows("reference.md", "tag").items():
        for name in words(arguments):
            given.setdefault(name, []).append(tag)
    options = {name: ["options"] for name in component.OPTIONS}
    assert {name: sorted(words(cells[0])) or [cells[0]] for name, cells in table.items()} == {
        name: sorted(tags) for name, tags in (given | options).items()
    }
    for name in component.OPTIONS:
        for value in words(table[name][1]):
            if not re.search(r"[-,_]", value):
                component.clean_options({name: value})


# ------------------------------------------------------------------------------- commands

COMMANDS = sorted(path.stem for path in (PACKAGE / "management/commands").glob("kapso_*.py"))


def own_options(command: BaseCommand) -> Iterator[Action]:
    """The options of a command that not every command has."""
    common = BaseCommand().create_parser("manage.py", "")._actions
    names = {name for action in common for name in action.option_strings}
    for action in command.create_parser("manage.py", "")._actions:
        if not names & set(action.option_strings):
            yield action


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_explained_with_its_default(name: str) -> None:
    command = load_command_class("kapso_inbox", name)
    table = rows("reference.md", f"option of `{name}`")
    options = list(own_options(command))
    assert list(table) == [
        " ".join([action.option_strings[-1], *value_of(action)]) for action in options
    ]
    for action, (text,) in zip(options, table.values(), strict=True):
        assert action.default in (None, False) or str(action.default) in text.replace("`", "")


def value_of(action: Action) -> list[str]:
    if action.nargs == 0:
        return []
    return [str(action.metavar or action.dest.upper())]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_exit_status_of_a_command_is_explained(name: str) -> None:
    statuses = {0}
    source = (PACKAGE / f"management/commands/{name}.py").read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "sys.exit":
            statuses.add(ast.literal_eval(node.args[0]))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "CommandError":
            given = [ast.literal_eval(k.value) for k in node.keywords if k.arg == "returncode"]
            statuses.add(given[0] if given else 1)
    assert [int(status) for status in rows("reference.md", f"status of `{name}`")] == sorted(
        statuses
    )


def test_the_commands_that_run_without_the_checks_are_named() -> None:
    text = " ".join((DOCS / "reference.md").read_text().split())
    (named,) = re.findall(r"is none; ([^.]*?) run without the checks\.", text)
    assert words(named) == [
        name
        for name in COMMANDS
        if not load_command_class("kapso_inbox", name).requires_system_checks
    ]


# --------------------------------------------------------------------------------- Python


def found_by_path(path: str) -> Any:
    module, name = path.rsplit(".", 1)
    return getattr(import_module(f"kapso_inbox.{module}"), name)


def arguments_of(function: Any) -> list[str]:
    stars = {inspect.Parameter.VAR_KEYWORD: "**"}
    return [
        stars.get(parameter.kind, "") + name
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self"
    ]


def test_every_function_of_the_lifecycle_is_in_the_readme_and_the_reference() -> None:
    verbs = [name for name in lifecycle.__all__ if name[0].islower()]
    assert [verb for verb in verbs if f"`{verb}`" not in README] == []
    table = rows("reference.md", "function")
    assert {f"lifecycle.{verb}" for verb in verbs} <= set(table)


def test_every_function_of_the_reference_takes_the_arguments_it_names() -> None:
    for path, (arguments,) in rows("reference.md", "function").items():
        assert words(arguments) == arguments_of(found_by_path(path)), path


def test_every_method_of_the_policy_is_in_the_reference() -> None:
    methods = inspect.getmembers(access.AccessPolicy, inspect.isfunction)
    table = rows("reference.md", "method of `AccessPolicy`")
    assert {name: words(arguments) for name, (arguments,) in table.items()} == {
        name: arguments_of(method) for name, method in methods
    }


def test_every_exception_is_explained_with_what_it_is_one_of() -> None:
    errors: dict[str, str] = {}
    for info in pkgutil.walk_packages([str(PACKAGE)], "kapso_inbox."):
        if ".sandbox" in info.name or ".migrations" in info.name:
            continue
        for name, kind in vars(import_module(info.name)).items():
            if (
                inspect.isclass(kind)
                and issubclass(kind, Exception)
                and name.endswith("Error")
                and not name.startswith("_")
                and kind.__module__.startswith("kapso_inbox.")
            ):
                errors[name] = kind.__bases__[0].__name__
    table = rows("reference.md", "exception")
    assert {path.rsplit(".")[-1]: words(base)[0] for path, (base, _) in table.items()} == errors
    for path in table:
        assert inspect.isclass(found_by_path(path))


def test_every_state_of_a_link_is_explained() -> None:
    assert list(rows("links.md", "state of a link")) == list(AccessLink.State.values)


def test_every_signal_is_in_the_table_with_what_comes_with_it() -> None:
    table = rows("reference.md", "signal")
    names = [name for name, value in vars(our_signals).items() if isinstance(value, Signal)]
    assert list(table) == names
    for name, (values,) in table.items():
        assert f"- `{name}`: {values}." in str(our_signals.__doc__)


@pytest.mark.django_db
def test_every_permission_of_the_reference_is_one_that_the_code_asks_for() -> None:
    made = Permission.objects.filter(content_type__app_label="kapso_inbox")
    all_of_them = {
        f"kapso_inbox.{codename}" for codename in made.values_list("codename", flat=True)
    }
    table = set(rows("reference.md", "permission"))
    assert table <= all_of_them
    # Those of embeds for what they are called, and of the records the one to view them.
    assert table == {
        name
        for name in all_of_them
        if name.endswith("_inboxembed") or re.search(r"view_inbox(opening|change)$", name)
    }


def test_every_address_is_in_the_reference() -> None:
    assert {name: words(cells[0])[0] for name, cells in rows("reference.md", "name").items()} == {
        f"{module.app_name}:{pattern.name}": str(pattern.pattern)
        for module in (page_urls, api_urls)
        for pattern in module.urlpatterns
    }


# ----------------------------------------------------------------------- markup and looks


def test_every_custom_property_is_in_the_reference_with_its_default() -> None:
    stylesheets = "".join(path.read_text() for path in STATIC.glob("*.css"))
    table = rows("reference.md", "property")
    assert set(table) == set(re.findall(r"var\((--kapso-inbox-[\w-]+)", stylesheets))
    for name, (_, default) in table.items():
        for value in words(default):
            assert f"{name}, {value})" in stylesheets


def test_every_attribute_of_the_markup_is_in_the_reference() -> None:
    sources = [*(TEMPLATES / "kapso_inbox").glob("*.html"), Path(component.__file__)]
    markup = "".join(path.read_text() for path in sources)
    assert set(rows("reference.md", "attribute")) == set(
        re.findall(r"(?<=[\s\"}])data-[\w-]+", markup)
    )


def test_every_template_is_in_the_reference_with_its_blocks() -> None:
    table = rows("reference.md", "template")
    found = {}
    for path in (TEMPLATES / "kapso_inbox").glob("*.html"):
        own = set(re.findall(r"\{% block (\w+) %\}", path.read_text()))
        found[f"kapso_inbox/{path.name}"] = own
    common = found["kapso_inbox/base.html"]
    assert table.keys() == found.keys()
    for name, (_, blocks) in table.items():
        if "those of" in blocks:
            assert found[name] <= common
        else:
            assert set(words(blocks)) == found[name]


def test_every_state_of_the_component_is_explained() -> None:
    script = (STATIC / "kapso_inbox.js").read_text()
    told = set(re.findall(r'tell\("(\w+)"', script))
    template = (TEMPLATES / "kapso_inbox/component.html").read_text()
    (first,) = re.findall(r'data-state="(.*?)"\{% if launch', template)
    told |= set(re.findall(r"%\}(\w+)", first))
    assert set(rows("inbox.md", "state of the component")) == told


def test_every_state_of_the_frame_is_in_the_table_with_its_status() -> None:
    table = rows("inbox.md", "state | status")
    assert {name: int(cells[0]) for name, cells in table.items()} == {
        outcome.value: status for outcome, status in outcomes.STATUS.items()
    }
    assert list(rows("mine.md", "state of an own inbox")) == list(own_views._STATUS)


def test_every_condition_and_every_verb_of_the_admin_is_explained() -> None:
    assert list(rows("admin.md", "state")) == [str(label) for label in Condition.labels]
    table = rows("admin.md", "button")
    assert {name: cells[0] for name, cells in table.items()} == {
        str(verb.label): verb.permission for verb in VERBS.values()
    }


# ------------------------------------------------------------------------ the documents


def test_the_drawing_of_the_house_is_what_its_arrows_allow() -> None:
    drawing = (DOCS / "architecture.md").read_text().split("```text\n")[1].split("```")[0]
    levels = {
        part: level
        for level, row in enumerate(re.findall(r"^\w+ +(.*?)(?: +---.*)?$", drawing, re.MULTILINE))
        for part in row.split()
    }
    # The package itself, Django's own entrances, and what stands in for Kapso.
    assert ALLOWED.keys() - levels.keys() == {"__init__", "apps", "migrations", "sandbox"}
    upwards = {
        (part, used)
        for part in levels
        for used in ALLOWED[part] & levels.keys()
        if levels[used] < levels[part]
    }
    assert upwards == {("conf", "access")}


def headings(path: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a document."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_no_link_between_documents_is_broken_on_github(path: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", path.read_text()):
        if "://" in target:
            continue
        file = path.parent / target if target else path
        assert file.exists(), target
        assert not anchor or anchor in headings(file), f"{target}#{anchor}"


def test_the_site_builds_without_a_broken_link(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr


def test_no_link_of_a_document_leads_out_of_the_site() -> None:
    for path in DOCS.glob("*.md"):
        assert "](../" not in path.read_text(), path.name


def test_every_picture_is_shown_in_a_document() -> None:
    shown = {
        name
        for path in DOCUMENTS
        for name in re.findall(r"!\[[^\]]+\]\((?:docs/)?images/([^)]+)\)", path.read_text())
    }
    assert {path.name for path in (DOCS / "images").iterdir()} == shown


def test_every_document_is_in_the_readme() -> None:
    missing = [path.name for path in DOCS.glob("*.md") if f"(docs/{path.name}" not in README]
    assert missing == ["index.md"]
