"""How webhooks are read, made, changed and tested at Kapso, and that their key leaks nowhere."""

from __future__ import annotations

import dataclasses
import json
import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest
import responses
from hypothesis import given

from kapso_inbox.kapso import (
    InvalidRequestError,
    KapsoClient,
    KapsoError,
    UncertainError,
    Webhook,
)
from kapso_inbox.kapso import webhooks as module

from .conftest import API
from .test_resources import JSON, quick

PROJECT = f"{API}/whatsapp/webhooks"
NUMBER = f"{API}/whatsapp/phone_numbers/106/webhooks"
#: A person's choice: nothing in it looks like a token.
SECRET = "correct horse battery staple"
URL = "https://crm.example.com/kapso-inbox/webhooks/default/"
FULL = {
    "id": "w1",
    "kind": "kapso",
    "url": URL,
    "secret_key": SECRET,
    "events": ["whatsapp.message.received", "whatsapp.message.sent"],
    "active": False,
    "headers": {},
    "payload_version": "v2",
    "buffer_enabled": True,
    "inactivity_minutes": 60,
}
READ = Webhook(
    id="w1",
    url=URL,
    events=("whatsapp.message.received", "whatsapp.message.sent"),
    active=False,
    payload_version="v2",
    buffer_enabled=True,
)


def create(client: KapsoClient, phone_number_id: str = "") -> Webhook:
    return client.webhooks.create(
        phone_number_id, url=URL, secret_key=SECRET, events=("whatsapp.message.received",)
    )


def change(client: KapsoClient, phone_number_id: str = "") -> Webhook:
    changes = {"secret_key": SECRET, "active": True, "events": ("a", "b")}
    return client.webhooks.update("w1", changes, phone_number_id)


def test_the_webhooks_of_the_project_and_of_a_number_are_listed(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    meta = {"page": 1, "total_pages": 1}
    kapso.get(PROJECT, json={"data": [FULL], "meta": meta})
    kapso.get(NUMBER, json={"data": [{"id": "w2"}], "meta": meta})
    assert list(client.webhooks.list()) == [READ]
    assert list(client.webhooks.list("106")) == [Webhook("w2", phone_number_id="106")]


def test_a_list_of_webhooks_without_meta_is_read_once(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    kapso.get(PROJECT, json={"data": [FULL]})
    assert list(client.webhooks.list()) == [READ]


def test_a_webhook_is_created_with_its_key(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    kapso.post(NUMBER, json={"data": FULL}, status=201)
    assert create(client, "106") == dataclasses.replace(READ, phone_number_id="106")
    assert json.loads(kapso.calls[0].request.body or b"") == {
        "whatsapp_webhook": {
            "kind": "kapso",
            "url": URL,
            "secret_key": SECRET,
            "events": ["whatsapp.message.received"],
            "active": True,
            "payload_version": "v2",
            "buffer_enabled": False,
        }
    }


def test_a_change_sends_only_what_is_changed(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    kapso.patch(f"{PROJECT}/w1", json={"data": FULL})
    assert change(client) == READ
    assert json.loads(kapso.calls[0].request.body or b"") == {
        "whatsapp_webhook": {"secret_key": SECRET, "active": True, "events": ["a", "b"]}
    }


@pytest.mark.parametrize(("status", "body"), [(200, b'{"data": {}}'), (204, b""), (202, b"null")])
def test_any_success_deletes_and_tests(
    kapso: responses.RequestsMock, client: KapsoClient, status: int, body: bytes
) -> None:
    kapso.delete(f"{NUMBER}/w1", status=status, body=body)
    kapso.post(f"{PROJECT}/w1/test", status=status, body=body)
    client.webhooks.delete("w1", "106")
    client.webhooks.test("w1", "workflow.execution.handoff")
    assert str(kapso.calls[1].request.url).endswith("?event_type=workflow.execution.handoff")


@pytest.mark.parametrize(
    "data", [None, [], {}, {"data": []}, {"data": {}}, {"data": {"id": None}}, {"data": {"id": []}}]
)
@pytest.mark.parametrize("call", [create, change])
def test_a_success_without_a_webhook_is_uncertain(
    kapso: responses.RequestsMock,
    client: KapsoClient,
    data: Any,
    call: Callable[[KapsoClient], Webhook],
) -> None:
    kapso.post(PROJECT, json=data, status=201)
    kapso.patch(f"{PROJECT}/w1", json=data)
    with pytest.raises(UncertainError, match="no webhook"):
        call(client)


def test_a_change_of_another_webhook_is_uncertain(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    kapso.patch(f"{PROJECT}/w1", json={"data": {"id": "w2"}})
    with pytest.raises(UncertainError, match="another webhook"):
        change(client)


@pytest.mark.parametrize(
    ("number", "webhook_id", "path"),
    [
        ("", "a/b", "/whatsapp/webhooks/a%2Fb"),
        ("../x", "é", "/whatsapp/phone_numbers/..%2Fx/webhooks/%C3%A9"),
        ("1?", "#", "/whatsapp/phone_numbers/1%3F/webhooks/%23"),
    ],
)
def test_ids_are_quoted(
    kapso: responses.RequestsMock, client: KapsoClient, number: str, webhook_id: str, path: str
) -> None:
    kapso.delete(f"{API}{path}", status=204)
    client.webhooks.delete(webhook_id, number)


@pytest.mark.parametrize("webhook_id", ["", ".", ".."])
def test_a_path_to_something_else_is_not_an_id(
    kapso: responses.RequestsMock, client: KapsoClient, webhook_id: str
) -> None:
    with pytest.raises(ValueError, match="not the id"):
        client.webhooks.delete(webhook_id)
    with pytest.raises(ValueError, match="not the id"):
        client.webhooks.update(webhook_id, {})
    assert len(kapso.calls) == 0


@quick
@given(JSON)
def test_every_object_can_be_read(value: Any) -> None:
    webhook = Webhook.from_json(dict.fromkeys(FULL, value))
    assert isinstance(webhook.active, bool)
    assert all(isinstance(name, str) and name for name in webhook.events)


# The key


def test_no_value_holds_the_key(kapso: responses.RequestsMock, client: KapsoClient) -> None:
    kapso.get(PROJECT, json={"data": [FULL], "meta": {"page": 1, "total_pages": 1}})
    kapso.post(PROJECT, json={"data": FULL}, status=201)
    kapso.patch(f"{PROJECT}/w1", json={"data": FULL})
    for webhook in (*client.webhooks.list(), create(client), change(client)):
        assert SECRET not in repr(webhook) + repr(vars(webhook))
    assert SECRET not in repr(client.webhooks) + repr(vars(client))


FAILURES: dict[str, dict[str, Any]] = {
    "quoted": {"status": 422, "json": {"error": f"The key {SECRET!r} is too short"}},
    "by field": {"status": 422, "json": {"errors": {"secret_key": [f"{SECRET} is too short"]}}},
    "with the webhook": {"status": 409, "json": {"error": f"taken: {SECRET}", "data": FULL}},
    "unreadable": {"status": 201, "json": {"data": {"secret_key": SECRET}}},
    "broken": {"body": ConnectionError(f"sent {SECRET}")},
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("call", [create, change])
def test_no_error_no_frame_and_no_log_holds_the_key(
    kapso: responses.RequestsMock,
    client: KapsoClient,
    caplog: pytest.LogCaptureFixture,
    failure: str,
    call: Callable[[KapsoClient], Webhook],
) -> None:
    caplog.set_level(logging.DEBUG)
    kapso.post(PROJECT, **FAILURES[failure])
    kapso.patch(f"{PROJECT}/w1", **FAILURES[failure])
    with pytest.raises(KapsoError) as caught:
        call(client)
    error = caught.value
    assert SECRET not in f"{error} {error!r} {vars(error)!r}"
    assert error.__cause__ is error.__context__ is None
    ours = [
        frame
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename not in (__file__, pytest.__file__)
    ]
    for frame in ours:
        assert SECRET not in repr(frame.f_locals)
    # What the webhook's own module held while it failed is gone.
    assert module.__file__ not in [frame.f_code.co_filename for frame in ours]
    assert SECRET not in caplog.text


def test_kapsos_own_words_about_the_key_are_kept(
    kapso: responses.RequestsMock, client: KapsoClient
) -> None:
    kapso.post(PROJECT, **FAILURES["by field"])
    with pytest.raises(InvalidRequestError) as caught:
        create(client)
    assert caught.value.field_errors == {"secret_key": ("[hidden] is too short",)}
