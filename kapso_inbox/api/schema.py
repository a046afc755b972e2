"""How the views describe themselves to drf-spectacular: one function, and an example each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers

from kapso_inbox.inbox.params import PARAMETERS

from .errors import CODES
from .serializers import EmbedSerializer, NamedChoiceField

Method = TypeVar("Method", bound=Callable[..., Any])

TAG = "Kapso inbox"

LINK_ID = "0b3d6f0e-6f5c-4b0e-9a64-0d1f2a7c9e11"
EMBED = {
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
        "id": LINK_ID,
        "kapso_id": "7e0d6c1a-1f0b-4f1e-8d54-5f7f0d2b9c33",
        "reference": "4f9a1c2b7d",
        "state": "active",
        "reason": "",
        "created_at": "2026-11-02T08:00:00Z",
        "state_changed_at": "2026-11-02T08:00:01Z",
    },
    "newest_link_id": LINK_ID,
    "created_at": "2026-11-02T08:00:00Z",
    "updated_at": "2026-11-20T09:30:00Z",
}
#: The settings of that embed, as they are sent.
SETTINGS = {
    "name": "Support inbox",
    "scope_type": "phone_number",
    "scope_id": "106540352242922",
    "allowed_origins": ["https://crm.example.com"],
    "language": "es",
    "groups": [1],
}
PARAMS = {"mode": "dark", "status": "active", "unread": True}
#: Preferences name every parameter, with null for those that are not saved.
PREFERENCES = {**dict.fromkeys(PARAMETERS), **PARAMS}

# What can go wrong, by what an operation does.
_ANY = (
    "not_authenticated",
    "authentication_failed",
    "permission_denied",
    "not_acceptable",
    "throttled",
)
BODY = ("invalid", "parse_error", "unsupported_media_type")
_ASKING = (
    "kapso_refused_key",
    "kapso_not_found",
    "kapso_rate_limited",
    "kapso_unreachable",
    "not_configured",
)
READING = (*_ASKING, "kapso_unusable_answer")
WRITING = (*_ASKING, "kapso_refused", "outcome_uncertain", "inside_transaction", "not_stored")
CREATING = (*BODY, *WRITING, "slug_taken", "busy", "not_revoked_yet")


class ErrorDetailSerializer(serializers.Serializer[Any]):
    """What went wrong."""

    code = NamedChoiceField("InboxErrorCode", list(CODES))
    message = serializers.CharField(help_text="A text for people, in their language.")
    fields = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField()),
        help_text="Field -> texts, for errors that are about a field.",
    )
    retry_url = serializers.URLField(
        required=False, help_text="`POST` to this address to find out what became of the change."
    )


class ErrorSerializer(serializers.Serializer[Any]):
    """An error of any kind."""

    error = ErrorDetailSerializer()


class NamedChoice(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """A choice that is a component of its own name, whatever choices the host's API has."""

    target_class = "kapso_inbox.api.serializers.NamedChoiceField"

    def get_name(self) -> str:
        """Return the name of the component."""
        return str(self.target.name)

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        """Return the values of the choice."""
        return {"type": "string", "enum": list(self.target.choices)}


def operation(
    name: str,
    answers: Mapping[int, tuple[Any, str]],
    *codes: str,
    example: Any = None,
    takes: Any = None,
    body: Any = None,
    query: Any = None,
    is_about_one: bool = False,
) -> Callable[[Method], Method]:
    """Describe an operation: a decorator for a view's method.

    Args:
        name: the ID of the operation, without its prefix.
        answers: status -> what is answered and when; None stands for the embed.
        codes: the codes of errors that it can end with, besides those that any operation can.
        example: an example of the answer; left out, it is the embed.
        takes: the serializer of the body.
        body: an example of the body.
        query: the serializer of the query.
        is_about_one: whether the address names an embed, which may not exist.
    """
    example = OpenApiExample("Example", EMBED if example is None else example, response_only=True)
    responses: dict[Any, Any] = {
        status: OpenApiResponse(serializer or EmbedSerializer, description, [example])
        for status, (serializer, description) in answers.items()
    }
    responses |= _errors({*_ANY, *codes, *(["not_found"] if is_about_one else [])})
    retry_after = OpenApiParameter(
        "Retry-After",
        OpenApiTypes.INT,
        OpenApiParameter.HEADER,
        description="Seconds to wait, if that is known.",
        response=[status for status in (429, 503) if status in responses],
    )
    slug = OpenApiParameter(
        "slug",
        {"type": "string", "pattern": "^[-a-zA-Z0-9_]+$"},
        OpenApiParameter.PATH,
        description="The embed's slug.",
    )
    return extend_schema(
        operation_id=f"kapso_inbox_{name}",
        tags=[TAG],
        request=takes,
        responses=responses,
        parameters=[
            *([query] if query else []),
            retry_after,
            *([slug] if is_about_one else []),
        ],
        examples=[OpenApiExample("Example", body, request_only=True)] if body else None,
    )


def _errors(codes: set[str]) -> dict[int, OpenApiResponse]:
    """Return a response for each status that these codes come with, which names its codes."""
    by_status: dict[int, list[str]] = {}
    for code in CODES:
        if code in codes:
            for status in CODES[code].statuses:
                by_status.setdefault(status, []).append(f"- `{code}`: {CODES[code].meaning}")
    return {
        status: OpenApiResponse(ErrorSerializer, "\n".join(lines))
        for status, lines in sorted(by_status.items())
    }
