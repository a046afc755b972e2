"""The schema and the document agree with the code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.urls import URLResolver, get_resolver, include, path
from drf_spectacular.generators import SchemaGenerator
from jsonschema import Draft202012Validator
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from kapso_inbox.api import base, filters
from kapso_inbox.api.errors import CODES

DOCS = Path(__file__).parents[2] / "docs"
GOLDEN = DOCS / "openapi.yaml"
DOCUMENT = (DOCS / "api.md").read_text()

METHODS = ("get", "post", "put", "patch", "delete")
REGENERATE = (
    "regenerate it: DJANGO_SETTINGS_MODULE=tests.settings python -m django spectacular "
    "--urlconf tests.api.urls --validate --fail-on-warn --file docs/openapi.yaml"
)


def rows(heading: str) -> list[list[str]]:
    table = DOCUMENT[DOCUMENT.index(f"| {heading} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for address, methods in yaml.safe_load(GOLDEN.read_text())["paths"].items():
        for method, operation in methods.items():
            yield address, method, operation


def test_the_committed_schema_agrees_with_the_code_and_has_no_warning() -> None:
    made = StringIO()
    call_command(
        "spectacular", urlconf="tests.api.urls", validate=True, fail_on_warn=True, stdout=made
    )
    assert made.getvalue() == GOLDEN.read_text(), REGENERATE


class HostSerializer(serializers.Serializer[Any]):
    """A serializer of the host's, whose choices have the names of ours and other values."""

    default_mode = serializers.ChoiceField(["bright", "dim"])
    condition = serializers.ChoiceField(["new", "used"])


class HostView(GenericAPIView[Any]):
    """A view of the host's, beside the API."""

    serializer_class = HostSerializer

    def get(self, request: Request) -> Response:
        raise NotImplementedError


def test_our_components_are_the_same_beside_a_hosts_own_choices() -> None:
    patterns = [
        path("api/kapso-inbox/", include("kapso_inbox.api.urls")),
        path("things/", HostView.as_view()),
    ]
    components = SchemaGenerator(patterns=patterns).get_schema(public=True)["components"]
    ours = yaml.safe_load(GOLDEN.read_text())["components"]["schemas"]
    made = json.loads(json.dumps(components["schemas"]))
    assert {name: made.get(name) for name in ours} == ours
    assert "Host" in made


def test_the_examples_of_every_operation_fit_its_schema() -> None:
    document = yaml.safe_load(GOLDEN.read_text())
    for address, method, operation in operations():
        bodies = [(status, body) for status, body in operation["responses"].items()]
        if "requestBody" in operation:
            bodies.append(("request", operation["requestBody"]))
        for status, body in bodies:
            content = body["content"]["application/json"]
            where = f"{method} {address} {status}"
            if status != "request" or content.get("examples"):
                assert content["examples"], where
            schema = {**content["schema"], "components": document["components"]}
            for example in content.get("examples", {}).values():
                errors = list(Draft202012Validator(schema).iter_errors(example["value"]))
                assert errors == [], where


def test_every_operation_with_a_body_has_an_example_of_it() -> None:
    without = [
        operation["operationId"]
        for _, _, operation in operations()
        if "requestBody" in operation
        and not operation["requestBody"]["content"]["application/json"].get("examples")
    ]
    assert without == []


def test_every_error_of_the_schema_is_described() -> None:
    told = set()
    for _, _, operation in operations():
        for status, response in operation["responses"].items():
            codes = re.findall(r"^- `(\w+)`: ", response["description"], re.MULTILINE)
            assert bool(codes) == (int(status) >= 400)
            assert all(int(status) in CODES[code].statuses for code in codes)
            told.update(codes)
    # Every documented method is allowed, and no operation deletes a row.
    assert told == CODES.keys() - {"method_not_allowed", "live"}


def test_every_code_is_in_the_document() -> None:
    assert rows("code") == [
        [f"`{code}`", ", ".join(map(str, described.statuses)), described.meaning]
        for code, described in CODES.items()
    ]


def test_every_endpoint_is_in_the_document() -> None:
    (included,) = get_resolver("tests.api.urls").url_patterns
    patterns = [
        pattern
        for one in included.url_patterns
        for pattern in (one.url_patterns if isinstance(one, URLResolver) else [one])
    ]
    known = {
        f"`{method.upper()} {str(pattern.pattern).replace('<str:slug>', '<slug>')}`"
        for pattern in patterns
        for method in METHODS
        if hasattr(pattern.callback.view_class, method)
    }
    assert {row[0] for row in rows("endpoint")} == known


@pytest.mark.parametrize(
    "query", [filters.EmbedQuery, filters.LaunchAttemptQuery, filters.PickerQuery]
)
def test_every_filter_is_in_the_document(query: Any) -> None:
    paragraph = DOCUMENT[DOCUMENT.index("**Filters.**") : DOCUMENT.index("**No answer")]
    assert [name for name in query().fields if f"`{name}`" not in paragraph] == []


def test_every_throttle_is_in_the_document() -> None:
    assert [row[0] for row in rows("scope")] == [f"`{base.WRITES}`", f"`{base.LAUNCHES}`"]


def test_the_command_that_regenerates_the_schema_is_in_the_document() -> None:
    assert REGENERATE.removeprefix("regenerate it: ") in DOCUMENT
