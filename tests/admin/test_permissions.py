"""Each page and button requires its own permission: add, change, delete, view or open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib import admin as django_admin
from django.contrib.auth.models import Permission
from django.db.models import QuerySet
from django.test import Client
from django.urls import reverse

from kapso_inbox.access import AccessPolicy
from kapso_inbox.admin.health import MOST
from kapso_inbox.admin.verbs import VERBS
from kapso_inbox.diagnosis.findings import MANY
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed
from kapso_inbox.sandbox.engine import Sandbox
from tests.hosts.database import connection
from tests.hosts.people import User

from .cases import confirmed, live, make, rows, targets
from .conftest import MANAGING, url

pytestmark = [pytest.mark.django_db, pytest.mark.table]

ALL = frozenset({*MANAGING, "open"})

Allowed = Callable[[frozenset[str]], bool]


def looks(has: frozenset[str]) -> bool:
    """Return whether embeds may be viewed: in Django's admin, change includes view."""
    return bool(has & {"view", "change"})


@dataclass(frozen=True)
class Page:
    """A request to one address.

    Attributes:
        name: the name of the address.
        allowed: whether a user with these permissions gets an answer.
        method: `get` or `post`.
        condition: the condition of the embed that it is about.
        data: the data that is sent.
        args: the arguments of the address.
    """

    name: str
    allowed: Allowed
    method: str = "get"
    condition: str = "works"
    data: Callable[[InboxEmbed], dict[str, Any]] = lambda embed: {}
    args: Callable[[InboxEmbed], tuple[Any, ...]] = lambda embed: (embed.pk,)

    def ask(self, client: Client, embed: InboxEmbed) -> Any:
        return getattr(client, self.method)(url(self.name, *self.args(embed)), self.data(embed))


def none(embed: InboxEmbed) -> tuple[Any, ...]:
    return ()


def _typed(embed: InboxEmbed) -> dict[str, Any]:
    return {
        "name": "Typed by hand",
        "slug": f"typed-{embed.pk}",
        "scope_type": "project",
        "default_mode": "dark",
        "allowed_origins": "https://crm.example.com",
        "expiry": "never",
    }


def _for_verb(name: str, condition: str) -> list[Page]:
    needed = VERBS[name].permission

    def allowed(has: frozenset[str]) -> bool:
        return needed in has and looks(has)

    def address(embed: InboxEmbed) -> tuple[Any, ...]:
        return (name,)

    def confirmed(embed: InboxEmbed) -> dict[str, Any]:
        newest = embed.links.order_by("-created_at", "-pk").first()
        target = f"{embed.pk}:{newest.pk if newest else ''}"
        return {"confirmed": "yes", "target": target, "expiry": "30"}

    asked = Page("verb", allowed, "get", condition, lambda embed: {"id": embed.pk}, address)
    return [asked, Page("verb", allowed, "post", condition, confirmed, address)]


PAGES = [
    Page("changelist", looks, args=none),
    Page("add", lambda has: "add" in has, args=none),
    Page("add", lambda has: "add" in has, "post", data=_typed, args=none),
    Page("change", looks),
    Page("change", lambda has: "change" in has, "post", data=_typed),
    Page("history", looks),
    Page("preview", looks),
    Page("health", looks, args=none),
    Page(
        "lookup",
        lambda has: bool(has & {"add", "change"}),
        args=none,
        data=lambda embed: {"kind": "phone_number"},
    ),
    Page(
        "sync",
        lambda has: "change" in has,
        "post",
        args=none,
        data=lambda embed: {"project": "default"},
    ),
    *_for_verb("rotate", "works"),
    *_for_verb("adopt", "unmanaged"),
    *_for_verb("extend", "works"),
    *_for_verb("refresh", "works"),
    *_for_verb("resolve", "waits to be made"),
    *_for_verb("revoke", "works"),
    *_for_verb("delete", "revoked"),
]

RIGHTS = [
    pytest.param(None, id="anonymous"),
    pytest.param(frozenset(), id="staff without a permission"),
    *(pytest.param(frozenset({one}), id=f"only {one}") for one in sorted(ALL)),
    *(pytest.param(ALL - {one}, id=f"all but {one}") for one in sorted(ALL)),
    pytest.param(ALL, id="all"),
]


def is_refused(response: Any) -> bool:
    """Return whether a response only refuses; Django's admin may redirect to its index to do so."""
    if response.status_code == 302:
        to = response["Location"]
        return bool(to.startswith(reverse("admin:login")) or to == reverse("admin:index"))
    return response.status_code in (403, 404)


def state() -> list[Any]:
    return [
        list(InboxEmbed.objects.order_by("pk").values()),
        list(AccessLink.objects.order_by("pk").values()),
        InboxChange.objects.count(),
    ]


def test_every_address_of_the_admin_is_in_the_table() -> None:
    addresses = django_admin.site._registry[InboxEmbed].get_urls()
    prefix = "kapso_inbox_inboxembed_"
    names = {str(pattern.name).removeprefix(prefix) for pattern in addresses if pattern.name}
    # The page to delete only redirects to that verb, and that of results knows nothing by itself.
    assert names - {"delete", "results"} == {page.name for page in PAGES}
    # Django redirects the address that it once used for the change page.
    assert [str(p.pattern) for p in addresses if not p.name] == ["<path:object_id>/"]
    verbs = {page.args(InboxEmbed())[0] for page in PAGES if page.name == "verb"}
    assert verbs == VERBS.keys()


@pytest.mark.no_cover  # Other tests cover the same lines.
@pytest.mark.parametrize("has", RIGHTS)
@pytest.mark.parametrize(
    "page", [pytest.param(page, id=f"{page.method} {page.name}") for page in PAGES]
)
def test_each_page_answers_users_with_its_permission_and_nobody_else(
    client: Client,
    make_administrator: Callable[..., User],
    kapso_sandbox: Sandbox,
    has: frozenset[str] | None,
    page: Page,
) -> None:
    embed = make(page.condition, kapso_sandbox)
    if has is not None:
        client.force_login(make_administrator("staff", *has))
    before = state()
    kapso_sandbox.requests.clear()
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    try:
        response = page.ask(client, embed)
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False
    allowed = has is not None and page.allowed(has)
    assert response.status_code < 500
    if page.method == "get":
        assert is_refused(response) is not allowed
    else:
        assert (state() != before or kapso_sandbox.requests != []) is allowed
    if not allowed:
        assert state() == before
        assert kapso_sandbox.requests == []
        assert embed.name not in response.content.decode()


@pytest.mark.parametrize("fault", [{"delay": 0.1}, {"drop": "after"}], ids=["slow", "lost"])
@pytest.mark.parametrize("has", [frozenset({"add"}), frozenset({"delete"})])
def test_a_user_who_may_only_add_is_not_redirected_to_a_forbidden_page(
    client: Client,
    make_administrator: Callable[..., User],
    kapso_sandbox: Sandbox,
    filled_in: dict[str, Any],
    has: frozenset[str],
    fault: dict[str, Any],
) -> None:
    client.force_login(make_administrator("staff", *has))
    kapso_sandbox.fail_next(method="POST", **fault)
    for _press in range(2):
        response = client.post(url("add"), filled_in, follow=True)
        assert response.status_code == (200 if "add" in has else 403)
    assert InboxEmbed.objects.count() == len(live(kapso_sandbox)) == ("add" in has)


@pytest.mark.parametrize("has", [("add",), ("add", "view")])
def test_after_adding_one_lands_where_one_may_be_and_is_told_what_was_added(
    client: Client,
    make_administrator: Callable[..., User],
    kapso_sandbox: Sandbox,
    filled_in: dict[str, Any],
    has: tuple[str, ...],
) -> None:
    client.force_login(make_administrator("staff", *has))
    page = client.post(url("add"), filled_in, follow=True)
    if "view" in has:
        assert page.redirect_chain == [(url("preview", InboxEmbed.objects.get().pk), 302)]
        assert "“Support inbox” is ready. This is what it looks like" in page.text
    else:
        assert page.redirect_chain == [(reverse("admin:index"), 302)]
        assert "The inbox embed “Support inbox” was added successfully." in page.text
        # The index leads to the form, and nowhere that is forbidden.
        assert url("add") in page.text
        assert f'"{url("changelist")}"' not in page.text
    kapso_sandbox.fail_next(method="POST", drop="after")
    page = client.post(url("add"), {**filled_in, "slug": "lost", "name": "Lost"}, follow=True)
    lost = InboxEmbed.objects.get(slug="lost")
    if "view" in has:
        assert page.redirect_chain == [(url("change", lost.pk), 302)]
        assert "press “Find out what became of it” here" in page.text
    else:
        assert page.redirect_chain == [(reverse("admin:index"), 302)]
        assert "Do not add “Lost” again: ask somebody who may change inboxes" in page.text


@pytest.mark.usefixtures("hides_one")
def test_after_adding_one_that_is_out_of_reach_one_lands_on_the_list(
    admin: Client, kapso_sandbox: Sandbox, filled_in: dict[str, Any]
) -> None:
    page = admin.post(url("add"), {**filled_in, "slug": "hidden"}, follow=True)
    assert page.redirect_chain == [(url("changelist"), 302)]
    assert "The inbox embed “Support inbox” was added successfully." in page.text


@pytest.mark.parametrize("has", RIGHTS)
def test_the_list_offers_and_accepts_only_permitted_verbs(
    client: Client,
    make_administrator: Callable[..., User],
    kapso_sandbox: Sandbox,
    has: frozenset[str] | None,
) -> None:
    embed = make("works", kapso_sandbox)
    if has is not None:
        client.force_login(make_administrator("staff", *has))
    rights = has or frozenset()
    expected = {name for name, verb in VERBS.items() if verb.permission in rights}
    if has is not None and looks(has):
        form = client.get(url("changelist")).context.get("action_form")
        offered = {name for name, _label in form.fields["action"].choices} if form else {""}
        assert offered - {""} == expected
    else:
        expected = set()
    for name in (*VERBS, "delete_selected"):
        data = {"action": name, "_selected_action": embed.pk, "post": "yes"}
        answer = client.post(url("changelist"), data, follow=True)
        asks = answer.status_code == 200 and targets_or_none(answer) is not None
        assert asks is (name in expected)
    assert InboxEmbed.objects.exists()
    assert len(live(kapso_sandbox)) == 1


def targets_or_none(answer: Any) -> list[str] | None:
    context = answer.context or {}
    return targets(answer) if "rows" in context and "verb" in context else None


@pytest.mark.parametrize("has", RIGHTS)
def test_the_page_of_an_embed_offers_only_permitted_verbs(
    client: Client,
    make_administrator: Callable[..., User],
    kapso_sandbox: Sandbox,
    has: frozenset[str] | None,
) -> None:
    if has is None or not looks(has):
        return
    embed = make("works", kapso_sandbox)
    client.force_login(make_administrator("staff", *has))
    for name in ("change", "preview"):
        page = client.get(url(name, embed.pk))
        for verb in page.context["panel"]["verbs"]:
            assert VERBS[verb["name"]].permission in has
            assert client.get(verb["url"]).status_code == 200
    assert ("kapso-inbox__frame" in page.text or "<iframe" in page.text) is ("open" in has)
    assert ('name="_save"' in client.get(url("change", embed.pk)).text) is ("change" in has)


def test_results_are_only_for_those_who_may_see_embeds(
    client: Client, make_administrator: Callable[..., User], kapso_sandbox: Sandbox
) -> None:
    embeds = [make("works", kapso_sandbox, slug) for slug in ("a", "b")]
    staff = make_administrator("staff", "change", "delete")
    client.force_login(staff)
    _sent, done = confirmed(client, "revoke", *embeds)
    assert client.get(done["Location"]).status_code == 200
    staff.user_permissions.set([])
    assert client.get(done["Location"]).status_code == 403
    other = Client()
    other.force_login(make_administrator("other", "view"))
    assert other.get(done["Location"])["Location"] == url("changelist")
    # Who may not revoke any more does not continue with it.
    session = client.session
    session["kapso_inbox_results"][0]["rest"] = [f"{embeds[0].pk}:"]
    session.save()
    staff.user_permissions.set(Permission.objects.filter(codename="view_inboxembed"))
    assert client.get(done["Location"]).status_code == 200
    assert client.post(done["Location"]).status_code == 403


class HidesOne(AccessPolicy):
    """Holds back the embed `hidden` from everybody."""

    def within_reach(self, user: Any, embeds: QuerySet[InboxEmbed]) -> QuerySet[InboxEmbed]:
        return embeds.exclude(slug="hidden")


@pytest.fixture
def hides_one(settings: Any) -> None:
    policy = f"{__name__}.HidesOne"
    settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, "ACCESS_POLICY": policy}


@pytest.mark.usefixtures("hides_one")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=f"{page.method} {page.name}")
        for page in PAGES
        if page.name in ("change", "history", "preview", "verb")
    ],
)
@pytest.mark.parametrize("superuser", [False, True])
def test_an_embed_out_of_reach_is_out_of_reach_on_every_page(
    client: Client,
    make_administrator: Callable[..., User],
    kapso_sandbox: Sandbox,
    page: Page,
    superuser: bool,
) -> None:
    embed = make(page.condition, kapso_sandbox, "hidden")
    InboxEmbed.objects.filter(pk=embed.pk).update(slug="hidden")
    other = make("works", kapso_sandbox, "seen")
    client.force_login(make_administrator("staff", *ALL, is_superuser=superuser))
    before = state()
    kapso_sandbox.requests.clear()
    response = page.ask(client, embed)
    assert is_refused(response)
    assert embed.name not in response.content.decode()
    assert state() == before
    assert kapso_sandbox.requests == []
    assert client.get(url("preview", other.pk)).status_code == 200


@pytest.mark.usefixtures("hides_one")
def test_an_embed_out_of_reach_is_in_no_list(admin: Client, kapso_sandbox: Sandbox) -> None:
    make("works", kapso_sandbox, "seen")
    # The newest, so its link is the one with which the API key is tried at Kapso.
    embed = make("works", kapso_sandbox, "hidden", name="Their secret customer")
    for page in (
        admin.get(url("changelist")),
        admin.get(url("changelist"), {"q": "customer"}),
        admin.get(url("health")),
        admin.get(
            url("verb", "rotate"), {"id": [embed.pk, InboxEmbed.objects.get(slug="seen").pk]}
        ),
        admin.post(
            url("changelist"),
            {"action": "rotate", "_selected_action": embed.pk, "select_across": "1"},
            follow=True,
        ),
    ):
        assert page.status_code == 200
        assert "Their secret customer" not in page.text
        assert "hidden</" not in page.text
        assert "“hidden”" not in page.text


class HidesTheirs(AccessPolicy):
    """Holds back the embeds whose slug begins with `their`."""

    def visible(self, user: Any, embeds: QuerySet[InboxEmbed]) -> Any:
        return super().visible(user, embeds).exclude(slug__startswith="their")


def test_many_broken_embeds_of_others_hide_none_that_the_user_may_see(
    admin: Client, kapso_sandbox: Sandbox, settings: Any
) -> None:
    policy = f"{__name__}.HidesTheirs"
    settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, "ACCESS_POLICY": policy}
    for number in range(MANY + 3):
        InboxEmbed.objects.create(slug=f"theirs-{number}", name="Theirs")
        InboxEmbed.objects.create(slug=f"yours-{number:02}", name="Yours")
    page = admin.get(url("health"))
    told = [
        entry.finding
        for entry in page.context["wrong"]
        if entry.finding.code == "embed-without-link"
    ]
    assert [one.embed for one in told[:MANY]] == [f"yours-{number:02}" for number in range(MANY)]
    assert [one.what for one in told[MANY:]] == ["And 3 more like these."]


def test_with_many_embeds_only_some_of_those_that_the_user_may_see_are_looked_at(
    admin: Client, kapso_sandbox: Sandbox, settings: Any
) -> None:
    policy = f"{__name__}.HidesTheirs"
    settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, "ACCESS_POLICY": policy}
    InboxEmbed.objects.bulk_create(
        InboxEmbed(slug=f"{whose}-{number:03}", name=whose)
        for whose in ("theirs", "yours")
        for number in range(MOST + 10)
    )
    page = admin.get(url("health"))
    told = [entry.finding for entry in (*page.context["wrong"], *page.context["fine"])]
    assert [one.what for one in told if one.code == "embed-without-link"][MANY:] == [
        f"And {MOST + 10 - MANY} more like these."
    ]
    [some] = [one.what for one in told if one.code == "not-all-checked"]
    assert some.startswith(f"There are {MOST + 10} inboxes,")
    assert "theirs" not in page.text


@pytest.mark.usefixtures("hides_one")
def test_a_user_who_does_not_reach_all_embeds_cannot_sync_a_project(
    admin: Client, kapso_sandbox: Sandbox
) -> None:
    InboxEmbed.objects.create(slug="seen", name="Seen")
    assert admin.post(url("sync"), {"project": "default"}).status_code == 403
    assert kapso_sandbox.requests == []


class LooksOnly(AccessPolicy):
    """Lets nobody change the embed `locked`, which can be viewed."""

    def manageable(self, user: Any, embeds: QuerySet[InboxEmbed], action: str) -> Any:
        allowed = super().manageable(user, embeds, action)
        return allowed if action == "view" else allowed.exclude(slug="locked")


def test_a_verb_is_not_applied_to_an_embed_that_the_user_may_only_view(
    admin: Client, kapso_sandbox: Sandbox, settings: Any
) -> None:
    policy = f"{__name__}.LooksOnly"
    settings.KAPSO_INBOX = {**settings.KAPSO_INBOX, "ACCESS_POLICY": policy}
    locked = make("works", kapso_sandbox, "locked")
    free = make("works", kapso_sandbox, "free")
    chosen = {"action": "revoke", "_selected_action": [locked.pk, free.pk]}
    page = admin.post(url("changelist"), chosen, follow=True)
    obstacles = {row["embed"].slug: row["obstacle"] for row in page.context["rows"]}
    assert obstacles == {"locked": "You may view it, but not change it.", "free": ""}
    by_hand = {"confirmed": "yes", "target": [f"{locked.pk}:", *targets(page)]}
    told = rows(admin.post(url("verb", "revoke"), by_hand))
    assert [(row["slug"], row["outcome"]) for row in told] == [
        ("locked", "nothing"),
        ("free", "done"),
    ]
    assert len(live(kapso_sandbox)) == 1


@pytest.mark.usefixtures("hides_one")
def test_a_failed_embed_out_of_reach_is_neither_taken_over_nor_deleted(
    admin: Client, kapso_sandbox: Sandbox, filled_in: dict[str, Any]
) -> None:
    theirs = make("no link", kapso_sandbox, "hidden", name="Their secret customer")
    before = InboxEmbed.objects.filter(pk=theirs.pk).values().get()
    kapso_sandbox.requests.clear()
    for scope_id in (filled_in["scope_id"], "99999"):
        response = admin.post(url("add"), {**filled_in, "slug": "hidden", "scope_id": scope_id})
        told = response.context["adminform"].form.errors["slug"]
        assert told == ["There is an embed with this slug already."]
    assert InboxEmbed.objects.filter(pk=theirs.pk).values().get() == before
    assert kapso_sandbox.requests == []
