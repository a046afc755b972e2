"""What can go wrong between this app and Kapso, by the names that the documentation uses."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from requests import exceptions
from urllib3 import HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
)

from kapso_inbox.kapso.transport import MAX_BODY
from kapso_inbox.sandbox.engine import Answer, Fault

from .world import Trouble

_POOL = HTTPSConnectionPool("api.kapso.ai")


def _max_retries(reason: Exception) -> MaxRetryError:
    return MaxRetryError(_POOL, "/platform/v1/inbox_embeds", reason)


def _refused() -> Exception:
    reason = NewConnectionError(None, "Connection refused")  # type: ignore[arg-type]
    return exceptions.ConnectionError(_max_retries(reason))


def _not_found() -> Exception:
    reason = NameResolutionError("api.kapso.ai", None, OSError("unknown"))  # type: ignore[arg-type]
    return exceptions.ConnectionError(_max_retries(reason))


def _connect_timeout() -> Exception:
    reason = ConnectTimeoutError(None, "timed out")
    return exceptions.ConnectTimeout(_max_retries(reason))


def _cut(answer: Answer) -> Answer:
    content = answer.content
    headers = {**answer.headers, "Content-Length": str(len(content))}
    return Answer(answer.status, content[: len(content) // 2], headers)


def _too_long(answer: Answer) -> Answer:
    return dataclasses.replace(answer, body=answer.content + b" " * MAX_BODY)


def _without(*names: str) -> Callable[[Answer], Answer]:
    def change(answer: Answer) -> Answer:
        body = json.loads(answer.content)
        for one in body["data"] if isinstance(body["data"], list) else [body["data"]]:
            for name in names:
                one.pop(name, None)
        return dataclasses.replace(answer, body=body)

    return change


def _on_a_foreign_host(answer: Answer) -> Answer:
    body = json.loads(answer.content)
    if "embed_url" in body["data"]:
        token = body["data"]["token"]
        body["data"]["embed_url"] = f"https://inbox.kapso.example/embed/{token}"
    return dataclasses.replace(answer, body=body)


#: A team member that no embed of the tests is limited to.
_MEMBER = "3f0c9a52-7c1e-4a35-8a0b-5d2e9b7c4f11"


def _for_a_team_member(answer: Answer) -> Answer:
    body = json.loads(answer.content)
    for one in body["data"] if isinstance(body["data"], list) else [body["data"]]:
        one["assigned_user_id"] = _MEMBER
    return dataclasses.replace(answer, body=body)


def _with_the_id_of_another(answer: Answer) -> Answer:
    from kapso_inbox.models import AccessLink

    body = json.loads(answer.content)
    known = AccessLink.objects.exclude(kapso_id="").first()
    if known is not None and isinstance(body["data"], dict):
        body["data"]["id"] = known.kapso_id
    return dataclasses.replace(answer, body=body)


def _list_with(**changes: Any) -> Callable[[Answer], Answer]:
    """Return a change of a list: other `data`, or another `total_count`."""

    def change(answer: Answer) -> Answer:
        body = json.loads(answer.content)
        if "meta" not in body:
            return answer
        body["data"] = changes.get("data", body["data"])
        body["meta"]["total_count"] = changes.get("total_count", len(body["data"]))
        return dataclasses.replace(answer, body=body)

    return change


def _knows_nothing(answer: Answer) -> Answer:
    if isinstance(json.loads(answer.content)["data"], list):
        return _list_with(data=[])(answer)
    return Answer(404, {"error": "Not found"})


def _body(text: str) -> Callable[[Answer], Answer]:
    return lambda answer: dataclasses.replace(answer, body=text)


_HTML = "<!DOCTYPE html><html><body>Welcome to the hotel's network</body></html>"
_CLOUDFLARE = "<html><title>Access denied</title>error code: 1010</html>"

#: Name -> what happens to the request. Created for each use, because an exception keeps its
#: traceback.
REQUEST_TROUBLES: dict[str, Callable[[], dict[str, Any]]] = {
    "connection refused": lambda: {"fault": Fault(error=_refused())},
    "name not found": lambda: {"fault": Fault(error=_not_found())},
    "connect timeout": lambda: {"fault": Fault(error=_connect_timeout())},
    "read timeout, Kapso did nothing": lambda: {"fault": Fault(error=exceptions.ReadTimeout())},
    "read timeout, Kapso did it": lambda: {"fault": Fault(delay=60)},
    "reset, Kapso did nothing": lambda: {"fault": Fault(drop="before")},
    "reset, Kapso did it": lambda: {"fault": Fault(drop="after")},
    "2xx, its body cut off": lambda: {"change": _cut},
    "2xx, its body too long": lambda: {"change": _too_long},
    "2xx, not JSON": lambda: {"change": _body("OK")},
    "2xx, HTML": lambda: {"change": _body(_HTML)},
    "2xx without an id": lambda: {"change": _without("id")},
    "2xx without a URL": lambda: {"change": _without("embed_url")},
    "2xx, the URL on a foreign host": lambda: {"change": _on_a_foreign_host},
    "2xx, for a team member instead of all": lambda: {"change": _for_a_team_member},
    "2xx, the id of the link to be replaced": lambda: {"change": _with_the_id_of_another},
    "2xx, the list is empty": lambda: {"change": _list_with(data=[])},
    "2xx, the list is empty, and 404 for each link": lambda: {
        "change": _knows_nothing,
        "at": "GET",
    },
    "2xx, the list is shorter than it says": lambda: {"change": _list_with(total_count=9)},
    "2xx, the link shows other conversations": lambda: {"change": _for_a_team_member},
    "302 to elsewhere": lambda: {
        "fault": Fault(answer=Answer(302, "", {"Location": "https://kapso.example/"}))
    },
    "401": lambda: {"fault": Fault(answer=Answer(401, {"error": "Invalid API key"}))},
    "402": lambda: {
        "fault": Fault(answer=Answer(402, {"error": {"code": "service_credits_exhausted"}}))
    },
    "403": lambda: {"fault": Fault(answer=Answer(403, {"error": "Forbidden"}))},
    "403 by Cloudflare": lambda: {"fault": Fault(answer=Answer(403, _CLOUDFLARE))},
    "404": lambda: {"fault": Fault(answer=Answer(404, {"error": "Phone number not found"}))},
    "409": lambda: {"fault": Fault(answer=Answer(409, {"error": "Conflict"}))},
    "422": lambda: {"fault": Fault(answer=Answer(422, {"errors": {"name": ["is odd"]}}))},
    "429": lambda: {"fault": Fault(answer=Answer(429, {}, {"Retry-After": "60"}))},
    "500": lambda: {"fault": Fault(answer=Answer(500, {"error": "Oops"}))},
    "502, Kapso did nothing": lambda: {"fault": Fault(answer=Answer(502, _HTML))},
    "502, Kapso did it": lambda: {"fault": Fault(answer=Answer(502, _HTML), process=True)},
}


def request_trouble(name: str, at: str | int) -> Trouble:
    """Return the trouble of that name.

    Args:
        name: a key of `REQUEST_TROUBLES`.
        at: the request that it happens to, as in `Trouble`.
    """
    return Trouble(**{"at": at, **REQUEST_TROUBLES[name]()})
