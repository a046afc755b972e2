"""All that speaks HTTP to Kapso: a client, its results and its errors."""

from .client import BASE_URL, KapsoClient
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
from .resources import CreatedEmbed, Customer, Embed, PhoneNumber, User

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
