"""Where this site lives, to compare with what an inbox or a CSP allows."""

from __future__ import annotations

from collections.abc import Iterable

from django.apps import apps
from django.conf import settings

from kapso_inbox.origins import Origin, covers, host_of, is_local, read

__all__ = ["Origin", "covers", "host_of", "is_local", "of_settings", "of_this_site", "read"]

#: The domain that django.contrib.sites is installed with.
_PLACEHOLDER = "example.com"


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
