"""The app in async code, as docs/can-i.md shows it."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.test import AsyncClient, override_settings
from django.urls import include, path, reverse

from kapso_inbox.lifecycle import ensure_embed
from kapso_inbox.sandbox.engine import Sandbox
from tests.hosts.people import User

INBOX = '{% load kapso_inbox %}{% kapso_inbox "support" contact="+14155550123" %}'
BADGE = '{% load kapso_conversations %}{% kapso_waiting "support" %}'
FRAME = {"Sec-Fetch-Dest": "iframe", "Sec-Fetch-Site": "same-origin"}


async def inbox_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(engines["django"].from_string(INBOX).render({}, request))


async def badge_page(request: HttpRequest) -> HttpResponse:
    render: Any = sync_to_async(engines["django"].from_string(BADGE).render)
    return HttpResponse(await render({}, request))


urlpatterns = [
    path("kapso-inbox/", include("kapso_inbox.urls")),
    path("inbox/", inbox_page),
    path("badge/", badge_page),
]


async def create_and_open(user: User) -> None:
    await sync_to_async(ensure_embed)("support", name="Support")
    client = AsyncClient()
    await client.aforce_login(user)
    for address, element in (("/inbox/", "<kapso-inbox"), ("/badge/", "<kapso-waiting")):
        assert element in (await client.get(address)).content.decode()
    launch = await client.get(reverse("kapso_inbox:launch", args=["support"]), headers=FRAME)
    assert launch.status_code == 302


@pytest.mark.django_db(transaction=True)
@override_settings(ROOT_URLCONF=__name__)
def test_async_code_creates_an_embed_and_async_views_show_it(
    kapso_sandbox: Sandbox, admin_user: User
) -> None:
    async_to_sync(create_and_open)(admin_user)
