"""Who may do what: every endpoint is requested with each right missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.db.models import QuerySet
from django.test import override_settings
from django.urls import URLResolver, get_resolver
from rest_framework.test import APIClient

from kapso_inbox.access import AccessPolicy
from kapso_inbox.lifecycle import create_embed
from kapso_inbox.models import AccessLink, InboxEmbed
from kapso_inbox.sandbox.engine import Sandbox
from tests.hosts.people import User

from .conftest import API, EMBEDS, MANAGE, SALES, error

pytestmark = pytest.mark.django_db

OPEN, AUDIT = "open_inboxembed", "view_launchattempt"
ALL = (*(f"{action}_inboxembed" for action in MANAGE), OPEN, AUDIT)

#: (method, address, what the body names) -> the rights of which any one is enough, and the status
#: without them.
WALK: dict[tuple[str, str, str], tuple[tuple[str, ...], int]] = {
    ("get", EMBEDS, ""): (("view", "change"), 403),
    ("post", EMBEDS, "embed"): (("add",), 403),
    ("get", SALES, ""): (("view", "change"), 403),
    ("put", SALES, ""): (("change",), 403),
    ("put", f"{EMBEDS}support/", "embed"): (("add",), 403),
    ("patch", SALES, ""): (("change",), 403),
    ("delete", SALES, ""): (("delete",), 403),
    ("post", f"{SALES}rotate/", ""): (("change",), 403),
    ("post", f"{SALES}resolve/", ""): (("change",), 403),
    ("post", f"{SALES}refresh/", ""): (("change",), 403),
    ("post", f"{EMBEDS}sync/", ""): (("change",), 403),
    ("post", f"{SALES}launch/", ""): ((OPEN,), 404),
    ("get", f"{SALES}preferences/", ""): ((OPEN,), 404),
    ("put", f"{SALES}preferences/", ""): ((OPEN,), 404),
    ("patch", f"{SALES}preferences/", ""): ((OPEN,), 404),
    ("get", f"{API}phone-numbers/", ""): (("add", "change"), 403),
    ("get", f"{API}customers/", ""): (("add", "change"), 403),
    ("get", f"{API}team-members/", ""): (("add", "change"), 403),
    ("get", f"{API}openings/", ""): ((AUDIT,), 403),
    ("get", f"{API}conversations/", ""): ((OPEN,), 403),
    ("get", f"{API}waiting/", ""): ((OPEN,), 403),
}


class Tenants(AccessPolicy):
    """Users reach only the embeds whose slug begins with their last name."""

    def within_reach(self, user: User, embeds: QuerySet[InboxEmbed]) -> QuerySet[InboxEmbed]:  # type: ignore[override]
        return embeds.filter(slug__startswith=user.last_name)


def send(client: APIClient, call: tuple[str, str, str]) -> Any:
    method, url, body = call
    embed = {"slug": "support", "name": "Support", "scope_type": "project"}
    return getattr(client, method)(url, embed if body else {})


def codename(right: str) -> str:
    return right if "_" in right else f"{right}_inboxembed"


@pytest.fixture
def for_all(kapso_sandbox: Sandbox) -> InboxEmbed:
    """Create an embed that every user with the permission may open."""
    return create_embed(slug="sales", name="Sales inbox")


def test_every_endpoint_is_in_the_table() -> None:
    resolver = get_resolver("tests.api.urls")
    walked = {(method, resolver.resolve(url).url_name) for method, url, _ in WALK}
    known = {
        (method, pattern.name)
        for one in resolver.url_patterns[0].url_patterns
        for pattern in (one.url_patterns if isinstance(one, URLResolver) else [one])
        for method in ("get", "post", "put", "patch", "delete")
        if hasattr(pattern.callback.view_class, method)
    }
    assert walked == known


@pytest.mark.table
@pytest.mark.parametrize("call", WALK, ids=" ".join)
def test_any_of_the_rights_is_enough_and_without_one_nothing_is_done(
    call: tuple[str, str, str],
    for_all: InboxEmbed,
    kapso_sandbox: Sandbox,
    ask: Callable[[User], APIClient],
    make_manager: Callable[..., User],
) -> None:
    needed, refusal = WALK[call]
    names = [codename(right) for right in needed]
    others = [name for name in ALL if name not in names]
    if call[0] == "put" and call[1].endswith("support/"):
        # With it the address is found, and the answer is a 404: see below.
        others.remove("change_inboxembed")
    if call[:2] == ("put", SALES):
        others.remove("add_inboxembed")
    since = len(kapso_sandbox.requests)
    response = send(ask(make_manager("without", *others)), call)
    assert response.status_code == refusal
    assert error(response)["code"] == ("permission_denied" if refusal == 403 else "not_found")
    assert len(kapso_sandbox.requests) == since
    assert InboxEmbed.objects.count() == 1
    for number, name in enumerate(names):
        response = send(ask(make_manager(f"with {number}", name)), call)
        assert response.status_code in (200, 201), response.json()


@pytest.mark.table
@pytest.mark.parametrize("call", WALK, ids=" ".join)
def test_anonymous_requests_are_refused(
    call: tuple[str, str, str], for_all: InboxEmbed, make_manager: Callable[..., User]
) -> None:
    client = APIClient()
    response = send(client, call)
    # REST framework answers 403: its first authentication, by session, has no challenge.
    assert (response.status_code, error(response)["code"]) == (403, "not_authenticated")
    client.credentials(HTTP_AUTHORIZATION="Basic bW9uYTp3cm9uZw==")
    response = send(client, call)
    assert (response.status_code, error(response)["code"]) == (403, "authentication_failed")


ABOUT_ONE = [call for call in WALK if "/sales/" in call[1] and call[:2] != ("put", SALES)]


@pytest.mark.parametrize("call", ABOUT_ONE, ids=" ".join)
def test_an_embed_out_of_reach_looks_like_one_that_does_not_exist(
    call: tuple[str, str, str],
    for_all: InboxEmbed,
    kapso_sandbox: Sandbox,
    ask: Callable[[User], APIClient],
    make_manager: Callable[..., User],
) -> None:
    method, url, body = call
    client = ask(make_manager("acme", *ALL, last_name="acme"))
    since = len(kapso_sandbox.requests)
    with policy(Tenants):
        there = send(client, call)
        missing = send(client, (method, url.replace("sales", "nothing"), body))
    assert there.status_code == missing.status_code == 404
    assert there.json() == missing.json()
    assert len(kapso_sandbox.requests) == since


def policy(kind: type[AccessPolicy]) -> override_settings:
    return override_settings(
        KAPSO_INBOX={**settings.KAPSO_INBOX, "ACCESS_POLICY": f"{__name__}.{kind.__name__}"}
    )


def test_put_of_an_embed_out_of_reach_is_answered_as_a_creation_of_it(
    for_all: InboxEmbed,
    kapso_sandbox: Sandbox,
    ask: Callable[[User], APIClient],
    make_manager: Callable[..., User],
) -> None:
    client = ask(make_manager("acme", *ALL, last_name="acme"))
    changer = ask(make_manager("changer", "change_inboxembed", last_name="acme"))
    with policy(Tenants):
        mine = {"name": "Mine", "scope_type": "project"}
        response = client.put(SALES, mine)
        assert (response.status_code, error(response)["code"]) == (409, "slug_taken")
        response = changer.put(SALES, mine)
        assert (response.status_code, error(response)["code"]) == (404, "not_found")
    for_all.refresh_from_db()
    assert for_all.name == "Sales inbox"


def test_nobody_takes_over_a_failed_embed_that_is_out_of_their_reach(
    kapso_sandbox: Sandbox, ask: Callable[[User], APIClient], make_manager: Callable[..., User]
) -> None:
    sales = ask(make_manager("sales", *ALL, last_name="sales"))
    acme = ask(make_manager("acme", *ALL, last_name="acme"))
    with policy(Tenants):
        kapso_sandbox.fail_next(drop="before")
        theirs = {"slug": "sales", "name": "Sales", "scope_type": "project"}
        assert sales.post(EMBEDS, theirs).status_code == 504
        AccessLink.objects.update(state=AccessLink.State.FAILED)
        response = acme.post(EMBEDS, {**theirs, "name": "Mine"})
        assert (response.status_code, error(response)["code"]) == (409, "slug_taken")
        assert InboxEmbed.objects.get().name == "Sales"
        assert sales.post(EMBEDS, theirs).status_code == 201


def test_a_list_holds_what_is_within_reach_and_a_sync_requires_all_embeds_to_be(
    for_all: InboxEmbed, ask: Callable[[User], APIClient], make_manager: Callable[..., User]
) -> None:
    client = ask(make_manager("acme", *ALL, last_name="acme"))
    create_embed(slug="acme-support", name="Acme")
    with policy(Tenants):
        assert [row["slug"] for row in client.get(EMBEDS).json()["results"]] == ["acme-support"]
        assert client.post(f"{EMBEDS}sync/").status_code == 403


def test_a_user_who_may_only_view_an_embed_is_forbidden_to_change_it(
    for_all: InboxEmbed, api: APIClient
) -> None:
    with policy(LooksOnly):
        assert api.get(SALES).status_code == 200
        response = api.patch(SALES, {"name": "New"})
        assert (response.status_code, error(response)["code"]) == (403, "permission_denied")
        assert api.patch(f"{EMBEDS}nothing/", {}).status_code == 404


class LooksOnly(AccessPolicy):
    """Everybody may view the embed `sales`, and nobody may change it."""

    def manageable(self, user: Any, embeds: QuerySet[InboxEmbed], action: str) -> Any:
        allowed = super().manageable(user, embeds, action)
        return allowed if action == "view" else allowed.exclude(slug="sales")
