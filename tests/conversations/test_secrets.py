"""No secret and no message of a webhook is where it does not belong."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import pytest
from django.core.serializers import serialize
from django.test import Client
from django.views.debug import ExceptionReporter

from kapso_inbox.conversations.models import Conversation, WebhookDelivery
from kapso_inbox.conversations.secrets import webhook_secrets
from kapso_inbox.conversations.webhooks import set_webhooks
from kapso_inbox.kapso import KapsoError
from kapso_inbox.sandbox.engine import Sandbox
from tests.hosts.database import connection

from .conftest import SECRET, Post, about

pytestmark = pytest.mark.django_db

TEXT = "a very private matter"


def frames_of(error: BaseException) -> str:
    """Return the local variables of all frames of an error and of those that led to it."""
    shown = ""
    seen: BaseException | None = error
    while seen is not None:
        for frame, _line in traceback.walk_tb(seen.__traceback__):
            if (
                "kapso_inbox" in frame.f_code.co_filename
                and "tests" not in frame.f_code.co_filename
            ):
                shown += repr(frame.f_locals)
        seen = seen.__cause__ or seen.__context__
    return shown


def test_a_secret_does_not_show_itself() -> None:
    assert SECRET not in repr(webhook_secrets("default"))


def test_nothing_of_a_message_is_kept_logged_or_dumped(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        post("whatsapp.message.received", about(1, text=TEXT, message_id="wamid.14155550123"))
        post("whatsapp.strange.event", {"text": TEXT, "secret": SECRET})
        post("whatsapp.message.received", about(1, text=TEXT), secret="wrong")
    rows = [*Conversation.objects.all(), *WebhookDelivery.objects.all()]
    kept = serialize("json", rows)
    assert len(rows) == 4
    for leak in (TEXT, SECRET, "wamid."):
        assert leak not in kept + caplog.text, leak


def test_an_error_report_shows_neither_secret_nor_message(
    post: Post, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any) -> Any:
        raise RuntimeError("a bug")

    client.raise_request_exception = False
    with connection.execute_wrapper(fail):
        answer = post("whatsapp.message.received", about(1, text=TEXT))
    assert answer.status_code == 500
    [record] = [one for one in caplog.records if one.exc_info]
    assert record.exc_info
    reporter = ExceptionReporter(record.request, *record.exc_info)  # type: ignore[attr-defined]
    for report in (reporter.get_traceback_html(), reporter.get_traceback_text()):
        assert "a bug" in report
        assert SECRET not in report
        assert TEXT not in report


def test_a_failed_registration_holds_no_secret(kapso_sandbox: Sandbox) -> None:
    kapso_sandbox.fail_next(method="POST", drop=True)
    with pytest.raises(KapsoError) as caught:
        set_webhooks("default", "https://crm.example.com")
    assert SECRET not in frames_of(caught.value)
    assert SECRET not in str(caught.value) + repr(caught.value)
