"""The check before a release names each problem."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import polib
import pytest

from .distribution import ROOT
from .host import unavailable

if find_spec("readme_renderer") is None:
    if "CI" in os.environ:
        raise ImportError("The check before a release requires .ci/requirements.txt.")
    pytest.skip("The package readme-renderer is not installed.", allow_module_level=True)

from . import release

SECTION = "The first one.\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"# Changes\n\n## 1.2.0 (2026-11-24)\n\n{SECTION}", None),
        (f"# Changes\n\n## 1.2.0 (2026-11-24)\n\n{SECTION}\n## 1.1.0 (2026-10-01)\n", None),
        (f"# Changes\n\n## 1.2.0 (unreleased)\n\n{SECTION}", "write the date"),
        (f"# Changes\n\n## 1.2.0\n\n{SECTION}", "write the date"),
        ("# Changes\n\n## 1.2.0 (2026-11-24)\n\n## 1.1.0 (2026-10-01)\n\nOld.\n", "empty section"),
        ("# Changes\n\n## 1.2.0 (2026-11-24)\n\n### New\n\n- All.\n", None),
        (f"# Changes\n\n## 1.1.0 (2026-10-01)\n\n{SECTION}", "has no section"),
        (f"# Changes\n\n## 1.2.0.1 (2026-10-01)\n\n{SECTION}", "write the date"),
    ],
)
def test_the_changelog_must_have_a_dated_section(
    tmp_path: Path, text: str, words: str | None
) -> None:
    (tmp_path / "CHANGELOG.md").write_text(text)
    found = list(release.changelog(tmp_path, "1.2.0"))
    if words is None:
        assert found == []
    else:
        (finding,) = found
        assert words in finding


def test_an_uncommitted_file_is_named(tmp_path: Path) -> None:
    if shutil.which("git") is None:
        unavailable("git is not installed.")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert list(release.uncommitted(tmp_path)) == []
    (tmp_path / "notes.txt").write_text("not yet")
    (finding,) = release.uncommitted(tmp_path)
    assert "notes.txt" in finding


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """Return a compiled Spanish catalogue of one text."""
    folder = tmp_path / "kapso_inbox" / "locale" / "es" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    texts = polib.POFile()
    texts.metadata = {"Content-Type": "text/plain; charset=utf-8"}
    texts.append(polib.POEntry(msgid="Inbox", msgstr="Bandeja"))
    texts.save(str(folder / "django.po"))
    texts.save_as_mofile(str(folder / "django.mo"))
    return folder / "django.po"


def test_complete_and_compiled_translations_pass(tmp_path: Path, catalogue: Path) -> None:
    assert list(release.translations(tmp_path)) == []


def test_an_untranslated_text_is_named(tmp_path: Path, catalogue: Path) -> None:
    texts = polib.pofile(str(catalogue))
    texts.append(polib.POEntry(msgid="Settings", msgstr=""))
    texts.save()
    (finding,) = release.translations(tmp_path)
    assert "not translated into es: 1" in finding
    assert "“Settings”" in finding


def test_a_catalogue_that_is_not_compiled_is_named(tmp_path: Path, catalogue: Path) -> None:
    texts = polib.pofile(str(catalogue))
    texts[0].msgstr = "Bandeja de entrada"
    texts.save()
    (finding,) = release.translations(tmp_path)
    assert "compilemessages" in finding
    catalogue.with_suffix(".mo").unlink()
    assert list(release.translations(tmp_path)) == [finding]


def test_a_missing_migration_is_shown(tmp_path: Path) -> None:
    app = tmp_path / "shop"
    (app / "migrations").mkdir(parents=True)
    (app / "migrations" / "__init__.py").touch()
    (app / "__init__.py").touch()
    (tmp_path / "settings.py").write_text(
        'INSTALLED_APPS = ["shop"]\nSECRET_KEY = "x"\n'
        'DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"\n'
    )
    (app / "models.py").write_text("")
    assert list(release.migrations(tmp_path, "settings")) == []
    (app / "models.py").write_text(
        "from django.db import models\n\n\nclass Order(models.Model):\n    pass\n"
    )
    (finding,) = release.migrations(tmp_path, "settings")
    assert "Create model Order" in finding


def test_an_outdated_schema_is_named_with_the_command_that_updates_it(tmp_path: Path) -> None:
    assert list(release.schema(ROOT)) == []
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "openapi.yaml").write_text("openapi: 3.1.0\n")
    (finding,) = release.schema(tmp_path)
    assert "--file docs/openapi.yaml" in finding


def test_the_readme_renders() -> None:
    assert list(release.readme(ROOT)) == []


def test_each_finding_is_printed_and_the_exit_status_says_whether_there_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = [lambda root: iter(["One: fix it."]), lambda root: iter([])]
    assert release.main(tmp_path, checks) == 1
    assert capsys.readouterr().out.startswith("- One: fix it.\n")
    assert release.main(tmp_path, checks[1:]) == 0
    assert "can be released" in capsys.readouterr().out
