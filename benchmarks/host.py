"""The host that is measured: a new project's settings, a database, and somebody's requests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

KEY = "the-key-of-this-benchmark"
ENCRYPTION_KEYS = {"k": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}

#: An address without a server, for benchmarks that never call Kapso.
NOWHERE = {"BASE_URL": "http://127.0.0.1:9/platform/v1"}

#: The headers that Chromium sends for an iframe of a page on this site.
FRAME = {
    "Sec-Fetch-Dest": "iframe",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
    "Referer": "http://testserver/",
}


def configure(
    kapso: Mapping[str, Any],
    database: Mapping[str, Any],
    *,
    apps: Sequence[str] = (),
    urls: str = "benchmarks.by_hand",
    **more: Any,
) -> None:
    """Set up Django as `startproject` does, with this app and these benchmarks.

    Args:
        kapso: the entries of `KAPSO_INBOX` that point to the sandbox.
        database: the entry of `DATABASES`.
        apps: more apps.
        urls: the URLconf.
        more: more settings.
    """
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="benchmark",
        USE_TZ=True,
        TIME_ZONE="UTC",
        ROOT_URLCONF=urls,
        STATIC_URL="/static/",
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "django.contrib.staticfiles",
            "kapso_inbox",
            "benchmarks",
            *apps,
        ],
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        DATABASES={"default": dict(database)},
        KAPSO_INBOX={"API_KEY": KEY, "ENCRYPTION_KEYS": ENCRYPTION_KEYS, **kapso},
        **more,
    )
    django.setup()


@contextmanager
def own_database(kapso: Mapping[str, Any], **more: Any) -> Iterator[None]:
    """Set up the host with an empty database that is deleted afterwards.

    It is a SQLite file in WAL mode, which is advised for a server, or a test database on the server
    of `DATABASE_URL`. Connections stay open, as in production.

    Args:
        kapso: as for `configure`.
        more: as for `configure`.
    """
    import environ

    with tempfile.TemporaryDirectory() as directory:
        file = str(Path(directory) / "crm.sqlite3")
        database = environ.Env().db("DATABASE_URL", default=f"sqlite:///{file}")
        database["CONN_MAX_AGE"] = None
        if database["ENGINE"].endswith("sqlite3"):
            database["TEST"] = {"NAME": file}
            database["OPTIONS"] = {
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"
            }
        else:
            # One for each process, so that two benchmarks can run at once.
            database["TEST"] = {"NAME": f"kapso_inbox_benchmark_{os.getpid()}"}
        configure(kapso, database, **more)
        from django.test.utils import setup_databases, teardown_databases

        made = setup_databases(verbosity=0, interactive=False, serialized_aliases=[])
        try:
            yield
        finally:
            teardown_databases(made, verbosity=0)


def database_name() -> str:
    """Return the name of the database system, for the headings of tables."""
    from django.db import connection

    return connection.display_name


def signed_in(*permissions: str, **fields: Any) -> tuple[Any, str]:
    """Create a user with these permissions of the app; return the user and the session's key."""
    from django.contrib.auth.models import Permission, User
    from django.test import Client

    user = User.objects.create(username="mona", **fields)
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="kapso_inbox", codename__in=permissions)
    )
    client = Client()
    client.force_login(user)
    return user, client.cookies["sessionid"].value


class Browser:
    """Sends requests as a user who is signed in, through WSGI and without a socket."""

    def __init__(self, session: str) -> None:
        from django.core.wsgi import get_wsgi_application

        self._application = get_wsgi_application()
        self._cookie = f"sessionid={session}"

    def get(self, path: str, status: int, headers: Mapping[str, str] = {}) -> bytes:
        """Return the body of the answer.

        Raises:
            SystemExit: the answer has another status.
        """
        from django.test import RequestFactory

        request = RequestFactory().get(path, headers={**headers, "Cookie": self._cookie})
        answered: list[str] = []
        response = self._application(request.environ, lambda line, _headers: answered.append(line))
        body = b"".join(response)
        response.close()
        if not answered[0].startswith(str(status)):
            raise SystemExit(f"{path}: {answered[0]} instead of {status}: {body[:500]!r}")
        return body
