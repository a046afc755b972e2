"""The public functions: how they are called, and what they refuse before they do anything."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import transaction

from kapso_inbox import lifecycle
from kapso_inbox.lifecycle import (
    UNSET,
    InsideTransactionError,
    create_embed,
    delete_embed,
    ensure_embed,
    newest_link,
    refresh_embed,
    resolve_embed,
    revoke_embed,
    rotate_embed,
    update_embed,
)
from kapso_inbox.models import InboxEmbed
from kapso_inbox.sandbox.engine import Sandbox
from kapso_inbox.transactions import database

pytestmark = pytest.mark.django_db

VERBS = [
    create_embed,
    ensure_embed,
    update_embed,
    rotate_embed,
    refresh_embed,
    resolve_embed,
    revoke_embed,
    delete_embed,
]


def sent(sandbox: Sandbox) -> list[str]:
    """Return the methods of the requests that Kapso received."""
    return [request.method for request in sandbox.requests]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_all_arguments_except_the_embed_or_its_slug_are_keyword_only(
    verb: Callable[..., Any],
) -> None:
    parameters = inspect.signature(verb).parameters.values()
    positional = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert positional in (["embed"], ["slug"], [])
    assert "actor" in inspect.signature(verb).parameters


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("given", [{"colour": "red"}, {"slugs": "x"}, {"scopeType": "customer"}])
def test_an_unknown_setting_raises_the_same_error_whether_the_embed_exists_or_not(
    kapso_sandbox: Sandbox, embed: InboxEmbed, exists: bool, given: dict[str, Any]
) -> None:
    before = sent(kapso_sandbox)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        ensure_embed(embed.slug if exists else "new", **given)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        update_embed(embed, **given)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        create_embed(slug="new", name="New", **given)
    assert sent(kapso_sandbox) == before
    assert InboxEmbed.objects.count() == 1


def test_the_error_about_a_misspelt_setting_suggests_the_right_one(embed: InboxEmbed) -> None:
    with pytest.raises(TypeError, match="Did you mean 'allowed_origins'"):
        update_embed(embed, allowed_origin=["https://crm.example.com"])  # type: ignore[call-arg]


@pytest.mark.parametrize("groups", ["Sales", ["Sales"], [1], [None], None, 1])
def test_groups_given_by_name_are_refused_with_an_explanation(
    kapso_sandbox: Sandbox, embed: InboxEmbed, groups: Any
) -> None:
    for change in (
        lambda: create_embed(slug="new", name="New", groups=groups),
        lambda: ensure_embed("new", groups=groups),
        lambda: update_embed(embed, groups=groups),
    ):
        with pytest.raises(ValidationError) as caught:
            change()
        assert "Group objects" in caught.value.message_dict["groups"][0]
    assert not InboxEmbed.objects.filter(slug="new").exists()


def test_groups_can_be_a_queryset_or_any_iterable(
    kapso_sandbox: Sandbox, embed: InboxEmbed, sales: Group
) -> None:
    support = Group.objects.create(name="Support")
    update_embed(embed, groups=Group.objects.filter(pk=support.pk))
    assert list(embed.groups.all()) == [support]
    update_embed(embed, groups=(group for group in (sales, support)))
    assert set(embed.groups.all()) == {sales, support}


def test_a_rotation_without_an_expected_link_always_replaces_the_current_one(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    first = newest_link(embed)
    rotate_embed(embed, expected_link=UNSET)
    rotate_embed(embed)
    assert newest_link(embed) != first
    with pytest.raises(lifecycle.ReplacedError):
        rotate_embed(embed, expected_link=first)


@pytest.mark.django_db(transaction=True)
def test_every_verb_refuses_to_run_inside_a_transaction(
    kapso_sandbox: Sandbox, embed: InboxEmbed
) -> None:
    before = sent(kapso_sandbox)
    calls: dict[Callable[..., Any], Callable[[], Any]] = {
        create_embed: lambda: create_embed(slug="new", name="New"),
        ensure_embed: lambda: ensure_embed("new"),
        **{
            verb: lambda verb=verb: verb(embed)  # type: ignore[misc]
            for verb in VERBS
            if verb not in (create_embed, ensure_embed)
        },
    }
    assert set(calls) == set(VERBS)
    for call in calls.values():
        with transaction.atomic(using=database()), pytest.raises(InsideTransactionError):
            call()
    assert sent(kapso_sandbox) == before
    assert InboxEmbed.objects.get() == embed
