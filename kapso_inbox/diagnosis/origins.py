"""Which pages a web origin, an entry of `allowed_origins` or a source of a CSP stands for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from django.apps import apps
from django.conf import settings

from kapso_inbox.origins import is_loopback

#: The domain that django.contrib.sites is installed with.
_PLACEHOLDER = "example.com"
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


def is_local(host: str) -> bool:
    """Say whether a host is the machine of whoever asks, names below "localhost" included."""
    host = host.strip("[]").lower()
    return is_loopback(host) or host.endswith(".localhost")


def read(text: str) -> Origin | None:
    """Read an origin; None where it is none, or one with a wildcard.

    Its port is unknown only where there is no scheme to tell it.
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


def of_settings() -> list[Origin]:
    """Return where this site lives, as far as its settings say.

    In production without this machine itself, which is often among ALLOWED_HOSTS for the sake of
    health checks.
    """
    hosts = list(settings.ALLOWED_HOSTS)
    if settings.DEBUG and not hosts:
        hosts = ["localhost", "127.0.0.1", "[::1]"]  # as Django has it
    return _known([*settings.CSRF_TRUSTED_ORIGINS, *(host for host in hosts if host[:1] != ".")])


def of_this_site() -> list[Origin]:
    """Return where this site lives, as far as its settings and `django.contrib.sites` say.

    One query, where that app is installed.
    """
    if not apps.is_installed("django.contrib.sites"):
        return of_settings()
    from django.contrib.sites.models import Site  # refuses where it is not installed

    domains = Site.objects.values_list("domain", flat=True)[:100]
    return list(dict.fromkeys([*of_settings(), *_known(set(domains) - {_PLACEHOLDER})]))


def _known(names: Iterable[str]) -> list[Origin]:
    origins = dict.fromkeys(origin for origin in map(read, names) if origin is not None)
    return [origin for origin in origins if settings.DEBUG or not is_local(origin.host)]


def _schemes_fit(asked: str, known: str) -> bool:
    # What is allowed over http is allowed over https (CSP level 3, 6.7.2.8).
    return not known or asked == known or (asked, known) == ("http", "https")
