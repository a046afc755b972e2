"""The API below `/whatsapp`: conversations, messages, contacts, assignments and webhooks."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable

from .bodies import conversation_forms, handoff_forms, message_forms
from .conversations import (
    filtered_conversations,
    filtered_messages,
    known_conversation,
    shown_contacts,
    shown_conversation,
)
from .embeds import to_iso
from .lists import bad_request, by_cursor, numbered
from .project import SandboxProject
from .webhooks import NUMBER_EVENTS, PROJECT_EVENTS
from .wire import Answer, JsonDict, RefusedRequestError, Request

#: Answers a request; the last argument is the most rows on one page.
Call = Callable[[SandboxProject, Request, int], Answer]


def whatsapp_calls(path: str) -> dict[str, Call]:
    """Return what can be done at an address, by method; nothing if it does not exist."""
    parts = path.split("/")
    for address, calls in _ADDRESSES.items():
        names = address.split("/")
        if len(names) == len(parts) and all(map(_fits, names, parts)):
            named = {
                name[1:-1]: part
                for name, part in zip(names, parts, strict=True)
                if name.startswith("{")
            }
            return {method: functools.partial(call, **named) for method, call in calls.items()}
    return {}


def _fits(name: str, part: str) -> bool:
    return name == part or (name.startswith("{") and part != "")


def settings_in(request: Request, name: str) -> JsonDict:
    """Return the object in the envelope of a request's body.

    Raises:
        RefusedRequestError: there is none (400).
    """
    try:
        body = request.json()
    except ValueError:
        raise bad_request("The body is not JSON") from None
    settings = body.get(name) if isinstance(body, dict) else None
    if not isinstance(settings, dict):
        raise bad_request(f"{name} is missing")
    return settings


# Conversations, messages, contacts


def _by_activity(row: JsonDict) -> str:
    return f"{row['last_active_at']} {row['id']}"


def _list_conversations(project: SandboxProject, request: Request, most: int) -> Answer:
    numbers = project.phone_numbers
    rows = filtered_conversations(numbers, project.conversations, request.query)
    return by_cursor(
        rows, _by_activity, lambda row: shown_conversation(numbers, row), request, most
    )


def _list_messages(project: SandboxProject, request: Request, most: int) -> Answer:
    rows = filtered_messages(project.phone_numbers, project.conversations, request.query)
    by_time = lambda row: f"{int(row['timestamp']):012d} {row['id']}"  # noqa: E731
    return by_cursor(rows, by_time, dict, request, most)


def _list_contacts(project: SandboxProject, request: Request, most: int) -> Answer:
    customer = request.query.get("customer_id")
    rows = [
        row
        for row in shown_contacts(project.conversations)
        if not customer or row["customer_id"] == customer
    ]
    return by_cursor(rows, _by_activity, dict, request, most)


def _show_conversation(project: SandboxProject, request: Request, most: int, which: str) -> Answer:
    row = known_conversation(project.conversations, which)
    return Answer(200, {"data": shown_conversation(project.phone_numbers, row)})


def _change_conversation(
    project: SandboxProject, request: Request, most: int, which: str
) -> Answer:
    known_conversation(project.conversations, which)
    if settings_in(request, "whatsapp_conversation").get("status") != "ended":
        raise RefusedRequestError(422, {"errors": {"status": ["is not included in the list"]}})
    row = project.end(which)
    return Answer(200, {"data": shown_conversation(project.phone_numbers, row)})


# Assignments


def _list_assignments(project: SandboxProject, request: Request, most: int, which: str) -> Answer:
    row = known_conversation(project.conversations, which)
    return numbered(row["assignments"], request, most)


def _assign(project: SandboxProject, request: Request, most: int, which: str) -> Answer:
    row = known_conversation(project.conversations, which)
    wanted = settings_in(request, "assignment")
    return Answer(201, {"data": project.assign(row["id"], wanted.get("user_id"), wanted)})


def _change_assignment(
    project: SandboxProject,
    request: Request,
    most: int,
    which: str,
    assignment_id: str,
) -> Answer:
    row = known_conversation(project.conversations, which)
    for assignment in row["assignments"]:
        if assignment["id"] == assignment_id:
            if settings_in(request, "assignment").get("active") is False:
                project.unassign(row["id"])
            return Answer(200, {"data": assignment})
    raise RefusedRequestError(404, {"error": "Assignment not found"})


# Webhooks


def _number(project: SandboxProject, number: str | None) -> str | None:
    if number and number not in {one["phone_number_id"] for one in project.phone_numbers}:
        raise RefusedRequestError(404, {"error": "Phone number not found"})
    return number


def _list_webhooks(
    project: SandboxProject, request: Request, most: int, number: str | None = None
) -> Answer:
    return numbered(project.webhooks.listed(_number(project, number)), request, most)


def _create_webhook(
    project: SandboxProject, request: Request, most: int, number: str | None = None
) -> Answer:
    settings = settings_in(request, "whatsapp_webhook")
    return Answer(201, {"data": project.webhooks.create(settings, _number(project, number))})


def _show_webhook(
    project: SandboxProject,
    request: Request,
    most: int,
    which: str,
    number: str | None = None,
) -> Answer:
    return Answer(200, {"data": project.webhooks.find(which, _number(project, number))})


def _change_webhook(
    project: SandboxProject,
    request: Request,
    most: int,
    which: str,
    number: str | None = None,
) -> Answer:
    project.webhooks.find(which, _number(project, number))
    settings = settings_in(request, "whatsapp_webhook")
    return Answer(200, {"data": project.webhooks.update(which, settings, number)})


def _delete_webhook(
    project: SandboxProject,
    request: Request,
    most: int,
    which: str,
    number: str | None = None,
) -> Answer:
    project.webhooks.delete(which, _number(project, number))
    return Answer(204)


def _test_webhook(
    project: SandboxProject,
    request: Request,
    most: int,
    which: str,
    number: str | None = None,
) -> Answer:
    webhook = project.webhooks.find(which, _number(project, number))
    event = request.query.get("event_type", "")
    if event not in (NUMBER_EVENTS if number else PROJECT_EVENTS):
        error = {"event_type": ["is not included in the list"]}
        raise RefusedRequestError(422, {"errors": error})
    conversation = _made_up(project, number)
    if event.startswith("whatsapp.message."):
        message = conversation["messages"][0]
        forms = message_forms(event, project.phone_numbers, conversation, message)
    elif event.startswith("whatsapp.conversation."):
        forms = conversation_forms(event, project.phone_numbers, conversation)
    else:
        now = to_iso(project.now())
        forms = handoff_forms(conversation, "Test", now)
        for body in forms.values():
            body["event"] = event
    project.webhooks.outbox.add(webhook, event, forms, conversation["id"])
    return Answer(200, {"data": {"success": True, "event_type": event}})


def _made_up(project: SandboxProject, number: str | None) -> JsonDict:
    """Return a conversation that is in no list."""
    config = next(
        (one["internal_id"] for one in project.phone_numbers if one["phone_number_id"] == number),
        None,
    )
    now = to_iso(project.now())
    message = {
        "id": f"wamid.test{uuid.uuid4().hex}",
        "direction": "inbound",
        "type": "text",
        "text": "This is a test",
        "status": None,
        "timestamp": now,
    }
    return {
        "id": str(uuid.uuid4()),
        "contact_name": "Test",
        "phone": "+15555550100",
        "whatsapp_config_id": config,
        "status": "active",
        "created_at": now,
        "last_active_at": now,
        "messages": [message],
    }


_NUMBER = "/whatsapp/phone_numbers/{number}"
_ONE_CONVERSATION = "/whatsapp/conversations/{which}"
_ONE_WEBHOOK: dict[str, Callable[..., Answer]] = {
    "GET": _show_webhook,
    "PATCH": _change_webhook,
    "DELETE": _delete_webhook,
}
_WEBHOOKS: dict[str, Callable[..., Answer]] = {"GET": _list_webhooks, "POST": _create_webhook}

_ADDRESSES: dict[str, dict[str, Callable[..., Answer]]] = {
    "/whatsapp/conversations": {"GET": _list_conversations},
    "/whatsapp/messages": {"GET": _list_messages},
    "/whatsapp/contacts": {"GET": _list_contacts},
    _ONE_CONVERSATION: {"GET": _show_conversation, "PATCH": _change_conversation},
    f"{_ONE_CONVERSATION}/assignments": {"GET": _list_assignments, "POST": _assign},
    f"{_ONE_CONVERSATION}/assignments/{{assignment_id}}": {"PATCH": _change_assignment},
    "/whatsapp/webhooks": _WEBHOOKS,
    "/whatsapp/webhooks/{which}": _ONE_WEBHOOK,
    "/whatsapp/webhooks/{which}/test": {"POST": _test_webhook},
    f"{_NUMBER}/webhooks": _WEBHOOKS,
    f"{_NUMBER}/webhooks/{{which}}": _ONE_WEBHOOK,
    f"{_NUMBER}/webhooks/{{which}}/test": {"POST": _test_webhook},
}
