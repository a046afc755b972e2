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
from packaging.version import Version
from readme_renderer import markdown

import kapso_inbox

from .distribution import ROOT, BuildError, build, description, repository

#: Yields a sentence about each problem in the checkout.
Check = Callable[[Path], Iterator[str]]

SCHEMA = ("spectacular", "--urlconf", "tests.api.urls", "--validate", "--fail-on-warn")


def address(root: Path) -> Iterator[str]:
    """Check that pyproject.toml has the address of the repository."""
    if not (repository(root) or "").startswith("https://"):
        yield (
            "pyproject.toml has no “Repository” in [project.urls]: write the address of the "
            "repository there. The links and pictures of the README on PyPI need it."
        )


def contact(root: Path) -> Iterator[str]:
    """Check that SECURITY.md has an address to which vulnerabilities can be reported."""
    # Not a link with a text: those lead to what else there is to read.
    if not re.search(r"[\w.+-]+@[\w-]+\.\w+|<https://", (root / "SECURITY.md").read_text()):
        yield (
            "SECURITY.md names no address to report a vulnerability to: write an e-mail address, "
            "or the address of a form in angle brackets, under “How to report a vulnerability”."
        )


def changelog(root: Path, version: str = kapso_inbox.__version__) -> Iterator[str]:
    """Check that the changelog has a section for the version, with a date and a text.

    A pre-release such as 0.1.0rc1 has the section of its release, which needs no date yet.
    """
    parsed = Version(version)
    dates = r"\d{4}-\d\d-\d\d|unreleased" if parsed.is_prerelease else r"\d{4}-\d\d-\d\d"
    text = (root / "CHANGELOG.md").read_text()
    section = rf"^## {re.escape(parsed.base_version)}([^\n]*)\n(.*?)(?=^## |\Z)"
    found = re.search(section, text, re.MULTILINE | re.DOTALL)
    if found is None:
        yield f"CHANGELOG.md has no section “## {parsed.base_version} (…)”: write what changed."
    elif not re.fullmatch(rf" \(({dates})\)", found[1]):
        yield (
            f"CHANGELOG.md has “{found[1].strip()}” where the date of {version} belongs: write the "
            "date, such as “(2026-01-31)”."
        )
    elif not found[2].strip():
        yield f"CHANGELOG.md has an empty section for {version}: write what changed."


def uncommitted(root: Path) -> Iterator[str]:
    """Check that everything is committed."""
    if files := [line[3:] for line in _git(root, "status", "--porcelain").splitlines()]:
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
    if markdown.render(description()) is None:
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
        if refusal := built.refusal():
            yield f"PyPI would reject the distributions:\n{refusal}"
            return
        shutil.copytree(built.wheel.parent, root / "dist")


def tag(root: Path, version: str = kapso_inbox.__version__) -> Iterator[str]:
    """Check that the commit has the tag of the version."""
    name = f"v{version}"
    if name in _git(root, "tag", "--points-at", "HEAD").split():
        return
    if name in _git(root, "tag").split():
        yield (
            f"The tag {name} is on another commit. If {version} was published, raise __version__ "
            f"in kapso_inbox/__init__.py; otherwise run “git tag --force {name}”."
        )
    else:
        yield f"The tag {name} is missing: once nothing else is, run “git tag {name}”."


CHECKS: Sequence[Check] = (
    address,
    contact,
    changelog,
    uncommitted,
    translations,
    migrations,
    schema,
    readme,
    distributions,
    tag,
)


def main(
    root: Path = ROOT,
    checks: Sequence[Check] = CHECKS,
    version: str = kapso_inbox.__version__,
) -> int:
    """Run the checks and print what they find; return the exit status."""
    found = [finding for check in checks for finding in check(root)]
    for finding in found:
        print(f"- {finding}")
    if found:
        print(f"{version} cannot be released yet. Problems to fix: {len(found)}.")
    else:
        print(f"{version} can be released.")
    if Version(version).is_prerelease:
        print(
            f"It is a pre-release, which pip installs only if asked to. For the release, set "
            f"__version__ to {Version(version).base_version} and write the date into CHANGELOG.md."
        )
    return 1 if found else 0


def _git(root: Path, *words: str) -> str:
    command = ["git", "-C", str(root), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


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
