"""`python -m tests.packaging.lowest`: install the lowest versions that pyproject.toml allows."""

from __future__ import annotations

import subprocess
import sys
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]


def lowest() -> list[str]:
    """Return each dependency, including those of the extras, pinned to its lower bound."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = chain(project["dependencies"], *project["optional-dependencies"].values())
    pins = []
    for requirement in map(Requirement, texts):
        (bound,) = (one.version for one in requirement.specifier if one.operator in (">=", "~="))
        pins.append(f"{requirement.name}=={bound}")
    return pins


if __name__ == "__main__":
    print("Lowest versions:", *lowest())
    sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", "--quiet", *lowest()]))
