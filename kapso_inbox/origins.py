"""Check and compare web origins: of pages that frame an inbox, and of inboxes themselves."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import urlsplit

#: Patterns are compiled at their first use: a host's start-up need not wait for them.
_HOST = r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*"
_ALLOWED_ORIGIN = rf"(?ai)(?:https?://)?(?:{_HOST}|\[[0-9a-f:]+\])(?::\d{{1,5}})?"

_SOURCE = (
    r"(?i)(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?(?P<host>\[[0-9a-f:]+\]|[^/:\[\]]+)"
    r"(?::(?P<port>\d{1,5}|\*))?(?:/.*)?"
)
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class Origin(NamedTuple):
    """The origin of some pages. An unknown part is ""."""

    host: str
    scheme: str = ""
    port: str = ""

    def __str__(self) -> str:
        scheme = f"{self.scheme}://" if self.scheme else ""
        port = f":{self.port}" if self.port not in ("", _DEFAULT_PORTS.get(self.scheme)) else ""
        return f"{scheme}{self.host}{port}"


def is_loopback(host: str) -> bool:
    """Return whether a host name or IP address means this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_allowed_origin(text: str) -> bool:
    """Return whether Kapso accepts this as one of an embed's `allowed_origins`.

    Kapso accepts an origin without a path (`https://crm.example.com`, `http://localhost:8000`), a
    host with or without a wildcard for its subdomains (`*.example.com`), and `*` for any site.
    """
    return text == "*" or bool(re.fullmatch(_ALLOWED_ORIGIN, text))


def is_inbox_origin(text: str) -> bool:
    """Return whether inboxes may have this origin: exact, and https, or http on this machine."""
    return bool(text) and origin_of(text) == text


def origin_of(url: str) -> str:
    """Return `scheme://host[:port]` of an address, or "" if an inbox must not have this address.

    An inbox's address must be https (or http on this machine), without a user name or a wildcard.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if "[" in parts.netloc:
            ipaddress.IPv6Address(host)  # in Python 3.10, urlsplit reads "[x]" as "x"
    except ValueError:
        return ""
    secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    if not host or not secure or "@" in parts.netloc or re.search(r"[^!-~]|[\\;,'\"*]", url):
        return ""
    if re.search(r"[^/]\[|\](?![:/?#]|$)", url):
        return ""  # in Python 3.11, urlsplit reads "[::1].evil.example" as "[::1]"
    host = f"[{host}]" if ":" in host else host
    default = {"https": 443, "http": 80}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, default) else "")


def is_local(host: str) -> bool:
    """Return whether a host is loopback, names below "localhost" included."""
    host = host.strip("[]").lower()
    return is_loopback(host) or host.endswith(".localhost")


def parse_origin(text: str) -> Origin | None:
    """Return the origin in a text, or None if it is not an origin or has a wildcard.

    The port is unknown only if the text has neither a port nor a scheme with a default port.
    """
    match = re.fullmatch(_SOURCE, text)
    if match is None or "*" in text:
        return None
    scheme = (match["scheme"] or "").lower()
    port = match["port"] or _DEFAULT_PORTS.get(scheme, "")
    return Origin(match["host"].lower(), scheme, port)


def covers(source: str, origin: Origin) -> bool:
    """Return whether an entry of `allowed_origins`, or a source in a CSP, matches this origin.

    An unknown part of the origin matches. So does any path, because browsers ignore it after a
    redirect (CSP level 3, 6.7.2.8).
    """
    if source == "*":
        return True
    if re.fullmatch(r"[a-z][a-z0-9+.-]*:", source, re.IGNORECASE):
        return _scheme_matches(source[:-1].lower(), origin.scheme)
    match = re.fullmatch(_SOURCE, source)
    if match is None or "'" in source:
        return False
    host, scheme = match["host"].lower(), (match["scheme"] or "").lower()
    if not (origin.host.endswith(host[1:]) if host.startswith("*.") else origin.host == host):
        return False
    if scheme and not _scheme_matches(scheme, origin.scheme):
        return False
    if not origin.port or match["port"] == "*":
        return True
    default = _DEFAULT_PORTS.get(origin.scheme or scheme, "443")
    return origin.port == (match["port"] or default)


def host_of(source: str) -> str:
    """Return the host that an entry of `allowed_origins` names, or ""."""
    match = re.fullmatch(_SOURCE, source)
    return match["host"].lower() if match else ""


def _scheme_matches(source: str, origin: str) -> bool:
    # A source with http also matches https (CSP level 3, 6.7.2.8).
    return not origin or source == origin or (source, origin) == ("http", "https")
