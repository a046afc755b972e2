"""Every code of the source has a test, and is in docs/doctor.md."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from kapso_inbox import diagnosis, meanings
from tests.documents import rows


def codes_of_the_source() -> set[str]:
    """Return the codes of the findings that the source makes."""
    found = set(re.findall(r'\bfinding="([a-z-]+)"', Path(meanings.__file__).read_text()))
    for path in Path(inspect.getfile(diagnosis)).parent.glob("*.py"):
        made = r"\b(?:error|warning|info)\(\s*(\"[a-z-]+\"(?: if \w+ else \"[a-z-]+\")?)"
        calls = re.findall(rf"{made}|\bmake\(\s*(\"[a-z-]+\")", path.read_text())
        for call in calls:
            found |= set(re.findall(r'"([a-z-]+)"', "".join(call)))
    return found


def test_every_code_of_the_source_has_a_test_and_a_row_in_the_document() -> None:
    made = codes_of_the_source()
    assert len(made) > 40
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [code for code in made if f'"{code}"' not in tests] == []
    assert set(rows("doctor.md", "code")) == made
    for meaning, level, hint in rows("doctor.md", "code").values():
        assert meaning
        assert level in ("error", "warning", "info", "error, warning")
        assert hint
