"""What people do in the conversations of a project, and what Kapso then tells its webhooks."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from .bodies import handoff_forms
from .conversations import is_unanswered, number_of
from .embeds import from_iso, to_iso
from .records import ConversationRecords, new_message, somebody_new
from .seed_types import Contact
from .wire import JsonDict

#: What customers write by themselves: the start of a number -> texts in the language there.
_TEXTS = {
    "+34": ("Hola, ¿hay alguna novedad?", "¿Me lo pueden confirmar hoy?", "¿Y aceptan tarjeta?"),
    "+52": ("Buenas, ¿siguen abiertos?", "¿Me mandan el precio?", "Perfecto, ¿cuándo llega?"),
    "+55": ("Bom dia! Ainda dá para trocar o horário?", "Recebi, mas faltou uma peça 😕", "Oi?"),
    "": ("Hello, are you there?", "Do you deliver on Saturdays?", "Thanks! And for twelve?"),
}
_NAMES = ("Robin Castellan", "Sol Andrade", "Kim Ashworth", "Noa Ferraz", "Jules Marchetti")


class ConversationEvents(ConversationRecords):
    """The part of a project in which people write to each other.

    Each method changes the conversations as the API and the inbox show them, and queues the events
    for the webhooks that are subscribed to them.
    """

    def customer_writes(
        self,
        person: str | Contact,
        text: str,
        *,
        number: str = "",
        kind: str = "text",
        name: str = "",
        username: str = "",
    ) -> JsonDict:
        """Let a customer write, and return the conversation.

        Somebody who has an active conversation with the number goes on with it; anybody else begins
        a new one.

        Args:
            person: a contact, their name or number, or the number of somebody new. Somebody who
                shows no number has a business-scoped id, such as `US.1a2b3c`.
            text: the text.
            number: the name or the phone_number_id of the number that is written to; "" for the
                one that the person wrote to last, or the first one.
            kind: `text`, `image`, `audio` or `document`.
            name: the name of somebody new.
            username: the user name of somebody new who shows no number.

        Raises:
            LookupError: no contact has this name, or the project has no such number.
        """
        if isinstance(person, Contact):
            name = name or person.name
            person = person.phone
        with self._lock:
            earlier = self._conversations_of(person)
            if number:
                record = self._number(number)
            else:
                record = number_of(self.phone_numbers, earlier[0]) if earlier else self._number("")
            for conversation in earlier:
                is_here = conversation["whatsapp_config_id"] == record["internal_id"]
                if is_here and conversation["status"] == "active":
                    break
            else:
                known = earlier[0] if earlier else somebody_new(person, name, username)
                conversation = self._begin(known, record)
            is_new = not conversation["messages"]
            message = self._add(conversation, "inbound", kind, text)
            if is_new:
                self._tell_conversation("whatsapp.conversation.created", conversation)
            self._tell("whatsapp.message.received", conversation, message, is_new=is_new)
            return conversation

    def agent_writes(
        self, conversation_id: str, text: str, *, origin: str = "cloud_api"
    ) -> JsonDict:
        """Let somebody at the business, or a bot, write, and return the message.

        Args:
            conversation_id: the conversation.
            text: the text.
            origin: `cloud_api`, or `business_app` for the app on a telephone.

        Raises:
            RefusedRequestError: there is no such conversation.
        """
        with self._lock:
            conversation = self._conversation(conversation_id)
            conversation["status"] = "active"
            message = self._add(conversation, "outbound", "text", text, origin=origin)
            self._on_their_way.append(message)
            self._tell("whatsapp.message.sent", conversation, message)
            return message

    def messages_arrive(self, *, after: timedelta) -> None:
        """Let the messages of the business that were sent some time ago be delivered."""
        with self._lock:
            now = self._clock()
            for message in list(self._on_their_way):
                if from_iso(message["timestamp"]) + after <= now:
                    self._on_their_way.remove(message)
                    if message["status"] == "sent":
                        self.set_status(message["id"], "delivered")

    def reacts(self, conversation_id: str, emoji: str, *, direction: str = "inbound") -> JsonDict:
        """Let somebody react to the last message, and return the reaction. It is no message.

        Raises:
            RefusedRequestError: there is no such conversation.
        """
        with self._lock:
            conversation = self._conversation(conversation_id)
            last = conversation["messages"][-1]["id"] if conversation["messages"] else None
            message = self._add(conversation, direction, "reaction", emoji, to=last)
            event = "received" if direction == "inbound" else "sent"
            self._tell(f"whatsapp.message.{event}", conversation, message)
            return message

    def set_status(self, message_id: str, status: str, *, error: str = "") -> JsonDict:
        """Let a message of the business be `delivered`, `read` or `failed`, and return it.

        Args:
            message_id: the message.
            status: its new status.
            error: why it failed.

        Raises:
            LookupError: there is no such message.
        """
        with self._lock:
            for conversation in self.conversations:
                for message in conversation["messages"]:
                    found: JsonDict = message
                    if found["id"] == message_id:
                        message["status"] = status
                        if error:
                            message["error"] = error
                        self._tell(f"whatsapp.message.{status}", conversation, message)
                        return found
            raise LookupError("there is no such message")

    def message_fails(self, message_id: str, error: str = "Message undeliverable") -> JsonDict:
        """Let a message of the business fail, and return it.

        Raises:
            LookupError: there is no such message.
        """
        return self.set_status(message_id, "failed", error=error)

    def end(self, conversation_id: str) -> JsonDict:
        """End a conversation and return it. What is written to the number next begins a new one.

        Raises:
            RefusedRequestError: there is no such conversation.
        """
        with self._lock:
            conversation = self._conversation(conversation_id)
            if conversation["status"] != "ended":
                conversation.update(status="ended", handoff=False)
                self._tell_conversation("whatsapp.conversation.ended", conversation)
            return conversation

    def hand_off(self, conversation_id: str, reason: str = "Asked for a human") -> JsonDict:
        """Let a workflow ask for a human, and return the conversation.

        Raises:
            RefusedRequestError: there is no such conversation.
        """
        with self._lock:
            conversation = self._conversation(conversation_id)
            conversation["handoff"] = True
            self.version += 1
            self.webhooks.announce(
                "workflow.execution.handoff",
                handoff_forms(conversation, reason, to_iso(self._clock())),
                conversation_id=conversation_id,
                phone_number_id=None,
            )
            return conversation

    def end_handoff(self, conversation_id: str) -> JsonDict:
        """End a hand-off, of which Kapso tells nobody, and return the conversation.

        Raises:
            RefusedRequestError: there is no such conversation.
        """
        return self._quietly(conversation_id, handoff=False)

    def agent_reads(self, conversation_id: str) -> JsonDict:
        """Let an agent read a conversation, of which Kapso tells nobody, and return it.

        Raises:
            RefusedRequestError: there is no such conversation.
        """
        return self._quietly(conversation_id, unread_count=0)

    def history_sync(self, conversation_id: str, text: str, at: datetime) -> JsonDict:
        """Let an old message of the customer arrive from a telephone's history, and return it.

        Args:
            conversation_id: the conversation.
            text: the text.
            at: when it was written.

        Raises:
            RefusedRequestError: there is no such conversation.
        """
        with self._lock:
            conversation = self._conversation(conversation_id)
            message = new_message("inbound", "text", text, to_iso(at), origin="history_sync")
            conversation["messages"].append(message)
            conversation["messages"].sort(key=lambda one: str(one["timestamp"]))
            self._tell("whatsapp.message.received", conversation, message)
            return message

    def somebody_writes(self, embed: JsonDict | None = None, text: str = "") -> JsonDict:
        """Let one of the customers write, whom an embed shows if possible, and return where.

        Those who are not waiting for an answer come first.

        Raises:
            LookupError: there are no conversations.
        """
        with self._lock:
            rows = self.visible_conversations(embed) if embed else self.conversations
            rows = [row for row in rows if row["status"] == "active"] or rows or self.conversations
            rows = [row for row in rows if not is_unanswered(row)] or rows
            if not rows:
                raise LookupError("the project has no conversations")
            return self.same_customer_writes(random.choice(rows)["id"], text)  # noqa: S311

    def something_happens(self) -> None:
        """Let somebody write, known or new, or let a workflow ask for a human."""
        with self._lock:
            what = random.random()  # noqa: S311
            waiting = [row for row in self.conversations if is_unanswered(row)]
            if what < 0.15:
                phone = f"+120255501{random.randrange(100):02d}"  # noqa: S311
                name = random.choice(_NAMES)  # noqa: S311
                self.customer_writes(phone, "Hi! Is this the right number?", name=name)
            elif what < 0.3 and waiting:
                self.hand_off(random.choice(waiting)["id"])  # noqa: S311
            else:
                self.somebody_writes()

    def same_customer_writes(self, conversation_id: str, text: str = "") -> JsonDict:
        """Let the customer of a conversation write, and return the conversation.

        It is another one if this one has ended.

        Raises:
            RefusedRequestError: there is no such conversation.
        """
        row = self._conversation(conversation_id)
        person = row.get("business_scoped_user_id") or row["phone"]
        text = text or _text_of(row)
        number = number_of(self.phone_numbers, row)["phone_number_id"]
        return self.customer_writes(person, text, number=number)

    def visible_conversations(self, embed: JsonDict) -> list[JsonDict]:
        """Return the conversations that an embed shows."""
        raise NotImplementedError


def _text_of(conversation: JsonDict) -> str:
    """Return what a customer could write next: in their language, and not the same again."""
    start = str(conversation["phone"])[:3]
    said = {message["text"] for message in conversation["messages"][-2:]}
    texts = _TEXTS.get(start, _TEXTS[""])
    return random.choice([text for text in texts if text not in said])  # noqa: S311
