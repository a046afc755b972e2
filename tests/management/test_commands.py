"""What all commands share: options, ctrl-C, missing tables, a reader that has gone."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core import checks
from django.core.management import CommandError, call_command, load_command_class
from django.core.management.base import SystemCheckError
from django.db import OperationalError
from django.test import override_settings

from kapso_inbox.lifecycle import create_embed
from kapso_inbox.models import AccessLink
from kapso_inbox.sandbox.engine import Answer, Sandbox
from tests.hosts.database import connection

ROOT = Path(__file__).resolve().parents[2]
WITH_JSON = ("kapso_doctor", "kapso_rotate_keys", "kapso_sync")
OF_THE_DATABASE = ("kapso_rotate_keys", "kapso_sync")


def with_settings(**values: Any) -> override_settings:
    return override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, **values})


def run(name: str, *options: str) -> tuple[int, str, str]:
    """Return the exit status of a command, its output, and its errors with that of its end."""
    out, err = io.StringIO(), io.StringIO()
    status = 0
    try:
        call_command(name, *options, stdout=out, stderr=err)
    except CommandError as error:
        status = error.returncode
        err.write(f"{error}\n")
    except SystemExit as end:
        status = int(str(end.code))
    return status, out.getvalue(), err.getvalue()


@contextmanager
def without_tables() -> Iterator[None]:
    """Take away a table, as before `migrate`."""
    table = AccessLink._meta.db_table
    with connection.schema_editor() as editor:
        editor.alter_db_table(AccessLink, table, "elsewhere")
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            editor.alter_db_table(AccessLink, "elsewhere", table)


# --json


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", WITH_JSON)
def test_json_is_an_object_that_says_whether_all_is_well(kapso_sandbox: Sandbox, name: str) -> None:
    create_embed(slug="sales", name="Sales", allowed_origins=["https://crm.example.com"])
    status, out, err = run(name, "--json")
    told = json.loads(out)
    assert list(told)[:2] == ["ok", "error"]
    assert told["ok"] is (status == 0)
    assert err == ""
    assert told.keys() - {"ok", "error"} in ({"findings"}, {"projects"}, {"links"})


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", OF_THE_DATABASE)
def test_json_is_valid_and_has_the_error_if_the_command_fails(name: str) -> None:
    with without_tables():
        status, out, err = run(name, "--json")
    assert (status, json.loads(out)["ok"]) == (2, False)
    assert json.loads(out)["error"] == err.strip()


# From Django 6.1 on, the checks of Django itself ask each database what it can do.
@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize("name", OF_THE_DATABASE)
def test_json_has_the_errors_of_the_system_checks(name: str) -> None:
    out = io.StringIO()
    with with_settings(BASE_URL="http://kapso.example"), pytest.raises(SystemCheckError):
        call_command(name, "--json", skip_checks=False, stdout=out)
    told = json.loads(out.getvalue())
    assert told["ok"] is False
    assert "kapso_inbox.E" in told["error"]


@pytest.mark.django_db
def test_json_has_the_problems_of_each_project_and_what_failed(kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.fail_next(answer=Answer(401, {}))
    status, out, _err = run("kapso_sync", "--json")
    told = json.loads(out)
    assert (status, told["ok"]) == (2, False)
    assert told["error"].startswith("default: Nothing of Kapso's list could be read.")
    [report] = told["projects"]
    [problem] = report["problems"]
    assert problem.startswith("Kapso's list could not be read. Kapso refused the API key (HTTP 401")


# --project


@pytest.mark.parametrize("name", ["kapso_doctor", "kapso_sync"])
def test_each_command_has_the_same_option_for_projects(name: str) -> None:
    parser = load_command_class("kapso_inbox", name).create_parser("manage.py", name)
    [option] = [one for one in parser._actions if one.dest == "project"]
    assert option.metavar == "ALIAS"
    assert option.help == (
        "only the Kapso project with this alias (may be repeated; default: all projects)"
    )
    assert parser.parse_args(["--project", "a", "--project", "b"]).project == ["a", "b"]


@pytest.mark.django_db
def test_an_unknown_project_is_told_in_the_same_words_with_those_that_there_are(
    kapso_sandbox: Sandbox,
) -> None:
    status, _out, err = run("kapso_sync", "--project", "clinic")
    assert status == 2
    assert err == "KAPSO_INBOX has no project “clinic”. Its projects: default.\n"
    # The doctor goes on: links can belong to an alias that the settings lost.
    status, out, _err = run("kapso_doctor", "--offline", "--project", "clinic")
    assert status == 1
    assert "KAPSO_INBOX has no project “clinic”. [project-unknown]" in out
    assert "Its projects: default." in out


@pytest.mark.django_db
def test_a_project_that_is_named_twice_is_synced_once(kapso_sandbox: Sandbox) -> None:
    _, out, _ = run("kapso_sync", "--project", "default", "--project", "default")
    assert out == "default: 0 embeds at Kapso; no changes.\n"


# A database without tables


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", OF_THE_DATABASE)
def test_a_forgotten_migrate_is_one_sentence_without_the_text_of_the_driver(
    name: str, kapso_sandbox: Sandbox
) -> None:
    with without_tables():
        status, _out, err = run(name)
    assert (status, err) == (
        2,
        "The tables of kapso_inbox are missing. Run: manage.py migrate\n",
    )


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", OF_THE_DATABASE)
def test_another_failure_of_the_database_is_not_taken_for_missing_tables(
    name: str, kapso_sandbox: Sandbox
) -> None:
    def fail(execute: Any, sql: str, *args: Any) -> Any:
        if AccessLink._meta.db_table in sql:
            raise OperationalError("password of the row")
        return execute(sql, *args)

    with connection.execute_wrapper(fail):
        status, _out, err = run(name)
    assert status == 2
    assert "The database failed (OperationalError)." in err
    assert "password" not in err


# Ctrl-C, and nothing to say


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", OF_THE_DATABASE)
def test_ctrl_c_is_no_traceback(name: str, kapso_sandbox: Sandbox) -> None:
    def stop(execute: Any, sql: str, *args: Any) -> Any:
        if AccessLink._meta.db_table in sql:
            raise KeyboardInterrupt
        return execute(sql, *args)

    with connection.execute_wrapper(stop):
        status, _out, err = run(name)
    assert status == 130
    assert err.startswith("Stopped. ")
    assert err.endswith("Run the command again to continue.\n")


@pytest.fixture
def warning() -> Iterator[str]:
    """Register a check of the host's that warns; yield its text."""

    def warn(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
        return [checks.Warning("the host is old", id="host.W001")]

    checks.register(warn)
    yield "the host is old"
    checks.registry.registry.registered_checks.remove(warn)


# From Django 6.1 on, the checks of Django itself ask each database what it can do.
@pytest.mark.django_db(databases="__all__")
def test_at_verbosity_0_a_sync_without_problems_says_nothing_at_all(
    kapso_sandbox: Sandbox, warning: str
) -> None:
    kapso_sandbox.project().create({"name": "Elsewhere", "scope_type": "project"})
    out, err = io.StringIO(), io.StringIO()
    call_command("kapso_sync", verbosity=0, skip_checks=False, stdout=out, stderr=err)
    assert (out.getvalue(), err.getvalue()) == ("", "")
    call_command("kapso_sync", skip_checks=False, stdout=out, stderr=err)
    assert "1 embed at Kapso" in out.getvalue()
    assert warning in err.getvalue()


@pytest.mark.django_db
def test_at_verbosity_0_problems_are_told_with_their_project(kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.fail_next(answer=Answer(403, {}))
    status, out, err = run("kapso_sync", "-v", "0")
    assert (status, out) == (2, "")
    problem, failure = err.splitlines()
    assert problem.startswith("default: Kapso's list could not be read. Kapso refused the API key")
    assert failure == (
        "default: Nothing of Kapso's list could be read. Run: manage.py kapso_doctor --project "
        "default"
    )


@pytest.mark.django_db
def test_at_verbosity_0_json_is_printed_all_the_same(kapso_sandbox: Sandbox) -> None:
    assert json.loads(run("kapso_sync", "--json", "-v", "0")[1])["ok"] is True


# A reader that has gone


def begin(name: str, *options: str, unbuffered: bool, **streams: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "django", name, *options],
        cwd=ROOT,
        env={
            **os.environ,
            "DATABASE_URL": "sqlite:///:memory:",
            "PYTHONPATH": str(ROOT),
            "PYTHONIOENCODING": "utf-8",
            "PYTHONUNBUFFERED": "1" if unbuffered else "",
        },
        text=True,
        **streams,
    )


@contextmanager
def pipe_without_reader() -> Iterator[int]:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        yield writer
    finally:
        os.close(writer)


@pytest.mark.parametrize("unbuffered", [True, False])
@pytest.mark.parametrize(
    ("command", "status"),
    [
        (("kapso_doctor", "--offline"), 1),
        (("kapso_generate_key",), 0),
        (("kapso_rotate_keys", "--json"), 2),
        (("kapso_sync", "--json"), 2),
    ],
)
def test_a_reader_that_has_gone_changes_nothing_about_the_exit_status(
    command: tuple[str, ...], status: int, unbuffered: bool
) -> None:
    with pipe_without_reader() as writer:
        process = begin(*command, unbuffered=unbuffered, stdout=writer, stderr=subprocess.PIPE)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == status
        assert "BrokenPipe" not in errors
        assert "Traceback" not in errors
        both = begin(*command, unbuffered=unbuffered, stdout=writer, stderr=writer)
        assert both.wait(timeout=60) == status


@pytest.mark.parametrize("unbuffered", [True, False])
def test_the_sandbox_goes_on_without_a_reader(unbuffered: bool) -> None:
    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.bind(("127.0.0.1", 0))
        port, inbox_port = first.getsockname()[1], second.getsockname()[1]
    options = ("--port", str(port), "--inbox-port", str(inbox_port))
    with pipe_without_reader() as writer:
        process = begin(
            "kapso_sandbox",
            *options,
            unbuffered=unbuffered,
            stdout=writer,
            stderr=subprocess.PIPE,
        )
        try:
            wait_for(port)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")


def wait_for(port: int) -> None:
    for _ in range(600):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"nothing listens on port {port}")
