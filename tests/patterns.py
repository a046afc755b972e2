"""Find every regular expression of the package, and search for the text that it is slowest on.

`python -m tests.patterns` prints the slow ones as JSON. It runs in a process of its own, because a
pattern that takes exponential time can only be stopped with its process.
"""

from __future__ import annotations

import ast
import importlib
import json
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

try:
    from re import _parser as sre_parse
except ImportError:  # Python 3.10
    import sre_parse  # type: ignore[no-redef]

import kapso_inbox

PACKAGE = Path(kapso_inbox.__file__).parent
METHODS = ("search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer")

SIZE = 100_000
#: Texts that are this much shorter are tried first, since there are thousands of them.
_SHORT = SIZE // 20
#: A linear pattern takes a few milliseconds of processor time for `SIZE` characters, a quadratic
#: one some seconds at least. Between two sizes, one grows by their ratio and one by its square.
_FAST, _RATIO, _GROWTH = 0.1, 4, 9
#: Repeated parts of texts that once were slow, and that no search is sure to find.
_KNOWN = ("<error<x>", "<>", "((", "%25", "&amp;", "\\u005c", "token=", "/embed/", "\\/")

#: A regular expression of JavaScript, where one can stand.
_IN_JAVASCRIPT = re.compile(
    r"(?<=[(=:,\[!&|?\s])/(?![/*\s])((?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n\[])+)/[a-z]*(?=[\s,.;)\]])"
)


class Use(NamedTuple):
    """A regular expression and the method that it is used by.

    Attributes:
        place: the file, below the package, and the line.
    """

    place: str
    pattern: re.Pattern[Any]
    method: str


def uses() -> tuple[list[Use], set[str]]:
    """Return all uses, and the files with a pattern that only a call can know."""
    found: list[Use] = []
    unknown: set[str] = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        text = path.read_text()
        if not name.startswith("migrations/") and re.search(rf"\.(?:{'|'.join(METHODS)})\(", text):
            module = importlib.import_module(f"kapso_inbox.{name[:-3].replace('/', '.')}")
            for use in _uses_in(ast.parse(text), vars(module), name):
                found.append(use) if use.pattern is not None else unknown.add(name)
    for path in sorted(PACKAGE.rglob("*.js")):
        name = path.relative_to(PACKAGE).as_posix()
        for match in _IN_JAVASCRIPT.finditer(path.read_text()):
            found.append(Use(name, re.compile(match[1]), "search"))
    for module in ("kapso_inbox.urls", "kapso_inbox.api.urls"):
        for route in importlib.import_module(module).urlpatterns:
            found.append(Use(module, route.pattern.regex, "search"))
    return found, unknown


def _uses_in(tree: ast.AST, names: dict[str, Any], file: str) -> Iterator[Use]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        method, owner = node.func.attr, node.func.value
        place = f"{file}:{node.lineno}"
        if isinstance(owner, ast.Name) and owner.id == "re" and method in (*METHODS, "compile"):
            try:
                pattern = _value(node.args[0], names)
                flags = [one for one in ast.walk(node) if isinstance(one, ast.Attribute)]
                given = [_value(one, names) for one in flags if one.attr.isupper()]
            except NameError:
                yield Use(place, None, method)  # type: ignore[arg-type]
                continue
            used = "search" if method == "compile" else method
            compiled = re.compile(pattern, *[sum(set(given))] if given else [])
            if method != "compile" or not _is_constant(node, tree):
                yield Use(place, compiled, used)
        elif method in METHODS and isinstance(owner, ast.Name) and owner.id in names:
            compiled = names[owner.id]
            if hasattr(compiled, "pattern"):
                yield Use(place, re.compile(compiled.pattern, compiled.flags), method)


def _is_constant(node: ast.AST, tree: ast.AST) -> bool:
    """Return whether a pattern is assigned to a name of the module, whose uses are found by it."""
    return any(isinstance(one, ast.Assign) and one.value is node for one in tree.body)  # type: ignore[attr-defined]


def _value(node: ast.expr, names: dict[str, Any]) -> Any:
    return eval(compile(ast.Expression(node), "<pattern>", "eval"), dict(names))  # noqa: S307 (our code)


def _pieces(pattern: re.Pattern[Any]) -> list[str]:
    """Return short texts that the parts of a pattern match: characters, words and all of it."""
    text = (
        pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    )
    pieces: dict[str, None] = {}
    whole = _sample(sre_parse.parse(text, pattern.flags & ~re.UNICODE), pieces)
    return [*dict.fromkeys([*pieces, whole, "x", "!"])]


def _sample(parsed: Any, pieces: dict[str, None]) -> str:
    whole = word = ""
    for name, value in parsed:
        kind = str(name)
        part = ""
        if kind == "LITERAL":
            part = chr(value)
            word += part
        elif kind in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            part = _sample(value[2], pieces) * max(min(value[0], 50), 1)
        elif kind == "SUBPATTERN":
            part = _sample(value[-1], pieces)
        elif kind == "BRANCH":
            part, *_ = [_sample(branch, pieces) for branch in value[1]]
        elif kind in ("ASSERT", "ASSERT_NOT"):
            _sample(value[1], pieces)
        elif kind in ("IN", "NOT_LITERAL", "ANY"):
            fits = re.compile(_as_class(kind, value))
            members = [one for one in "a1 <>(/\n-_.:;=+'\"xZ\\&%\x01é" if fits.match(one)]
            pieces |= dict.fromkeys(members[:3])
            part = members[0] if members else ""
        if kind != "LITERAL":
            pieces |= {word: None} if word else {}
            word = ""
        pieces |= {part: None} if part else {}
        whole += part
    pieces |= {word: None} if word else {}
    return whole


def _as_class(kind: str, value: Any) -> str:
    if kind == "ANY":
        return "."
    if kind == "NOT_LITERAL":
        return f"[^{re.escape(chr(value))}]"
    parts = []
    for name, one in value:
        kind = str(name)
        if kind == "NEGATE":
            parts.append("^")
        elif kind == "LITERAL":
            parts.append(re.escape(chr(one)))
        elif kind == "RANGE":
            parts.append(f"{re.escape(chr(one[0]))}-{re.escape(chr(one[1]))}")
        else:
            letter = str(one).rpartition("_")[2][0].lower()
            parts.append("\\" + (letter.upper() if "_NOT_" in str(one) else letter))
    return f"[{''.join(parts)}]"


def _texts(pattern: re.Pattern[Any]) -> Iterator[Callable[[int], str]]:
    """Yield what makes a text of any size that could be slow: a start, a repeated part, an end."""
    pieces = [piece for piece in _pieces(pattern) if 0 < len(piece) < 60][:14]
    luck = random.Random(pattern.pattern)  # noqa: S311 (the same texts in every run)
    parts = dict.fromkeys([*pieces, *_KNOWN, *(a + b for a in pieces[:9] for b in pieces[:9])])
    parts |= dict.fromkeys("".join(luck.choices(pieces, k=luck.randint(3, 6))) for _ in range(100))
    for part in parts:
        for start in dict.fromkeys(["", pieces[0], pieces[-3 if len(pieces) > 2 else 0]]):
            yield lambda size, start=start, part=part: (  # type: ignore[misc]
                start + part * (size // len(part)) + "\x00"
            )


def _call_of(use: Use) -> Callable[[str], object]:
    method = getattr(use.pattern, use.method)
    if use.method == "finditer":
        return lambda text: list(method(text))
    if use.method in ("sub", "subn"):
        return lambda text: method(lambda match: "", text)
    if isinstance(use.pattern.pattern, bytes):
        return lambda text: method(text.encode())
    return method  # type: ignore[no-any-return]


def seconds(call: Callable[[str], object], text: str) -> float:
    """Return the processor time of a call, which other processes do not lengthen."""
    started = time.process_time()
    call(text)
    return time.process_time() - started


def grows_too_fast(
    call: Callable[[str], object], make: Callable[[int], str], size: int = SIZE
) -> bool:
    """Return whether a call takes far more than four times as long for four times the text."""
    if seconds(call, make(size // _RATIO)) * _RATIO**2 < _FAST:
        return False
    short = min(seconds(call, make(size // _RATIO)) for _ in range(2))
    return seconds(call, make(size)) > max(_FAST, short * _GROWTH)


def worst_texts(use: Use) -> list[Callable[[int], str]]:
    """Return what makes the texts that the pattern takes longest for, by trying short ones."""
    call = _call_of(use)
    timed = []
    for number, make in enumerate(_texts(use.pattern)):
        timed.append((seconds(call, make(_SHORT)), number, make))
        if timed[-1][0] > _FAST / 2:
            return [make]
    return [make for _, _, make in sorted(timed, reverse=True)[:3]]


def main() -> None:
    """Print each pattern that is slow, and the beginning of the text that shows it."""
    import django

    django.setup()
    slow = []
    for use in uses()[0]:
        sys.stderr.write(f"{use.place} {use.pattern.pattern!r}\n")
        for make in worst_texts(use):
            if grows_too_fast(_call_of(use), make):
                slow.append([use.place, str(use.pattern.pattern), make(40)])
                break
    sys.stdout.write(json.dumps(slow))


if __name__ == "__main__":
    main()
