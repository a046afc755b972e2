"""The webhook that a developer would write first: it checks the signature and inserts a row."""

from __future__ import annotations

import hashlib
import hmac
import json

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from .by_hand import urlpatterns as _others
from .models import PlainEvent


@csrf_exempt
def bare(request: HttpRequest) -> HttpResponse:
    """Check the HMAC, and insert a row."""
    secret = settings.KAPSO_INBOX["WEBHOOK_SECRETS"]["default"].encode()
    expected = hmac.new(secret, request.body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, request.headers["X-Webhook-Signature"]):
        return HttpResponse(status=401)
    data = json.loads(request.body)
    PlainEvent.objects.create(
        key=request.headers["X-Idempotency-Key"], message_id=data["message"]["id"]
    )
    return HttpResponse()


@login_required
def empty(request: HttpRequest) -> HttpResponse:
    """Return nothing, to a user who is signed in."""
    return HttpResponse(request.user.get_username())


urlpatterns = [*_others, path("bare/", bare), path("empty/", empty)]
