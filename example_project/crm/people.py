"""The accounts of the demo. `manage.py seed` refuses to create them without DEBUG."""

from typing import NamedTuple

from django.utils.crypto import salted_hmac

from crm.models import User

SANDBOX_PASSWORD = "demo"  # noqa: S105 -- public, because it opens made-up conversations


class Account(NamedTuple):
    """An account of the demo. `teams` are slugs."""

    username: str
    first_name: str
    last_name: str
    role: str
    teams: tuple[str, ...]
    theme: User.Theme
    is_superuser: bool = False


ACCOUNTS = (
    Account("ana", "Ana", "Reyes", "Sales agent", ("sales",), User.Theme.LIGHT),
    Account("bruno", "Bruno", "Costa", "Support agent", ("support",), User.Theme.DARK),
    Account(
        "admin",
        "Alex",
        "Morgan",
        "Administrator, in both teams",
        ("sales", "support"),
        User.Theme.SYSTEM,
        is_superuser=True,
    ),
)


def password(*, sandbox: bool, secret_key: str) -> str:
    """Return the password of every account.

    On Kapso, where conversations are real, each installation has its own.
    """
    if sandbox:
        return SANDBOX_PASSWORD
    return salted_hmac("crm.people", "password", secret=secret_key).hexdigest()[:16]
