"""Check the host around the app: its users, databases, tenants and templates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.checks import CheckMessage
from django.db import router
from django.db.models import Model
from django.template.loader import get_template
from django.utils.module_loading import import_string

from kapso_inbox import conf
from kapso_inbox.access import AccessPolicy, members_lookup

from .wording import make_warning

_APP = "kapso_inbox"
_TEMPLATE = "kapso_inbox/message.html"


def user_warnings() -> Iterator[CheckMessage]:
    """Yield a warning if the stock policy cannot ask the host's users for groups or permissions."""
    try:
        policy = import_string(conf.value("ACCESS_POLICY"))
    except Exception:  # noqa: BLE001 (another check names it)
        return
    if getattr(policy, "openable", None) is not AccessPolicy.openable:
        return
    model = get_user_model()
    users = f"The users of this site (AUTH_USER_MODEL is {model._meta.label})"
    own = 'name a policy of your own in KAPSO_INBOX["ACCESS_POLICY"], whose openable() asks for'
    if not hasattr(model, "has_perm"):
        text = f"{users} have no has_perm(), so that nobody can open an inbox."
        hint = f"Derive the user model from PermissionsMixin, or {own} what your users have."
        yield make_warning("W012", text, hint)
    elif members_lookup() is None:
        text = f"{users} are not in Django's groups, so that nobody can open an embed with groups."
        hint = f"Leave the groups of embeds empty, or {own} the groups that your users have."
        yield make_warning("W012", text, hint)


def database_warnings() -> Iterator[CheckMessage]:
    """Yield a warning if our tables are apart from those of users and groups, or are never made.

    What is read is not compared: a replica has all tables.
    """
    ours = list(apps.get_app_config(_APP).get_models(include_auto_created=True))
    others: list[type[Model]] = [get_user_model(), Group]
    try:
        places = {router.db_for_write(model): model for model in ours}
        others_places = {router.db_for_write(model): model for model in others}
        not_made = [
            place
            for place, model in places.items()
            if not router.allow_migrate_model(place, model)
            and router.allow_migrate_model(place, get_user_model())
        ]
    except Exception:  # noqa: BLE001 (a router of the host may do nothing outside of a request)
        return
    hint = (
        f"Let DATABASE_ROUTERS put {_APP}, auth and the app of AUTH_USER_MODEL into one database, "
        "and let migrate make their tables there."
    )
    if len({*places, *others_places}) > 1:
        text = (
            f"DATABASE_ROUTERS put the tables of {_APP} into {_named(places)}, and users and "
            f"groups into {_named(others_places)}. Relations between databases do not work."
        )
        yield make_warning("W013", text, hint)
    elif not_made:
        text = f"DATABASE_ROUTERS keep migrate from making the tables of {_APP} in {not_made[0]!r}."
        yield make_warning("W013", text, hint)


def _named(places: dict[str, Any]) -> str:
    return " and ".join(repr(place) for place in sorted(places))


def uses_tenants() -> bool:
    """Return whether the host's tables are in schemas of tenants, by django-tenants."""
    engines = [str(database.get("ENGINE")) for database in settings.DATABASES.values()]
    routers = [
        one if isinstance(one, str) else type(one).__module__ for one in settings.DATABASE_ROUTERS
    ]
    return (
        hasattr(settings, "SHARED_APPS")
        and hasattr(settings, "TENANT_APPS")
        and any(path.startswith("django_tenants.") for path in (*engines, *routers))
    )


def tenant_warnings() -> Iterator[CheckMessage]:
    """Yield a warning if django-tenants makes no tables of ours, or makes them apart from users.

    Tables of a tenant may refer to shared ones, but not the other way round.
    """
    shared, of_tenants = getattr(settings, "SHARED_APPS", ()), getattr(settings, "TENANT_APPS", ())
    users = get_user_model()._meta.app_label
    if _is_listed(_APP, of_tenants):
        if not conf.shares_projects():
            yield make_warning(
                "W017",
                f"{_APP} is in TENANT_APPS, so each tenant lists and can end the embeds of the "
                "others: they all use the Kapso projects of these settings.",
                'Set KAPSO_INBOX["SHARED_PROJECTS"] = True.',
            )
        return
    if not _is_listed(_APP, shared):
        yield make_warning(
            "W014",
            f"{_APP} is neither in SHARED_APPS nor in TENANT_APPS, so migrate_schemas makes no "
            "tables for it.",
            f'Add "{_APP}" to TENANT_APPS if each tenant has inboxes of its own, or else to '
            "SHARED_APPS, and run migrate_schemas.",
        )
    elif _is_listed(users, of_tenants):
        yield make_warning(
            "W014",
            f"{_APP} is in SHARED_APPS alone, but {users}, the app of AUTH_USER_MODEL, is in "
            "TENANT_APPS. Shared tables cannot refer to the users of a tenant.",
            f'Put "{_APP}" into TENANT_APPS instead, and run migrate_schemas.',
        )


def _is_listed(label: str, listed: Any) -> bool:
    """Return whether an app is in a list of django-tenants, by its name or its configuration."""
    config = apps.get_app_config(label)
    names = (config.name, f"{type(config).__module__}.{type(config).__qualname__}")
    return any(name in listed for name in names)


def template_warnings() -> Iterator[CheckMessage]:
    """Yield a warning if our templates cannot be found or loaded."""
    try:
        get_template(_TEMPLATE)
    except Exception as error:  # noqa: BLE001 (a wrong backend or a wrong template of the host)
        yield make_warning(
            "W015",
            f"The template {_TEMPLATE} cannot be loaded: {type(error).__name__}: {error}.",
            'TEMPLATES must have the backend "django.template.backends.django.DjangoTemplates" '
            'with "APP_DIRS": True, or with the loader '
            '"django.template.loaders.app_directories.Loader", also beside another backend.',
        )


def host_warnings() -> list[CheckMessage]:
    """Return a warning for each thing about the host that keeps inboxes from opening."""
    # The router of django-tenants answers for the schema of one tenant.
    tables: Callable[[], Iterator[CheckMessage]]
    tables = tenant_warnings if uses_tenants() else database_warnings
    return [*user_warnings(), *tables(), *template_warnings()]
