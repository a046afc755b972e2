"""Which error an answer becomes, and what no error ever contains."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from typing import Any

import pytest
import responses

from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.kapso import (
    CredentialsError,
    InvalidRequestError,
    KapsoClient,
    KapsoError,
    NotFoundError,
    PaymentRequiredError,
    RateLimitedError,
    UncertainError,
    UnreachableError,
)
from kapso_inbox.kapso.errors import error_for

from .conftest import API, KEY

ONE = f"{API}/inbox_embeds/e1"
TOKEN_URL = "https://inbox.kapso.ai/embed/secret-token"


def failure(
    kapso: responses.RequestsMock, status: int, body: Any = b"", headers: Any = None
) -> KapsoError:
    """Return the error of a POST that gets this answer."""
    data = body if isinstance(body, (bytes, str)) else json.dumps(body)
    kapso.post(f"{API}/inbox_embeds", status=status, body=data, headers=headers)
    with pytest.raises(KapsoError) as caught:
        KapsoClient(KEY).inbox_embeds.create(name="Support")
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequestError),
        (401, CredentialsError),
        (402, PaymentRequiredError),
        (403, CredentialsError),
        (404, NotFoundError),
        (405, UncertainError),
        (406, UncertainError),
        (408, UncertainError),
        (409, UncertainError),
        (410, UncertainError),
        (413, UncertainError),
        (415, UncertainError),
        (418, UncertainError),
        (422, InvalidRequestError),
        (429, RateLimitedError),
        (431, UncertainError),
        (451, UncertainError),
        (499, UncertainError),
        (500, UncertainError),
        (501, UncertainError),
        (502, UncertainError),
        (503, UncertainError),
        (504, UncertainError),
        (520, UncertainError),
        (300, UncertainError),
        (301, UncertainError),
        (302, UncertainError),
        (307, UncertainError),
        (308, UncertainError),
        (600, UncertainError),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"error": "no"}'])
def test_the_status_decides_the_class(
    kapso: responses.RequestsMock, status: int, kind: type[KapsoError], body: bytes
) -> None:
    error = failure(kapso, status, body, {"X-Request-Id": "req-1", "Location": TOKEN_URL})
    assert type(error) is kind
    assert (error.status, error.request_id) == (status, "req-1")
    assert f"HTTP {status}" in str(error)
    assert "req-1" in str(error)


@pytest.mark.parametrize(
    ("body", "detail", "code"),
    [
        ({"error": "It went wrong"}, "It went wrong", ""),
        ({"error": {"message": "It went wrong", "code": "bad"}}, "It went wrong", "bad"),
        ({"error": {"message": "It went wrong", "code": 42}}, "It went wrong", "42"),
        ({"error": {"code": "bad"}, "message": "It went wrong"}, "It went wrong", "bad"),
        ({"error": "It went wrong", "code": "bad"}, "It went wrong", "bad"),
        ({"message": "It went wrong"}, "It went wrong", ""),
        ({"error": True, "message": "It went wrong"}, "It went wrong", ""),
        ({"error": None, "message": "It went wrong"}, "It went wrong", ""),
        ({"errors": ["It went", "wrong"]}, "It went; wrong", ""),
        ({"error": "It went wrong", "errors": ["more"]}, "It went wrong", ""),
        ({"error": {"message": None, "code": None}}, "", ""),
        ({"error": {}}, "", ""),
        ({"error": 5}, "5", ""),
        ({"error": {"message": "x", "code": "two words"}}, "x", ""),
        ({"error": {"message": "x", "code": "a\nb"}}, "x", ""),
        ({"error": {"message": "x", "code": "a" * 81}}, "x", ""),
        ({"error": {"message": "x", "code": ["a"]}}, "x", ""),
        ({}, "", ""),
        ([], "", ""),
        (["text"], "", ""),
        ("null", "", ""),
        ('"text"', "", ""),
        ("17", "", ""),
        (b"", "", ""),
        (b"<html>It went wrong</html>", "", ""),
        (b"\xff\xfe\x00", "", ""),
        (b'{"error": "\xff"}', "", ""),
        (b"[" * 200_000, "", ""),
        (b'{"error":' + b"1" * 10_000 + b"}", "", ""),
    ],
)
@pytest.mark.parametrize("status", [400, 404, 500])
def test_the_detail_and_code_are_read_from_every_known_shape(
    kapso: responses.RequestsMock, status: int, body: Any, detail: str, code: str
) -> None:
    error = failure(kapso, status, body)
    if body == b'{"error":' + b"1" * 10_000 + b"}":  # before 3.10.7 that is a number
        assert len(error.detail) <= 500
    else:
        assert (error.detail, error.code) == (detail, code)
    assert "It went" not in str(error)


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ({"name": ["is long", "is odd"]}, {"name": ("is long", "is odd")}),
        ({"name": "is long"}, {"name": ("is long",)}),
        ({"name": []}, {"name": ()}),
        ({"name": None}, {"name": ("",)}),
        ({"name": [1, None]}, {"name": ("1", "")}),
        ({"name": [{"error": "taken"}]}, {"name": ("{'error': 'taken'}",)}),
        ({}, {}),
        ([], {}),
        (["is long"], {}),
        ("is long", {}),
        (7, {}),
        (None, {}),
    ],
)
@pytest.mark.parametrize("status", [400, 422])
def test_field_errors_of_any_shape_are_read(
    kapso: responses.RequestsMock, status: int, errors: Any, expected: dict[str, Any]
) -> None:
    error = failure(kapso, status, {"errors": errors})
    assert isinstance(error, InvalidRequestError)
    assert error.field_errors == expected


def test_a_body_nested_to_any_depth_is_read(kapso: responses.RequestsMock) -> None:
    for depth in range(850, 1010):
        for body in (b'{"error":%s%s}', b'{"errors":{"name":%s%s}}', b'{"errors":[%s%s]}'):
            kapso.upsert("GET", ONE, status=422, body=body % (b"[" * depth, b"]" * depth))
            with pytest.raises(InvalidRequestError) as caught:
                KapsoClient(KEY).inbox_embeds.get("e1")
            assert len(caught.value.detail) <= 500


def test_a_text_that_is_nested_too_deeply_counts_as_blank() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    data = {"error": nested, "errors": {"name": [nested, "is long"]}}
    error = error_for(422, {}, b"", data, api_key=KEY)
    assert isinstance(error, InvalidRequestError)
    assert (error.detail, error.field_errors) == ("", {"name": ("", "is long")})


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"error code: 1010", "cloudflare-1010"),
        (b"<html><h1>Access denied</h1><p>error 1010</p></html>", "cloudflare-1010"),
        (b"<span>Error code</span>", ""),
        (b"<h2><span>Error</span> <span>1020</span></h2>", "cloudflare-1020"),
        (b'Error code <span class="code">1015</span>', "cloudflare-1015"),
        (b"error code: 502", ""),
        (b"error 10100", ""),
        (b'{"error": "error 1010"}', ""),
    ],
)
def test_a_refusal_by_cloudflare_has_a_code_of_its_own(
    kapso: responses.RequestsMock, body: bytes, code: str
) -> None:
    error = failure(kapso, 403, body)
    assert isinstance(error, CredentialsError)
    assert error.code == code
    assert ("Cloudflare" in str(error)) == bool(code)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("60", 60.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        (None, None),
        ("", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("1e9", None),
        ("99999999999", None),
        ("nan", None),
        ("inf", None),
        ("60, 60", None),
    ],
)
def test_retry_after_is_seconds_or_none(
    kapso: responses.RequestsMock, header: str | None, seconds: float | None
) -> None:
    error = failure(kapso, 429, b"", {} if header is None else {"Retry-After": header})
    assert isinstance(error, RateLimitedError)
    assert error.retry_after == seconds


@pytest.mark.parametrize(
    ("header", "request_id"),
    [
        ("4f9a-1c2b", "4f9a-1c2b"),
        ("", ""),
        (KEY, ""),
        (f"id:{KEY}", ""),
        ("two words", ""),
        ("x" * 81, ""),
        (TOKEN_URL, ""),
        ("<script>", ""),
    ],
)
def test_a_request_id_is_one_word_or_blank(
    kapso: responses.RequestsMock, header: str, request_id: str
) -> None:
    assert failure(kapso, 500, b"", {"X-Request-Id": header}).request_id == request_id


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 422, 429, 500, 302])
@pytest.mark.parametrize(
    "body",
    [
        {"error": f"Key {KEY} sees {TOKEN_URL}?a=1"},
        {"error": {"message": f"{KEY}", "code": KEY}},
        {"error": {"message": TOKEN_URL, "code": TOKEN_URL}},
        {"message": f"{'x' * 490}{KEY}{TOKEN_URL}"},
        {"errors": {KEY: [KEY, TOKEN_URL], TOKEN_URL: TOKEN_URL}},
        {"errors": [{"key": KEY, "url": TOKEN_URL}]},
        {"error": {"message": {"key": KEY, "url": [TOKEN_URL]}}},
        f"<html>{KEY} {TOKEN_URL}",
        f"error code: 1010 {KEY} {TOKEN_URL}",
    ],
)
def test_no_error_holds_the_key_or_a_link_in_any_attribute(
    kapso: responses.RequestsMock, status: int, body: Any
) -> None:
    error = failure(kapso, status, body, {"X-Request-Id": KEY, "Location": TOKEN_URL})
    for text in (
        str(error),
        repr(error),
        repr(error.args),
        repr(vars(error)),
        "".join(traceback.format_exception(error)),
    ):
        assert KEY not in text
        assert "secret-token" not in text


def test_no_text_of_an_error_contains_the_body(kapso: responses.RequestsMock) -> None:
    body = {"error": "Ana Souza owes 500"}
    error = failure(kapso, 422, {**body, "errors": {"name": ["Ana Souza"]}})
    shown = "".join([str(error), repr(error), repr(error.args), *traceback.format_exception(error)])
    assert "Ana Souza" not in shown
    assert error.detail == "Ana Souza owes 500"


def test_the_detail_is_short(kapso: responses.RequestsMock) -> None:
    error = failure(kapso, 422, {"error": "x" * 5000, "errors": {"name": ["y" * 5000]}})
    assert isinstance(error, InvalidRequestError)
    assert (len(error.detail), len(error.field_errors["name"][0])) == (500, 500)


ERRORS = [
    KapsoError("Text", status=500, code="a", request_id="b", detail="c"),
    CredentialsError(status=401),
    NotFoundError(status=404, detail="c"),
    PaymentRequiredError(status=402, code="service_credits_exhausted"),
    InvalidRequestError(status=422, field_errors={"name": ["is long"]}),
    RateLimitedError(status=429, retry_after=60),
    UnreachableError(),
    UncertainError("Text"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickle_and_copy(error: KapsoError) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


def test_an_error_gives_only_its_facts() -> None:
    assert str(KapsoError("Text", status=500, code="a", request_id="b", detail="c")) == (
        "Text (HTTP 500, code a, request b)"
    )
    assert str(UnreachableError()) == UnreachableError.summary
    assert str(CredentialsError(status=401)) == "Kapso refused the API key (HTTP 401)"


def test_a_wrong_setting_is_not_a_failure_of_kapso() -> None:
    assert not issubclass(ConfigurationError, KapsoError)
    refusals = (CredentialsError, InvalidRequestError, NotFoundError, PaymentRequiredError)
    for kind in (*refusals, RateLimitedError):
        assert issubclass(kind, KapsoError)
        assert not issubclass(kind, (UncertainError, UnreachableError))
