"""The state machine finds mistakes: each of these is planted, one at a time.

Only here do the tests replace functions of the app. Each mutation removes one step of the protocol
or moves it to another place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from kapso_inbox import conf
from kapso_inbox.kapso import transport
from kapso_inbox.lifecycle import issue, revoke
from kapso_inbox.models import AccessLink, InboxChange, InboxEmbed
from kapso_inbox.sync import listing
from tests.hosts.database import connection
from tests.hosts.people import User

from .machine import Inboxes
from .test_state_machine import PROFILE
from .world import FORGOTTEN, NOT_TAKEN_BACK, STOPPED, TWO_OF_ONE, UNACCOUNTED, world

pytestmark = pytest.mark.skipif(
    connection.vendor != "sqlite", reason="the mistakes are in the protocol, not in a database"
)


@contextmanager
def nothing_planted() -> Iterator[None]:
    """Change nothing."""
    yield


@contextmanager
def the_intent_is_not_committed_early() -> Iterator[None]:
    """Write the row of a link only after Kapso has answered."""
    issue_link, store = issue.issue_link, issue._store

    def issue_without_a_row(link: AccessLink, *args: Any, **options: Any) -> None:
        InboxChange.objects.filter(link=link).update(link=None)
        AccessLink.objects.filter(pk=link.pk)._raw_delete(connection.alias)
        issue_link(link, *args, **options)

    def store_with_its_row(link: AccessLink, *args: Any) -> None:
        AccessLink(pk=link.pk, embed=link.embed, reference=link.reference).save(force_insert=True)
        store(link, *args)

    with (
        mock.patch.object(issue, "issue_link", issue_without_a_row),
        mock.patch.object(issue, "_store", store_with_its_row),
    ):
        yield


@contextmanager
def the_post_is_retried() -> Iterator[None]:
    """Retry a POST as if it were a GET."""
    pauses = transport._pauses
    with mock.patch.object(transport, "_pauses", side_effect=lambda _: pauses(transport.TRIES)):
        yield


@contextmanager
def nothing_is_taken_back() -> Iterator[None]:
    """Do not revoke a link at Kapso that is unusable or cannot be stored."""
    with mock.patch.object(issue, "_take_back"):
        yield


@contextmanager
def the_old_link_is_revoked_first() -> Iterator[None]:
    """Revoke the working link at the start of a rotation."""
    issue_link = issue.issue_link

    def revoke_then_issue(link: AccessLink, client: Any, **options: Any) -> None:
        current = InboxEmbed.objects.select_related("current_link").get(pk=link.embed.pk)
        if current.current_link is not None:
            revoke.mark_revoking(current.current_link)
            revoke.finish_revoking(link.embed, conf.project().client())
        issue_link(link, client, **options)

    with mock.patch.object(issue, "issue_link", revoke_then_issue):
        yield


@contextmanager
def silence_of_the_database_means_that_nothing_is_stored() -> Iterator[None]:
    """Revoke at Kapso what could not be stored, without asking what became of its row."""
    with mock.patch.object(issue, "_state_on_record", return_value=AccessLink.State.CREATING):
        yield


@contextmanager
def a_list_that_lacks_most_links_is_believed() -> Iterator[None]:
    """Conclude from every list what it lacks."""
    with mock.patch.object(listing, "_may_be_gone", return_value=True):
        yield


def findings(mutation: Callable[[], AbstractContextManager[None]], sequences: int) -> str:
    """Return the failure that the machine finds in the mutated protocol, or an empty string."""
    profile = settings(PROFILE, max_examples=sequences)
    with world(logging.WARNING) as made, mutation():

        class Sequences(Inboxes):
            world = made
            user = User.objects.create_superuser("ana")

        try:
            run_state_machine_as_test(Sequences, settings=profile)
        except AssertionError as failure:
            return str(failure)
    return ""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("mutation", "finding"),
    [
        (the_intent_is_not_committed_early, UNACCOUNTED),
        (the_post_is_retried, TWO_OF_ONE),
        (nothing_is_taken_back, NOT_TAKEN_BACK),
        (the_old_link_is_revoked_first, STOPPED),
        (silence_of_the_database_means_that_nothing_is_stored, STOPPED),
        (a_list_that_lacks_most_links_is_believed, FORGOTTEN),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_state_machine_finds_a_planted_mistake(
    mutation: Callable[[], AbstractContextManager[None]], finding: str
) -> None:
    assert finding in findings(mutation, sequences=1500)


@pytest.mark.django_db(transaction=True)
def test_the_state_machine_finds_nothing_where_nothing_is_planted() -> None:
    assert findings(nothing_planted, sequences=30) == ""
