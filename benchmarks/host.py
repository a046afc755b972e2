"""The host that is measured: settings as of a new Django project, a database, a browser."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

KEY = "the-key-of-this-benchmark"
ENCRYPTION_KEYS = {"k": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}

#: Nowhere: for what never asks Kapso.
NOWHERE = {"BASE_URL": "http://127.0.0.1:9/platform/v1"}

#: What the iframe of a page on this site says of itself, in Chromium.
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
    """Set up Django as `startproject` does it, with this app and what stands beside it here.

    Args:
        kapso: where the sandbox is, as `KAPSO_INBOX` takes it.
        database: of `DATABASES`.
        apps: more of them.
        urls: the URLconf.
        more: settings.
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
    """Set up the host with an empty database that is gone afterwards.

    It is a SQLite file, in the mode that is advised for a server (WAL), or a test database beside
    that of DATABASE_URL. Connections stay open, as in production.

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
            # One for each process: two benchmarks do not meet.
            database["TEST"] = {"NAME": f"kapso_inbox_benchmark_{os.getpid()}"}
        configure(kapso, database, **more)
        from django.test.utils import setup_databases, teardown_databases

        made = setup_databases(verbosity=0, interactive=False, serialized_aliases=[])
        try:
            yield
        finally:
            teardown_databases(made, verbosity=0)


def database_name() -> str:
    """Say what the tables of a benchmark are headed by: which database it was."""
    from django.db import connection

    return connection.display_name


def signed_in(*permissions: str, **fields: Any) -> tuple[Any, str]:
    """Make a user with these permissions of ours; return them and their session's key."""
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
    """Asks the host as somebody who is signed in, by WSGI and without a socket."""

    def __init__(self, session: str) -> None:
        from django.core.wsgi import get_wsgi_application

        self._application = get_wsgi_application()
        self._cookie = f"sessionid={session}"

    def get(self, path: str, status: int, headers: Mapping[str, str] = {}) -> bytes:
        """Return what is answered.

        Raises:
            SystemExit: it has another status.
        """
        from django.test import RequestFactory

        request = RequestFactory().get(path, headers={**headers, "Cookie": self._cookie})
        answered: list[str] = []
        response = self._application(request.environ, lambda line, _headers: answered.append(line))
        body = b"".join(response)
        response.close()
        if not answered[0].startswith(str(status)):
            raise SystemExit(f"{path}: {answered[0]} in place of {status}: {body[:500]!r}")
        return body
