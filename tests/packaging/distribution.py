"""The distributions as they would be published, and the files that belong into them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


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


def git(*words: str) -> str:
    """Return the output of a git command in the checkout."""
    command = ["git", "-C", str(ROOT), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def tracked(*below: str) -> set[str]:
    """Return the path of every tracked file that exists."""
    names = git("ls-files", "-z", "--", *below).split("\0")
    return {name for name in names if name and (ROOT / name).is_file()}


def build(folder: Path, *, isolated: bool) -> Distributions:
    """Build the source distribution, and the wheel from it.

    The build uses a copy of the tracked files, so that no other file is included. It also leaves no
    build folder in the checkout, from which setuptools would include files that no longer exist.

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
        shutil.copy(ROOT / name, copy / name)
    # Without --sdist and --wheel, build makes the wheel from the source distribution.
    command = [sys.executable, "-m", "build", "--outdir", str(made), str(copy)]
    if not isolated:
        command.append("--no-isolation")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"{done.stdout}\n{done.stderr}".strip())
    (sdist,), (wheel,) = made.glob("*.tar.gz"), made.glob("*.whl")
    return Distributions(sdist, wheel)
