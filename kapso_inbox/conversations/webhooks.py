"""The webhooks of this site at Kapso: one for each number of a project, and one for the project."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http.request import split_domain_port, validate_host
from django.urls import reverse
from django.utils.translation import gettext as _

from kapso_inbox import conf
from kapso_inbox.exceptions import ConfigurationError
from kapso_inbox.kapso import KapsoClient, Webhook
from kapso_inbox.origins import is_inbox_origin, is_local, origin_of
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

#: What was done to a webhook; `moved` is to have another address of this site now.
Change = Literal["created", "updated", "moved", "removed", "tested", ""]

#: The hosts that Django allows while ALLOWED_HOSTS is empty.
_HOSTS_OF_DEVELOPMENT = [".localhost", "127.0.0.1", "[::1]"]

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
        name: what people call it, in the active language.
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
        change: what was done to it, or "".
    """

    place: Place
    webhook: Webhook | None
    change: Change = ""

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
        text = _("“%(site)s” is not an address such as https://crm.example.com.")
        raise ValidationError(text % {"site": site})
    return site + path_of(project)


def host_and_path(address: str) -> tuple[str, str]:
    """Return the host of an address, without its port, and its path; both are "" if it has none."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "", ""
    return split_domain_port(parts.netloc)[0], parts.path


def is_served_here(address: str) -> bool:
    """Return whether this site serves the host of an address, by `ALLOWED_HOSTS`."""
    host = host_and_path(address)[0]
    return validate_host(host, settings.ALLOWED_HOSTS or _HOSTS_OF_DEVELOPMENT)


def is_of_this_site(address: str, site: str) -> bool:
    """Return whether an address certainly leads to this site, and not to another deployment.

    That is so if it has the host and the port of `site`; the names of this machine count as one.
    `ALLOWED_HOSTS` proves nothing: deployments often share it, on a developer's machine too, and
    the webhooks of each have to stay its own.

    Args:
        address: the address of a webhook.
        site: an origin of this site.
    """
    own = _host_and_port(site)
    return own is not None and _host_and_port(address) == own


def registered_site(registered: Iterable[Registered], site: str) -> str:
    """Return the origin with which this site is registered at Kapso.

    Args:
        registered: the webhooks of a project.
        site: an origin of this site. It is preferred, and returned if there is no webhook of it.
    """
    addresses = [one.webhook.url for one in registered if one.webhook]
    origins = [origin_of(one) for one in addresses if is_of_this_site(one, site)]
    return site if site in origins else next(filter(None, origins), site)


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
            if host_and_path(one.url)[1] == path
        ]
        yield from (Registered(place, webhook) for webhook in ours)
        if not ours:
            yield Registered(place, None)


@hides_frames
def set_webhooks(project: str, site: str) -> list[Registered]:
    """Create this site's webhooks at Kapso, or update them. Repeating it changes nothing.

    Afterwards one webhook of each number and of the project leads to this site. One that has
    another address of this site gets the new one, and what is left over is removed: otherwise Kapso
    would tell this site everything twice. Webhooks of other deployments stay as they are, see
    `is_of_this_site`.

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
    done: list[Registered] = []
    for place in _places(client):
        # The one that has the address already comes first, and is kept.
        ours = sorted(_ours(project, site, place, client), key=lambda one: one.url != url)
        # The secret in Kapso's answers is never read, so it cannot be compared.
        wanted: dict[str, Any] = {"url": url, "secret_key": secrets[0], "events": place.events}
        if ours:
            change: Change = "updated" if ours[0].url == url else "moved"
            wanted |= {"active": True, "payload_version": "v2"}
            webhook = client.webhooks.update(ours[0].id, wanted, place.phone_number_id)
        else:
            change = "created"
            webhook = client.webhooks.create(place.phone_number_id, **wanted)
        done.append(Registered(place, webhook, change))
        for surplus in ours[1:]:
            client.webhooks.delete(surplus.id, place.phone_number_id)
            done.append(Registered(place, surplus, "removed"))
    return done


def remove_webhooks(project: str, site: str) -> list[Registered]:
    """Remove the webhooks that lead to one address of this site. Repeating it changes nothing.

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


def _host_and_port(address: str) -> tuple[str, int] | None:
    """Return the host and the port of an address, in one spelling; None if it has none."""
    host = host_and_path(address)[0]
    try:
        port = urlsplit(address).port
    except ValueError:
        return None
    if not host:
        return None
    # A proxy may end https: both ports that browsers leave out count as one.
    return "localhost" if is_local(host) else host, 443 if port in (None, 80) else port


def _ours(project: str, site: str, place: Place, client: KapsoClient) -> Iterator[Webhook]:
    """Yield the webhooks of a place that lead to this site, at any of its addresses."""
    path = path_of(project)
    for webhook in client.webhooks.list(place.phone_number_id):
        if host_and_path(webhook.url)[1] == path and is_of_this_site(webhook.url, site):
            yield webhook


def _webhooks_at(url: str, client: KapsoClient) -> Iterator[tuple[Place, Webhook]]:
    for place in _places(client):
        # All of them first: the caller may delete them.
        for webhook in list(client.webhooks.list(place.phone_number_id)):
            if webhook.url == url:
                yield place, webhook


def _places(client: KapsoClient) -> Iterator[Place]:
    yield Place("", _("the whole project"), EVENTS_OF_PROJECT)
    for number in list(client.phone_numbers.list()):
        name = number.name or number.display_phone_number or number.phone_number_id
        yield Place(number.phone_number_id, name, EVENTS_OF_NUMBER)
