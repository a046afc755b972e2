"""Web origins: which pages may frame an inbox, and where an inbox may live."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_HOST = r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*"
_ALLOWED_ORIGIN = re.compile(
    rf"(?:https?://)?(?:{_HOST}|\[[0-9a-f:]+\])(?::\d{{1,5}})?", re.ASCII | re.IGNORECASE
)


def is_loopback(host: str) -> bool:
    """Say whether a host name is this machine itself, by name or by address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_allowed_origin(text: str) -> bool:
    """Say whether Kapso takes this as one of an embed's `allowed_origins`.

    That is an origin without a path (`https://crm.example.com`, `http://localhost:8000`), a host
    with or without a wildcard for its subdomains (`*.example.com`), or `*` for any page.
    """
    return text == "*" or bool(_ALLOWED_ORIGIN.fullmatch(text))


def is_inbox_origin(text: str) -> bool:
    """Say whether an inbox may live there: an exact https origin, or http on this machine."""
    return bool(text) and origin_of(text) == text


def origin_of(url: str) -> str:
    """Return `scheme://host[:port]` of an address that an inbox may have, otherwise "".

    Such an address is https (or http on this machine) and bears no user name.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    if not host or not secure or "@" in parts.netloc or re.search(r"[^!-~]|[\\;,'\"*]", url):
        return ""
    if re.search(r"[^/]\[|\](?![:/?#]|$)", url):
        return ""  # urlsplit takes "[::1].evil.example" for "[::1]" (3.11)
    host = f"[{host}]" if ":" in host else host
    default = {"https": 443, "http": 80}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, default) else "")
