"""A host behind LoginRequiredMiddleware: what decides for itself who is let in still does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import Client, override_settings

from kapso_inbox.inbox import tickets
from kapso_inbox.models import InboxEmbed
from tests.conftest import FRAME
from tests.hosts.people import User

pytestmark = pytest.mark.django_db

GUARD = "django.contrib.auth.middleware.LoginRequiredMiddleware"


@pytest.fixture(autouse=True)
def guarded() -> Iterator[None]:
    with override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, GUARD]):
        yield


@pytest.mark.parametrize(
    "address",
    [
        "/kapso-inbox/sales/launch/",
        "/kapso-inbox/sales/settings/",
        "/kapso-inbox/mine/launch/",
        "/kapso-inbox/mine/settings/",
    ],
)
def test_a_frame_of_somebody_who_is_signed_out_shows_our_page(
    client: Client, embed: InboxEmbed, address: str
) -> None:
    response = client.get(address, **FRAME)  # type: ignore[arg-type]
    assert response.status_code == 403
    assert b'data-outcome="signed_out"' in response.content


def test_a_ticket_opens_the_inbox(client: Client, ana: User, embed: InboxEmbed) -> None:
    query = {"ticket": tickets.issue_ticket(ana, embed, {})}
    frame = {"HTTP_SEC_FETCH_DEST": "iframe", "HTTP_SEC_FETCH_SITE": "cross-site"}
    response = client.get("/kapso-inbox/sales/launch/", query, **frame)  # type: ignore[arg-type]
    assert response.status_code == 302
    assert response["Location"].startswith("https://inbox.kapso.ai/embed/")


@pytest.mark.parametrize("address", ["/kapso-inbox/sales/", "/kapso-inbox/mine/"])
def test_a_whole_page_leads_to_the_login(client: Client, embed: InboxEmbed, address: str) -> None:
    response = client.get(address)
    assert response.status_code == 302
    assert response["Location"].startswith(f"{settings.LOGIN_URL}?next=")
