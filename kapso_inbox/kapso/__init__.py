"""The HTTP client for Kapso, with the objects that it returns and the errors that it raises."""

from .client import BASE_URL, KapsoClient
from .conversations import ListedConversation
from .errors import (
    CredentialsError,
    InboxOriginError,
    InvalidRequestError,
    KapsoError,
    NetworkRefusedError,
    NotFoundError,
    PaymentRequiredError,
    RateLimitedError,
    ReadOnlyClientError,
    UncertainError,
    UnreachableError,
)
from .resources import CreatedEmbed, Customer, Embed, PhoneNumber, User
from .webhooks import Webhook

__all__ = [
    "BASE_URL",
    "CreatedEmbed",
    "CredentialsError",
    "Customer",
    "Embed",
    "InboxOriginError",
    "InvalidRequestError",
    "KapsoClient",
    "KapsoError",
    "ListedConversation",
    "NetworkRefusedError",
    "NotFoundError",
    "PaymentRequiredError",
    "PhoneNumber",
    "RateLimitedError",
    "ReadOnlyClientError",
    "UncertainError",
    "UnreachableError",
    "User",
    "Webhook",
]
