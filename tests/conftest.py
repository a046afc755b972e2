"""What most tests need: a CRM's people, and an embed that the sandbox's Kapso made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import DEFAULT_DB_ALIAS, router
from django.utils import translation

from kapso_inbox.lifecycle import create_embed
from kapso_inbox.models import InboxEmbed
from kapso_inbox.sandbox.engine import Sandbox
from tests.hosts.database import connection
from tests.hosts.people import User

#: Tests that have processes of their own on the database, and so no fixture of pytest-django's.
OWN_PROCESSES = "processes"

#: Folders and files whose tests take seconds each, those that take longest first.
SLOW = ("test_state_machine", "browser", "packaging", "processes", "test_mutations")

#: Folders and files that are about an optional package, and that package.
EXTRAS = {
    "api": "rest_framework",
    "documents": "rest_framework",
    "test_phone": "phonenumbers",
    "test_translations": "rest_framework",
}

FRAME = {"HTTP_SEC_FETCH_DEST": "iframe", "HTTP_SEC_FETCH_SITE": "same-origin"}


class _NotHere(pytest.Module):
    """A file of tests that are skipped as one."""

    def collect(self) -> Any:
        pytest.skip("It takes an extra that this host has not.", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Any:
    """Skip what is about an extra where that is not installed."""
    parts = module_path.relative_to(Path(__file__).parent).with_suffix("").parts
    missing = {part for part, library in EXTRAS.items() if find_spec(library) is None}
    return _NotHere.from_parent(parent, path=module_path) if missing & set(parts) else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes long; elsewhere than on SQLite, run what depends on the database.

    What repeats the same lines thousands of times is not traced for coverage: it takes half as long
    again, and other tests have been there.
    """
    # Whole files go to a worker: a long one that comes last is waited for by all the others.
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (_pace(item), -tests[item.path]))
    for item in items:
        if _pace(item) < len(SLOW) or item.get_closest_marker("table"):
            item.add_marker("no_cover")
    where = router.db_for_write(InboxEmbed)
    if where != DEFAULT_DB_ALIAS:
        for item in items:
            item.add_marker(_elsewhere(item, where), append=False)
    if connection.vendor == "sqlite":
        return
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


def _pace(item: pytest.Item) -> int:
    """The smaller, the longer it takes."""
    parts = item.path.with_suffix("").parts
    return next((pace for pace, name in enumerate(SLOW) if name in parts), len(SLOW))


def _elsewhere(item: pytest.Item, database: str) -> pytest.MarkDecorator:
    """The same mark for a host that keeps our tables elsewhere than in "default"."""
    own = item.get_closest_marker("django_db")
    fields = dict(own.kwargs) if own else {}
    return pytest.mark.django_db(**{"databases": [database], **fields})


@pytest.fixture(autouse=True)
def language_of_the_site() -> Iterator[None]:
    """LocaleMiddleware leaves a reader's language to the thread, and so to the next test."""
    yield
    translation.deactivate()


@pytest.fixture
def django_assert_num_queries(django_assert_num_queries: Any) -> Any:
    """Django's own, of the database that holds our tables."""
    return partial(django_assert_num_queries, connection=connection)


@pytest.fixture
def django_assert_max_num_queries(django_assert_max_num_queries: Any) -> Any:
    """Django's own, of the database that holds our tables."""
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
    """An agent of Sales."""
    return make_agent("ana", sales)


@pytest.fixture
def embed(kapso_sandbox: Sandbox, sales: Group) -> InboxEmbed:
    """An embed that agents of Sales may open."""
    return create_embed(slug="sales", name="Sales inbox", groups=[sales])
