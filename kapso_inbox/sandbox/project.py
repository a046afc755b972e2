"""One Kapso project: its numbers, customers, users, conversations and inbox embeds."""

from __future__ import annotations

import secrets
import threading
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from . import embeds as rules
from .deliveries import QueuedDelivery
from .events import ConversationEvents
from .records import assigned
from .seed import Seed
from .webhooks import SandboxWebhooks
from .wire import JsonDict, RefusedRequestError


class SandboxProject(ConversationEvents):
    """A project behind one API key.

    Attributes:
        name: the project's name.
        inbox_origin: the origin of its embed URLs.
        embeds: id -> the whole record with its token; the API shows less of it.
        phone_numbers, customers, users, conversations: plain lists, which a test may change.
        webhooks: its webhooks, and what is on its way to them.
        version: grows with every change in the conversations that a method makes.
        has_credits: set it to False, and creating an embed answers 402.
    """

    def __init__(
        self,
        *,
        inbox_origin: str,
        seed: Callable[[], Seed],
        clock: Callable[[], datetime],
        lock: threading.RLock,
        save: Callable[[], None],
    ) -> None:
        self.inbox_origin = inbox_origin
        self.embeds: dict[str, JsonDict] = {}
        self._ids: list[str] = []
        self.version = 0
        self.webhooks = SandboxWebhooks(clock, lock, save)
        self._seed, self._clock, self._lock, self._save = seed, clock, lock, save
        self.reset()

    def reset(self) -> None:
        """Restore the seeds, without any embed and webhook."""
        with self._lock:
            seed = self._seed()
            self.name = seed.name
            self.phone_numbers = seed.phone_numbers
            self.customers = seed.customers
            self.users = seed.users
            self.conversations = seed.conversations
            self.has_credits = True
            self.embeds.clear()
            self.webhooks.reset()
            self.version += 1
            self._on_their_way = []

    @property
    def deliveries(self) -> list[QueuedDelivery]:
        """What was queued for the webhooks, the oldest first."""
        return self.webhooks.outbox.deliveries

    def now(self) -> datetime:
        """Return the time by the sandbox's clock."""
        return self._clock()

    def links(self, *, active_only: bool = False) -> list[JsonDict]:
        """Return the embeds' records, the most recent first."""
        with self._lock:
            newest_first = (self.embeds[one] for one in self.ids())
            return [one for one in newest_first if not active_only or one["status"] == "active"]

    def ids(self) -> Sequence[str]:
        """Return the ids of the embeds, the most recent first.

        Any page of a long list costs the same: they are put in order anew only if there are others.
        """
        with self._lock:
            # No id is used twice, so as many embeds with the same newest one are the same embeds.
            newest = next(reversed(self.embeds), None)
            if len(self._ids) != len(self.embeds) or newest not in self._ids[:1]:
                self._ids = list(reversed(self.embeds))
            return self._ids

    def active_embeds(self) -> list[JsonDict]:
        """Return the records that are not revoked, the most recent first.

        As in the API, expired ones are among them.
        """
        return self.links(active_only=True)

    def find(self, embed_id: str) -> JsonDict:
        """Return the record of an embed.

        Raises:
            KeyError: there is no such embed.
        """
        return self.embeds[embed_id]

    def find_token(self, token: str) -> JsonDict | None:
        """Return the record with this token, whatever its state, or None."""
        return next((one for one in self.links() if one["token"] == token), None)

    def create(self, settings: JsonDict) -> JsonDict:
        """Create an embed and return its record.

        Raises:
            RefusedRequestError: the settings are invalid (422), or name something that does not
                exist (404).
        """
        with self._lock:
            now = self._clock()
            self._check(settings, now, creating=True)
            token = secrets.token_urlsafe(32)
            embed: JsonDict = {
                "id": str(uuid.uuid4()),
                "name": "",
                "scope_type": settings["scope_type"],
                "scope_id": settings.get("scope_id") or None,
                "scope_name": self._scope_name(settings["scope_type"], settings.get("scope_id")),
                "assigned_user_id": None,
                "assigned_user_name": None,
                "status": "active",
                "allowed_origins": [],
                "default_mode": "system",
                "language": "en",
                "expires_at": None,
                "last_used_at": None,
                "created_at": rules.to_iso(now),
                "updated_at": rules.to_iso(now),
                "token": token,
                "embed_url": f"{self.inbox_origin}/embed/{token}",
            }
            self._apply(embed, settings)
            self.embeds[embed["id"]] = embed
            self._save()
            return embed

    def update(self, embed_id: str, settings: JsonDict) -> JsonDict:
        """Change an embed's settings and return its record.

        Raises:
            KeyError: there is no such embed.
            RefusedRequestError: the settings are invalid (422), or name something that does not
                exist (404).
        """
        with self._lock:
            embed, now = self.embeds[embed_id], self._clock()
            self._check(settings, now, creating=False)
            self._apply(embed, settings)
            embed["updated_at"] = rules.to_iso(now)
            self._save()
            return embed

    def revoke(self, embed_id: str) -> JsonDict:
        """Revoke the token at once and return the record, which stays in the list.

        Revoking it again changes nothing.

        Raises:
            KeyError: there is no such embed.
        """
        with self._lock:
            embed = self.embeds[embed_id]
            if embed["status"] != "revoked":
                embed.update(status="revoked", updated_at=rules.to_iso(self._clock()))
                self._save()
            return embed

    def expire(self, embed_id: str) -> JsonDict:
        """Let the embed expire and return its record.

        Raises:
            KeyError: there is no such embed.
        """
        with self._lock:
            embed = self.embeds[embed_id]
            embed["expires_at"] = rules.to_iso(self._clock() - timedelta(minutes=1))
            self._save()
            return embed

    def touch(self, embed: JsonDict) -> None:
        """Record that the inbox was opened with this embed."""
        with self._lock:
            embed["last_used_at"] = rules.to_iso(self._clock())
            self._save()

    def assign(self, conversation_id: str, user_id: object, settings: JsonDict) -> JsonDict:
        """Assign a conversation to a team member instead of another, and return the assignment.

        Raises:
            RefusedRequestError: there is no such conversation or team member.
        """
        with self._lock:
            self._user_name(user_id)
            self.unassign(conversation_id)
            conversation = self._conversation(conversation_id)
            assignment = assigned(str(user_id), rules.to_iso(self._clock()), settings.get("notes"))
            conversation["assignments"].append(assignment)
            conversation["assigned_user_id"] = user_id
            self.version += 1
            return assignment

    def unassign(self, conversation_id: str) -> None:
        """End the assignment of a conversation.

        Raises:
            RefusedRequestError: there is no such conversation.
        """
        with self._lock:
            for assignment in self._quietly(conversation_id, assigned_user_id=None)["assignments"]:
                if assignment["active"]:
                    assignment.update(active=False, updated_at=rules.to_iso(self._clock()))

    def visible_conversations(self, embed: JsonDict) -> list[JsonDict]:
        """Return the conversations in the embed's scope and assignment, the latest first."""
        rows = self.conversations
        if embed["scope_type"] == "customer":
            rows = [row for row in rows if row["customer_id"] == embed["scope_id"]]
        elif embed["scope_type"] == "phone_number":
            numbers = {one["internal_id"] for one in self.visible_numbers(embed)}
            rows = [row for row in rows if row["whatsapp_config_id"] in numbers]
        if embed["assigned_user_id"]:
            rows = [row for row in rows if row["assigned_user_id"] == embed["assigned_user_id"]]
        return sorted(rows, key=lambda row: str(row["last_active_at"]), reverse=True)

    def visible_numbers(self, embed: JsonDict) -> list[JsonDict]:
        """Return the phone numbers in the embed's scope."""
        if embed["scope_type"] != "phone_number":
            return self.phone_numbers
        return [one for one in self.phone_numbers if one["phone_number_id"] == embed["scope_id"]]

    def _check(self, settings: JsonDict, now: datetime, *, creating: bool) -> None:
        errors = rules.errors_in(settings, now, creating=creating)
        if errors:
            raise RefusedRequestError(422, {"errors": errors})
        if settings.get("assigned_user_id") is not None:
            self._user_name(settings["assigned_user_id"])

    def _apply(self, embed: JsonDict, settings: JsonDict) -> None:
        embed.update(rules.normalised(settings))
        user_id = embed["assigned_user_id"]
        embed["assigned_user_name"] = None if user_id is None else self._user_name(user_id)

    def _scope_name(self, scope_type: str, scope_id: str | None) -> str:
        if scope_type == "project":
            return self.name
        if scope_type == "customer":
            return _name_of(self.customers, "id", scope_id, "Customer not found")
        return _name_of(self.phone_numbers, "phone_number_id", scope_id, "Phone number not found")

    def _user_name(self, user_id: object) -> str:
        return _name_of(self.users, "user_id", user_id, "User not found")


def _name_of(rows: list[JsonDict], key: str, wanted: object, otherwise: str) -> str:
    for row in rows:
        if row[key] == wanted:
            return str(row["name"])
    raise RefusedRequestError(404, {"error": otherwise})
