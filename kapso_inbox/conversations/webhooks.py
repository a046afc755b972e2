"""The webhooks of this site at Kapso: one for each number of a project, and one for the project."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http.request import split_domain_port, validate_host
from django.urls import reverse

from kapso_inbox import conf
from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.kapso import KapsoClient, Webhook
from kapso_inbox.origins import is_inbox_origin
from kapso_inbox.secret import hides_frames

from .events import (
    ConversationCreated,
    ConversationEnded,
    HandoffRequested,
    MessageFailed,
    MessageReceived,
    MessageSent,
)
from .secrets import webhook_secrets

#: What a webhook of a number is asked to deliver.
EVENTS_OF_NUMBER = tuple(
    one.name
    for one in (MessageReceived, MessageSent, MessageFailed, ConversationCreated, ConversationEnded)
)
#: What the webhook of the project is asked to deliver.
EVENTS_OF_PROJECT = (HandoffRequested.name,)


@dataclass(frozen=True)
class Place:
    """What a webhook is for.

    Attributes:
        phone_number_id: the number, or "" for the whole project.
        name: what people call it.
        events: the events that it should deliver.
    """

    phone_number_id: str
    name: str
    events: tuple[str, ...]

    @property
    def test_event(self) -> str:
        """An event to test with: one that makes no conversation here that does not exist."""
        return "whatsapp.message.delivered" if self.phone_number_id else "workflow.execution.failed"


@dataclass(frozen=True)
class Registered:
    """A place, and the webhook that Kapso has for it.

    Attributes:
        place: what it is for.
        webhook: the webhook, or None if there is none.
        change: what was done to it: `created`, `updated`, `removed`, `tested`, or "".
    """

    place: Place
    webhook: Webhook | None
    change: Literal["created", "updated", "removed", "tested", ""] = ""

    @property
    def missing_events(self) -> list[str]:
        """Return the events that the webhook should deliver and does not."""
        events = self.webhook.events if self.webhook else ()
        return [event for event in self.place.events if event not in events]


def path_of(project: str) -> str:
    """Return the path at which this site takes a project's webhooks."""
    return reverse("kapso_inbox:webhook", args=[project])


def address_of(project: str, site: str) -> str:
    """Return the address at which this site takes a project's webhooks.

    Args:
        project: the alias of the project.
        site: the site's origin, such as `https://crm.example.com`.

    Raises:
        ValidationError: it is not an origin. Kapso only sends to https.
    """
    site = site.rstrip("/")
    if not is_inbox_origin(site):
        raise ValidationError(f"{site!r} is not an address such as https://crm.example.com.")
    return site + path_of(project)


def is_served_here(address: str) -> bool:
    """Return whether this site serves the host of an address, by `ALLOWED_HOSTS`."""
    host = split_domain_port(urlsplit(address).netloc)[0]
    return validate_host(host, settings.ALLOWED_HOSTS or [".localhost", "127.0.0.1", "[::1]"])


def read_webhooks(project: str, client: KapsoClient) -> Iterator[Registered]:
    """Yield every webhook at Kapso that leads to this app, on any host; None where there is none.

    Takes one request for the project, one for its numbers, and one for each number.

    Args:
        project: the alias of the project.
        client: a client for it.

    Raises:
        KapsoError: Kapso could not be asked.
    """
    path = path_of(project)
    for place in _places(client):
        ours = [
            one
            for one in client.webhooks.list(place.phone_number_id)
            if urlsplit(one.url).path == path
        ]
        yield from (Registered(place, webhook) for webhook in ours)
        if not ours:
            yield Registered(place, None)


@hides_frames
def set_webhooks(project: str, site: str) -> list[Registered]:
    """Create this site's webhooks at Kapso, or update them. Repeating it changes nothing.

    Kapso then signs with the first of the project's secrets. The others are accepted as well.

    Args:
        project: the alias of the project.
        site: the site's origin.

    Raises:
        ConfigurationError: the project has no key, or no secret for its webhooks.
        ValidationError: the site is not an origin.
        KapsoError: not all of it was done; it can be repeated.
    """
    url = address_of(project, site)
    secrets = webhook_secrets(project)
    if not secrets:
        raise ConfigurationError(
            f'KAPSO_INBOX["WEBHOOK_SECRETS"] has no secret for the project {project!r}.'
        )
    client = conf.project(project).client()
    done = []
    for place in _places(client):
        ours = [one for one in client.webhooks.list(place.phone_number_id) if one.url == url]
        if ours:
            # The secret in Kapso's answers is never read, so it cannot be compared.
            wanted = {
                "secret_key": secrets[0],
                "events": place.events,
                "active": True,
                "payload_version": "v2",
            }
            webhook = client.webhooks.update(ours[0].id, wanted, place.phone_number_id)
            done.append(Registered(place, webhook, "updated"))
        else:
            webhook = client.webhooks.create(
                place.phone_number_id, url=url, secret_key=secrets[0], events=place.events
            )
            done.append(Registered(place, webhook, "created"))
        for surplus in ours[1:]:
            client.webhooks.delete(surplus.id, place.phone_number_id)
    return done


def remove_webhooks(project: str, site: str) -> list[Registered]:
    """Remove this site's webhooks at Kapso. Repeating it changes nothing.

    Args:
        project: the alias of the project.
        site: the site's origin.

    Raises:
        ConfigurationError: the project has no key.
        ValidationError: the site is not an origin.
        KapsoError: not all of it was done; it can be repeated.
    """
    url = address_of(project, site)
    client = conf.project(project).client()
    done = []
    for place, webhook in _webhooks_at(url, client):
        client.webhooks.delete(webhook.id, place.phone_number_id)
        done.append(Registered(place, webhook, "removed"))
    return done


def test_webhooks(project: str, site: str) -> list[Registered]:
    """Let Kapso send a made-up event through each of this site's webhooks. It changes nothing here.

    Args:
        project: the alias of the project.
        site: the site's origin.

    Raises:
        ConfigurationError: the project has no key.
        ValidationError: the site is not an origin.
        KapsoError: Kapso did not send all of them.
    """
    url = address_of(project, site)
    client = conf.project(project).client()
    done = []
    for place, webhook in _webhooks_at(url, client):
        client.webhooks.test(webhook.id, place.test_event, place.phone_number_id)
        done.append(Registered(place, webhook, "tested"))
    return done


def _webhooks_at(url: str, client: KapsoClient) -> Iterator[tuple[Place, Webhook]]:
    for place in _places(client):
        # All of them first: the caller may delete them.
        for webhook in list(client.webhooks.list(place.phone_number_id)):
            if webhook.url == url:
                yield place, webhook


def _places(client: KapsoClient) -> Iterator[Place]:
    yield Place("", "the project", EVENTS_OF_PROJECT)
    for number in list(client.phone_numbers.list()):
        name = number.name or number.display_phone_number or number.phone_number_id
        yield Place(number.phone_number_id, name, EVENTS_OF_NUMBER)
