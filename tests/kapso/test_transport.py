"""How a request is sent, repeated and logged."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import requests
import responses
from requests import exceptions

from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.kapso import (
    KapsoClient,
    KapsoError,
    RateLimitedError,
    UncertainError,
    UnreachableError,
)
from kapso_inbox.kapso.transport import TRIES, Transport

from .conftest import API, KEY, Server, answer, answering

ONE = f"{API}/inbox_embeds/e1"
LIST = f"{API}/inbox_embeds"
EMBED = {"data": {"id": "e1", "embed_url": "https://inbox.kapso.ai/embed/secret-token"}}

Call = Callable[[KapsoClient], object]
WRITES: dict[str, tuple[str, Call]] = {
    "POST": (LIST, lambda client: client.inbox_embeds.create(name="Support")),
    "PATCH": (ONE, lambda client: client.inbox_embeds.update("e1", {"name": "Support"})),
    "DELETE": (ONE, lambda client: client.inbox_embeds.revoke("e1")),
}
BROKEN = [
    exceptions.ReadTimeout(),
    exceptions.ConnectionError("reset"),
    exceptions.ChunkedEncodingError(),
    exceptions.SSLError("bad record"),
    exceptions.ContentDecodingError(),
    OSError("broken"),
]


def read(client: KapsoClient) -> object:
    return client.inbox_embeds.get("e1")


@pytest.mark.parametrize("status", [500, 502, 503, 504, 409, 418, 429, 404, 401])
@pytest.mark.parametrize("method", WRITES)
def test_a_write_is_sent_once_whatever_the_status(
    kapso: responses.RequestsMock, client: KapsoClient, method: str, status: int
) -> None:
    url, call = WRITES[method]
    sent = kapso.add(method, url, status=status, headers={"Retry-After": "60"})
    with pytest.raises(KapsoError):
        call(client)
    assert sent.call_count == 1


@pytest.mark.parametrize("broken", [*BROKEN, exceptions.ConnectTimeout()])
@pytest.mark.parametrize("method", WRITES)
def test_a_write_is_sent_once_however_it_breaks(
    kapso: responses.RequestsMock, client: KapsoClient, method: str, broken: Exception
) -> None:
    url, call = WRITES[method]
    sent = kapso.add(method, url, body=broken)
    with pytest.raises(KapsoError):
        call(client)
    assert sent.call_count == 1


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_read_is_repeated_where_a_server_in_front_of_kapso_fails(
    kapso: responses.RequestsMock, client: KapsoClient, status: int
) -> None:
    sent = kapso.get(ONE, status=status)
    with pytest.raises(UncertainError) as caught:
        read(client)
    assert caught.value.status == status
    assert sent.call_count == TRIES


@pytest.mark.parametrize("broken", [*BROKEN, exceptions.ConnectTimeout()])
def test_a_read_is_repeated_where_the_connection_fails(
    kapso: responses.RequestsMock, client: KapsoClient, broken: Exception
) -> None:
    sent = kapso.get(ONE, body=broken)
    with pytest.raises(KapsoError):
        read(client)
    assert sent.call_count == TRIES


@pytest.mark.parametrize("status", [500, 404, 401, 403, 400, 422, 302, 409])
def test_a_read_is_not_repeated_where_that_cannot_help(
    kapso: responses.RequestsMock, client: KapsoClient, status: int
) -> None:
    sent = kapso.get(ONE, status=status)
    with pytest.raises(KapsoError):
        read(client)
    assert sent.call_count == 1


def test_a_rate_limit_is_an_error_and_never_waited_for(
    kapso: responses.RequestsMock, client: KapsoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    sent = kapso.get(ONE, status=429, headers={"Retry-After": "1"})
    with pytest.raises(KapsoError):
        read(client)
    assert (sent.call_count, slept) == (1, [])


def test_a_read_succeeds_after_failures(kapso: responses.RequestsMock, client: KapsoClient) -> None:
    kapso.get(ONE, status=503)
    kapso.get(ONE, body=exceptions.ConnectionError("reset"))
    kapso.get(ONE, json=EMBED)
    assert client.inbox_embeds.get("e1").id == "e1"


def test_the_last_failure_is_raised(kapso: responses.RequestsMock, client: KapsoClient) -> None:
    kapso.get(ONE, status=503)
    kapso.get(ONE, status=404)
    with pytest.raises(KapsoError) as caught:
        read(client)
    assert caught.value.status == 404


def test_tries_stop_at_the_deadline(kapso: responses.RequestsMock) -> None:
    sent = kapso.get(ONE, status=503)
    with pytest.raises(UncertainError):
        read(KapsoClient(KEY, deadline=0.04))
    assert sent.call_count == 1


def test_the_timeouts_are_as_configured_and_never_longer_than_the_deadline(
    kapso: responses.RequestsMock,
) -> None:
    kapso.get(ONE, json=EMBED)
    read(KapsoClient(KEY, timeout=(1, 2)))
    read(KapsoClient(KEY, timeout=(1, 2), deadline=0.5))
    first, second = (call.request.req_kwargs["timeout"] for call in kapso.calls)
    assert first == (1, 2)
    assert max(second) <= 0.5


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (exceptions.ConnectTimeout(), UnreachableError),
        (exceptions.ReadTimeout(), UncertainError),
        (exceptions.ConnectionError("unknown"), UncertainError),
        (exceptions.ProxyError("unknown"), UncertainError),
        (exceptions.SSLError("unknown"), UncertainError),
        (exceptions.RequestException(), UncertainError),
    ],
)
def test_a_request_that_may_have_been_sent_is_uncertain(
    kapso: responses.RequestsMock,
    client: KapsoClient,
    broken: Exception,
    kind: type[KapsoError],
) -> None:
    kapso.post(LIST, body=broken)
    with pytest.raises(KapsoError) as caught:
        client.inbox_embeds.create(name="Support")
    assert type(caught.value) is kind
    assert caught.value.status is None


@pytest.mark.parametrize(
    "broken",
    [
        {"body": exceptions.ReadTimeout()},
        {"body": exceptions.ConnectionError("unknown")},
        {"status": 500},
    ],
)
def test_only_of_a_write_is_it_said_that_kapso_may_have_carried_it_out(
    kapso: responses.RequestsMock, client: KapsoClient, broken: dict[str, Any]
) -> None:
    kapso.get(ONE, **broken)
    kapso.post(LIST, **broken)
    with pytest.raises(UncertainError) as reading:
        read(client)
    with pytest.raises(UncertainError) as writing:
        client.inbox_embeds.create(name="Support")
    assert "may have carried out" not in str(reading.value)
    assert "may have carried out the request" in str(writing.value)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "   ",
        "a b",
        "a\nb",
        "a\r\nX-Evil: 1",
        "clé",
        "\u200bkey",
        "a\x00b",
        "a\x7f",
        None,
        7,
        b"k",
    ],
)
def test_a_key_that_cannot_be_sent_in_a_header_is_refused(key: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        KapsoClient(key)
    assert not isinstance(caught.value, KapsoError)
    assert not key or str(key) not in str(caught.value) or key == "   "


@pytest.mark.parametrize("key", ["\tkey-1\n", "\r\nkey-1", "\u00a0key-1\u2028"])
def test_white_space_around_a_key_is_stripped(kapso: responses.RequestsMock, key: str) -> None:
    kapso.get(ONE, json=EMBED)
    read(KapsoClient(key))
    assert kapso.calls[0].request.headers["X-API-Key"] == "key-1"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://api.kapso.ai/platform/v1", "https://api.kapso.ai/platform/v1"),
        (" https://api.kapso.ai/platform/v1//\n", "https://api.kapso.ai/platform/v1"),
        ("https://api.kapso.ai", "https://api.kapso.ai"),
        ("https://kapso.example:8443/v1", "https://kapso.example:8443/v1"),
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://127.8.9.1", "http://127.8.9.1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
    ],
)
def test_a_base_url_is_https_or_on_this_machine(given: str, used: str) -> None:
    assert Transport(KEY, given).base_url == used


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "api.kapso.ai",
        "//api.kapso.ai",
        "http://api.kapso.ai",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://[::1].evil.example",
        "http://10.0.0.1",
        "ftp://localhost",
        "file:///etc/passwd",
        "https://",
        "https:///platform",
        "https://:443/v1",
        "https://ana@api.kapso.ai",
        "https://ana:secret@api.kapso.ai",
        "https://@api.kapso.ai",
        "https://api.kapso.ai/v1?x=1",
        "https://api.kapso.ai/v1?",
        "https://api.kapso.ai/v1#x",
        "https://api.kapso.ai/v1#",
        "https://api.kapso.ai:99999",
        "https://api.kapso.ai:x",
        "https://[::1",
        "https://api.kapso.ai\\@evil.example",
        "https://evil.example\\.kapso.ai",
        "https://api.kap\nso.ai",
        "https://api.kapso.ai/a b",
        "https://kâpso.example",
        "https://*.kapso.example",
        None,
        7,
    ],
)
def test_any_other_base_url_is_refused(base_url: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        KapsoClient(KEY, base_url)
    assert "secret" not in str(caught.value)


def test_a_ca_bundle_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="certificates"):
        KapsoClient(KEY, ca_bundle=tmp_path / "missing.pem")


def test_a_base_url_in_capitals_works(kapso: responses.RequestsMock) -> None:
    kapso.get(ONE, json=EMBED)
    read(KapsoClient(KEY, "HTTPS://API.KAPSO.AI/platform/v1"))
    assert len(kapso.calls) == 1


def test_no_repr_holds_the_key(client: KapsoClient) -> None:
    for thing in (client, client._transport, client.inbox_embeds, client.customers):
        assert KEY not in repr(thing)
        assert KEY not in str(thing)
    assert repr(client) == f"<KapsoClient {API}>"
    assert repr(client._transport) == f"<Transport {API}>"


def _logged(caplog: pytest.LogCaptureFixture, logger: str = "") -> list[str]:
    formatter = logging.Formatter()
    return [formatter.format(one) for one in caplog.records if one.name.startswith(logger)]


def test_our_log_contains_only_method_path_status_and_duration(
    kapso: responses.RequestsMock, client: KapsoClient, caplog: pytest.LogCaptureFixture
) -> None:
    kapso.get(LIST, json={"data": [], "meta": {"page": 1, "total_pages": 1}})
    kapso.post(LIST, json=EMBED)
    kapso.patch(ONE, body=exceptions.ReadTimeout())
    caplog.set_level(logging.DEBUG)
    list(client.inbox_embeds.list(scope_id="5511999"))
    client.inbox_embeds.create(name="Support of Ana")
    with pytest.raises(UncertainError):
        client.inbox_embeds.update("e1", {"name": "Support of Ana"})
    lines = _logged(caplog, "kapso_inbox")
    assert [line.rpartition(" in ")[0] for line in lines] == [
        "GET /inbox_embeds: 200",
        "POST /inbox_embeds: 200",
        "PATCH /inbox_embeds/e1: failed",
    ]
    assert all(line.endswith(" ms") for line in lines)
    for word in (KEY, "page", "5511999", "Ana", "secret-token"):
        assert word not in "\n".join(lines)


@pytest.mark.parametrize("status", ["201 Created", "401 Unauthorized", "422 No", "500 Oh", "302 F"])
def test_no_log_of_any_library_holds_the_key_or_a_body(
    serve: Callable[..., Server], caplog: pytest.LogCaptureFixture, status: str
) -> None:
    body = b'{"data": {"id": "e1", "embed_url": "https://inbox.kapso.ai/embed/secret-token"}, '
    body += b'"error": "%s"}' % KEY.encode()
    headers = b"Location: /embed/secret-token\r\nBad header line\r\n"
    server = serve(answering(answer(body, status, headers)))
    caplog.set_level(logging.DEBUG)
    name = "Support of {}".format("Ana")  # not literally in the source, which tracebacks quote
    try:
        KapsoClient(KEY, server.url).inbox_embeds.create(name=name)
    except KapsoError as error:
        logging.getLogger("a.host").exception("failed: %r %s", error, error)
    everything = "\n".join(_logged(caplog))
    assert "POST /inbox_embeds" in everything
    for word in (KEY, "secret-token", "Ana"):
        assert word not in everything


def test_an_empty_answer_and_null_are_none(kapso: responses.RequestsMock) -> None:
    transport = Transport(KEY, API)
    for body in (b"", b" \n", b"null", b" null\n"):
        kapso.upsert("DELETE", ONE, body=body)
        assert transport.request("DELETE", "/inbox_embeds/e1", read=repr) == "None"


@pytest.mark.parametrize(
    "body", [b"<html>", b"OK", b"\xff\xfe\xfa", b"{", b"[" * 100_000, b"1" * 10_000]
)
def test_a_success_that_is_not_json_is_uncertain(
    kapso: responses.RequestsMock, client: KapsoClient, body: bytes
) -> None:
    sent = kapso.get(ONE, body=body)
    with pytest.raises(UncertainError) as caught:
        read(client)
    assert (caught.value.status, sent.call_count) == (200, 1)


def test_the_session_ignores_the_environment_and_keeps_no_cookies(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    kapso.get(ONE, json=EMBED, headers={"Set-Cookie": "sid=1; Domain=kapso.ai; Path=/"})
    read(client)
    read(client)
    assert "Cookie" not in kapso.calls[1].request.headers
    assert isinstance(kapso.calls[1].request, requests.PreparedRequest)


# Patience with rate limits


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replace `time.sleep`, and return the list of the seconds that were slept."""
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    return pauses


def test_a_command_waits_for_the_rate_limit_as_long_as_its_patience_lasts(
    kapso: responses.RequestsMock, slept: list[float]
) -> None:
    kapso.get(ONE, status=429, headers={"Retry-After": "20"})
    kapso.get(ONE, status=429)
    kapso.get(ONE, json=EMBED)
    client = KapsoClient(KEY, API, patience=80)
    assert client.inbox_embeds.get("e1").id == "e1"
    assert slept == [20, 60]


def test_the_patience_is_for_all_requests_together(
    kapso: responses.RequestsMock, slept: list[float]
) -> None:
    kapso.get(ONE, status=429, headers={"Retry-After": "30"})
    kapso.get(ONE, json=EMBED)
    kapso.get(ONE, status=429, headers={"Retry-After": "30"})
    client = KapsoClient(KEY, API, patience=59)
    client.inbox_embeds.get("e1")
    with pytest.raises(RateLimitedError):
        client.inbox_embeds.get("e1")
    assert slept == [30]


def test_a_deletion_waits_for_the_rate_limit_and_a_creation_does_not(
    kapso: responses.RequestsMock, slept: list[float]
) -> None:
    kapso.delete(ONE, status=429, headers={"Retry-After": "0"})
    kapso.delete(ONE, status=204)
    kapso.post(f"{API}/inbox_embeds", status=429, headers={"Retry-After": "0"})
    client = KapsoClient(KEY, API, patience=59)
    client.inbox_embeds.revoke("e1")
    with pytest.raises(RateLimitedError):
        client.inbox_embeds.create(name="Support")
    assert slept == [0]


# Headers


def test_the_headers_of_the_last_answer_are_available(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    assert client.received is None
    headers = {
        "Date": "Sat, 21 Nov 2026 20:00:00 GMT",
        "X-RateLimit-Limit": "500",
        "X-RateLimit-Remaining": "499",
    }
    kapso.get(ONE, json=EMBED, headers=headers)
    before = datetime.now(timezone.utc)
    read(client)
    received = client.received
    assert received is not None
    assert before <= received.at <= datetime.now(timezone.utc)
    assert received.date == datetime(2026, 11, 21, 20, tzinfo=timezone.utc)
    assert (received.rate_limit, received.rate_remaining) == (500, 499)


def test_an_error_has_headers_too_and_a_broken_connection_has_none(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    kapso.get(ONE, status=429, headers={"X-RateLimit-Remaining": "0"})
    with pytest.raises(KapsoError):
        read(client)
    assert client.received is not None
    assert client.received.rate_remaining == 0
    kapso.replace("GET", ONE, body=exceptions.ConnectionError("reset"))
    with pytest.raises(KapsoError):
        read(client)
    assert client.received is None


@pytest.mark.parametrize(
    ("date", "read_as"),
    [
        ("Sat, 21 Nov 2026 20:00:00 -0000", datetime(2026, 11, 21, 20, tzinfo=timezone.utc)),
        ("Sat, 21 Nov 2026 21:00:00 +0100", datetime(2026, 11, 21, 20, tzinfo=timezone.utc)),
        ("yesterday", None),
        ("Sat, 99 Nov 2026 20:00:00 GMT", None),
        ("Sat, 21 Nov 2026 20:00:00 +99999999999999999999", None),
        ("", None),
    ],
)
def test_a_date_that_cannot_be_read_counts_as_missing(
    kapso: responses.RequestsMock, client: KapsoClient, date: str, read_as: datetime | None
) -> None:
    kapso.get(ONE, json=EMBED, headers={"Date": date, "X-RateLimit-Remaining": "٣"})
    read(client)
    assert client.received is not None
    assert client.received.date == read_as
    assert client.received.rate_remaining is None


def test_the_date_of_an_answer_from_a_cache_is_ignored(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    headers = {"Date": "Sat, 21 Nov 2026 20:00:00 GMT", "Age": "30"}
    kapso.get(ONE, json=EMBED, headers=headers)
    read(client)
    assert client.received is not None
    assert client.received.date is None


def test_a_read_is_tried_as_often_as_configured(kapso: responses.RequestsMock) -> None:
    sent = kapso.get(ONE, status=503)
    with pytest.raises(UncertainError):
        read(KapsoClient(KEY, tries=1))
    assert sent.call_count == 1


def test_a_refused_connection_is_not_reported_as_a_timeout() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(UnreachableError, match=r"^Kapso could not be reached; nothing"):
            read(KapsoClient(KEY, url, tries=1))
