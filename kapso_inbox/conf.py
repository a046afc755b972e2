"""The `KAPSO_INBOX` setting: read at use, so that `override_settings` simply works."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, cast

from django.conf import settings
from django.utils.module_loading import import_string
from django.views.decorators.debug import sensitive_variables

from kapso_inbox.exceptions import ConfigurationError

from .encryption import KeyConfigurationError, Keyring
from .kapso import KapsoClient
from .secret import Secret, hides_frames

DEFAULT_PROJECT = "default"

#: Every key of KAPSO_INBOX that has a default. API_KEY and ENCRYPTION_KEYS have none.
DEFAULTS: dict[str, Any] = {
    "BASE_URL": "https://api.kapso.ai/platform/v1",
    "INBOX_ORIGINS": ["https://inbox.kapso.ai"],
    "PROJECTS": {},
    "TIMEOUT": (3.05, 10),
    "PROXIES": None,
    "CA_BUNDLE": None,
    "ALLOWED_ORIGINS": None,
    "DELIVERY": "launch",
    "REQUIRE_FETCH_METADATA": True,
    "TICKETS_FOR_SESSIONS": False,
    "ACCESS_POLICY": "kapso_inbox.access.AccessPolicy",
    "USER_PARAMS": None,
    "PHONE_REGION": None,
    "TEAM_MEMBER": None,
    "REAL_USER": "kapso_inbox.audit.user_behind",
    "VERIFY_AFTER": timedelta(minutes=5),
    "RENEW_BEFORE": None,
    "AUDIT_RETENTION": timedelta(days=365),
    "READ_ONLY": False,
    "SHARED_PROJECTS": False,
    "WEBHOOK_SECRETS": {},
    "STORE_TEXT": False,
    "CONVERSATION_RETENTION": timedelta(days=365),
}
REQUIRED = ("API_KEY", "ENCRYPTION_KEYS")
PROJECT_KEYS = ("API_KEY", "BASE_URL", "INBOX_ORIGINS")

Delivery = Literal["launch", "direct"]


@dataclass(frozen=True)
class Project:
    """A Kapso project as configured.

    Attributes:
        alias: its alias.
        api_key: its API key.
        base_url: the address of Kapso's API.
        inbox_origins: the origins at which its inboxes may live.
        inbox_origins_setting: the name of the setting that holds them.
    """

    alias: str
    api_key: str = field(repr=False)
    base_url: str
    inbox_origins: tuple[str, ...]
    inbox_origins_setting: str = field(default='KAPSO_INBOX["INBOX_ORIGINS"]', compare=False)

    @property
    def key_fingerprint(self) -> str:
        """Return 12 hexadecimal digits that tell this API key at this address from others.

        They reveal nothing. The same key at another address may be one of another Kapso.
        """
        address = str(self.base_url).rstrip("/")
        return hashlib.sha256(f"{self.api_key} {address}".encode()).hexdigest()[:12]

    @hides_frames
    def client(self, **options: Any) -> KapsoClient:
        """Return a client for this project.

        Args:
            options: options of `KapsoClient`, in place of the configured ones: `timeout`,
                `deadline` and `patience` are in seconds.

        Raises:
            ConfigurationError: the key, the address or the certificates cannot be used.
        """
        options = {
            "timeout": tuple(value("TIMEOUT")),
            "proxies": value("PROXIES"),
            "ca_bundle": value("CA_BUNDLE"),
            "read_only": is_read_only(),
            **options,
        }
        return KapsoClient(self.api_key, self.base_url, **options)


def value(name: str) -> Any:
    """Return the value of a key of `KAPSO_INBOX`, or its default.

    Text loses its surrounding white space, since keys are often pasted with a newline.

    Args:
        name: the key.
    """
    configured = getattr(settings, "KAPSO_INBOX", None)
    if not isinstance(configured, Mapping):
        configured = {}
    return _stripped(configured.get(name, DEFAULTS.get(name)))


def duration(name: str) -> timedelta:
    """Return the value of a key of `KAPSO_INBOX` that holds a duration. Zero means never.

    Args:
        name: a key whose value is a `timedelta`, a number of seconds, or None for never.
    """
    configured = value(name)
    return configured if isinstance(configured, timedelta) else timedelta(seconds=configured or 0)


def is_read_only() -> bool:
    """Return whether this deployment must change nothing at Kapso."""
    return bool(value("READ_ONLY"))


def shares_projects() -> bool:
    """Return whether others, such as the other tenants of this site, use the same Kapso projects.

    What lives there and is not on record here is then theirs.
    """
    return bool(value("SHARED_PROJECTS"))


def project_aliases() -> list[str]:
    """Return the aliases of all configured projects, `default` first if it has a key."""
    return sorted(_projects(), key=lambda alias: alias != DEFAULT_PROJECT)


@sensitive_variables()
def project(alias: str = DEFAULT_PROJECT) -> Project:
    """Return a configured project.

    Args:
        alias: the alias of the project.

    Raises:
        ConfigurationError: there is no project of that alias, or it has no API key.
    """
    own = _projects().get(alias)
    if not isinstance(own, Mapping) or not own.get("API_KEY"):
        del own  # it may be the key itself
        missing = f'Set KAPSO_INBOX["PROJECTS"]["{alias}"]["API_KEY"].'
        if alias == DEFAULT_PROJECT:
            missing = 'Set KAPSO_INBOX["API_KEY"].'
        raise ConfigurationError(f"The Kapso project {alias!r} has no API key. {missing}")
    return Project(
        alias=alias,
        api_key=_hidden(own["API_KEY"]),
        base_url=own.get("BASE_URL") or value("BASE_URL"),
        inbox_origins=tuple(own.get("INBOX_ORIGINS") or value("INBOX_ORIGINS") or ()),
        inbox_origins_setting=(
            f'KAPSO_INBOX["PROJECTS"]["{alias}"]["INBOX_ORIGINS"]'
            if own.get("INBOX_ORIGINS")
            else 'KAPSO_INBOX["INBOX_ORIGINS"]'
        ),
    )


def inbox_origins() -> list[str]:
    """Return every origin at which an inbox of a configured project may live, each once."""
    origins: dict[str, None] = {}
    for alias in project_aliases():
        try:
            origins |= dict.fromkeys(project(alias).inbox_origins)
        except ConfigurationError:
            continue  # it has no inbox, and a check names it
    return list(origins)


def keyring() -> Keyring:
    """Return the encryption keys.

    Raises:
        ConfigurationError: the keys are missing, or one of them is malformed.
    """
    try:
        return Keyring(value("ENCRYPTION_KEYS") or {})
    except KeyConfigurationError as error:
        raise ConfigurationError(f'{error} See KAPSO_INBOX["ENCRYPTION_KEYS"].') from None


def delivery() -> Delivery:
    """Return how the template tag delivers an inbox: by its `launch`, or `direct`."""
    return "direct" if value("DELIVERY") == "direct" else "launch"


def user_params() -> Callable[..., Mapping[str, Any]] | None:
    """Return the host's function for a user's theme and filters, or None.

    Raises:
        ImportError: the setting `USER_PARAMS` does not name a function that can be imported.
    """
    path = value("USER_PARAMS")
    return cast("Callable[..., Mapping[str, Any]]", import_string(path)) if path else None


def team_member() -> Callable[[Any], Any] | None:
    """Return the host's function for a user's `user_id` at Kapso, or None.

    Raises:
        ImportError: the setting `TEAM_MEMBER` does not name a function that can be imported.
    """
    path = value("TEAM_MEMBER")
    return cast("Callable[[Any], Any]", import_string(path)) if path else None


def real_user() -> Callable[[Any], Any]:
    """Return the function that says who really sits there, if somebody acts as another user.

    Raises:
        ImportError: the setting `REAL_USER` does not name a function that can be imported.
    """
    return cast("Callable[[Any], Any]", import_string(value("REAL_USER")))


def _projects() -> Mapping[str, Any]:
    """Return the projects by alias. `API_KEY` is a shorthand for that of the project `default`."""
    projects = value("PROJECTS")
    projects = dict(projects) if isinstance(projects, Mapping) else {}
    if value("API_KEY"):
        own = projects.get(DEFAULT_PROJECT, {})
        if isinstance(own, Mapping):
            projects[DEFAULT_PROJECT] = {"API_KEY": value("API_KEY"), **own}
    return projects


def _hidden(value: Any) -> Any:
    return Secret(value) if isinstance(value, str) else value  # a check names other types


def _stripped(value: Any) -> Any:
    """Return text without surrounding white space, also inside lists and dictionaries."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, Mapping):
        return {_stripped(key): _stripped(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_stripped(item) for item in value]
        return tuple(items) if isinstance(value, tuple) else items
    return value
