"""Where this site lives: the origins to compare with what an inbox or a CSP allows."""

from __future__ import annotations

from collections.abc import Iterable

from django.apps import apps
from django.conf import settings
from django.db import connections
from django.http.request import validate_host

from kapso_inbox.origins import Origin, is_local, parse_origin
from kapso_inbox.transactions import database

#: The domain of the row that django.contrib.sites creates.
_PLACEHOLDER = "example.com"


def origins_in_settings() -> list[Origin]:
    """Return the origins of this site that its settings name.

    In production, this machine is left out: ALLOWED_HOSTS often names it for health checks.
    """
    hosts = list(settings.ALLOWED_HOSTS)
    if settings.DEBUG and not hosts:
        hosts = ["localhost", "127.0.0.1", "[::1]"]  # Django allows these then
    return _known([*settings.CSRF_TRUSTED_ORIGINS, *(host for host in hosts if host[:1] != ".")])


def origins_of_site() -> list[Origin]:
    """Return the origins of this site that its settings or `django.contrib.sites` name.

    Makes one query if that app is installed. In a tenant of django-tenants, it is the tenant's own
    domain, in one query.
    """
    if tenants := _known([_tenants_host()]):
        return tenants
    if not apps.is_installed("django.contrib.sites"):
        return origins_in_settings()
    # Not at the top: a model cannot be imported if its app is not installed.
    from django.contrib.sites.models import Site

    domains = Site.objects.values_list("domain", flat=True)[:100]
    return list(dict.fromkeys([*origins_in_settings(), *_known(set(domains) - {_PLACEHOLDER})]))


def host_for_requests() -> str:
    """Return a host that this site answers to, as a browser names it.

    In a tenant of django-tenants, it is the tenant's own domain, in one query. If the settings name
    no host, it is "localhost", which the site may refuse.
    """
    if host := _tenants_host():
        return host
    # Django allows the hosts of development only if ALLOWED_HOSTS is empty.
    allowed = settings.ALLOWED_HOSTS or ([".localhost"] if settings.DEBUG else [])
    for origin in origins_in_settings():
        if validate_host(origin.host, allowed):
            port = f":{origin.port}" if origin.port not in ("", "80", "443") else ""
            return f"{origin.host}{port}"
    below = (host.lstrip(".") for host in allowed if host[:1] == ".")
    return next(below, "localhost")


def _tenants_host() -> str:
    """Return the domain of the tenant of django-tenants that the connection is set to, or ""."""
    tenant = getattr(connections[database()], "tenant", None)
    find = getattr(tenant, "get_primary_domain", None)
    return str(getattr(find(), "domain", "") if find else "")


def _known(names: Iterable[str]) -> list[Origin]:
    origins = dict.fromkeys(origin for origin in map(parse_origin, names) if origin is not None)
    return [origin for origin in origins if settings.DEBUG or not is_local(origin.host)]
