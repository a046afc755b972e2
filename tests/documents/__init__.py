"""The documents, as the tests read them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]

_FENCE = re.compile(r"( *)(```+)(.*)")


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    path: Path
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.path.name}:{self.line}"


def blocks(path: Path) -> Iterator[Block]:
    """Every fenced block of a document, in its order."""
    start, opened, language, code = 0, "", "", []
    for number, line in enumerate(path.read_text().splitlines(keepends=True), start=1):
        fence = _FENCE.match(line)
        if opened and fence and fence[2] == opened and not fence[3].strip():
            yield Block(path, start, language, "".join(code))
            opened = ""
        elif opened:
            code.append(line)
        elif fence:
            # The builder of the site takes an indented one for text.
            assert not fence[1], f"{path.name}:{number}: a fence is indented"
            start, opened, language, code = number, fence[2], fence[3].strip(), []
    assert not opened, f"{path.name}:{start}: a fence is never closed"


def rows(document: str, heading: str) -> dict[str, list[str]]:
    """The table under the row of headings that begins so: first cell -> other cells."""
    text = (DOCS / document).read_text()
    table = text[text.index(f"| {heading} |") :].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {cell[0].strip("`"): cell[1:] for cell in cells}


def words(cell: str) -> list[str]:
    """What stands in a cell as code."""
    return re.findall(r"`([^`]+)`", cell)
