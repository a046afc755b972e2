"""The addresses of the Platform API that the sandbox has, and what answers at each."""

from __future__ import annotations

import functools
import re

from . import embeds as rules
from .lists import numbered
from .project import SandboxProject
from .whatsapp import Call, settings_in, whatsapp_calls
from .wire import Answer, JsonDict, RefusedRequestError, Request

_EMBED_PATH = re.compile(r"/inbox_embeds/([^/]+)")
_FILTERS = ("status", "scope_type", "scope_id", "assigned_user_id")


def calls_at(path: str) -> dict[str, Call]:
    """Return what can be done at an address, by method; nothing if it does not exist."""
    if path == "/inbox_embeds":
        return {"GET": _list_embeds, "POST": _create}
    if match := _EMBED_PATH.fullmatch(path):
        calls = (("GET", _show), ("PATCH", _update), ("DELETE", _revoke))
        return {method: functools.partial(call, match[1]) for method, call in calls}
    if path == "/whatsapp/phone_numbers":
        return {"GET": lambda project, *rest: numbered(project.phone_numbers, *rest)}
    if path == "/customers":
        return {"GET": lambda project, *rest: numbered(project.customers, *rest)}
    if path == "/users":
        return {"GET": lambda project, *rest: numbered(project.users, *rest)}
    return whatsapp_calls(path)


def _list_embeds(project: SandboxProject, request: Request, most: int) -> Answer:
    wanted = {name: request.query[name] for name in _FILTERS if request.query.get(name)}
    ids = project.ids()
    for name, value in wanted.items():
        ids = [one for one in ids if project.find(one)[name] == value]
    return numbered(ids, request, most, lambda one: rules.public(project.find(one)))


def _create(project: SandboxProject, request: Request, most: int) -> Answer:
    if not project.has_credits:
        error = {"message": "Service credits exhausted", "code": "service_credits_exhausted"}
        raise RefusedRequestError(402, {"error": error})
    return Answer(201, {"data": dict(project.create(settings_in(request, "inbox_embed")))})


def _show(embed_id: str, project: SandboxProject, request: Request, most: int) -> Answer:
    return Answer(200, {"data": rules.public(_known(embed_id, project))})


def _update(embed_id: str, project: SandboxProject, request: Request, most: int) -> Answer:
    _known(embed_id, project)
    changed = project.update(embed_id, settings_in(request, "inbox_embed"))
    return Answer(200, {"data": rules.public(changed)})


def _revoke(embed_id: str, project: SandboxProject, request: Request, most: int) -> Answer:
    _known(embed_id, project)
    return Answer(200, {"data": rules.public(project.revoke(embed_id))})


def _known(embed_id: str, project: SandboxProject) -> JsonDict:
    try:
        return project.find(embed_id)
    except KeyError:
        raise RefusedRequestError(404, {"error": "Inbox embed not found"}) from None
