"""Who may open and manage which embeds, under the stock policy and under a host's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser, Group, Permission
from django.db.models import QuerySet
from django.test import override_settings

from kapso_inbox.access import OPEN, AccessPolicy, get_policy, has_permission
from kapso_inbox.lifecycle import update_embed
from kapso_inbox.models import InboxEmbed
from tests.hosts.people import User

pytestmark = pytest.mark.django_db


class Lenient(AccessPolicy):
    superusers_open_everything = True


class Tenants(AccessPolicy):
    """Users see only the embeds of their organisation: its name is the start of the slug."""

    def within_reach(self, user: User, embeds: QuerySet[InboxEmbed]) -> QuerySet[InboxEmbed]:  # type: ignore[override]
        return embeds.filter(slug__startswith=user.last_name)


class OnlyForSales(ModelBackend):
    """Groups grant nothing but to a user whose last name is theirs."""

    def _get_group_permissions(self, user_obj: Any) -> QuerySet[Permission]:
        return Permission.objects.filter(group__name=user_obj.last_name)


class Generous(ModelBackend):
    """Everybody has every permission."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return True


@pytest.fixture
def embeds(sales: Group) -> list[InboxEmbed]:
    for_all, for_sales, for_both = (
        InboxEmbed.objects.create(slug=slug, name=slug) for slug in ("all", "sales", "both")
    )
    for_sales.groups.set([sales])
    for_both.groups.set([sales, Group.objects.create(name="Support")])
    return [for_all, for_sales, for_both]


def slugs(embeds: QuerySet[InboxEmbed]) -> list[str]:
    return sorted(embeds.values_list("slug", flat=True))


def openable(user: User | AnonymousUser) -> list[str]:
    return slugs(get_policy().openable(user, InboxEmbed.objects.all()))


def test_the_permission_opens_embeds_without_groups(
    embeds: list[InboxEmbed], make_agent: Callable[..., User]
) -> None:
    assert openable(make_agent("bo")) == ["all"]


def test_a_group_member_also_opens_the_groups_embeds_each_once(
    embeds: list[InboxEmbed], make_agent: Callable[..., User]
) -> None:
    agent = make_agent("bo", *Group.objects.all())
    assert openable(agent) == ["all", "both", "sales"]


def test_deleting_a_group_opens_its_embeds_to_nobody_until_their_groups_are_set_again(
    embeds: list[InboxEmbed], sales: Group, make_agent: Callable[..., User]
) -> None:
    agent = make_agent("bo")
    Group.objects.all().delete()
    assert openable(agent) == ["all"]
    update_embed(embeds[1], groups=[])
    assert openable(agent) == ["all", "sales"]


def test_groups_that_a_host_sets_on_the_model_count_in_the_same_way(
    embeds: list[InboxEmbed], sales: Group, make_agent: Callable[..., User]
) -> None:
    agent = make_agent("bo")
    embeds[0].groups.add(sales)
    assert openable(agent) == []
    sales.delete()
    assert openable(agent) == []
    embeds[0].refresh_from_db()
    embeds[0].groups.add(Group.objects.get(name="Support"))
    embeds[0].groups.clear()
    assert openable(agent) == ["all"]


def test_a_group_can_grant_the_permission(
    embeds: list[InboxEmbed], make_agent: Callable[..., User], sales: Group
) -> None:
    sales.permissions.add(Permission.objects.get(codename="open_inboxembed"))
    assert openable(make_agent("bo", sales, may_open=False)) == ["all", "both", "sales"]


def test_without_the_permission_nothing_opens(
    embeds: list[InboxEmbed], make_agent: Callable[..., User], sales: Group
) -> None:
    assert openable(make_agent("bo", sales, may_open=False)) == []


def test_the_permission_to_manage_does_not_include_opening(
    embeds: list[InboxEmbed], make_agent: Callable[..., User]
) -> None:
    manager = make_agent("bo", may_open=False)
    manager.user_permissions.set(
        Permission.objects.filter(
            content_type__app_label="kapso_inbox", codename__endswith="_inboxembed"
        ).exclude(codename="open_inboxembed")
    )
    policy = get_policy()
    for action in ("add", "change", "delete", "view"):
        assert slugs(policy.manageable(manager, InboxEmbed.objects.all(), action)) == [
            "all",
            "both",
            "sales",
        ]
    assert openable(manager) == []


def test_the_permission_to_open_does_not_include_managing(
    embeds: list[InboxEmbed], make_agent: Callable[..., User]
) -> None:
    agent = make_agent("bo")
    policy = get_policy()
    assert slugs(policy.manageable(agent, InboxEmbed.objects.all(), "view")) == []


def test_anonymous_and_inactive_users_open_nothing(
    embeds: list[InboxEmbed], make_agent: Callable[..., User], sales: Group
) -> None:
    assert openable(AnonymousUser()) == []
    assert openable(make_agent("bo", sales, is_active=False)) == []
    policy = get_policy()
    superuser = make_agent("root", is_superuser=True, is_active=False)
    assert slugs(policy.manageable(superuser, InboxEmbed.objects.all(), "view")) == []


def test_groups_also_restrict_superusers_unless_the_policy_says_otherwise(
    embeds: list[InboxEmbed], make_agent: Callable[..., User]
) -> None:
    superuser = make_agent("root", is_superuser=True, may_open=False)
    assert openable(superuser) == ["all"]
    with override_settings(KAPSO_INBOX={"ACCESS_POLICY": "tests.test_access.Lenient"}):
        assert openable(superuser) == ["all", "both", "sales"]


def test_a_hosts_policy_restricts_both_opening_and_managing(
    embeds: list[InboxEmbed], make_agent: Callable[..., User], sales: Group
) -> None:
    agent = make_agent("bo", sales, last_name="sal", is_superuser=True)
    with override_settings(KAPSO_INBOX={"ACCESS_POLICY": "tests.test_access.Tenants"}):
        assert openable(agent) == ["sales"]
        manageable = get_policy().manageable(agent, InboxEmbed.objects.all(), "change")
        assert slugs(manageable) == ["sales"]


def test_djangos_permissions_are_read_in_one_query_from_the_user_and_the_groups(
    embeds: list[InboxEmbed],
    make_agent: Callable[..., User],
    sales: Group,
    django_assert_num_queries: Any,
) -> None:
    manager = Permission.objects.get(
        codename="view_inboxembed", content_type__app_label="kapso_inbox"
    )
    sales.permissions.add(manager)
    make_agent("bo", sales)
    user = User.objects.get()
    with django_assert_num_queries(1):
        assert has_permission(user, OPEN)
        assert has_permission(user, "kapso_inbox.view_inboxembed")
        assert not has_permission(user, "kapso_inbox.add_inboxembed")
    assert user.get_all_permissions() == {OPEN, "kapso_inbox.view_inboxembed"}


def test_a_host_with_its_own_backend_decides_about_permissions(
    embeds: list[InboxEmbed], make_agent: Callable[..., User], sales: Group
) -> None:
    sales.permissions.add(Permission.objects.get(codename="open_inboxembed"))
    make_agent("bo", sales, may_open=False, last_name="Support")
    backends = {"OnlyForSales": [], "Generous": ["all", "both", "sales"]}
    for name, opens in backends.items():
        with override_settings(AUTHENTICATION_BACKENDS=[f"tests.test_access.{name}"]):
            assert openable(User.objects.get()) == opens
    assert openable(User.objects.get()) == ["all", "both", "sales"]


# Hosts whose users are not in Django's groups


def in_a_host_with(user_model: str) -> dict[str, Any]:
    """Return what `tests.hosts.strange_users` tells of a host with this user model."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.hosts.strange_users", user_model],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.table
@pytest.mark.parametrize("user_model", ["Engineer", "Employee"])
def test_where_users_are_not_in_djangos_groups_only_embeds_without_groups_open(
    user_model: str,
) -> None:
    told = in_a_host_with(user_model)
    assert told["openable"] == ["open"]
    assert told["statuses"] == {
        "open/launch/": 503,  # it may be opened, but has no link
        "grouped/launch/": 404,
        "grouped/": 404,
        "mine/launch/": 200,
        "mine/settings/": 302,
    }
    assert "Only members of these groups (Sales) may read it." in told["grouped"]
    assert list(told["checks"]) == ["kapso_inbox.W012"]
    what, hint = told["checks"]["kapso_inbox.W012"]
    assert f"strangers.{user_model}" in what
    assert "AUTH_USER_MODEL" in what
    assert 'KAPSO_INBOX["ACCESS_POLICY"]' in hint


@pytest.mark.table
def test_where_users_have_no_permissions_nothing_opens() -> None:
    told = in_a_host_with("Visitor")
    assert told["openable"] == []
    assert told["statuses"]["open/launch/"] == 404
    assert "has_perm" in told["checks"]["kapso_inbox.W012"][0]
