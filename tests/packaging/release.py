"""`python -m tests.packaging.release`: say what is missing for a release, and what to do.

Exit status: 0 nothing is missing, 1 something is. It publishes nothing, and changes nothing but the
folder dist, where it leaves what it built and what may then be published.
"""

from __future__ import annotations

import gettext
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import polib
from readme_renderer import markdown

import kapso_inbox

from .distribution import ROOT, BuildError, build

Look = Callable[[Path], Iterator[str]]

SCHEMA = ("spectacular", "--urlconf", "tests.api.urls", "--validate", "--fail-on-warn")


def changelog(root: Path, version: str = kapso_inbox.__version__) -> Iterator[str]:
    """The version has a section of its own, with a date and a text."""
    text = (root / "CHANGELOG.md").read_text()
    section = rf"^## {re.escape(version)}([^\n]*)\n(.*?)(?=^## |\Z)"
    found = re.search(section, text, re.MULTILINE | re.DOTALL)
    if found is None:
        yield f"CHANGELOG.md has no section “## {version} (…)”: write what changed."
    elif not re.fullmatch(r" \(\d{4}-\d\d-\d\d\)", found[1]):
        yield (
            f"CHANGELOG.md does not say when {version} was released, but “{found[1].strip()}”: put "
            "the day there, as “(2026-01-31)”."
        )
    elif not found[2].strip():
        yield f"CHANGELOG.md says nothing of {version}: write what changed."


def uncommitted(root: Path) -> Iterator[str]:
    """What is published is what is committed."""
    command = ["git", "-C", str(root), "status", "--porcelain"]
    status = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if files := [line[3:] for line in status.splitlines()]:
        yield f"Not committed: {', '.join(files)}. Commit them, or take them away."


def translations(root: Path) -> Iterator[str]:
    """Every text is translated, and what is compiled is what is translated."""
    for path in sorted((root / "kapso_inbox" / "locale").glob("*/LC_MESSAGES/*.po")):
        language = path.parts[-3]
        texts = polib.pofile(str(path))
        missing = [entry for entry in texts if not entry.translated() and not entry.obsolete]
        if missing:
            yield (
                f"{len(missing)} texts are not translated into {language}, the first of them "
                f"“{missing[0].msgid}”: translate them in {path.relative_to(root)}."
            )
        if _compiled(path.with_suffix(".mo").read_bytes) != _compiled(texts.to_binary):
            yield (
                f"The compiled texts of {language} are not those of {path.relative_to(root)}: run "
                "“python -m django compilemessages” in kapso_inbox."
            )


def migrations(root: Path, settings: str = "tests.settings") -> Iterator[str]:
    """The migrations make the models as they are."""
    done = _django(root, settings, "makemigrations", "--check", "--dry-run")
    if done.returncode:
        said = (done.stdout or done.stderr).strip()
        yield f"A migration is missing: run makemigrations. It would be this:\n{said}"


def schema(root: Path) -> Iterator[str]:
    """The schema that is published is that of the code."""
    done = _django(ROOT, "tests.settings", *SCHEMA)
    if done.returncode:
        yield f"The API's schema cannot be made:\n{done.stderr.strip()}"
    elif done.stdout != (root / "docs" / "openapi.yaml").read_text():
        yield (
            "docs/openapi.yaml is not the schema of the code: run DJANGO_SETTINGS_MODULE="
            f"tests.settings python -m django {' '.join(SCHEMA)} --file docs/openapi.yaml"
        )


def readme(root: Path) -> Iterator[str]:
    """PyPI can show the README."""
    if markdown.render((root / "README.md").read_text()) is None:
        yield "README.md is no Markdown that PyPI shows: mend it."


def distributions(root: Path) -> Iterator[str]:
    """Wheel and source distribution can be built, and PyPI would take them; dist has them then."""
    shutil.rmtree(root / "dist", ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        try:
            built = build(Path(folder), isolated=True)
        except BuildError as error:
            yield f"Wheel and source distribution cannot be built:\n{error}"
            return
        files = (str(built.sdist), str(built.wheel))
        command = [sys.executable, "-m", "twine", "--no-color", "check", "--strict", *files]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            yield f"PyPI would not take wheel and source distribution:\n{done.stdout.strip()}"
            return
        shutil.copytree(built.wheel.parent, root / "dist")


LOOKS: Sequence[Look] = (
    changelog,
    uncommitted,
    translations,
    migrations,
    schema,
    readme,
    distributions,
)


def main(root: Path = ROOT, looks: Sequence[Look] = LOOKS) -> int:
    """Tell what each look finds; return the exit status."""
    found = [finding for look in looks for finding in look(root)]
    for finding in found:
        print(f"- {finding}")
    if found:
        print(f"{kapso_inbox.__version__} cannot be released yet: {len(found)} to mend.")
    else:
        print(f"Nothing is missing for {kapso_inbox.__version__}.")
    return 1 if found else 0


def _compiled(read: Callable[[], bytes]) -> dict[object, str]:
    """The texts of a compiled catalogue, whoever compiled it; none where there is none."""
    try:
        catalogue = gettext.GNUTranslations(io.BytesIO(read()))
    except OSError:
        return {}
    # What stands under "" is about the file: who compiled it and when.
    return {key: text for key, text in vars(catalogue)["_catalog"].items() if key != ""}


def _django(folder: Path, settings: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "django", *words]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": settings}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


if __name__ == "__main__":
    sys.exit(main())
