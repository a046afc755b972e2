"""`python -m tests.packaging.lowest`: install the lowest versions that pyproject.toml allows."""

from __future__ import annotations

import subprocess
import sys
from itertools import chain

from packaging.requirements import Requirement

from .distribution import project


def lowest() -> list[str]:
    """Return each dependency, including those of the extras, pinned to its lower bound."""
    table = project()
    texts = chain(table["dependencies"], *table["optional-dependencies"].values())
    pins = []
    for requirement in map(Requirement, texts):
        (bound,) = (one.version for one in requirement.specifier if one.operator in (">=", "~="))
        pins.append(f"{requirement.name}=={bound}")
    return pins


if __name__ == "__main__":
    print("Lowest versions:", *lowest())
    sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", "--quiet", *lowest()]))
