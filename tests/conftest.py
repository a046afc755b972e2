"""How this suite is collected, and the fixtures that most tests share.

The same tests run against several databases and in several kinds of host (see `tox.ini` and
`tests/hosts`). The hooks below leave out what cannot run or need not run in the current one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.cache import cache
from django.db import DEFAULT_DB_ALIAS, router
from django.utils import translation

from kapso_inbox.lifecycle import create_embed
from kapso_inbox.models import InboxEmbed
from kapso_inbox.sandbox.engine import Sandbox
from tests.hosts.database import connection
from tests.hosts.people import User

#: The folder whose tests use the database from processes of their own, without the database
#: fixtures of pytest-django.
OWN_PROCESSES = "processes"

#: Folders and files whose tests take seconds each, the longest first.
SLOW = (
    "test_state_machine",
    "browser",
    "packaging",
    "processes",
    "test_frames",
    "test_mutations",
)

#: Folders and files that test an optional package -> the module to import from that package.
EXTRAS = {
    "api": "rest_framework",
    "test_faces": "rest_framework",
    "documents": "rest_framework",
    "test_exceptions": "rest_framework",
    "test_frames": "sentry_sdk",
    "test_jinja2": "jinja2",
    "test_patterns": "rest_framework",
    "test_phone": "phonenumbers",
    "test_rest_api": "rest_framework",
    "test_translations": "rest_framework",
    "test_wagtail": "wagtail",
}

#: Headers that a browser sends when it loads a frame of the CRM's own page.
FRAME = {"HTTP_SEC_FETCH_DEST": "iframe", "HTTP_SEC_FETCH_SITE": "same-origin"}


def age_cache(seconds: float) -> None:
    """Let the entries of the cache be older than they are. It is the one of this process."""
    expiries = cache._expire_info  # type: ignore[attr-defined]
    for key, at in list(expiries.items()):
        name = key.rpartition(":1:")[2]
        value = cache.get(name)
        with suppress(TypeError, ValueError):  # other entries have no `clock.stamp`
            kept_at = datetime.fromisoformat(value[0]) - timedelta(seconds=seconds)
            cache.set(name, (kept_at.isoformat(), *value[1:]))
        expiries[key] = at and at - seconds


@pytest.fixture(scope="session", autouse=True)
def urls_of_every_app() -> None:
    """Load our addresses while every app is installed, as a site does when it starts.

    They are made once for a process. Otherwise a test that leaves an app out could be the first to
    load them, and those after it would miss the addresses of that app.
    """
    import_module("kapso_inbox.urls")
    if find_spec(EXTRAS["api"]) is not None:
        import_module("kapso_inbox.api.urls")


class _SkippedModule(pytest.Module):
    """A test file that is skipped without being imported."""

    def collect(self) -> Any:
        pytest.skip("Requires an optional package that is not installed.", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Any:
    """Skip the files listed in `EXTRAS` if their package is not installed.

    pytest calls this hook for each test file before importing it. The import would fail.
    """
    parts = module_path.relative_to(Path(__file__).parent).with_suffix("").parts
    missing = {part for part, library in EXTRAS.items() if find_spec(library) is None}
    return _SkippedModule.from_parent(parent, path=module_path) if missing & set(parts) else None


@pytest.hookimpl(trylast=True)  # After pytest-randomly has shuffled the tests.
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tests, and adapt them to the database of this run."""
    _run_slow_files_first(items)
    _exclude_from_coverage(items)
    _allow_the_database_of_the_tables(items)
    if connection.vendor != "sqlite":
        _keep_what_depends_on_the_database(config, items)


def _run_slow_files_first(items: list[pytest.Item]) -> None:
    """Sort the tests so that slow files come first, and then those with the most tests.

    pytest-xdist gives whole files to its workers (`--dist loadfile`). If a long file came last, all
    other workers would wait for it.
    """
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (_rank(item), -tests[item.path]))


def _exclude_from_coverage(items: list[pytest.Item]) -> None:
    """Do not measure coverage in tests that repeat the same lines thousands of times.

    Measuring makes them take half as long again, and other tests cover those lines.
    """
    for item in items:
        if _rank(item) < len(SLOW) or item.get_closest_marker("table"):
            item.add_marker("no_cover")


def _allow_the_database_of_the_tables(items: list[pytest.Item]) -> None:
    """Let each test use the database that holds the app's tables, if that is not "default".

    pytest-django allows a test only the databases that its mark names, by default "default".
    """
    database = router.db_for_write(InboxEmbed)
    if database == DEFAULT_DB_ALIAS:
        return
    for item in items:
        own = item.get_closest_marker("django_db")
        fields = dict(own.kwargs) if own else {}
        mark = pytest.mark.django_db(**{"databases": [database], **fields})
        item.add_marker(mark, append=False)  # Before the test's own mark, so that this one counts.


def _keep_what_depends_on_the_database(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests that would do the same on every database.

    Those are the tests that use no database, and the ones marked `table`.
    """
    kept, left_out = [], []
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        depends = item.get_closest_marker("table") is None and (
            item.get_closest_marker("django_db") is not None
            or {"db", "transactional_db"} & set(fixtures)
            or OWN_PROCESSES in item.path.parts
        )
        (kept if depends else left_out).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left_out)


def _rank(item: pytest.Item) -> int:
    """Return the position of the test's file or folder in `SLOW`; its length if it is not slow."""
    parts = item.path.with_suffix("").parts
    return next((rank for rank, name in enumerate(SLOW) if name in parts), len(SLOW))


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    """Forget what Kapso said in other tests."""
    cache.clear()


@pytest.fixture(autouse=True)
def language_of_the_site() -> Iterator[None]:
    """Deactivate the language that LocaleMiddleware leaves active in the thread."""
    yield
    translation.deactivate()


@pytest.fixture
def django_assert_num_queries(django_assert_num_queries: Any) -> Any:
    """Count the queries to the database that holds the app's tables, whatever its alias."""
    return partial(django_assert_num_queries, connection=connection)


@pytest.fixture
def django_assert_max_num_queries(django_assert_max_num_queries: Any) -> Any:
    """Count the queries to the database that holds the app's tables, whatever its alias."""
    return partial(django_assert_max_num_queries, connection=connection)


@pytest.fixture
def sales(db: None) -> Group:
    return Group.objects.create(name="Sales")


@pytest.fixture
def make_agent(db: None) -> Callable[..., User]:
    def make(username: str, *groups: Group, may_open: bool = True, **fields: Any) -> User:
        user = User.objects.create_user(username, password="secret", **fields)
        user.groups.set(groups)
        if may_open:
            user.user_permissions.add(Permission.objects.get(codename="open_inboxembed"))
        return user

    return make


@pytest.fixture
def ana(make_agent: Callable[..., User], sales: Group) -> User:
    """Return an agent of the group Sales."""
    return make_agent("ana", sales)


@pytest.fixture
def embed(kapso_sandbox: Sandbox, sales: Group) -> InboxEmbed:
    """Create an embed that the group Sales may open."""
    return create_embed(slug="sales", name="Sales inbox", groups=[sales])
