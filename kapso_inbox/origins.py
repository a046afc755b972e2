"""Web origins: which pages may frame an inbox, where one may live, what an entry stands for."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_HOST = r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*"
_ALLOWED_ORIGIN = re.compile(
    rf"(?:https?://)?(?:{_HOST}|\[[0-9a-f:]+\])(?::\d{{1,5}})?", re.ASCII | re.IGNORECASE
)

_SOURCE = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?(?P<host>\[[0-9a-f:]+\]|[^/:\[\]]+)"
    r"(?::(?P<port>\d{1,5}|\*))?(?:/.*)?",
    re.IGNORECASE,
)
_DEFAULT_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True)
class Origin:
    """Where pages live, as far as it is known; "" is unknown."""

    host: str
    scheme: str = ""
    port: str = ""

    def __str__(self) -> str:
        scheme = f"{self.scheme}://" if self.scheme else ""
        port = f":{self.port}" if self.port not in ("", _DEFAULT_PORTS.get(self.scheme)) else ""
        return f"{scheme}{self.host}{port}"


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
        if "[" in parts.netloc:
            ipaddress.IPv6Address(host)  # urlsplit takes "[x]" for "x" (Python 3.10)
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


def is_local(host: str) -> bool:
    """Say whether a host is the machine of whoever asks, names below "localhost" included."""
    host = host.strip("[]").lower()
    return is_loopback(host) or host.endswith(".localhost")


def parse_origin(text: str) -> Origin | None:
    """Return the origin that a text names, or None if it names none or has a wildcard.

    The port is unknown only if the text has neither a port nor a scheme that implies one.
    """
    match = _SOURCE.fullmatch(text)
    if match is None or "*" in text:
        return None
    scheme = (match["scheme"] or "").lower()
    port = match["port"] or _DEFAULT_PORTS.get(scheme, "")
    return Origin(match["host"].lower(), scheme, port)


def covers(source: str, origin: Origin) -> bool:
    """Say whether an entry of `allowed_origins` or a source of a CSP means this origin.

    What is not known of the origin is taken to fit. A path is taken to fit, too: after a redirect
    browsers do not look at it (CSP level 3, 6.7.2.8).
    """
    if source == "*":
        return True
    if re.fullmatch(r"[a-z][a-z0-9+.-]*:", source, re.IGNORECASE):
        return _schemes_fit(source[:-1].lower(), origin.scheme)
    match = _SOURCE.fullmatch(source)
    if match is None or "'" in source:
        return False
    host, scheme = match["host"].lower(), (match["scheme"] or "").lower()
    if not (origin.host.endswith(host[1:]) if host.startswith("*.") else origin.host == host):
        return False
    if scheme and not _schemes_fit(scheme, origin.scheme):
        return False
    if not origin.port or match["port"] == "*":
        return True
    default = _DEFAULT_PORTS.get(origin.scheme or scheme, "443")
    return origin.port == (match["port"] or default)


def host_of(source: str) -> str:
    """Return the host that an entry of `allowed_origins` names, or ""."""
    match = _SOURCE.fullmatch(source)
    return match["host"].lower() if match else ""


def _schemes_fit(asked: str, known: str) -> bool:
    # What is allowed over http is allowed over https (CSP level 3, 6.7.2.8).
    return not known or asked == known or (asked, known) == ("http", "https")
