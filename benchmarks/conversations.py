"""`python -m benchmarks.conversations`: what a webhook costs, and what badges cost.

Taking in a message is compared with a bare view that checks an HMAC and inserts a row, and with
one that writes by hand, in SQL, what ours writes. The badges of a user are asked for with few
conversations and with many, and a 304 with an empty view for users who are signed in. All go
through WSGI. A time is a median, and a ratio the median of the ratios of all rounds.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from statistics import median
from typing import Any

from .host import NOWHERE, Browser, database_name, own_database, signed_in
from .tools import in_turns, queries, ratio, table

SECRET = "the-webhook-secret-of-this-benchmark"
RECEIVED = "whatsapp.message.received"
#: Agents with a page of the CRM in view, and the seconds between their polls.
AGENTS, EVERY = 200, 20


def main() -> None:
    """Measure, and print three tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--conversations", type=int, default=1_000_000)
    options = parser.parse_args()
    settings: Mapping[str, Any] = {**NOWHERE, "WEBHOOK_SECRETS": {"default": SECRET}}
    apps = ["kapso_inbox.conversations"]
    with own_database(settings, apps=apps, urls="benchmarks.webhooks_by_hand"):
        _print_intake(options.rounds)
        print()
        browser = _fill(1_000, waiting=20)
        sides = _sides(browser)
        counts = [queries(side) for side in sides.values()]
        few = in_turns(list(sides.values()), options.rounds)
        _fill(options.conversations, waiting=5_000)
        sides = _sides(browser)
        many = in_turns(list(sides.values()), options.rounds)
        _print_badges(list(sides), counts, few, many, options)


def _print_intake(rounds: int) -> None:
    from django.core.wsgi import get_wsgi_application

    application = get_wsgi_application()
    new = _posts(application, "/kapso-inbox/webhooks/default/", lambda: str(uuid.uuid4()))
    same = _posts(application, "/kapso-inbox/webhooks/default/", lambda: "the same conversation")
    bare = _posts(application, "/bare/", lambda: str(uuid.uuid4()))
    in_sql = _posts(application, "/in-sql/", lambda: "the same conversation")
    same()  # so that it exists
    sides = {
        "a bare view: HMAC and an insert": bare,
        "a message of a new conversation": new,
        "a message of a known conversation": same,
        "the same by hand, in SQL": in_sql,
    }
    counts = [queries(side) for side in sides.values()]
    times = in_turns(list(sides.values()), rounds)
    rows = [
        (name, count, f"{median(own):.2f}", f"{ratio(own, times[0]):.2f}")
        for name, count, own in zip(sides, counts, times, strict=True)
    ]
    table([database_name(), "queries", "ms", "times the bare view"], rows)


def _posts(application: Any, path: str, conversation: Callable[[], str]) -> Callable[[], None]:
    from django.test import RequestFactory

    def post() -> None:
        now = datetime.now(timezone.utc)
        body = json.dumps(
            {
                "message": {
                    "id": f"wamid.{uuid.uuid4().hex}",
                    "timestamp": str(int(now.timestamp())),
                    "type": "text",
                    "text": {"body": "Is the shop open on Saturday?"},
                    "kapso": {"direction": "inbound", "origin": "cloud_api"},
                },
                "conversation": {
                    "id": conversation(),
                    "phone_number": "+14155550123",
                    "status": "active",
                    "updated_at": now.isoformat(),
                    "phone_number_id": "106540352242922",
                    "kapso": {"contact_name": "Lucía Ferrer"},
                },
                "phone_number_id": "106540352242922",
            }
        ).encode()
        headers = {
            "X-Webhook-Event": RECEIVED,
            "X-Webhook-Signature": hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest(),
            "X-Idempotency-Key": str(uuid.uuid4()),
        }
        request = RequestFactory().post(
            path, body, content_type="application/json", headers=headers
        )
        answered: list[str] = []
        response = application(request.environ, lambda line, _headers: answered.append(line))
        b"".join(response)
        response.close()
        if not answered[0].startswith("200"):
            raise SystemExit(f"{path}: {answered[0]}")

    return post


def _fill(total: int, *, waiting: int) -> Browser:
    """Bring the conversations to a total, of which some wait; return the browser of an agent."""
    from django.contrib.auth.models import User

    from kapso_inbox.conversations.models import Conversation
    from kapso_inbox.models import AccessLink, InboxEmbed

    if not InboxEmbed.objects.exists():
        for slug in ("support", "sales"):
            embed = InboxEmbed.objects.create(slug=slug, name=slug)
            link = AccessLink.objects.create(embed=embed, state=AccessLink.State.ACTIVE)
            InboxEmbed.objects.filter(pk=embed.pk).update(current_link=link)
    Conversation.objects.all().delete()
    long_ago = datetime.now(timezone.utc) - timedelta(days=30)

    def rows() -> Iterator[Conversation]:
        for number in range(total):
            moment = long_ago + timedelta(seconds=number)
            yield Conversation(
                project="default",
                kapso_id=str(uuid.uuid4()),
                phone_number_id=f"10654035224292{number % 5}",
                phone=f"1415{number:07}",
                last_inbound_at=moment,
                last_outbound_at=None if number < waiting else moment + timedelta(seconds=5),
                last_active_at=moment,
            )

    batch: list[Conversation] = []
    for row in rows():
        batch.append(row)
        if len(batch) == 5_000:
            Conversation.objects.bulk_create(batch)
            batch.clear()
    Conversation.objects.bulk_create(batch)
    Conversation.objects.update(updated_at=long_ago)
    _analyze()
    if user := User.objects.first():
        from django.test import Client

        client = Client()
        client.force_login(user)
        return Browser(client.cookies["sessionid"].value)
    return Browser(signed_in("open_inboxembed")[1])


def _analyze() -> None:
    """Let the database know its tables, as it does by itself in production."""
    from django.db import connection

    statements = {
        "postgresql": "VACUUM ANALYZE",
        "sqlite": "ANALYZE",
        "mysql": "ANALYZE TABLE kapso_conversations_conversation",
    }
    with connection.cursor() as cursor:
        cursor.execute(statements[connection.vendor])


def _sides(browser: Browser) -> dict[str, Callable[[], Any]]:
    from django.core.cache import cache

    address = "/kapso-inbox/waiting/?slug=support&slug=sales"

    def counted() -> None:
        cache.clear()  # as after each change
        browser.get(address, 200)

    def kept() -> None:
        browser.get(address, 200)

    etags: dict[str, str] = {}

    def unchanged() -> None:
        if "etag" not in etags:
            etags["etag"] = _etag(browser, address)
        browser.get(address, 304, {"If-None-Match": etags["etag"]})

    return {
        "an empty view": lambda: browser.get("/empty/", 200),
        "badges, counted": counted,
        "badges, unchanged": kept,
        "badges, 304": unchanged,
    }


def _etag(browser: Browser, address: str) -> str:
    from kapso_inbox.conversations.waiting import etag_of

    return etag_of(json.loads(browser.get(address, 200)))


def _print_badges(
    names: list[str],
    counts: list[int],
    few: list[list[float]],
    many: list[list[float]],
    options: Any,
) -> None:
    rows = []
    for place, name in enumerate(names):
        rows.append(
            (
                name,
                counts[place],
                f"{median(few[place]):.2f}",
                f"{median(many[place]):.2f}",
                f"{median(many[place]) / median(few[place]):.2f}",
                f"{ratio(many[place], many[0]):.2f}",
                f"{median(many[place]) / 1000 * AGENTS / EVERY:.1%}",
            )
        )
    headings = [
        database_name(),
        "queries",
        "ms at 1,000",
        f"ms at {options.conversations:,}",
        "ratio",
        "times the empty view",
        f"{AGENTS} agents",
    ]
    table(headings, rows)


if __name__ == "__main__":
    main()
