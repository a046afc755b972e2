"""No secret is left in the texts of Kapso's errors, however it is written there."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from kapso_inbox.kapso import InvalidRequestError, KapsoError
from kapso_inbox.kapso.errors import error_for
from kapso_inbox.kapso.redaction import REDACTED, plain_text, redacted

from .conftest import KEY

TOKEN = "Zt9-xQ4_mW7bK2vR8nL5pJ3cH6sF1gD0yA"
URL = f"https://inbox.kapso.ai/embed/{TOKEN}"


def error_of(data: Any, status: int = 422) -> KapsoError:
    return error_for(status, {}, json.dumps(data).encode(), data, api_key=KEY)


def everything_in(error: KapsoError) -> str:
    return f"{error!r} {vars(error)!r}"


#: What a text may contain of a secret, and how that may be written.
PLACES: dict[str, Callable[[str], str]] = {
    "address": lambda token: f"Cannot deliver https://inbox.kapso.ai/embed/{token}?mode=dark now",
    "address without a scheme": lambda token: f"inbox.kapso.ai/embed/{token}",
    "path alone": lambda token: f'GET "/embed/{token}" failed',
    "colon": lambda token: f"token: {token}",
    "equals": lambda token: f"https://x.example/?token={token}&mode=dark",
    "hash rocket": lambda token: f':access_token=>"{token}"',
    "json": lambda token: json.dumps({"data": {"token": token}}),
    "repr": lambda token: repr({"data": {"embed_url": f"https://inbox.kapso.ai/embed/{token}"}}),
    "header": lambda token: f"Authorization: Bearer {token}",
    "bare": lambda token: f"The token {token} is unknown",
    "quoted": lambda token: f"“{token}”, '{token}' and ({token}).",
    "in a name": lambda token: f"could not store inbox_{token}.json",
}
WRITTEN: dict[str, Callable[[str], str]] = {
    "plainly": lambda text: text,
    "percent-encoded": lambda text: quote(text, safe=""),
    "percent-encoded twice": lambda text: quote(quote(text, safe=""), safe=""),
    "every character percent-encoded": lambda text: "".join(f"%{ord(one):02x}" for one in text),
    "escaped for HTML": html.escape,
    "as character references": lambda text: "".join(f"&#{ord(one)};" for one in text),
    "as JSON": json.dumps,
    "as JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "as JSON escapes": lambda text: "".join(f"\\u{ord(one):04x}" for one in text),
    "with escaped slashes": lambda text: text.replace("/", "\\/"),
    "split by HTML": lambda text: text.replace("W", "<wbr>W").replace("n", "<b>n</b>"),
    "split by invisible characters": lambda text: "\u200b".join(text),
    "in capitals": lambda text: text.replace("token", "TOKEN").replace("embed/", "EMBED/"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("written", WRITTEN)
def test_a_token_is_cut_wherever_it_stands_and_however_it_is_written(
    place: str, written: str
) -> None:
    text = WRITTEN[written](PLACES[place](TOKEN))
    for data in (
        {"error": text},
        {"error": {"message": text, "code": text}},
        {"message": text},
        {"errors": {"name": [text], text: ["is odd"]}},
        {"errors": [text]},
        {"errors": [{"token": text}]},
    ):
        shown = everything_in(error_of(data))
        assert TOKEN not in shown
        assert TOKEN[:10] not in shown
        assert TOKEN not in plain_text(shown)


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("secret", ["passphrase", "1234567890", "a+b.c=d==", "50%25off"])
def test_a_word_that_the_answer_itself_calls_a_secret_is_cut(secret: str, written: str) -> None:
    """Nothing else distinguishes these from ordinary words."""
    for named in (
        {"token": secret},
        {"data": {"access_token": secret}},
        {"data": [{"embed_url": f"https://inbox.kapso.ai/e/{secret}"}]},
    ):
        text = WRITTEN[written](f"Cannot mail {secret} to Ana")
        shown = error_of({"error": text, **named}).detail
        assert secret not in shown
        assert REDACTED in shown


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("key", [KEY, "a<b>c&d%41e", "kapso key"])
def test_the_api_key_is_cut_however_it_is_written(key: str, written: str) -> None:
    data = {"error": WRITTEN[written](f"The key {key} is unknown")}
    shown = everything_in(error_for(401, {}, b"", data, api_key=key))
    assert key not in shown
    assert key not in plain_text(shown)


@pytest.mark.parametrize(
    "text",
    [
        "Phone number not found",
        "service_credits_exhausted",
        "limit_exceeded_for_whatsapp_business_v21",
        "The embed 2f1e4d3c-5b6a-4978-8899-aabbccddeeff is unknown",
        "phone_number_id 123456789012345 is taken since 2026-11-28T16:41:13Z",
        "token is not valid",
        "Your plan has 5 inboxes; see https://kapso.ai/pricing",
        "São Paulo's “number” is at 100 %",
    ],
)
def test_what_holds_no_secret_stays_as_it_is(text: str) -> None:
    assert error_of({"error": text}).detail == text


def test_what_no_database_stores_becomes_a_space() -> None:
    assert error_of({"error": "a\0b\ud800c%00d\\u0000e\ne"}).detail == "a b c d e e"


def test_a_long_text_is_cut_before_it_is_looked_at_and_after() -> None:
    text = "<b>" * 10_000_000 + TOKEN
    assert redacted(text, [TOKEN]) == "<"
    error = error_of({"errors": {"name": ["a " * 240 + URL + " and more" * 100]}})
    assert isinstance(error, InvalidRequestError)
    (shown,) = error.field_errors["name"]
    assert len(shown) == 500
    assert TOKEN[:4] not in shown
