"""Which part of the package may import which other part: docs/architecture.md explains why."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import kapso_inbox

PACKAGE = Path(kapso_inbox.__file__).parent

#: The parts of the package, row by row. A part may import only from the rows below its own: not
#: from its own row, and not from the rows above.
ROWS: tuple[tuple[str, ...], ...] = (
    # The tags as functions of another template engine.
    ("jinja2",),
    # An optional app, which only its own faces import.
    ("conversations",),
    # What a host's pages, administrators, programs and operators use.
    ("apps", "urls", "admin", "api", "management", "templatetags", "wagtail_hooks"),
    # The inbox in an agent's browser, used by tags, addresses and tickets. And the fake Kapso.
    ("inbox", "sandbox"),
    # What is wrong, and what to do about it.
    ("diagnosis",),
    ("sync",),
    ("refusals", "reasons", "checks"),
    ("meanings",),
    # The only code that changes something at Kapso.
    ("lifecycle", "lookups"),
    ("access", "audit", "signals", "failures"),
    ("transactions", "migrations"),
    ("models", "csp"),
    ("conf",),
    # Parts that use neither settings nor models.
    ("kapso", "encryption"),
    ("origins", "secret", "exceptions", "clock"),
    ("__init__",),
)
ROW_OF = {part: number for number, row in enumerate(ROWS) for part in row}

FACES = {"inbox", "admin", "api", "management", "templatetags"}
FILES = {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path, tree: ast.Module) -> Iterator[str]:
    """Yield the dotted names that a file imports anywhere, also for type checking."""
    here = path.relative_to(PACKAGE.parent).with_suffix("").parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = [*here[: len(here) - node.level]] if node.level else []
            base = ".".join([*start, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def parts_in(names: Iterable[str]) -> set[str]:
    """Return the parts of the package to which the dotted names belong."""
    found = set()
    for package, _, rest in (name.partition(".") for name in names):
        if package == "kapso_inbox":
            part = rest.partition(".")[0]
            found.add(part if part in ROW_OF else "__init__")
    return found


def imports_against_the_rows(files: dict[Path, ast.Module]) -> list[str]:
    return [
        f"{path.relative_to(PACKAGE)} imports {other}"
        for path, tree in files.items()
        for other in sorted(parts_in(imports_of(path, tree)) - {part_of(path)})
        if ROW_OF[other] <= ROW_OF[part_of(path)]
    ]


def test_each_part_belongs_to_a_row() -> None:
    assert {part_of(path) for path in FILES} == set(ROW_OF)


def test_each_part_imports_only_from_the_rows_below_it() -> None:
    assert imports_against_the_rows(FILES) == []


def test_an_import_against_the_rows_is_found_anywhere_in_a_file() -> None:
    against = "def late():\n    from kapso_inbox.inbox import launch\n"
    beside = "from . import audit\n"
    files = {
        PACKAGE / "models/embeds.py": ast.parse(against),
        PACKAGE / "access.py": ast.parse(beside),
    }
    assert imports_against_the_rows(files) == [
        "models/embeds.py imports inbox",
        "access.py imports audit",
    ]


def test_no_file_imports_itself_through_others() -> None:
    names = {dotted(path): path for path in FILES}
    imported = {
        path: {names[one] for one in files_in(imports_of(path, tree), set(names))} - {path}
        for path, tree in FILES.items()
    }
    done: set[Path] = set()

    def follow(path: Path, way: tuple[Path, ...]) -> None:
        assert path not in way, " -> ".join(map(dotted, (*way, path)))
        if path not in done:
            for other in imported[path]:
                follow(other, (*way, path))
            done.add(path)

    for path in FILES:
        follow(path, ())


def dotted(path: Path) -> str:
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    return name.removesuffix(".__init__")


def files_in(names: Iterable[str], known: set[str]) -> Iterator[str]:
    """Yield the modules that dotted names are in: the names themselves, or what they are of."""
    for name in names:
        if name in known:
            yield name
        elif name.rpartition(".")[0] in known:
            yield name.rpartition(".")[0]


def test_only_the_sandbox_command_imports_the_sandbox() -> None:
    importers = {
        str(path.relative_to(PACKAGE))
        for path, tree in FILES.items()
        if "sandbox" in parts_in(imports_of(path, tree)) and part_of(path) != "sandbox"
    }
    assert importers == {"management/commands/kapso_sandbox.py"}


def test_nothing_imports_what_needs_an_optional_package() -> None:
    optional = {"jinja2", "wagtail_hooks"}
    for path, tree in FILES.items():
        assert not (parts_in(imports_of(path, tree)) - {part_of(path)}) & optional, path


def test_models_never_speak_http() -> None:
    for path, tree in FILES.items():
        if part_of(path) == "models":
            assert "kapso" not in parts_in(imports_of(path, tree)), path


def test_only_the_lifecycle_changes_anything_at_kapso() -> None:
    writers = {
        part_of(path)
        for path, tree in FILES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("create", "update", "revoke")
        and isinstance(node.func.value, ast.Attribute)
        and node.func.value.attr == "inbox_embeds"
    }
    assert writers == {"lifecycle"}


def test_faces_import_only_errors_from_the_client() -> None:
    for path, tree in FILES.items():
        if part_of(path) in FACES:
            for name in imports_of(path, tree):
                if name.startswith("kapso_inbox.kapso."):
                    assert name.endswith("Error"), f"{path} imports {name}"


def test_the_client_and_the_encryption_do_not_import_django() -> None:
    for path, tree in FILES.items():
        if part_of(path) in ("kapso", "encryption"):
            names = {name.partition(".")[0] for name in imports_of(path, tree)}
            assert "django" not in names, path


def test_imports_inside_functions_stay_few() -> None:
    """They are only for optional packages and for modules that are slow to load."""
    inside = [
        node
        for tree in FILES.values()
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    assert len(inside) <= 19


def test_files_classes_and_functions_stay_short_enough_to_read() -> None:
    too_long = []
    for path, tree in FILES.items():
        name = path.relative_to(PACKAGE)
        if name.name != "seed_data.py" and len(path.read_text().splitlines()) > 450:
            too_long.append(str(name))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and lines_of(node) > 250:
                too_long.append(f"{name}: class {node.name}")
            if isinstance(node, ast.FunctionDef) and lines_of(node) - docstring_of(node) > 60:
                too_long.append(f"{name}: {node.name}()")
    assert too_long == []
    # A host, or Wagtail, imports those that nothing here imports: their names have to be short.
    optional = {"jinja2.py", "wagtail_hooks.py"}
    assert len({path.name for path in PACKAGE.glob("*.py")} - optional) - 1 <= 18


def test_public_names_are_unique_in_the_package() -> None:
    places: dict[str, list[str]] = {}
    for path, tree in FILES.items():
        if part_of(path) in ("migrations", "__init__") or path.name == "__init__.py":
            continue
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_":
                places.setdefault(node.name, []).append(str(path.relative_to(PACKAGE)))
    places.pop("Command")  # the name by which Django finds each command
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def lines_of(node: ast.ClassDef | ast.FunctionDef) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def docstring_of(node: ast.FunctionDef) -> int:
    first = node.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    assert first.end_lineno is not None
    return first.end_lineno - first.lineno + 1 if is_docstring else 0
