"""All that speaks HTTP to Kapso: a client, its results and its errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import (
    ConfigurationError,
    CredentialsError,
    InvalidRequestError,
    KapsoError,
    NotFoundError,
    RateLimitedError,
    UncertainError,
    UnreachableError,
)

if TYPE_CHECKING:
    from .client import BASE_URL, KapsoClient
    from .resources import CreatedEmbed, Customer, Embed, PhoneNumber, User
else:

    def __getattr__(name: str) -> Any:
        # Whoever handles errors need not load the client: a host's start-up does not.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from . import client

        return getattr(client, name)


__all__ = [
    "BASE_URL",
    "ConfigurationError",
    "CreatedEmbed",
    "CredentialsError",
    "Customer",
    "Embed",
    "InvalidRequestError",
    "KapsoClient",
    "KapsoError",
    "NotFoundError",
    "PhoneNumber",
    "RateLimitedError",
    "UncertainError",
    "UnreachableError",
    "User",
]
