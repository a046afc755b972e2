"""Secret addresses, the API key and the encryption keys must not leak.

Each test looks for all of them in one kind of output.
"""

from __future__ import annotations

import copy
import io
import logging
import os
import pickle
import sqlite3
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.core import mail, serializers
from django.core.management import call_command
from django.core.signals import got_request_exception
from django.db import DatabaseError
from django.template import Context, Template
from django.test import Client, RequestFactory, override_settings
from django.views.debug import ExceptionReporter

from kapso_inbox import conf, lifecycle
from kapso_inbox.encryption import generate_key
from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.inbox import launch
from kapso_inbox.kapso import KapsoError
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed
from kapso_inbox.sandbox.engine import Answer, Fault, Sandbox
from tests.hosts.database import connection
from tests.hosts.people import User

from .conftest import FRAME

pytestmark = pytest.mark.django_db


@pytest.fixture
def secrets_of(kapso_sandbox: Sandbox) -> Callable[[], list[str]]:
    """Return a function that collects the secrets of all links at Kapso and of the settings."""

    def collect() -> list[str]:
        records = kapso_sandbox.project().links()
        assert records, "there is no secret to look for"
        return [
            *(record["token"] for record in records),
            settings.KAPSO_INBOX["API_KEY"],
            *settings.KAPSO_INBOX["ENCRYPTION_KEYS"].values(),
        ]

    return collect


def assert_free_of(secrets: list[str], text: str) -> None:
    assert text
    found = [number for number, secret in enumerate(secrets) if secret in text]
    assert not found, "a secret leaked"  # without the text, because test output is output, too


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Collect the output of all loggers at level DEBUG."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    names = ("django", "django.db.backends", "django.request", "urllib3", "requests")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield stream
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)
    root.setLevel(level)
    root.removeHandler(handler)


@override_settings(DEBUG=True)  # so that Django logs its queries, too
def test_debug_logs_hold_no_secret(
    logged: io.StringIO,
    client: Client,
    ana: User,
    embed: InboxEmbed,
    kapso_sandbox: Sandbox,
    secrets_of: Callable[[], list[str]],
) -> None:
    client.force_login(ana)
    client.get("/kapso-inbox/sales/?mode=dark")
    client.get("/kapso-inbox/sales/launch/?mode=dark", **FRAME)  # type: ignore[arg-type]
    client.get("/kapso-inbox/sales/launch/")
    lifecycle.update_embed(embed, name="New")
    kapso_sandbox.fail_next(drop="after")
    with pytest.raises(KapsoError):
        lifecycle.rotate_embed(embed)
    lifecycle.rotate_embed(embed)
    lifecycle.revoke_embed(embed)
    text = logged.getvalue()
    assert "POST /inbox_embeds" in text
    assert "kapso_inbox_accesslink" in text
    assert_free_of(secrets_of(), text)


def test_logs_of_a_real_connection_hold_no_secret(tmp_path: Path) -> None:
    """Use real HTTP, because urllib3 logs it, in a separate process."""
    script = textwrap.dedent("""
        import logging, sys
        logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
        import django
        django.setup()
        from kapso_inbox.kapso import KapsoClient
        from kapso_inbox.sandbox.engine import Sandbox
        from kapso_inbox.sandbox.server import SandboxServer
        sandbox = Sandbox()
        sandbox.add_project("the-key-of-this-test")
        with SandboxServer(sandbox) as server:
            client = KapsoClient("the-key-of-this-test", server.base_url)
            created = client.inbox_embeds.create(name="Support")
            print(created, client, client._transport)
            print("TOKEN", created.embed_url.rsplit("/", 1)[1], file=sys.stderr)
    """)
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=dict(os.environ),
    )
    token = done.stderr.split("TOKEN ")[1].strip()
    assert "POST /inbox_embeds" in done.stdout
    assert "urllib3" in done.stdout
    assert_free_of([token, "the-key-of-this-test"], done.stdout)


def test_no_repr_or_str_holds_a_secret(
    embed: InboxEmbed, kapso_sandbox: Sandbox, secrets_of: Callable[[], list[str]]
) -> None:
    link = AccessLink.objects.get()
    project = conf.project()
    client = project.client()
    created = client.inbox_embeds.create(name="Another")
    things = [
        embed,
        link,
        list(InboxEmbed.objects.all()),
        InboxEmbed.objects.values(),
        list(AccessLink.objects.values()),
        vars(link),
        project,
        conf.keyring(),
        client,
        client.inbox_embeds,
        client._transport,
        created,
    ]
    assert_free_of(secrets_of(), "".join(f"{thing!r}{thing}" for thing in things))


def test_fixtures_hold_no_secret(embed: InboxEmbed, secrets_of: Callable[[], list[str]]) -> None:
    out = io.StringIO()
    call_command("dumpdata", "kapso_inbox", database=connection.alias, stdout=out)
    xml = serializers.serialize("xml", AccessLink.objects.all())
    assert "accesslink" in out.getvalue()
    assert_free_of(secrets_of(), out.getvalue() + xml)


def test_a_pickled_or_copied_row_holds_no_more_than_the_database(
    embed: InboxEmbed, secrets_of: Callable[[], list[str]]
) -> None:
    link = AccessLink.objects.get()
    link.reveal_url()
    text = pickle.dumps(link).decode("latin-1") + repr(vars(copy.deepcopy(link)))
    assert_free_of(secrets_of(), text)


FAULTS = [
    Fault(answer=Answer(401, {"error": "Invalid API key: kapso-key-of-the-tests-0123456789"})),
    Fault(answer=Answer(422, {"errors": {"name": ["kapso-key-of-the-tests-0123456789"]}})),
    Fault(answer=Answer(500, "kapso-key-of-the-tests-0123456789")),
    Fault(drop="after"),
    Fault(delay=60),
    Fault(answer=Answer(201, {"data": {"id": 1, "embed_url": "https://e.example/embed/secret-t"}})),
]


@pytest.mark.parametrize("fault", FAULTS, ids=range(len(FAULTS)))
def test_exceptions_logs_and_stored_reasons_hold_no_secret(
    kapso_sandbox: Sandbox, fault: Fault, logged: io.StringIO
) -> None:
    kapso_sandbox.order(copy.copy(fault))
    with pytest.raises(KapsoError) as caught:
        lifecycle.create_embed(slug="sales", name="Sales")
    error = caught.value
    reasons = list(AccessLink.objects.values_list("reason", flat=True))
    reasons += InboxChange.objects.values_list("details", flat=True)
    assert any(reasons)
    text = "".join(traceback.format_exception(error))
    text += f"{error!r}{error.args}{vars(error)}{reasons}{logged.getvalue()}"
    records = kapso_sandbox.project().links()
    secrets = [*(record["token"] for record in records), settings.KAPSO_INBOX["API_KEY"]]
    assert_free_of([*secrets, "secret-t"], text)
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


def _report(error: BaseException) -> str:
    """Return Django's error page with DEBUG off, as mailed to ADMINS, with all local variables."""
    request = RequestFactory().get("/")
    reporter = ExceptionReporter(request, type(error), error, error.__traceback__)
    return reporter.get_traceback_html() + reporter.get_traceback_text()


def _break_writes(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    if sql.startswith("UPDATE") and "sealed_url" in sql:
        raise DatabaseError("the connection is gone")
    return execute(sql, params, many, context)


@pytest.mark.django_db(transaction=True)
def test_the_error_page_of_a_creation_that_cannot_be_stored_holds_no_secret(
    kapso_sandbox: Sandbox, secrets_of: Callable[[], list[str]]
) -> None:
    with connection.execute_wrapper(_break_writes), pytest.raises(DatabaseError) as caught:
        lifecycle.create_embed(slug="sales", name="Sales")
    report = _report(caught.value)
    assert "_make_current" in report
    assert_free_of(secrets_of(), report)


def test_the_error_page_of_a_request_that_breaks_holds_no_secret(
    kapso_sandbox: Sandbox, secrets_of: Callable[[], list[str]]
) -> None:
    kapso_sandbox.fail_next(error=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError) as caught:
        lifecycle.create_embed(slug="sales", name="Sales")
    kapso_sandbox.project().create({"name": "x", "scope_type": "project"})
    report = _report(caught.value)
    assert "_send" in report
    assert_free_of(secrets_of(), report)


def reports_of(client: Client) -> str:
    """Return what Django shows and mails about a failing launch, with all local variables."""
    reports = []

    def report(sender: Any, request: Any, **kwargs: Any) -> None:
        reporter = ExceptionReporter(request, *sys.exc_info())
        reports.append(reporter.get_traceback_html() + reporter.get_traceback_text())

    client.raise_request_exception = False
    got_request_exception.connect(report)
    try:
        response = client.get("/kapso-inbox/sales/launch/", **FRAME)  # type: ignore[arg-type]
    finally:
        got_request_exception.disconnect(report)
    assert response.status_code == 500
    (text,) = reports
    (message,) = mail.outbox
    return text + str(message.body) + response.content.decode()


def test_the_error_page_and_mail_of_a_middleware_that_fails_after_the_launch_hold_no_secret(
    client: Client,
    ana: User,
    embed: InboxEmbed,
    secrets_of: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    middleware = [*settings.MIDDLEWARE, "tests.test_secrets.failing_middleware"]
    monkeypatch.setattr(settings, "MIDDLEWARE", middleware)
    client = Client()
    client.force_login(ana)
    text = reports_of(client)
    assert "_RedirectToInbox" in text
    assert_free_of(secrets_of(), text)


def failing_middleware(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def middleware(request: Any) -> Any:
        response = get_response(request)
        raise ZeroDivisionError(response.status_code)

    return middleware


@override_settings(SESSION_SAVE_EVERY_REQUEST=True)
def test_the_error_page_and_mail_of_a_session_store_that_is_down_hold_no_secret(
    client: Client,
    ana: User,
    embed: InboxEmbed,
    secrets_of: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client.force_login(ana)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("the store is down")

    monkeypatch.setattr(SessionStore, "save", fail)
    assert_free_of(secrets_of(), reports_of(client))


def test_the_error_page_of_a_frame_that_fails_with_direct_delivery_holds_no_secret(
    rf: RequestFactory,
    ana: User,
    embed: InboxEmbed,
    secrets_of: Callable[[], list[str]],
    tmp_path: Path,
) -> None:
    request = rf.get("/")
    request.user = ana
    template = Template('{% load kapso_inbox %}{% kapso_inbox "sales" %}')
    manifest = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
    with (
        override_settings(
            KAPSO_INBOX={**settings.KAPSO_INBOX, "DELIVERY": "direct"},
            STORAGES={**settings.STORAGES, "staticfiles": {"BACKEND": manifest}},
            STATIC_ROOT=str(tmp_path),
        ),
        pytest.raises(ValueError, match="manifest") as caught,
    ):
        template.render(Context({"request": request}))
    report = _report(caught.value)
    assert "InboxFrameNode" in report or "frame.html" in report
    assert_free_of(secrets_of(), report)


@pytest.mark.parametrize(
    "wrong", [{"CA_BUNDLE": "/no/such/file"}, {"BASE_URL": "http://x.example"}]
)
def test_the_error_page_of_a_client_that_cannot_be_created_holds_no_secret(
    wrong: dict[str, str],
) -> None:
    with (
        override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, **wrong}),
        pytest.raises(ConfigurationError) as caught,
    ):
        conf.project().client()
    assert_free_of([settings.KAPSO_INBOX["API_KEY"]], _report(caught.value))


def test_the_error_page_of_a_hosts_lookup_that_breaks_holds_no_secret(
    kapso_sandbox: Sandbox,
) -> None:
    kapso_sandbox.fail_next(error=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError) as caught:
        list(conf.project().client().phone_numbers.list())
    report = _report(caught.value)
    assert "_send" in report
    assert_free_of([settings.KAPSO_INBOX["API_KEY"]], report)


def test_the_error_page_of_a_launch_that_breaks_holds_no_secret(
    ana: User, embed: InboxEmbed, secrets_of: Callable[[], list[str]]
) -> None:
    request = RequestFactory().get("/")
    request.user = ana

    def refuse_inserts(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("INSERT"):
            raise ZeroDivisionError
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse_inserts), pytest.raises(ZeroDivisionError) as caught:
        launch.open_inbox(request, "sales", {})
    report = _report(caught.value)
    assert "open_inbox" in report
    assert_free_of(secrets_of(), report)


def test_pages_of_the_crm_hold_no_secret(
    client: Client, ana: User, embed: InboxEmbed, secrets_of: Callable[[], list[str]]
) -> None:
    client.force_login(ana)
    pages = [client.get("/kapso-inbox/sales/"), client.get("/kapso-inbox/sales/launch/")]
    for page in pages:
        assert_free_of(secrets_of(), f"{page.headers}{page.content.decode()}")


def test_the_database_file_holds_no_secret(tmp_path: Path) -> None:
    """Create an embed through real HTTP, in a separate process with a SQLite file."""
    database = tmp_path / "crm.sqlite3"
    key = generate_key()
    script = textwrap.dedent(f"""
        import django
        from django.conf import settings
        from kapso_inbox.sandbox.engine import Sandbox
        from kapso_inbox.sandbox.server import SandboxServer
        sandbox = Sandbox()
        project = sandbox.add_project("the-key-of-this-test")
        with SandboxServer(sandbox) as server:
            settings.configure(
                SECRET_KEY="x", USE_TZ=True,
                INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes",
                                "kapso_inbox"],
                DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3",
                                         "NAME": {str(database)!r}}}}},
                KAPSO_INBOX={{"API_KEY": "the-key-of-this-test", "BASE_URL": server.base_url,
                              "INBOX_ORIGINS": [server.inbox_origin],
                              "ENCRYPTION_KEYS": {{"k": {key!r}}}}},
            )
            django.setup()
            from django.core.management import call_command
            call_command("migrate", verbosity=0)
            from kapso_inbox.lifecycle import create_embed
            embed = create_embed(slug="support", name="Support", allowed_origins=[])
            assert [r.method for r in sandbox.requests] == ["POST"], sandbox.requests
            (record,) = project.active_embeds()
            assert embed.current_link.reveal_url() == record["embed_url"]
            print(record["token"])
    """)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    token = done.stdout.strip()
    with closing(sqlite3.connect(database)) as file:
        rows = file.execute("select state from kapso_inbox_accesslink").fetchall()
    assert rows == [("active",)]
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"v1.k." in stored
    for secret in (token, "the-key-of-this-test", key):
        assert secret.encode() not in stored
