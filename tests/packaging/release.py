"""`python -m tests.packaging.release`: say what prevents a release, and what to do about it.

The exit status is 0 if the version can be released, and 1 otherwise. The command publishes nothing.
It changes only the folder dist, where it leaves the distributions that may be published.
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

#: Yields a sentence about each problem in the checkout.
Check = Callable[[Path], Iterator[str]]

SCHEMA = ("spectacular", "--urlconf", "tests.api.urls", "--validate", "--fail-on-warn")


def changelog(root: Path, version: str = kapso_inbox.__version__) -> Iterator[str]:
    """Check that the changelog has a section for the version, with a date and a text."""
    text = (root / "CHANGELOG.md").read_text()
    section = rf"^## {re.escape(version)}([^\n]*)\n(.*?)(?=^## |\Z)"
    found = re.search(section, text, re.MULTILINE | re.DOTALL)
    if found is None:
        yield f"CHANGELOG.md has no section “## {version} (…)”: write what changed."
    elif not re.fullmatch(r" \(\d{4}-\d\d-\d\d\)", found[1]):
        yield (
            f"CHANGELOG.md has “{found[1].strip()}” where the date of {version} belongs: write the "
            "date, such as “(2026-01-31)”."
        )
    elif not found[2].strip():
        yield f"CHANGELOG.md has an empty section for {version}: write what changed."


def uncommitted(root: Path) -> Iterator[str]:
    """Check that everything is committed."""
    command = ["git", "-C", str(root), "status", "--porcelain"]
    status = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if files := [line[3:] for line in status.splitlines()]:
        yield f"Not committed: {', '.join(files)}. Commit or delete these files."


def translations(root: Path) -> Iterator[str]:
    """Check that every text is translated, and that the compiled catalogues are up to date."""
    for path in sorted((root / "kapso_inbox" / "locale").glob("*/LC_MESSAGES/*.po")):
        language = path.parts[-3]
        texts = polib.pofile(str(path))
        missing = [entry for entry in texts if not entry.translated() and not entry.obsolete]
        if missing:
            yield (
                f"Texts not translated into {language}: {len(missing)}, the first of them "
                f"“{missing[0].msgid}”. Translate them in {path.relative_to(root)}."
            )
        if _compiled(path.with_suffix(".mo").read_bytes) != _compiled(texts.to_binary):
            yield (
                f"The compiled catalogue of {language} differs from {path.relative_to(root)}: run "
                "“python -m django compilemessages” in kapso_inbox."
            )


def migrations(root: Path, settings: str = "tests.settings") -> Iterator[str]:
    """Check that no migration is missing."""
    done = _django(root, settings, "makemigrations", "--check", "--dry-run")
    if done.returncode:
        said = (done.stdout or done.stderr).strip()
        yield f"A migration is missing: run makemigrations. It would create:\n{said}"


def schema(root: Path) -> Iterator[str]:
    """Check that the published API schema is the one that the code generates."""
    done = _django(ROOT, "tests.settings", *SCHEMA)
    if done.returncode:
        yield f"The API schema cannot be generated:\n{done.stderr.strip()}"
    elif done.stdout != (root / "docs" / "openapi.yaml").read_text():
        yield (
            "docs/openapi.yaml differs from the code's API schema: run DJANGO_SETTINGS_MODULE="
            f"tests.settings python -m django {' '.join(SCHEMA)} --file docs/openapi.yaml"
        )


def readme(root: Path) -> Iterator[str]:
    """Check that PyPI can render the README."""
    if markdown.render((root / "README.md").read_text()) is None:
        yield "PyPI cannot render README.md: fix its Markdown."


def distributions(root: Path) -> Iterator[str]:
    """Check that PyPI would accept the wheel and the source distribution; leave them in dist."""
    shutil.rmtree(root / "dist", ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        try:
            built = build(Path(folder), isolated=True)
        except BuildError as error:
            yield f"The wheel and the source distribution cannot be built:\n{error}"
            return
        files = (str(built.sdist), str(built.wheel))
        command = [sys.executable, "-m", "twine", "--no-color", "check", "--strict", *files]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            yield f"PyPI would reject the distributions:\n{done.stdout.strip()}"
            return
        shutil.copytree(built.wheel.parent, root / "dist")


CHECKS: Sequence[Check] = (
    changelog,
    uncommitted,
    translations,
    migrations,
    schema,
    readme,
    distributions,
)


def main(root: Path = ROOT, checks: Sequence[Check] = CHECKS) -> int:
    """Run the checks and print what they find; return the exit status."""
    found = [finding for check in checks for finding in check(root)]
    for finding in found:
        print(f"- {finding}")
    if found:
        print(f"{kapso_inbox.__version__} cannot be released yet. Problems to fix: {len(found)}.")
    else:
        print(f"{kapso_inbox.__version__} can be released.")
    return 1 if found else 0


def _compiled(read: Callable[[], bytes]) -> dict[object, str]:
    """Return the texts of a compiled catalogue, or an empty dict if the file does not exist."""
    try:
        catalogue = gettext.GNUTranslations(io.BytesIO(read()))
    except OSError:
        return {}
    # The entry "" describes the file: who compiled it, and when.
    return {key: text for key, text in vars(catalogue)["_catalog"].items() if key != ""}


def _django(folder: Path, settings: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "django", *words]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": settings}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


if __name__ == "__main__":
    sys.exit(main())
