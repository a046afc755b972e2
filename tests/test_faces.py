"""A policy that narrows one answer: no face shows what it holds back, and none acts on it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.core.cache import cache
from django.db.models import QuerySet
from django.template import Context, Template
from django.test import Client, RequestFactory, override_settings
from django.urls import URLResolver, get_resolver, reverse

from kapso_inbox.access import NARROWING, AccessPolicy
from kapso_inbox.admin.verbs import VERBS
from kapso_inbox.lifecycle import ensure_embed, update_embed
from kapso_inbox.models import (
    AccessLink,
    InboxChange,
    InboxEmbed,
    InboxPreference,
    LaunchAttempt,
    Record,
)
from kapso_inbox.sandbox.engine import Answer, Sandbox
from tests.conftest import FRAME
from tests.hosts.people import User

pytestmark = [pytest.mark.django_db, pytest.mark.table]

SLUG, NAME = "acme-secret", "Their secret customer"
#: A primary key that no other number on a page is by chance.
KEY = 918273645
MISSING_SLUG, MISSING_KEY = "acme-nobody", 918279999
#: The slug of an embed that was deleted. It is still in the audit trail.
DELETED = "acme-deleted"

Embeds = QuerySet[InboxEmbed]


class NarrowsReach(AccessPolicy):
    def within_reach(self, user: Any, embeds: Any) -> Any:
        return super().within_reach(user, embeds).exclude(slug=SLUG)


class NarrowsOpening(AccessPolicy):
    def openable(self, user: Any, embeds: Any) -> Any:
        return super().openable(user, embeds).exclude(slug=SLUG)


class NarrowsManaging(AccessPolicy):
    def manageable(self, user: Any, embeds: Any, action: str) -> Any:
        return super().manageable(user, embeds, action).exclude(slug=SLUG)


class NarrowsSeeing(AccessPolicy):
    def visible(self, user: Any, embeds: Any) -> Any:
        return super().visible(user, embeds).exclude(slug=SLUG)


class NarrowsAuditing(AccessPolicy):
    def auditable(self, user: Any, records: Any) -> Any:
        return super().auditable(user, records).exclude(slug=SLUG)


#: method of the policy -> a policy that narrows its answer.
POLICIES: dict[str, type[AccessPolicy]] = {
    "within_reach": NarrowsReach,
    "openable": NarrowsOpening,
    "manageable": NarrowsManaging,
    "visible": NarrowsSeeing,
    "auditable": NarrowsAuditing,
}
#: The answers that decide which embeds the pages of managers show, and which inboxes open.
MANAGING, OPENING = ("within_reach", "manageable", "visible"), ("within_reach", "openable")


class Tells(NarrowsReach):
    """Holds an embed back from everybody but the superusers, and says so."""

    def within_reach(self, user: Any, embeds: Any) -> Any:
        return embeds if self.sees_everything(user) else super().within_reach(user, embeds)

    def sees_everything(self, user: Any) -> bool:
        return bool(user.is_superuser)


class Lenient(AccessPolicy):
    superusers_open_everything = True

    def may_have_own(self, user: Any) -> bool:
        return False


class Patched(AccessPolicy):
    def __init__(self) -> None:
        self.visible = lambda user, embeds: embeds.none()  # type: ignore[method-assign]


def under(policy: type[AccessPolicy]) -> override_settings:
    path = f"{__name__}.{policy.__name__}"
    return override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "ACCESS_POLICY": path})


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    cache.clear()


@pytest.fixture(params=[False, True], ids=["all permissions", "superuser"])
def user(request: Any, db: None) -> User:
    """Return a user of the admin with every permission, or a superuser."""
    user = User.objects.create_user("mona", is_staff=True, is_superuser=request.param)
    user.user_permissions.set(Permission.objects.all())
    return user


@pytest.fixture
def browser(client: Client, user: User) -> Client:
    client.force_login(user)
    return client


@pytest.fixture
def hidden(kapso_sandbox: Sandbox, user: User) -> InboxEmbed:
    """Create an embed that the policies hold back, with records, beside one that they do not."""
    group = Group.objects.create(name="Everybody")
    user.groups.add(group)
    InboxEmbed.objects.create(pk=KEY, slug=SLUG, name=NAME)
    for slug, name in ((SLUG, NAME), ("support", "Support inbox")):
        embed = ensure_embed(slug, name=name, groups=[group], allowed_origins=[])
        assert embed.obstacle() is None
        LaunchAttempt.objects.create(
            username="mona", slug=slug, embed=embed, link=embed.current_link, outcome="opened"
        )
        InboxChange.objects.create(username="mona", slug=slug, embed=embed, action="changed")
    InboxPreference.objects.create(user=user, embed_id=KEY)
    LaunchAttempt.objects.create(username="mona", slug=DELETED, outcome="opened")
    InboxChange.objects.create(username="mona", slug=DELETED, action="deleted")
    kapso_sandbox.requests.clear()
    return InboxEmbed.objects.select_related("current_link").get(pk=KEY)


def body(response: Any) -> str:
    parts = response.streaming_content if response.streaming else [response.content]
    return b"".join(parts).decode()


def whole(response: Any) -> str:
    """Return everything that an answer tells."""
    headers = {name: text for name, text in response.items() if name not in CLOCK}
    return "\n".join([str(response.status_code), *map(str, headers.items()), body(response)])


def traces(embed: InboxEmbed, text: str) -> list[str]:
    """Return what a text tells of an embed, or of one that was deleted."""
    link = embed.current_link
    assert link is not None
    secrets = (SLUG, NAME, str(KEY), link.reference, link.kapso_id, str(link.pk), DELETED)
    return [secret for secret in secrets if secret in text]


def state() -> list[Any]:
    return [
        list(InboxEmbed.objects.order_by("pk").values()),
        list(AccessLink.objects.order_by("pk").values()),
        InboxChange.objects.count(),
    ]


def page(name: str, *args: Any, model: str = "inboxembed") -> str:
    return reverse(f"admin:kapso_inbox_{model}_{name}", args=args)


def api(name: str, *args: Any) -> str:
    return reverse(f"kapso_inbox_api:{name}", args=args)


#: The headers of an answer that is not cached; they differ with each second.
CLOCK = ("Expires", "Last-Modified")

Call = tuple[str, str, dict[str, Any]]

RECORDS = ("launchattempt", "inboxchange")
AUTOCOMPLETE = {"app_label": "kapso_inbox", "model_name": "launchattempt", "field_name": "embed"}
SEARCHES: list[dict[str, Any]] = [
    {},
    {"q": "secret"},
    {"state": "works"},
    {"project": "default"},
    {"scope_type__exact": "project"},
    {"created_at__year": "2026"},
    {"o": "4"},
]


def calls_for_records() -> Iterator[Call]:
    for model in RECORDS:
        for search in ({}, {"q": "acme"}, {"username": "mona"}):
            yield "get", page("changelist", model=model), search
            yield "get", page("export", model=model), search
        keys = [record.pk for record in records(model)]
        chosen = {"action": "export_selected", "_selected_action": keys}
        yield "post", page("changelist", model=model), chosen
        yield "post", page("changelist", model=model), {**chosen, "select_across": "1"}
    for search in ({}, {"slug": SLUG}, {"user": "mona"}, {"outcome": "opened"}):
        yield "get", api("openings"), search


def calls_for_a_record() -> Iterator[Call]:
    for model in RECORDS:
        for record in records(model):
            if record.slug != "support":
                for name in ("change", "history", "delete"):
                    yield "get", page(name, record.pk, model=model), {}


def records(model: str) -> list[Record]:
    return list({"launchattempt": LaunchAttempt, "inboxchange": InboxChange}[model].objects.all())


def calls_for_all_embeds() -> Iterator[Call]:
    group = Group.objects.get()
    for search in (*SEARCHES, {"groups__id__exact": group.pk}):
        yield "get", page("changelist"), search
    for verb in VERBS:
        chosen = {"action": verb, "_selected_action": KEY}
        yield "post", page("changelist"), chosen
        yield "post", page("changelist"), {**chosen, "select_across": "1"}
        yield "get", page("verb", verb), {"id": [KEY, InboxEmbed.objects.get(slug="support").pk]}
        yield "post", page("verb", verb), {"confirmed": "yes", "target": f"{KEY}:", "expiry": "30"}
    both = {"confirmed": "yes", "target": [f"{KEY}:", f"{KEY + 1}:"], "left_out": [KEY]}
    yield "post", page("verb", "refresh"), both
    yield "get", page("results", "unknown"), {}
    yield "get", page("health"), {}
    yield "get", page("add"), {}
    yield "get", reverse("admin:autocomplete"), AUTOCOMPLETE
    yield "get", reverse("admin:autocomplete"), {**AUTOCOMPLETE, "term": "secret"}
    yield "get", reverse("admin:index"), {}
    yield "get", reverse("admin:app_list", args=["kapso_inbox"]), {}
    yield "get", reverse("admin:auth_group_delete", args=[group.pk]), {}
    if admin.site.is_registered(User):
        user, name = User.objects.get(), f"{User._meta.app_label}_{User._meta.model_name}_delete"
        yield "get", reverse(f"admin:{name}", args=[user.pk]), {}
    for search in ({}, {"search": "secret"}, {"condition": "works"}, {"scope_type": "project"}):
        yield "get", api("embeds"), search


def calls_for_an_embed(slug: str, key: int) -> Iterator[Call]:
    changes = {"name": "New", "slug": slug, "default_mode": "dark", "expiry": "never"}
    for name in ("change", "history", "delete", "preview"):
        yield "get", page(name, key), {}
    yield "post", page("change", key), changes
    yield "post", page("delete", key), {"post": "yes"}
    for verb in VERBS:
        yield "get", page("verb", verb), {"id": key}
    yield "get", api("embed", slug), {}
    yield "patch", api("embed", slug), {"name": "New"}
    yield "delete", api("embed", slug), {}
    for name in ("rotate", "resolve", "refresh"):
        yield "post", api(name, slug), {}


def calls_to_open(slug: str) -> Iterator[Call]:
    for name in ("inbox", "launch", "settings", "reach", "signed_in"):
        yield "get", reverse(f"kapso_inbox:{name}", args=[slug]), {}
    yield "post", reverse("kapso_inbox:settings", args=[slug]), {"mode": "dark"}
    yield "post", api("launch", slug), {}
    yield "get", api("preferences", slug), {}
    yield "put", api("preferences", slug), {"mode": "dark"}
    yield "patch", api("preferences", slug), {"mode": "dark"}
    for waiting in (reverse("kapso_inbox:waiting"), api("waiting"), api("conversations")):
        yield "get", waiting, {"slug": slug}


def calls_for_a_project() -> Iterator[Call]:
    yield "post", page("sync"), {"project": "default"}
    for kind in ("phone_number", "customer", "user"):
        yield "get", page("lookup"), {"kind": kind}
    yield "post", api("sync"), {}
    for name in ("phone-numbers", "customers", "team-members"):
        yield "get", api(name), {}


def ask(browser: Client, call: Call) -> Any:
    method, url, data = call
    browser.cookies.pop("messages", None)  # What the admin said last time.
    options: dict[str, Any] = dict(FRAME)
    if method != "get" and url.startswith("/api/"):
        options["content_type"] = "application/json"
    return getattr(browser, method)(url, data, **options)


def test_every_address_is_asked(hidden: InboxEmbed) -> None:
    asked = [
        *calls_for_records(),
        *calls_for_a_record(),
        *calls_for_all_embeds(),
        *calls_for_an_embed(SLUG, KEY),
        *calls_to_open(SLUG),
        *calls_for_a_project(),
    ]
    resolver = get_resolver("tests.urls")
    walked = {resolver.resolve(url).url_name for _method, url, _data in asked}
    models = [model for model in admin.site._registry if model._meta.app_label == "kapso_inbox"]
    in_admin = [one for model in models for one in admin.site._registry[model].get_urls()]
    pages, endpoints = (
        get_resolver(f"kapso_inbox.{name}").url_patterns for name in ("urls", "api.urls")
    )
    patterns = [
        pattern
        for one in (*in_admin, *pages, *endpoints)
        for pattern in (one.url_patterns if isinstance(one, URLResolver) else [one])
    ]
    known = {pattern.name for pattern in patterns if pattern.name}
    # A webhook comes from Kapso, and not from a user.
    known -= {"webhook"}
    # Nobody adds records, and a user's own inbox is nobody else's.
    others = {f"kapso_inbox_{model}_add" for model in RECORDS}
    others |= {"my_inbox", "my_launch", "my_settings"}
    assert known - walked == others


def test_each_answer_of_the_policy_is_narrowed_in_turn() -> None:
    assert tuple(POLICIES) == NARROWING
    answers = {name for name in vars(AccessPolicy) if not name.startswith("_")}
    assert answers - set(NARROWING) == {
        "superusers_open_everything",
        "admits",
        "may_have_own",
        "sees_everything",
    }


@pytest.mark.parametrize("method", MANAGING)
def test_no_list_shows_an_embed_that_is_held_back(
    browser: Client, hidden: InboxEmbed, kapso_sandbox: Sandbox, method: str
) -> None:
    before = state()
    with under(POLICIES[method]):
        for call in (*calls_for_all_embeds(), *calls_for_records()):
            response = ask(browser, call)
            assert response.status_code in (200, 302, 404), call
            text = whole(response).replace('value="secret"', "")
            assert traces(hidden, text) == [], call
    assert state() == before
    # The health page tries out the API key.
    assert {request.method for request in kapso_sandbox.requests} <= {"GET"}


@pytest.mark.parametrize("method", MANAGING)
def test_an_embed_that_is_held_back_looks_like_one_that_does_not_exist(
    browser: Client, hidden: InboxEmbed, kapso_sandbox: Sandbox, method: str
) -> None:
    before = state()
    with under(POLICIES[method]):
        for call, other in zip(
            calls_for_an_embed(SLUG, KEY),
            calls_for_an_embed(MISSING_SLUG, MISSING_KEY),
            strict=True,
        ):
            assert neutral(ask(browser, call)) == neutral(ask(browser, other)), call
    assert state() == before
    assert kapso_sandbox.requests == []


def neutral(response: Any) -> str:
    """Return what an answer tells, without what the request itself named, and without tokens."""
    text = re.sub(f"{SLUG}|{MISSING_SLUG}", "SLUG", whole(response))
    text = re.sub(f"{KEY}|{MISSING_KEY}", "KEY", text)
    return re.sub(r'csrfmiddlewaretoken" value="\w+"', "", text)


@pytest.mark.parametrize("method", [*MANAGING, "auditable"])
def test_no_record_of_an_embed_that_is_held_back_is_read(
    browser: Client, hidden: InboxEmbed, method: str
) -> None:
    with under(POLICIES[method]):
        for call in calls_for_records():
            text = whole(ask(browser, call))
            assert "support" in text or SLUG in call[2].values() or "acme" in call[2].values()
            text = text.replace(DELETED, "") if method == "auditable" else text
            assert traces(hidden, text) == [], call
        for call in calls_for_a_record():
            response = ask(browser, call)
            if method != "auditable":
                assert response.status_code in (302, 403), call
                assert traces(hidden, whole(response)) == [], call


@pytest.mark.parametrize("method", OPENING)
def test_an_inbox_that_is_held_back_opens_nowhere(
    browser: Client, hidden: InboxEmbed, user: User, kapso_sandbox: Sandbox, method: str
) -> None:
    with under(POLICIES[method]):
        for call, other in zip(calls_to_open(SLUG), calls_to_open(MISSING_SLUG), strict=True):
            response, missing = ask(browser, call), ask(browser, other)
            assert response.status_code == missing.status_code, call
            assert "kapso.ai" not in response.get("Location", "")
            if method == "within_reach":  # Otherwise the page tells a manager why.
                assert neutral(response) == neutral(missing), call
        for delivery in ("launch", "direct"):
            shown, nothing = (rendered(slug, user, delivery) for slug in (SLUG, MISSING_SLUG))
            assert shown.replace(SLUG, "SLUG") == nothing.replace(MISSING_SLUG, "SLUG")
    assert kapso_sandbox.requests == []
    assert not LaunchAttempt.objects.filter(slug=SLUG, outcome="opened").exclude(embed=KEY).exists()


def rendered(slug: str, user: User, delivery: str) -> str:
    request = RequestFactory().get("/")
    request.user = user
    template = "{% load kapso_inbox %}{% kapso_inbox slug %}{% kapso_inbox_link slug %}"
    with override_settings(KAPSO_INBOX={**settings.KAPSO_INBOX, "DELIVERY": delivery}):
        return Template(template).render(Context({"request": request, "slug": slug}))


@pytest.mark.parametrize("method", POLICIES)
def test_what_concerns_a_whole_project_is_for_those_who_see_everything(
    browser: Client, hidden: InboxEmbed, kapso_sandbox: Sandbox, method: str
) -> None:
    with under(POLICIES[method]):
        for call in calls_for_a_project():
            assert ask(browser, call).status_code == 403, call
        assert kapso_sandbox.requests == []
        assert "data-kapso-picker" not in body(browser.get(page("add")))
        findings = browser.get(page("health")).context
        shown = [one.finding for one in (*findings["wrong"], *findings["fine"])]
        assert [finding for finding in shown if not finding.embed] == []
        for model in RECORDS:
            assert DELETED not in body(browser.get(page("changelist", model=model)))
        assert DELETED not in body(browser.get(api("openings")))
    for call in calls_for_a_project():
        assert ask(browser, call).status_code in (200, 302), call
    assert "data-kapso-picker" in body(browser.get(page("add")))


@pytest.mark.parametrize("method", POLICIES)
def test_a_wrong_scope_is_refused_without_naming_what_the_project_has(
    browser: Client, hidden: InboxEmbed, kapso_sandbox: Sandbox, method: str
) -> None:
    new = {"name": "New", "slug": "new", "scope_type": "phone_number", "scope_id": "99999"}
    form = {**new, "default_mode": "system", "expiry": "never", "allowed_origins": "*"}
    own = {**new, "allowed_origins": ["*"]}
    calls: list[Call] = [("post", page("add"), form), ("post", api("embeds"), own)]
    number = kapso_sandbox.project().phone_numbers[0]["display_phone_number"]
    for call in calls:
        ask(browser, ("get", api("phone-numbers"), {}))  # What is kept is not told, either.
        with under(POLICIES[method]):
            kapso_sandbox.fail_next(method="POST", answer=Answer(404, {"error": "Not found"}))
            text = body(ask(browser, call))
        assert "Kapso does not know this ID" in text
        assert number not in text
        kapso_sandbox.fail_next(method="POST", answer=Answer(404, {"error": "Not found"}))
        assert number in body(ask(browser, call))


@pytest.mark.parametrize("method", ["within_reach", "visible"])
def test_a_manager_who_may_not_see_an_embed_is_not_told_of_it_at_a_refused_launch(
    browser: Client, hidden: InboxEmbed, method: str
) -> None:
    update_embed(hidden, groups=[Group.objects.create(name="Others")])
    with under(POLICIES[method]):
        text = body(ask(browser, ("get", reverse("kapso_inbox:launch", args=[SLUG]), {})))
    assert NAME not in text
    assert "Others" not in text


def test_a_policy_can_say_who_sees_everything(
    browser: Client, user: User, hidden: InboxEmbed
) -> None:
    expected = user.is_superuser
    with under(Tells):
        assert (ask(browser, ("post", api("sync"), {})).status_code == 200) is expected
        openings = body(ask(browser, ("get", api("openings"), {})))
    assert (SLUG in openings and DELETED in openings) is expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (AccessPolicy, True),
        (Lenient, True),
        (Patched, False),
        *[(p, False) for p in POLICIES.values()],
    ],
)
def test_a_policy_that_overrides_no_answer_holds_nothing_back(
    user: User, policy: type[AccessPolicy], expected: bool
) -> None:
    assert policy().sees_everything(user) is expected


def test_a_failed_embed_that_is_held_back_is_not_taken_over(
    browser: Client, user: User, kapso_sandbox: Sandbox, make_agent: Callable[..., User]
) -> None:
    InboxEmbed.objects.create(slug=SLUG, name=NAME)
    new = {"slug": SLUG, "name": "New", "scope_type": "project", "allowed_origins": ["*"]}
    for policy in (NarrowsReach, NarrowsManaging, NarrowsSeeing):
        with under(policy):
            response = ask(browser, ("post", api("embeds"), new))
            assert response.json()["error"]["code"] == "slug_taken"
    assert InboxEmbed.objects.get().name == NAME
    assert kapso_sandbox.requests == []
