"""What drf-spectacular tells of the API. Without it the API works, and has no schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.extensions import OpenApiSerializerFieldExtension, OpenApiViewExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_view,
)
from rest_framework import serializers

from kapso_inbox.inbox.params import PARAMETERS

from .errors import CODES
from .filters import EmbedQuery, LaunchAttemptQuery, PickerQuery
from .serializers import (
    ChangesSerializer,
    EmbedSerializer,
    FoundSerializer,
    LaunchAttemptSerializer,
    NamedChoiceField,
    NewEmbedSerializer,
    ParamsSerializer,
    ReportSerializer,
    RotationSerializer,
    SettingsSerializer,
    SyncSerializer,
    TicketSerializer,
)

TAG = "Kapso inbox"

_LINK = "0b3d6f0e-6f5c-4b0e-9a64-0d1f2a7c9e11"
_EMBED = {
    "slug": "support",
    "name": "Support inbox",
    "condition": "works",
    "secret": "stored",
    "has_unsettled_links": False,
    "project": "default",
    "scope_type": "phone_number",
    "scope_id": "106540352242922",
    "scope_name": "Support line",
    "assigned_user_id": "",
    "assigned_user_name": "",
    "allowed_origins": ["https://crm.example.com"],
    "default_mode": "system",
    "language": "es",
    "expires_at": None,
    "last_used_at": "2026-11-20T09:30:00Z",
    "groups": [1],
    "current_link": {
        "id": _LINK,
        "kapso_id": "7e0d6c1a-1f0b-4f1e-8d54-5f7f0d2b9c33",
        "reference": "4f9a1c2b7d",
        "state": "active",
        "reason": "",
        "created_at": "2026-11-02T08:00:00Z",
        "state_changed_at": "2026-11-02T08:00:01Z",
    },
    "newest_link_id": _LINK,
    "created_at": "2026-11-02T08:00:00Z",
    "updated_at": "2026-11-20T09:30:00Z",
}
_NEW = {
    "slug": "support",
    "name": "Support inbox",
    "scope_type": "phone_number",
    "scope_id": "106540352242922",
    "allowed_origins": ["https://crm.example.com"],
    "language": "es",
    "groups": [1],
}
_PARAMS = {"mode": "dark", "status": "active", "unread": True}
_SAVED = {**dict.fromkeys(PARAMETERS), **_PARAMS}
_REPORT = {
    "project": "default",
    "dry_run": False,
    "complete": True,
    "listed": 12,
    "pages": 1,
    "updated": 1,
    "unmanaged": 0,
    "ended": 0,
    "settled": 1,
    "revoked": 0,
    "renewed": 0,
    "pruned": 0,
    "waiting": 0,
    "problems": [],
}
_TICKET = {
    "ticket": "5f0e7c1c2b7d4f9ab0e4d1f2a7c9e110:PZ0Yt5d3",
    "url": "https://crm.example.com/kapso-inbox/support/launch/?ticket=5f0e7c1c2b7d4f9a",
    "expires_in": 60,
}
_FOUND = {
    "results": [
        {
            "id": "106540352242922",
            "name": "Support line",
            "detail": "+1 555-010-1234",
            "internal_id": "5a5e3d4e-0a0e-4b0e-8f5e-2f3b1d7c9e44",
        }
    ],
    "next_page": None,
}
_OPENING = {
    "id": 4711,
    "created_at": "2026-11-20T09:30:00Z",
    "user": "ana",
    "user_id": "1",
    "slug": "support",
    "link": _LINK,
    "outcome": "opened",
    "address": "203.0.113.7",
}
_FIELDS = {
    "invalid": {"scope_id": ["Enter a UUID such as 123e4567-e89b-12d3-a456-426614174000."]},
    "kapso_refused": {"name": ["Kapso says: is too long"]},
    "slug_taken": {"slug": ["There is an embed with this slug already."]},
}
_ASK_AGAIN = {
    "outcome_uncertain": "https://crm.example.com/api/kapso-inbox/embeds/support/resolve/",
    "not_revoked_yet": "https://crm.example.com/api/kapso-inbox/embeds/support/resolve/",
}

# What can go wrong, by what is done.
_ANY = (
    "not_authenticated",
    "authentication_failed",
    "permission_denied",
    "not_acceptable",
    "throttled",
)
_BODY = ("invalid", "parse_error", "unsupported_media_type")
_ASKING = (
    "kapso_refused_key",
    "kapso_not_found",
    "kapso_rate_limited",
    "kapso_unreachable",
    "not_configured",
)
_READING = (*_ASKING, "kapso_unusable_answer")
_WRITING = (*_ASKING, "kapso_refused", "outcome_uncertain", "inside_transaction", "not_stored")
_MAKING = (*_BODY, *_WRITING, "slug_taken", "busy", "not_revoked_yet")


class ErrorDetailSerializer(serializers.Serializer[Any]):
    """What went wrong."""

    code = NamedChoiceField("InboxErrorCode", list(CODES))
    message = serializers.CharField(help_text="A text for people, in their language.")
    fields = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField()),
        help_text="Field -> texts, for what is about a field.",
    )
    retry_url = serializers.URLField(
        required=False, help_text="The address that finds out what became of it."
    )


class ErrorSerializer(serializers.Serializer[Any]):
    """An error of any kind."""

    error = ErrorDetailSerializer()


class NamedChoice(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """A choice is a component under its own name, which no other choice of the host's changes."""

    target_class = "kapso_inbox.api.serializers.NamedChoiceField"

    def get_name(self) -> str:
        """Return that name."""
        return str(self.target.name)

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        """Return its values."""
        return {"type": "string", "enum": list(self.target.choices)}


def operation(
    name: str,
    answers: Mapping[int, Any],
    *codes: str,
    takes: Any = None,
    example: Any = None,
    parameters: Any = (),
    is_about_one: bool = False,
) -> Any:
    """Describe one operation.

    Args:
        name: its id.
        answers: status -> serializer and an example of what is answered.
        codes: those of the errors that it can end with, beside the ones that any can.
        takes: the serializer of its body.
        example: of its body.
        parameters: a serializer of its query, or header and path parameters.
        is_about_one: whether it is about one embed, which there may not be.
    """
    responses: dict[Any, Any] = {
        status: OpenApiResponse(serializer, description, [OpenApiExample("Example", value)])
        for status, (serializer, description, value) in answers.items()
    }
    for status, response in _errors({*_ANY, *codes, *(["not_found"] if is_about_one else [])}):
        responses[status] = response
    slug = OpenApiParameter(
        "slug",
        {"type": "string", "pattern": "^[-a-zA-Z0-9_]+$"},
        OpenApiParameter.PATH,
        description="The embed's slug.",
    )
    headers = [
        OpenApiParameter(
            "Retry-After",
            OpenApiTypes.INT,
            OpenApiParameter.HEADER,
            description="Seconds to wait, where it is known.",
            response=[status for status in (429, 503) if status in responses],
        )
    ]
    return extend_schema(
        operation_id=f"kapso_inbox_{name}",
        tags=[TAG],
        request=takes,
        responses=responses,
        parameters=[*parameters, *headers, *([slug] if is_about_one else [])],
        examples=[OpenApiExample("Example", example, request_only=True)] if example else None,
    )


def _errors(codes: set[str]) -> list[tuple[int, OpenApiResponse]]:
    by_status: dict[int, list[str]] = {}
    for code in CODES:
        if code in codes:
            for status in CODES[code].statuses:
                by_status.setdefault(status, []).append(code)
    return [
        (
            status,
            OpenApiResponse(
                ErrorSerializer,
                "\n".join(f"- `{code}`: {CODES[code].meaning}" for code in of_status),
                [OpenApiExample(code, _example(code)) for code in of_status[:1]],
            ),
        )
        for status, of_status in sorted(by_status.items())
    ]


def _example(code: str) -> dict[str, Any]:
    error = {"code": code, "message": CODES[code].meaning, "fields": _FIELDS.get(code, {})}
    return {"error": {**error, **({"retry_url": _ASK_AGAIN[code]} if code in _ASK_AGAIN else {})}}


def _one(description: str = "The embed as it now is.") -> Any:
    return EmbedSerializer, description, _EMBED


def _view(target: str, **operations: Any) -> None:
    """Register what the operations of one view are."""

    class Described(OpenApiViewExtension):  # type: ignore[no-untyped-call]
        target_class = f"kapso_inbox.api.{target}"

        def view_replacement(self) -> type[Any]:
            view: Any = self.target_class
            return extend_schema_view(**operations)(type(view.__name__, (view,), {}))


_view(
    "embeds.EmbedsView",
    get=operation(
        "embeds_list",
        {200: (EmbedSerializer(many=True), "The embeds that the user may see.", _EMBED)},
        "invalid",
        "not_found",
        parameters=[EmbedQuery],
    ),
    post=operation(
        "embeds_create",
        {201: _one("The embed, with a link that works.")},
        *_MAKING,
        takes=NewEmbedSerializer,
        example=_NEW,
    ),
)
_view(
    "embeds.EmbedView",
    get=operation("embeds_retrieve", {200: _one("The embed.")}, is_about_one=True),
    put=operation(
        "embeds_ensure",
        {
            200: _one("There was one already; it has these settings and a link that works."),
            201: _one("It was made."),
        },
        *_MAKING,
        "revoked",
        "not_ready",
        takes=SettingsSerializer,
        example={name: _NEW[name] for name in _NEW if name != "slug"},
        is_about_one=True,
    ),
    patch=operation(
        "embeds_update",
        {200: _one()},
        *_BODY,
        *_WRITING,
        "slug_taken",
        "busy",
        takes=ChangesSerializer,
        example={"default_mode": "dark"},
        is_about_one=True,
    ),
    delete=operation(
        "embeds_revoke",
        {200: _one("It is revoked; its row stays.")},
        *_WRITING,
        "not_revoked_yet",
        is_about_one=True,
    ),
)
_view(
    "embeds.RotateView",
    post=operation(
        "embeds_rotate",
        {200: _one("The embed, with its new link.")},
        *_BODY,
        *_WRITING,
        "busy",
        "replaced",
        "revoked",
        "not_revoked_yet",
        takes=RotationSerializer,
        example={"newest_link_id": _LINK},
        is_about_one=True,
    ),
)
_view(
    "embeds.ResolveView",
    post=operation(
        "embeds_resolve",
        {200: _one()},
        *_WRITING,
        "busy",
        "not_revoked_yet",
        is_about_one=True,
    ),
)
_view(
    "embeds.RefreshView",
    post=operation(
        "embeds_refresh",
        {200: _one("The embed as Kapso has it.")},
        *_READING,
        "inside_transaction",
        "not_stored",
        is_about_one=True,
    ),
)
_view(
    "embeds.SyncView",
    post=operation(
        "embeds_sync",
        {200: (ReportSerializer, "What was found and done.", _REPORT)},
        *_BODY,
        "not_configured",
        "inside_transaction",
        "not_stored",
        takes=SyncSerializer,
        example={"project": "default", "dry_run": True},
    ),
)
_view(
    "own.LaunchView",
    post=operation(
        "embeds_launch",
        {201: (TicketSerializer, "A ticket, good once and for sixty seconds.", _TICKET)},
        *_BODY,
        "revoked",
        "expired",
        "not_ready",
        "not_configured",
        "not_stored",
        takes=ParamsSerializer,
        example=_PARAMS,
        is_about_one=True,
    ),
)
_view(
    "own.PreferencesView",
    get=operation(
        "preferences_retrieve",
        {200: (ParamsSerializer, "What is saved; null = nothing.", _SAVED)},
        is_about_one=True,
    ),
    put=operation(
        "preferences_replace",
        {200: (ParamsSerializer, "What is saved now.", _SAVED)},
        *_BODY,
        "not_stored",
        takes=ParamsSerializer,
        example=_PARAMS,
        is_about_one=True,
    ),
    patch=operation(
        "preferences_update",
        {200: (ParamsSerializer, "What is saved now.", _SAVED)},
        *_BODY,
        "not_stored",
        takes=ParamsSerializer,
        example={"mode": "light", "unread": None},
        is_about_one=True,
    ),
)
for _target, _name in (
    ("PhoneNumbersView", "phone_numbers"),
    ("CustomersView", "customers"),
    ("TeamMembersView", "team_members"),
):
    _view(
        f"lists.{_target}",
        get=operation(
            f"{_name}_pick",
            {200: (FoundSerializer, "What was found so far, in Kapso's order.", _FOUND)},
            "invalid",
            *_READING,
            parameters=[PickerQuery],
        ),
    )
_view(
    "lists.LaunchAttemptsView",
    get=operation(
        "openings_list",
        {200: (LaunchAttemptSerializer(many=True), "The newest first.", _OPENING)},
        "invalid",
        "not_found",
        parameters=[LaunchAttemptQuery],
    ),
)
