"""What the documents say is what the code does."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from django.dispatch import Signal
from django.test import override_settings

from kapso_inbox import checks, conf, kapso, lifecycle, presentation, signals
from kapso_inbox.diagnosis.site import CHECK_IDS
from kapso_inbox.models import AccessLink

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
TESTING = (ROOT / "docs" / "testing.md").read_text()


def rows(document: str, heading: str) -> dict[str, list[str]]:
    """The table under the row of headings that begins so: first cell -> other cells."""
    text = (ROOT / "docs" / document).read_text()
    table = text[text.index(f"| {heading} |") :].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {cell[0].strip("`"): cell[1:] for cell in cells}


def code_blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)


def test_every_setting_stands_in_the_table_with_its_default_and_check() -> None:
    table = rows("settings.md", "setting")
    assert list(table) == [*conf.REQUIRED, *conf.DEFAULTS]
    for name, default in conf.DEFAULTS.items():
        assert ast.literal_eval(table[name][0].strip("`")) == default
    for name, (number, _, _) in checks._RULES.items():
        assert table[name][1] == f"`kapso_inbox.{number}`"


def test_every_check_id_is_documented() -> None:
    source = Path(checks.__file__).read_text()
    ids = {f"kapso_inbox.{number}" for number in re.findall(r"\b([EW]\d{3})\b", source)}
    ids |= set(CHECK_IDS.values())
    documented = set(re.findall(r"kapso_inbox\.[EW]\d{3}", (ROOT / "docs/settings.md").read_text()))
    assert ids == documented


def test_every_parameter_stands_in_the_table_and_in_the_readme() -> None:
    table = rows("settings.md", "parameter")
    assert list(table) == list(presentation.PARAMETERS)
    for name, (values,) in table.items():
        for value in re.findall(r"`(\w+)`", values):
            presentation.clean({name: value})
    tag = re.search(r"\{% kapso_inbox slug (.*?) title= %\}", (ROOT / "README.md").read_text())
    assert tag is not None
    assert tag[1].replace("=", "").split() == list(presentation.PARAMETERS)


def test_every_state_of_a_link_and_every_error_is_explained() -> None:
    assert list(rows("links.md", "state of a link")) == list(AccessLink.State.values)
    errors = {name for name in kapso.__all__ if name.endswith("Error")}
    assert set(rows("links.md", "error in `kapso_inbox.kapso`")) == errors - {
        "KapsoError",
        "ConfigurationError",
    }


def test_every_signal_is_in_the_table_with_what_comes_with_it() -> None:
    table = rows("access.md", "signal")
    names = [name for name, value in vars(signals).items() if isinstance(value, Signal)]
    assert list(table) == names
    for name, (values,) in table.items():
        assert f"- `{name}`: {values}." in str(signals.__doc__)


def test_every_function_of_the_lifecycle_is_in_the_readme() -> None:
    verbs = [name for name in lifecycle.__all__ if name[0].islower()]
    readme = (ROOT / "README.md").read_text()
    assert [verb for verb in verbs if f"`{verb}`" not in readme] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_no_link_between_documents_is_broken(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text())
    missing = [
        target for target in targets if "://" not in target and not (path.parent / target).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_example_in_python_parses(path: Path) -> None:
    for block in code_blocks(path, "python"):
        ast.parse(block.strip().removesuffix(","))


def test_the_quickstarts_settings_pass_the_checks() -> None:
    (block,) = [b for b in code_blocks(ROOT / "README.md", "python") if "ENCRYPTION_KEYS" in b]
    key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    names = {"INSTALLED_APPS": [], "env": lambda name: key if "KEY_2026" in name else "api-key"}
    exec(block, names)  # noqa: S102 (our own README)
    assert names["INSTALLED_APPS"] == ["kapso_inbox"]
    with override_settings(KAPSO_INBOX=names["KAPSO_INBOX"]):
        assert checks.check_settings() == []


# The tests that docs/testing.md shows to hosts, run here as they stand there.
exec("\n".join(re.findall(r"^```python\n(.*?)^```", TESTING, re.DOTALL | re.MULTILINE)))  # noqa: S102
