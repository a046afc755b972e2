"""How the views of the API describe themselves to drf-spectacular: answers, errors, examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers

from kapso_inbox.inbox.params import PARAMETERS

from .errors import CODES
from .serializers import (
    InboxChoicesSerializer,
    InboxEmbedChangesSerializer,
    InboxEmbedSerializer,
    InboxEmbedSettingsSerializer,
    InboxParamsSerializer,
    InboxRotationSerializer,
    InboxSyncReportSerializer,
    InboxSyncSerializer,
    InboxTicketSerializer,
    LaunchAttemptSerializer,
    NamedChoiceField,
    NewInboxEmbedSerializer,
)

Method = TypeVar("Method", bound=Callable[..., Any])

TAG = "Kapso inbox"

# The codes of the errors that operations can end with, by what the operations do.
ALWAYS = (
    "invalid",  # the query may name what is not known
    "not_authenticated",
    "authentication_failed",
    "permission_denied",
    "not_acceptable",
    "throttled",
)
BODY = ("invalid", "parse_error", "unsupported_media_type")
STORING = ("inside_transaction", "not_stored")
ASKING_KAPSO = (
    "kapso_refused_key",
    "kapso_credits_used_up",
    "kapso_not_found",
    "kapso_rate_limited",
    "kapso_unreachable",
    "not_configured",
)
READING_KAPSO = (*ASKING_KAPSO, "kapso_unusable_answer")
CHANGING_KAPSO = (
    *ASKING_KAPSO,
    *STORING,
    "kapso_refused",
    "outcome_uncertain",
    "read_only",
    "made_elsewhere",
)
MAKING_A_LINK = (*BODY, *CHANGING_KAPSO, "inbox_origin_missing", "busy", "not_revoked_yet")
CREATING = (*MAKING_A_LINK, "slug_taken")

_LINK_ID = "0b3d6f0e-6f5c-4b0e-9a64-0d1f2a7c9e11"
_SETTINGS = {
    "name": "Support inbox",
    "scope_type": "phone_number",
    "scope_id": "106540352242922",
    "allowed_origins": ["https://crm.example.com"],
    "language": "es",
    "groups": [1],
}
_PARAMS = {"mode": "dark", "status": "active", "unread": True}
#: Serializer -> the example of a body that it reads.
BODY_EXAMPLES: dict[type[Any], Mapping[str, Any]] = {
    NewInboxEmbedSerializer: {"slug": "support", **_SETTINGS},
    InboxEmbedSettingsSerializer: _SETTINGS,
    InboxEmbedChangesSerializer: {"default_mode": "dark"},
    InboxRotationSerializer: {"newest_link_id": _LINK_ID},
    InboxSyncSerializer: {"project": "default", "dry_run": True},
    InboxParamsSerializer: _PARAMS,
}
#: Serializer -> the example of an answer that it writes; of one row, if the answer is a list.
ANSWER_EXAMPLES: dict[type[Any], Mapping[str, Any]] = {
    InboxEmbedSerializer: {
        "slug": "support",
        "condition": "works",
        "secret": "stored",
        "has_unsettled_links": False,
        "project": "default",
        "scope_name": "Support line",
        "assigned_user_id": "",
        "assigned_user_name": "",
        "default_mode": "system",
        **_SETTINGS,
        "expires_at": None,
        "last_used_at": "2026-11-20T09:30:00Z",
        "current_link": {
            "id": _LINK_ID,
            "kapso_id": "7e0d6c1a-1f0b-4f1e-8d54-5f7f0d2b9c33",
            "reference": "4f9a1c2b7d",
            "state": "active",
            "reason_code": "",
            "reason": "",
            "created_at": "2026-11-02T08:00:00Z",
            "state_changed_at": "2026-11-02T08:00:01Z",
        },
        "newest_link_id": _LINK_ID,
        "created_at": "2026-11-02T08:00:00Z",
        "updated_at": "2026-11-20T09:30:00Z",
    },
    InboxSyncReportSerializer: {
        "project": "default",
        "dry_run": False,
        "complete": True,
        "listed": 12,
        "pages": 1,
        "updated": 1,
        "unmanaged": 0,
        "ended": 0,
        "missing": 0,
        "settled": 1,
        "revoked": 0,
        "renewed": 0,
        "pruned": 0,
        "waiting": 0,
        "problems": [],
        "left_undone": [],
    },
    InboxTicketSerializer: {
        "ticket": "5f0e7c1c2b7d4f9ab0e4d1f2a7c9e110:PZ0Yt5d3",
        "url": "https://crm.example.com/kapso-inbox/support/launch/?ticket=5f0e7c1c2b7d4f9a",
        "expires_in": 60,
    },
    InboxParamsSerializer: {**dict.fromkeys(PARAMETERS), **_PARAMS},
    InboxChoicesSerializer: {
        "results": [
            {
                "id": "106540352242922",
                "name": "Support line",
                "detail": "+1 555-010-1234",
                "internal_id": "5a5e3d4e-0a0e-4b0e-8f5e-2f3b1d7c9e44",
            }
        ],
        "next_page": None,
    },
    LaunchAttemptSerializer: {
        "id": 4711,
        "created_at": "2026-11-20T09:30:00Z",
        "user": "ana",
        "user_id": "1",
        "acting_as": "",
        "slug": "support",
        "link": _LINK_ID,
        "outcome": "opened",
        "address": "203.0.113.7",
        "times": 1,
    },
}

_FIELD_EXAMPLES = {
    "invalid": {"scope_id": ["Enter a UUID such as 123e4567-e89b-12d3-a456-426614174000."]},
    "slug_taken": {"slug": ["There is an embed with this slug already."]},
}

_SLUG = OpenApiParameter(
    "slug",
    {"type": "string", "pattern": "^[-a-zA-Z0-9_]+$"},
    OpenApiParameter.PATH,
    description="The embed's slug.",
)


class InboxErrorDetailSerializer(serializers.Serializer[Any]):
    """What went wrong."""

    code = NamedChoiceField("InboxErrorCode", list(CODES))
    message = serializers.CharField(help_text="A text for people, in their language.")
    fields = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField()),
        help_text="The name of a field -> what is wrong with its value.",
    )
    retry_url = serializers.URLField(
        required=False,
        help_text="The address to send a POST to, which finds out what happened or continues.",
    )


class InboxErrorSerializer(serializers.Serializer[Any]):
    """An error of any kind."""

    error = InboxErrorDetailSerializer()


class NamedChoiceExtension(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """A component for each `NamedChoiceField`, which the host's own choices do not change."""

    target_class = NamedChoiceField

    def get_name(self) -> str:
        """Return the component's name."""
        return str(self.target.name)

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        """Return the component's schema."""
        return {"type": "string", "enum": list(self.target.choices)}


def operation(
    name: str,
    answer: Any,
    statuses: Mapping[int, str],
    *codes: str,
    body: type[serializers.Serializer[Any]] | None = None,
    query: type[serializers.Serializer[Any]] | None = None,
    many: bool = False,
    has_slug: bool = False,
    example: Any = None,
) -> Callable[[Method], Method]:
    """Describe a method of a view. Its docstring is the operation's description.

    Args:
        name: the operation's id, without the prefix.
        answer: the class of the answer's serializer, or a schema of OpenAPI.
        statuses: each status of success -> what it means.
        codes: the codes of the errors that are possible, besides `ALWAYS`.
        body: the serializer of the body.
        query: the serializer of the query.
        many: whether the answer is a list, which is paginated.
        has_slug: whether the address names an embed.
        example: an answer, or one row of it; by default, the one in `ANSWER_EXAMPLES`.
    """
    shown = OpenApiExample("Example", example or ANSWER_EXAMPLES[answer])
    responses: dict[int, OpenApiResponse] = {
        status: OpenApiResponse(answer(many=True) if many else answer, meaning, [shown])
        for status, meaning in statuses.items()
    }
    # A page of a list may not exist either.
    may_lack = ("not_found",) if has_slug or many else ()
    responses.update(_error_responses({*ALWAYS, *codes, *may_lack}))
    retry_after = OpenApiParameter(
        "Retry-After",
        OpenApiTypes.INT,
        OpenApiParameter.HEADER,
        description="Seconds to wait, if that is known.",
        response=[status for status in (429, 503) if status in responses],
    )
    decorate: Callable[[Method], Method] = extend_schema(
        operation_id=f"kapso_inbox_{name}",
        tags=[TAG],
        request=body,
        responses=responses,
        parameters=[*([query] if query else []), retry_after, *([_SLUG] if has_slug else [])],
        examples=[OpenApiExample("Example", BODY_EXAMPLES[body], request_only=True)]
        if body
        else None,
    )
    return decorate


def embed_operation(
    name: str, meaning: str, *codes: str, body: type[serializers.Serializer[Any]] | None = None
) -> Callable[[Method], Method]:
    """Describe a method about one embed, which answers it with the status 200.

    Args:
        name: as for `operation`.
        meaning: what the answer is.
        codes: as for `operation`.
        body: as for `operation`.
    """
    return operation(name, InboxEmbedSerializer, {200: meaning}, *codes, body=body, has_slug=True)


def _error_responses(codes: set[str]) -> Iterator[tuple[int, OpenApiResponse]]:
    """Return a response for each status of these codes, with the first code as its example."""
    for status in sorted({status for code in codes for status in CODES[code].statuses}):
        of_status = [code for code in CODES if code in codes and status in CODES[code].statuses]
        meanings = "\n".join(f"- `{code}`: {CODES[code].meaning}" for code in of_status)
        first = of_status[0]
        fields = _FIELD_EXAMPLES.get(first, {})
        error = {"code": first, "message": CODES[first].meaning, "fields": fields}
        example = OpenApiExample(first, {"error": error})
        yield status, OpenApiResponse(InboxErrorSerializer, meanings, [example])
