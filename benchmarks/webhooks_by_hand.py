"""Webhooks by hand: one inserts a row, and one executes the same three statements as ours."""

from __future__ import annotations

import hashlib
import hmac
import json

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from .by_hand import urlpatterns as _others
from .models import PlainEvent


def _is_signed(request: HttpRequest) -> bool:
    secret = settings.KAPSO_INBOX["WEBHOOK_SECRETS"]["default"].encode()
    expected = hmac.new(secret, request.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, request.headers["X-Webhook-Signature"])


@csrf_exempt
def bare(request: HttpRequest) -> HttpResponse:
    """Check the HMAC, and insert a row: what a developer would write first."""
    if not _is_signed(request):
        return HttpResponse(status=401)
    data = json.loads(request.body)
    PlainEvent.objects.create(
        key=request.headers["X-Idempotency-Key"], message_id=data["message"]["id"]
    )
    return HttpResponse()


@csrf_exempt
def in_sql(request: HttpRequest) -> HttpResponse:
    """Check the HMAC, write the event, lock the conversation and change it, all of it in SQL."""
    if not _is_signed(request):
        return HttpResponse(status=401)
    data, now = json.loads(request.body), timezone.now()
    event = [request.headers["X-Idempotency-Key"], data["message"]["id"], now]
    lock = connection.ops.for_update_sql() if connection.features.has_select_for_update else ""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO kapso_conversations_webhookdelivery (project, event, outcome, keys,"
            " idempotency_key, event_key, received_at)"
            " VALUES ('default', 'message', 'applied', '', %s, %s, %s)",
            event,
        )
        cursor.execute(
            "SELECT * FROM kapso_conversations_conversation"  # noqa: S608 (no value is in it)
            f" WHERE project = 'default' AND kapso_id = %s {lock}",
            [data["conversation"]["id"]],
        )
        cursor.execute(
            "UPDATE kapso_conversations_conversation SET last_inbound_at = %s,"
            " last_active_at = %s, status_at = %s, updated_at = %s WHERE id = %s",
            [now, now, now, now, cursor.fetchone()[0]],
        )
    return HttpResponse()


@login_required
def empty(request: HttpRequest) -> HttpResponse:
    """Return nothing, to a user who is signed in."""
    return HttpResponse(request.user.get_username())


urlpatterns = [
    *_others,
    path("bare/", bare),
    path("in-sql/", in_sql),
    path("empty/", empty),
]
