"""The house's arrows: who may import whom. `docs/architecture.md` says why."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "kapso_inbox"

BASE = {"conf", "encryption", "origins", "secret", "__init__"}
MODELS = {"models", *BASE}

#: part -> the parts of ours that it may import
ALLOWED = {
    "__init__": set(),
    "origins": set(),
    "encryption": set(),
    "secret": set(),
    "kapso": {"origins", "secret", "__init__"},
    # The setting makes the client and the policy, both lazily.
    "conf": {"encryption", "secret", "kapso", "access"},
    "models": BASE,
    "access": MODELS,
    "presentation": MODELS,
    "signals": set(),
    "audit": MODELS,
    "lifecycle": {"audit", "kapso", "signals", *MODELS},
    "sync": {"audit", "kapso", "lifecycle", *MODELS},
    "tickets": MODELS,
    "launch": {"audit", "lifecycle", "presentation", "signals", "sync", "tickets", *MODELS},
    "reencryption": {"lifecycle", *MODELS},
    "diagnosis": {"checks", "conditions", "kapso", *MODELS},
    "phone": {"conf", "presentation"},
    "mine": {"lifecycle", "lookups", "presentation", *MODELS},
    "my_views": {"launch", "messages", "mine", "presentation", "refusals", "views", *MODELS},
    "messages": {"access", *MODELS},
    "preferences": {"kapso", "lookups", "presentation", *MODELS},
    "views": {"launch", "messages", "preferences", "presentation", *MODELS},
    "component": {"presentation", *MODELS},
    "conditions": MODELS,
    "lookups": {"conf", "kapso"},
    "refusals": {"kapso", "lifecycle", "lookups", *MODELS},
    "transactions": set(),
    "admin": {
        "access",
        "conditions",
        "diagnosis",
        "kapso",
        "lifecycle",
        "lookups",
        "refusals",
        "sync",
    }
    | {"transactions", *MODELS},
    "api": {
        "access",
        "conditions",
        "kapso",
        "launch",
        "lifecycle",
        "lookups",
        "preferences",
        "presentation",
        "refusals",
    }
    | {"sync", "tickets", "transactions", *MODELS},
    "urls": {"my_views", "transactions", "views"},
    "templatetags": {"component", "launch", "phone", "presentation", *MODELS},
    "checks": {"access", "kapso", *BASE},
    "apps": {"checks", "diagnosis", "models"},
    "migrations": {"models"},
    # The sandbox only by its own command.
    "management": {"conf", "diagnosis", "encryption", "kapso", "lifecycle", "reencryption"}
    | {"sandbox", "sync"},
    # Which projects the fixture stands in for, and what the one before it said.
    "sandbox": {"conf", "lookups"},
}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(path: Path) -> Iterator[str]:
    """The parts of ours that a file imports, anywhere in it, type checking included."""
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = path.relative_to(PACKAGE.parent).with_suffix("").parts
                base = ".".join((*here[: depth + 1 - node.level], *filter(None, [base])))
            names = [f"{base}.{alias.name}" for alias in node.names]
        for name in names:
            package, _, rest = name.partition(".")
            if package == "kapso_inbox":
                part = rest.split(".")[0]
                yield (
                    part
                    if (PACKAGE / part).exists() or (PACKAGE / f"{part}.py").exists()
                    else "__init__"
                )


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_module_imports_only_what_stands_below_it(path: Path) -> None:
    part = part_of(path)
    assert set(imported_parts(path)) - {part} <= ALLOWED[part]


def test_the_arrows_are_of_one_direction() -> None:
    """No part reaches itself through others, but for the setting, whose imports are lazy."""
    arrows = {part: allowed - {part} for part, allowed in ALLOWED.items() if part != "conf"}
    arrows["conf"] = {"encryption", "secret"}

    def reach(part: str, path: tuple[str, ...]) -> None:
        assert part not in path, " -> ".join((*path, part))
        for other in arrows.get(part, ()):
            reach(other, (*path, part))

    for part in arrows:
        reach(part, ())


def test_the_app_itself_never_imports_the_sandbox() -> None:
    importers = {part_of(path) for path in FILES if "sandbox" in set(imported_parts(path))}
    assert importers <= {"management", "sandbox"}


def test_the_client_and_the_encryption_know_no_django() -> None:
    for path in [*(PACKAGE / "kapso").rglob("*.py"), PACKAGE / "encryption.py"]:
        assert "django" not in {
            name.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text()))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom) and not node.level
                else []
            )
        }
