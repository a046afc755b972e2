"""The schema and the document are what the code is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.urls import get_resolver
from jsonschema import Draft202012Validator

from kapso_inbox.api import base, filters
from kapso_inbox.api.errors import CODES

DOCS = Path(__file__).parents[2] / "docs"
GOLDEN = DOCS / "openapi.yaml"
DOCUMENT = (DOCS / "api.md").read_text()

METHODS = ("get", "post", "put", "patch", "delete")
RENEW = (
    "renew it: DJANGO_SETTINGS_MODULE=tests.settings python -m django spectacular "
    "--urlconf tests.api.urls --validate --fail-on-warn --file docs/openapi.yaml"
)


def rows(heading: str) -> list[list[str]]:
    table = DOCUMENT[DOCUMENT.index(f"| {heading} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in yaml.safe_load(GOLDEN.read_text())["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_the_committed_schema_is_that_of_the_code_and_has_no_warning() -> None:
    made = StringIO()
    call_command(
        "spectacular", urlconf="tests.api.urls", validate=True, fail_on_warn=True, stdout=made
    )
    assert made.getvalue() == GOLDEN.read_text(), RENEW


def test_every_operation_has_one_example_of_its_answer_and_one_of_its_body() -> None:
    document = yaml.safe_load(GOLDEN.read_text())
    for path, method, operation in operations():
        bodies = {status: body for status, body in operation["responses"].items() if status < "400"}
        if "requestBody" in operation:
            bodies["request"] = operation["requestBody"]
        for status, body in bodies.items():
            content = body["content"]["application/json"]
            where = f"{method} {path} {status}"
            (example,) = content["examples"].values()
            schema = {**content["schema"], "components": document["components"]}
            errors = list(Draft202012Validator(schema).iter_errors(example["value"]))
            assert errors == [], where


def test_every_error_of_the_schema_is_described() -> None:
    told = set()
    for _, _, operation in operations():
        for status, response in operation["responses"].items():
            codes = re.findall(r"^- `(\w+)`: ", response["description"], re.MULTILINE)
            assert bool(codes) == (int(status) >= 400)
            assert all(int(status) in CODES[code].statuses for code in codes)
            told.update(codes)
    # No method that is documented is not allowed, and nothing deletes a row.
    assert told == CODES.keys() - {"method_not_allowed", "live"}


def test_every_code_stands_in_the_document() -> None:
    assert rows("code") == [
        [f"`{code}`", ", ".join(map(str, described.statuses)), described.meaning]
        for code, described in CODES.items()
    ]


def test_every_endpoint_stands_in_the_document() -> None:
    (included,) = get_resolver("tests.api.urls").url_patterns
    known = {
        f"`{method.upper()} {str(pattern.pattern).replace('<str:slug>', '<slug>')}`"
        for pattern in included.url_patterns
        for method in METHODS
        if hasattr(pattern.callback.view_class, method)
    }
    assert {row[0] for row in rows("endpoint")} == known


@pytest.mark.parametrize(
    "query", [filters.EmbedQuery, filters.LaunchAttemptQuery, filters.PickerQuery]
)
def test_every_filter_stands_in_the_document(query: Any) -> None:
    paragraph = DOCUMENT[DOCUMENT.index("**Filters.**") :].split("\n\n")[0]
    assert [name for name in query().fields if f"`{name}`" not in paragraph] == []


def test_every_throttle_stands_in_the_document() -> None:
    assert [row[0] for row in rows("scope")] == [f"`{base.WRITES}`", f"`{base.LAUNCHES}`"]


def test_the_command_that_renews_the_schema_stands_in_the_document() -> None:
    assert RENEW.removeprefix("renew it: ") in DOCUMENT
