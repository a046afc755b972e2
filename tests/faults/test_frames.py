"""No exception leads a collector of errors to a secret, whatever goes wrong and wherever."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission
from django.core.cache import cache
from django.db.models import signals as model_signals
from django.template import Context, Template
from django.test import Client, RequestFactory, override_settings
from django.urls import reverse

from kapso_inbox.encryption import generate_key
from kapso_inbox.inbox import own
from kapso_inbox.inbox.launch import open_inbox
from kapso_inbox.lifecycle import (
    create_embed,
    ensure_embed,
    reencrypt,
    refresh_embed,
    resolve_embed,
    rotate_embed,
    update_embed,
)
from kapso_inbox.models import AccessLink, InboxEmbed, LaunchAttempt
from kapso_inbox.sandbox.engine import Fault
from kapso_inbox.signals import inbox_opened
from kapso_inbox.sync import sync_project
from tests.conftest import FRAME
from tests.hosts.people import User

from .collectors import Collected, collecting
from .table import ACTIONS, _act, troubles
from .troubles import REQUEST_TROUBLES, request_trouble
from .world import OTHER_ENCRYPTION, OTHER_KEY, Trouble, World, world

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.table]


SITE = "https://crm.example.com"


class BrokenHostError(Exception):
    """A mistake in the code of a host."""


@pytest.fixture
def made() -> Iterator[World]:
    cache.clear()
    with world() as made:
        made.sandbox.project().users[0]["email"] = "ana@example.com"
        yield made
    cache.clear()


@pytest.fixture
def collected(made: World) -> Iterator[Collected]:
    with collecting() as collected:
        yield collected


@pytest.fixture
def ana(made: World) -> Any:
    """Return a user with a browser, who may do everything and is a team member at Kapso."""
    user = User.objects.create_user("ana", password="secret", is_staff=True)
    User.objects.filter(pk=user.pk).update(**{User.get_email_field_name(): "ana@example.com"})
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="kapso_inbox"))
    user = User.objects.get(pk=user.pk)
    user.browser = Client()
    user.browser.force_login(user)
    return user


def secrets_of(made: World) -> list[str]:
    tokens = [
        embed["token"] for project in made.sandbox.projects.values() for embed in project.links()
    ]
    keys = {**settings.KAPSO_INBOX["ENCRYPTION_KEYS"], **OTHER_ENCRYPTION}
    return [*tokens, settings.KAPSO_INBOX["API_KEY"], OTHER_KEY, *keys.values()]


def sales() -> InboxEmbed:
    return InboxEmbed.objects.get(slug="sales")


def request_of(user: Any) -> Any:
    request = RequestFactory().get("/")
    request.user = user
    return request


def _resolve(user: Any) -> None:
    AccessLink.objects.update(state="unknown", kapso_id="", sealed_url="")
    resolve_embed(sales())


def _own_inbox(user: Any) -> None:
    own.set_up(request_of(user))


def _own_inbox_in_a_frame(user: Any) -> None:
    user.browser.post("/kapso-inbox/mine/launch/", **FRAME)  # type: ignore[arg-type]


def _launch(user: Any) -> None:
    user.browser.get("/kapso-inbox/sales/launch/", **FRAME)  # type: ignore[arg-type]


def _tag(user: Any) -> None:
    with override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "DELIVERY": "direct"}):
        template = Template('{% load kapso_inbox %}{% kapso_inbox "sales" %}')
        template.render(Context({"request": request_of(user)}))


def _api(method: str, address: str, user: Any, **data: Any) -> None:
    user.browser.generic(
        method, f"/api/kapso-inbox/embeds/{address}", **data, content_type="application/json"
    )


def _admin(user: Any) -> None:
    embed = sales()
    newest = AccessLink.objects.filter(embed=embed).order_by("-created_at").first()
    data = {"confirmed": "yes", "target": f"{embed.pk}:{newest.pk}", "expiry": "30"}
    address = reverse("admin:kapso_inbox_inboxembed_verb", args=["rotate"])
    user.browser.post(address, data)


def _admin_adds(user: Any) -> None:
    data = {"name": "Support", "slug": "support", "scope_type": "project", "expiry": "never"}
    data |= {"default_mode": "system", "allowed_origins": SITE}
    user.browser.post(reverse("admin:kapso_inbox_inboxembed_add"), data)


def under_a_new_key() -> override_settings:
    keys = settings.KAPSO_INBOX["ENCRYPTION_KEYS"]
    keys = {"new": generate_key(), **(keys if isinstance(keys, dict) else {})}
    return override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "ENCRYPTION_KEYS": keys})


def _reencrypt(user: Any) -> None:
    with under_a_new_key():
        reencrypt()


#: Each way in -> what a user, a program or cron does. There is an embed `sales` that works.
WAYS: dict[str, Callable[[Any], object]] = {
    "create": lambda user: create_embed(slug="support", name="Support", allowed_origins=[SITE]),
    "ensure": lambda user: ensure_embed("support", name="Support", allowed_origins=[SITE]),
    "update": lambda user: update_embed(sales(), name="New"),
    "rotate": lambda user: rotate_embed(sales()),
    "refresh": lambda user: refresh_embed(sales()),
    "resolve": _resolve,
    "sync": lambda user: sync_project(),
    "launch": _launch,
    "launch, from Python": lambda user: open_inbox(request_of(user), "sales", {}),
    "template tag, direct": _tag,
    "own inbox": _own_inbox,
    "own inbox, in a frame": _own_inbox_in_a_frame,
    "API, rotate": partial(_api, "POST", "sales/rotate/"),
    "API, create": partial(
        _api, "POST", "", data='{"slug": "support", "name": "S", "scope_type": "project"}'
    ),
    "API, refresh": partial(_api, "POST", "sales/refresh/"),
    "API, revoke": partial(_api, "DELETE", "sales/"),
    "API, sync": partial(_api, "POST", "sync/"),
    "admin, rotate": _admin,
    "admin, add": _admin_adds,
    "reencrypt": _reencrypt,
}


def all_troubles(steps: Sequence[str]) -> Iterator[tuple[str, Trouble]]:
    """Yield everything that can go wrong in an action that takes these steps."""
    requests = [step for step in steps if step not in ("commit", "write")]
    for name in REQUEST_TROUBLES:
        for at in sorted(set(requests)):
            yield f"{at}: {name}", request_trouble(name, at)
    for at in sorted(set(requests)):
        yield f"{at}: the worker is stopped", Trouble(at=at, fault=Fault(error=SystemExit(1)))
        yield f"{at}: a bug", Trouble(at=at, fault=Fault(error=BrokenHostError()))
    for number in range(len(steps) + 1):
        yield f"dies at {number}", Trouble(dies=number)
        for how in ("fails", "lost", "down"):
            trouble = Trouble(database=how, due=lambda before, n=number: len(before) >= n)
            yield f"database {how} at {number}", trouble


def begin(made: World) -> None:
    """Start anew with one embed that works, of which Kapso was asked some time ago."""
    made.clean()
    cache.clear()
    create_embed(slug="sales", name="Sales", allowed_origins=[SITE])
    made.pass_time(timedelta(minutes=6))


def act(made: World, collected: Collected, action: Callable[[], object], trouble: Trouble) -> None:
    """Do something while something goes wrong, and collect what comes of it."""
    try:
        with made.trouble_with(trouble):
            action()
    except BaseException as error:  # noqa: BLE001 (the point of this)
        collected.add(error)


@pytest.mark.parametrize("action", ACTIONS)
def test_no_row_of_the_fault_table_tells_a_secret(
    made: World, collected: Collected, action: str
) -> None:
    told: dict[str, set[str]] = {}
    for name, trouble in troubles(action).items():
        made.clean()
        if action != "create":
            create_embed(slug="sales", name="Sales", allowed_origins=[SITE])
        act(made, collected, lambda: _act(action), trouble())
        told[name] = collected.told(secrets_of(made))
    # A sync puts what Kapso does into its report, so only the database and its death raise.
    assert collected.errors > (5 if action == "sync" else 20)
    assert {name: places for name, places in told.items() if places} == {}


@pytest.mark.parametrize("way", WAYS)
def test_no_way_in_tells_a_secret(made: World, collected: Collected, ana: Any, way: str) -> None:
    begin(made)
    act(made, collected, lambda: WAYS[way](ana), Trouble())
    told: dict[str, set[str]] = {}
    for name, trouble in all_troubles(tuple(made.steps)):
        begin(made)
        act(made, collected, lambda: WAYS[way](ana), trouble)
        told[name] = collected.told(secrets_of(made))
    assert collected.errors
    assert {name: places for name, places in told.items() if places} == {}


def _malformed(key: str) -> list[Any]:
    return [
        {"test": key[:-1]},
        {"test": key, "a bad id": key},
        {"test": key, "other": key[:20]},
        {"test": f"{key} {key}"},
        [key],
        key,
        {key: key, "x": ""},
        {},
    ]


@pytest.mark.parametrize("way", WAYS)
def test_no_wrong_setting_tells_a_secret(
    made: World, collected: Collected, ana: Any, way: str
) -> None:
    key = settings.KAPSO_INBOX["ENCRYPTION_KEYS"]["test"]
    api_key = settings.KAPSO_INBOX["API_KEY"]
    wrong: list[dict[str, Any]] = [
        *({"ENCRYPTION_KEYS": keys} for keys in (*_malformed(key), OTHER_ENCRYPTION)),
        {"API_KEY": f"{api_key}\n{api_key}"},
        {"API_KEY": "", "PROJECTS": {"default": api_key}},
        {"CA_BUNDLE": "/no/such/file"},
        {"BASE_URL": f"https://{api_key}@kapso.example"},
        {"INBOX_ORIGINS": ["https://inbox.kapso.example"]},
        {"TIMEOUT": 3},
    ]
    told: dict[str, set[str]] = {}
    for values in wrong:
        for at in (0, 1):
            begin(made)
            config = dict(settings.KAPSO_INBOX)

            def change(answer: Any, values: dict[str, Any] = values) -> Any:
                settings.KAPSO_INBOX.update(values)
                return answer

            # Wrong from the start, or from Kapso's answer on.
            if at == 0:
                change(None)
            act(made, collected, lambda: WAYS[way](ana), Trouble(change=change if at else None))
            settings.KAPSO_INBOX.clear()
            settings.KAPSO_INBOX.update(config)
            told[f"{list(values)} {at}"] = collected.told(secrets_of(made))
    assert {name: places for name, places in told.items() if places} == {}


@pytest.mark.parametrize("way", WAYS)
def test_no_mistake_of_the_host_tells_a_secret(
    made: World, collected: Collected, ana: Any, way: str
) -> None:
    """A receiver or a function of the host raises at the worst moment: with the address at hand."""

    def fail(*args: Any, **kwargs: Any) -> None:
        raise BrokenHostError

    breaks: list[Callable[[], contextlib.AbstractContextManager[Any]]] = [
        lambda: receiving(model_signals.pre_save, LaunchAttempt, fail),
        lambda: receiving(model_signals.post_save, LaunchAttempt, fail),
        lambda: receiving(model_signals.pre_save, InboxEmbed, fail),
        lambda: receiving(model_signals.post_init, AccessLink, fail),
        lambda: receiving(inbox_opened, None, fail),
        lambda: override_settings(
            KAPSO_INBOX={**settings.KAPSO_INBOX, "USER_PARAMS": "tests.faults.test_frames.broken"}
        ),
    ]
    told = set()
    for breaking in breaks:
        begin(made)
        with breaking():
            act(made, collected, lambda: WAYS[way](ana), Trouble())
        told |= collected.told(secrets_of(made))
    assert told == set()


def broken(*args: Any) -> None:
    raise BrokenHostError


@contextlib.contextmanager
def receiving(signal: Any, sender: Any, receiver: Callable[..., None]) -> Iterator[None]:
    signal.connect(receiver, sender=sender)
    try:
        yield
    finally:
        signal.disconnect(receiver, sender=sender)
