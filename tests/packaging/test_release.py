"""The check before a release names each problem."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import polib
import pytest

from . import distribution
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


@pytest.mark.parametrize("date", ["2026-11-24", "unreleased"])
def test_a_pre_release_has_the_section_of_its_release_which_needs_no_date(
    tmp_path: Path, date: str
) -> None:
    (tmp_path / "CHANGELOG.md").write_text(f"# Changes\n\n## 1.2.0 ({date})\n\n{SECTION}")
    assert list(release.changelog(tmp_path, "1.2.0rc1")) == []
    (finding,) = release.changelog(tmp_path, "1.3.0rc1")
    assert "no section “## 1.3.0" in finding


@pytest.mark.parametrize(
    ("urls", "is_missing"),
    [
        ("", True),
        ('[project.urls]\nHomepage = "https://example.com/"\n', True),
        ('[project.urls]\nRepository = "to be decided"\n', True),
        ('[project.urls]\nRepository = "https://example.com/inbox"\n', False),
    ],
)
def test_a_missing_address_of_the_repository_is_named(
    tmp_path: Path, urls: str, is_missing: bool
) -> None:
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "inbox"\n{urls}')
    assert ["[project.urls]" in finding for finding in release.address(tmp_path)] == (
        [True] if is_missing else []
    )


@pytest.mark.parametrize(
    ("text", "is_missing"),
    [
        ("Write to us. The address is not decided yet.", True),
        ("Report one of Django to [Django](https://docs.djangoproject.com/).", True),
        ("Write to security@example.com.", False),
        ("Use <https://example.com/inbox/security/advisories/new>.", False),
    ],
)
def test_a_missing_address_for_vulnerabilities_is_named(
    tmp_path: Path, text: str, is_missing: bool
) -> None:
    (tmp_path / "SECURITY.md").write_text(f"# Security\n\n{text}\n")
    assert ["SECURITY.md" in finding for finding in release.contact(tmp_path)] == (
        [True] if is_missing else []
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Callable[..., None]:
    """Create an empty repository; return a function that runs git in it."""
    if shutil.which("git") is None:
        unavailable("git is not installed.")

    def git(*words: str) -> None:
        who = ["-c", "user.name=mona", "-c", "user.email=mona@example.com"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True)

    git("init", "--quiet")
    return git


def test_a_tag_that_is_missing_or_on_another_commit_is_named(
    tmp_path: Path, checkout: Callable[..., None]
) -> None:
    commit = ("commit", "--quiet", "--allow-empty", "--message=A change")
    checkout(*commit)
    (finding,) = release.tag(tmp_path, "1.2.0rc1")
    assert "run “git tag v1.2.0rc1”" in finding
    checkout("tag", "v1.2.0rc1")
    assert list(release.tag(tmp_path, "1.2.0rc1")) == []
    checkout(*commit)
    (finding,) = release.tag(tmp_path, "1.2.0rc1")
    assert "on another commit" in finding


def test_an_uncommitted_file_is_named(tmp_path: Path, checkout: Callable[..., None]) -> None:
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


REPOSITORY = "https://example.com/inbox"


@pytest.mark.parametrize(
    ("relative", "absolute"),
    [
        (
            "[Access](docs/access.md#groups)",
            f"[Access]({REPOSITORY}/blob/v1/docs/access.md#groups)",
        ),
        ("[`api`](docs/api.md)", f"[`api`]({REPOSITORY}/blob/v1/docs/api.md)"),
        ("[above](#licence)", "[above](#licence)"),
        ("![The admin](docs/a.png)", f"![The admin]({REPOSITORY}/raw/v1/docs/a.png)"),
        (
            "[![The admin](docs/a.png)](docs/admin.md)",
            f"[![The admin]({REPOSITORY}/raw/v1/docs/a.png)]({REPOSITORY}/blob/v1/docs/admin.md)",
        ),
        ('<img src="docs/a.png">', f'<img src="{REPOSITORY}/raw/v1/docs/a.png">'),
        ("[Kapso](https://kapso.ai/)", "[Kapso](https://kapso.ai/)"),
        ("[write](mailto:mona@example.com)", "[write](mailto:mona@example.com)"),
        ('`<a href="next/">`', '`<a href="next/">`'),
        ("```python\nhandlers[0](request)\n```", "```python\nhandlers[0](request)\n```"),
    ],
)
def test_a_relative_link_of_the_readme_leads_to_the_tag_in_the_repository(
    relative: str, absolute: str
) -> None:
    assert distribution.absolute(relative, REPOSITORY, "v1") == absolute


def test_the_published_readme_has_no_relative_link() -> None:
    published = distribution.absolute((ROOT / "README.md").read_text(), REPOSITORY)
    rendered = release.markdown.render(published)
    targets = re.findall(r'(?:href|src)="([^"]*)"', rendered)
    assert len(targets) > 20
    assert [one for one in targets if not one.startswith(("https://", "#"))] == []


def test_each_finding_is_printed_and_the_exit_status_says_whether_there_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = [lambda root: iter(["One: fix it."]), lambda root: iter([])]
    assert release.main(tmp_path, checks) == 1
    assert capsys.readouterr().out.startswith("- One: fix it.\n")
    assert release.main(tmp_path, checks[1:], "1.2.0") == 0
    assert capsys.readouterr().out == "1.2.0 can be released.\n"


def test_after_a_pre_release_the_check_says_what_the_release_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert release.main(tmp_path, [], "1.2.0rc1") == 0
    said = capsys.readouterr().out
    assert said.startswith("1.2.0rc1 can be released.\n")
    assert "set __version__ to 1.2.0 " in said
