"""Check what a client is configured with. `transport` loads requests; system checks must not."""

from __future__ import annotations

import os
import re

from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.origins import origin_of
from kapso_inbox.secret import Secret


def checked_api_key(api_key: str) -> Secret:
    """Return the key without surrounding white space.

    Raises:
        ConfigurationError: the key is blank, or cannot be sent in a header.
    """
    api_key = api_key.strip() if isinstance(api_key, str) else ""
    if not re.fullmatch(r"[!-~]+", api_key):
        raise ConfigurationError(
            "The Kapso API key is blank, or contains white space or characters that are not ASCII."
        )
    return Secret(api_key)


def checked_base_url(base_url: str) -> str:
    """Return the address of the API without a slash at its end.

    Raises:
        ConfigurationError: it is not https (or http on loopback), or contains a wildcard, a query,
            a fragment or a user.
    """
    base_url = base_url.strip().rstrip("/") if isinstance(base_url, str) else ""
    if not origin_of(base_url) or re.search(r"[?#]", base_url):
        raise ConfigurationError(
            "The Kapso base URL must be an https address (http only on this machine), "
            "without a wildcard, a query, a fragment or a user."
        )
    return base_url


def checked_ca_bundle(path: str | os.PathLike[str] | None) -> str | None:
    """Return the path as text, or None if it is blank.

    Raises:
        ConfigurationError: there is nothing at the path.
    """
    if not path:
        return None
    if not os.path.exists(path):
        raise ConfigurationError("There are no certificates at the path of the CA bundle.")
    return os.fspath(path)
