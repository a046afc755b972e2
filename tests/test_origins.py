"""Which sites may frame an inbox, and which origins an inbox may have."""

from __future__ import annotations

import time

import pytest

from kapso_inbox.origins import is_allowed_origin, is_inbox_origin, is_loopback, origin_of


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.255.0.9", "::1", "0:0:0:0:0:0:0:1"]
)
def test_names_of_this_machine_are_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost.",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1.",
        "128.0.0.1",
        "10.0.0.1",
        "0.0.0.0",  # noqa: S104
        "::",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "[::1]",
        " localhost",
    ],
)
def test_anything_else_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "https://crm.example.com",
        "https://crm.example.com:8443",
        "http://crm.example.com",
        "http://localhost:8000",
        "http://127.0.0.1",
        "http://[::1]:8000",
        "https://[2001:db8::1]",
        "crm.example.com",
        "crm.example.com:8443",
        "localhost",
        "*.example.com",
        "*.crm.example.com:8443",
        "https://*.example.com",
        "HTTPS://CRM.Example.COM",
        "https://xn--bcher-kva.example",
        "https://my_crm.example.com",
        "https://1.2.3.4:1",
    ],
)
def test_an_origin_or_a_host_may_be_allowed(text: str) -> None:
    assert is_allowed_origin(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "**",
        "*.",
        "*.*.example.com",
        "*example.com",
        "crm.*.example.com",
        "crm.example.*",
        "example.*",
        "https://*",
        "*:8000",
        "https://*:443",
        "*/",
        "https://crm.example.com/",
        "https://crm.example.com/path",
        "https://crm.example.com?x=1",
        "https://crm.example.com#x",
        "https://ana@crm.example.com",
        "https://ana:secret@crm.example.com",
        "https://crm.example.com:",
        "https://crm.example.com:x",
        "https://crm.example.com:123456",
        "https://crm.example.com:\u0663",
        "https://crm.example.com ",
        " https://crm.example.com",
        "https://crm.example.com\n",
        "https://crm.exa mple.com",
        "https://crm.example.com\tx",
        "https://crm.example.com;script-src *",
        "https://crm.example.com, https://b.example",
        "https://crm.example.com'",
        '"https://crm.example.com"',
        "https://crm..example.com",
        "https://.example.com",
        "https://crm.example.com.",
        "https://-crm.example.com",
        "https://crm-.example.com",
        "https://b\u00fccher.example",
        "https://\u212amart.example",  # the Kelvin sign, which is a k in lower case
        "https://[::1",
        "https://::1",
        "https://[::1%25eth0]",
        "https:///crm.example.com",
        "https:crm.example.com",
        "https:\\\\crm.example.com",
        "//crm.example.com",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "ws://crm.example.com",
        "chrome-extension://abc",
        "'self'",
        "none'",
    ],
)
def test_anything_else_may_not_be_allowed(text: str) -> None:
    assert not is_allowed_origin(text)


def test_a_long_text_is_checked_quickly() -> None:
    started = time.monotonic()
    for part in ("a", "a.", "a-", "*.", "_"):
        assert not is_allowed_origin(part * 50_000 + "!")
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "text",
    [
        "https://inbox.kapso.ai",
        "https://inbox.kapso.ai:8443",
        "https://xn--bcher-kva.example",
        "https://[2001:db8::1]",
        "http://localhost:8000",
        "http://localhost",
        "http://127.0.0.1:8000",
        "http://[::1]:8000",
    ],
)
def test_an_inbox_may_have_an_exact_origin(text: str) -> None:
    assert is_inbox_origin(text)
    assert origin_of(f"{text}/embed/token?mode=dark#x") == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "https://*.kapso.ai",
        "https://*",
        "https://inbox.kapso.ai/",
        "https://inbox.kapso.ai/embed",
        "https://inbox.kapso.ai?",
        "https://inbox.kapso.ai#",
        "https://INBOX.kapso.ai",
        "HTTPS://inbox.kapso.ai",
        "https://inbox.kapso.ai:443",
        "https://inbox.kapso.ai:",
        "https://inbox.kapso.ai:08443",
        "https://ana@inbox.kapso.ai",
        "https://b\u00fccher.example",
        " https://inbox.kapso.ai",
        "https://inbox.kapso.ai\n",
        "https://inbox.kapso.ai; script-src *",
        "https://inbox.kapso.ai,https://evil.example",
        "inbox.kapso.ai",
        "//inbox.kapso.ai",
        "http://inbox.kapso.ai",
        "http://10.0.0.1",
        "http://localhost.evil.example",
        "http://localhost:80",
        "javascript:alert(1)",
        "data:text/html,x",
        "blob:https://inbox.kapso.ai",
        "null",
    ],
)
def test_an_inbox_may_not_have_anything_else(text: str) -> None:
    assert not is_inbox_origin(text)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://inbox.kapso.ai/embed/tok_en-1.2~3", "https://inbox.kapso.ai"),
        ("https://inbox.kapso.ai", "https://inbox.kapso.ai"),
        ("HTTPS://INBOX.KAPSO.AI/embed/Token", "https://inbox.kapso.ai"),
        ("https://inbox.kapso.ai:443/embed/t", "https://inbox.kapso.ai"),
        ("https://inbox.kapso.ai:/embed/t", "https://inbox.kapso.ai"),
        ("https://inbox.kapso.ai:8443/embed/t", "https://inbox.kapso.ai:8443"),
        ("https://inbox.kapso.ai:0/embed/t", "https://inbox.kapso.ai:0"),
        ("https://inbox.kapso.ai/embed/t?next=https://evil.example", "https://inbox.kapso.ai"),
        ("https://inbox.kapso.ai/@evil.example", "https://inbox.kapso.ai"),
        ("http://localhost:8000/embed/t", "http://localhost:8000"),
        ("http://localhost:80/embed/t", "http://localhost"),
        ("https://evil.example/inbox.kapso.ai", "https://evil.example"),
        ("https://inbox.kapso.ai.evil.example/embed", "https://inbox.kapso.ai.evil.example"),
        ("https://inbox.kapso.ai./embed/t", "https://inbox.kapso.ai."),
        ("https://evil.example?@inbox.kapso.ai/", "https://evil.example"),
        ("https://evil.example#@inbox.kapso.ai/", "https://evil.example"),
        ("https://evil.example/https://inbox.kapso.ai/", "https://evil.example"),
        ("https://inbox%2ekapso%2eai/", "https://inbox%2ekapso%2eai"),
    ],
)
def test_the_origin_of_an_address_is_the_one_that_a_browser_connects_to(
    url: str, origin: str
) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "",
        " ",
        "inbox.kapso.ai/embed/t",
        "/embed/t",
        "//inbox.kapso.ai/embed/t",
        "https:inbox.kapso.ai/embed/t",
        "https:/inbox.kapso.ai/embed/t",
        "https:///evil.example",
        "https://",
        "https://:443/",
        "http://inbox.kapso.ai/embed/t",
        "http://127.0.0.1.evil.example/",
        "http://[::1].evil.example/",
        "http://[::1]evil.example/",
        "http://evil.example[::1]/",
        "https://[::1",
        "https://::1/",
        "https://[x]/",
        "https://inbox.kapso.ai@evil.example/",
        "https://inbox.kapso.ai:443@evil.example/",
        "https://@inbox.kapso.ai/",
        "https://inbox.kapso.ai\\@evil.example/",
        "https://inbox.kapso.ai\\.evil.example/",
        "https:\\\\inbox.kapso.ai/embed",
        "https://evil.example\\/inbox.kapso.ai",
        "https://inbox.kapso.ai/em\tbed",
        "ht\ttps://inbox.kapso.ai/embed",
        "https://inbox.kapso.ai\t@evil.example/",
        "https://inbox.kapso.ai/embed\r\nSet-Cookie: a=1",
        "https://inbox.kapso.ai/embed\n",
        " https://inbox.kapso.ai/embed",
        "\x00https://inbox.kapso.ai/embed",
        "https://inbox.kapso.ai\x00.evil.example/",
        "https://inbox.kapso.ai/embed\x1f",
        "https://inbox.kapso.ai/embed\x7f",
        "https://inbox.kapso.ai/embed/\ud800",
        "https://inbox.kapso.ai\u3002evil.example/",
        "https://evil.example\uff0f.inbox.kapso.ai/",
        "https://b\u00fccher.example/",
        "https://inbox.kapso.ai;script-src/",
        "https://inbox.kapso.ai/embed;a",
        "https://inbox.kapso.ai,evil.example/",
        "https://*.kapso.ai/",
        "https://inbox.kapso.ai/'onload='x",
        'https://inbox.kapso.ai/"><script>',
        "https://inbox.kapso.ai:99999/",
        "https://inbox.kapso.ai:-1/",
        "https://inbox.kapso.ai:x/",
        "https://inbox.kapso.ai:\u0664\u0664\u0663/",
        "javascript:alert(1)",
        "javascript://inbox.kapso.ai/%0aalert(1)",
        "data:text/html,x",
        "blob:https://inbox.kapso.ai/x",
        "view-source:https://inbox.kapso.ai",
        "ftp://localhost/",
        "ws://localhost/",
    ],
)
def test_a_hostile_address_has_no_origin(url: str) -> None:
    assert origin_of(url) == ""
