"""The distributions as they would be published, and the files that belong into them."""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

import kapso_inbox

ROOT = Path(__file__).parents[2]

#: Code, which stays as it is, or the start of a link and the target if it is another file.
_CODE_OR_LINK = re.compile(
    r"""^```.*?^```|`[^`\n]+`"""
    r"""|(?P<start>\]\(|\b(?:href|src|srcset)=")(?P<target>(?![a-z]+:|\#)[^)"\s]+)""",
    re.DOTALL | re.MULTILINE,
)
_PICTURES = (".gif", ".jpg", ".png", ".svg", ".webp")


class BuildError(Exception):
    """The build failed. The message is its output."""


@dataclass(frozen=True)
class Distributions:
    """A source distribution, and the wheel that was built from it."""

    sdist: Path
    wheel: Path

    def files_of_the_sdist(self) -> set[str]:
        """Return the path of every file, without the archive's top-level folder."""
        with tarfile.open(self.sdist) as archive:
            names = [member.name for member in archive.getmembers() if member.isfile()]
        return {name.split("/", 1)[1] for name in names}

    def files_of_the_wheel(self) -> set[str]:
        """Return the path of every file."""
        with zipfile.ZipFile(self.wheel) as archive:
            return set(archive.namelist())

    def metadata(self) -> Message:
        """Return the metadata of the wheel; the payload is the description that PyPI shows."""
        with zipfile.ZipFile(self.wheel) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
            return message_from_bytes(archive.read(name))

    def refusal(self) -> str:
        """Return why PyPI would reject the distributions, according to twine, or an empty text."""
        files = (str(self.sdist), str(self.wheel))
        command = [sys.executable, "-m", "twine", "--no-color", "check", "--strict", *files]
        done = subprocess.run(command, capture_output=True, text=True)
        return (done.stdout + done.stderr).strip() if done.returncode else ""


def git(*words: str) -> str:
    """Return the output of a git command in the checkout."""
    command = ["git", "-C", str(ROOT), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def tracked(*below: str) -> set[str]:
    """Return the path of every tracked file that exists."""
    names = git("ls-files", "-z", "--", *below).split("\0")
    return {name for name in names if name and (ROOT / name).is_file()}


def project(root: Path = ROOT) -> dict[str, Any]:
    """Return the table `project` of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return table


def repository(root: Path = ROOT) -> str | None:
    """Return the address of the repository. pyproject.toml is the only file that has it."""
    return project(root).get("urls", {}).get("Repository")


def absolute(markdown: str, repository: str, tag: str = f"v{kapso_inbox.__version__}") -> str:
    """Return the README with links that also work outside the repository.

    Args:
        markdown: the README, whose links are relative to the root of the repository.
        repository: the address of the repository.
        tag: the tag whose files the links lead to.
    """

    def replaced(found: re.Match[str]) -> str:
        target = found["target"]
        if target is None:
            return found[0]
        kind = "raw" if target.endswith(_PICTURES) else "blob"
        return f"{found['start']}{repository}/{kind}/{tag}/{target}"

    return _CODE_OR_LINK.sub(replaced, markdown)


def description() -> str:
    """Return the README as it is published: relative links only while no address is known."""
    readme, address = (ROOT / "README.md").read_text(), repository()
    return absolute(readme, address.rstrip("/")) if address else readme


def build(folder: Path, *, isolated: bool) -> Distributions:
    """Build the source distribution, and the wheel from it.

    The build uses a copy of the tracked files, so that no other file is included. It also leaves no
    build folder in the checkout, from which setuptools would include files that no longer exist.

    The same files and the same build tools make the same bytes, in any folder and for any user.
    Every file has the time in the environment variable SOURCE_DATE_EPOCH, or that of the last
    commit.

    Args:
        folder: an empty folder.
        isolated: whether to install the build requirements of pyproject.toml from a registry, and
            to build with them alone. Otherwise the build uses the installed setuptools.

    Raises:
        BuildError: the build failed.
    """
    copy, made = folder / "copy", folder / "dist"
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy / name)
        (copy / name).chmod(0o644)
    (copy / "README.md").write_text(description())
    # Without --sdist and --wheel, build makes the wheel from the source distribution.
    command = [sys.executable, "-m", "build", "--outdir", str(made), str(copy)]
    if not isolated:
        command.append("--no-isolation")
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct").strip()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**environment, "SOURCE_DATE_EPOCH": epoch},
        umask=0o022,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise BuildError(f"{done.stdout}\n{done.stderr}".strip())
    (sdist,), (wheel,) = made.glob("*.tar.gz"), made.glob("*.whl")
    _forget_the_builder(sdist, int(epoch))
    return Distributions(sdist, wheel)


def _forget_the_builder(sdist: Path, epoch: int) -> None:
    """Remove times and users from an archive. Unlike its wheels, setuptools' archives have them."""
    with tarfile.open(sdist) as archive:
        files = {
            member.name: archive.extractfile(member).read()  # type: ignore[union-attr]
            for member in archive.getmembers()
            if member.isfile()
        }
    with (
        sdist.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=epoch) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), epoch
            archive.addfile(member, io.BytesIO(content))
